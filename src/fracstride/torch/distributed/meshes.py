"""The ranks along one dimension of a device mesh, and the check that a style's mesh has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.distributed.device_mesh import DeviceMesh

__all__ = ["Line", "check_mesh", "line_of"]


@dataclass(frozen=True)
class Line:
    """The ranks along one dimension of a mesh.

    ``rank`` is this process's place among them, ``members`` are their numbers among all processes,
    ``group`` is torch's process group of them.
    """

    rank: int
    members: tuple[int, ...]
    group: Any


def line_of(mesh: DeviceMesh, dimension: int = 0) -> Line:
    """The ranks along a dimension of the mesh, this process among them.

    ``ValueError`` for a mesh whose ranks are not in ascending order: DTensor (2.13) itself gives
    each of them the piece of another then.
    """
    place = _coordinate(mesh)
    along: Any = (*place[:dimension], slice(None), *place[dimension + 1 :])
    members = tuple(mesh.mesh[along].tolist())
    if list(members) != sorted(members):
        raise ValueError(f"a mesh must have its ranks in ascending order, got {list(members)}")
    return Line(place[dimension], members, mesh.get_group(dimension))


def check_mesh(mesh: DeviceMesh) -> None:
    """Raise an error unless the mesh has one dimension and this rank is in it."""
    if not isinstance(mesh, DeviceMesh):
        raise TypeError(f"device_mesh must be a DeviceMesh, got {type(mesh).__name__}")
    if mesh.ndim != 1:
        names = mesh.mesh_dim_names or "no names"
        raise ValueError(
            f"device_mesh must have one dimension, got {mesh.ndim} ({names}): take one of them, as "
            'in mesh["time"]'
        )
    line_of(mesh)


def _coordinate(mesh: DeviceMesh) -> tuple[int, ...]:
    place = mesh.get_coordinate()
    if place is None:
        raise ValueError(f"this rank must be one of {mesh.mesh.tolist()}, the ranks of device_mesh")
    return tuple(place)
