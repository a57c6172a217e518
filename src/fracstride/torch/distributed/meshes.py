"""The meshes that styles are for."""

from __future__ import annotations

from torch.distributed.device_mesh import DeviceMesh

__all__ = ["check_mesh"]


def check_mesh(mesh: DeviceMesh) -> None:
    """Raise unless it has one dimension, and this rank in it."""
    if not isinstance(mesh, DeviceMesh):
        raise TypeError(f"device_mesh must be a DeviceMesh, got {type(mesh).__name__}")
    if mesh.ndim != 1:
        names = mesh.mesh_dim_names or "no names"
        raise ValueError(
            f"device_mesh must have one dimension, got {mesh.ndim} ({names}): take one of them, as "
            'in mesh["time"]'
        )
    if mesh.get_coordinate() is None:
        raise ValueError(f"this rank must be one of {mesh.mesh.tolist()}, the ranks of device_mesh")
