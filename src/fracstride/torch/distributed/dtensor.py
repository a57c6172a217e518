"""A layer whose input is cut along time: each rank computes its own samples.

First the ranks exchange halos (:mod:`~fracstride.torch.distributed.halo`); then each has an
ordinary layer and an ordinary tensor. Nothing is added up across the cuts of time, so the output
has the bits of one process. A mesh may have more dimensions: :func:`_way` says what they cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard

from fracstride.geometry import Geometry
from fracstride.torch.checks import check_forward
from fracstride.torch.dispatch import forward_mode_possible
from fracstride.torch.distributed.exchange import shared
from fracstride.torch.distributed.halo import halo_of, shard_bounds, some_for_all
from fracstride.torch.distributed.local import samples
from fracstride.torch.distributed.meshes import line_of
from fracstride.torch.operators import transposed
from fracstride.torch.packed import PackedWeights

__all__ = ["conv_transpose1d", "cut_along_time", "eagerly", "on_mesh", "take", "time_cut"]

_TIME = 2

#: Out of graphs: a compiler does not see messages.
eagerly: Any = torch.compiler.disable


def take(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    kept: PackedWeights | None,
) -> Tensor:
    """``T`` where some operand is a DTensor.

    An input that is cut along time goes by halos; otherwise DTensor has rules for the operator.
    """
    cut = time_cut(x)
    if cut is not None:
        return conv_transpose1d(cast(DTensor, x), w, b, geometry, groups, cut, kept)
    if isinstance(x, DTensor):
        w = on_mesh(x.device_mesh, "weight", w)
        b = None if b is None else on_mesh(x.device_mesh, "bias", b)
    return transposed(x, w, b, geometry, groups)


def cut_along_time(x: Any) -> bool:
    """Whether a DTensor ``(B, C, L)`` or ``(C, L)`` is cut along its last axis."""
    return any(p.is_shard(x.dim() - 1) for p in x.placements)


def time_cut(x: Tensor) -> int | None:
    """The dimension of the mesh along which the time of a DTensor ``(B, C, L)`` is cut, or None.

    ``NotImplementedError`` where the layer cannot follow the cut.
    """
    if not isinstance(x, DTensor):
        return None
    cuts = [i for i, p in enumerate(x.placements) if getattr(p, "dim", None) == _TIME]
    if not cuts:
        return None
    if len(cuts) > 1 or type(x.placements[cuts[0]]) is not Shard:
        raise NotImplementedError(
            "time must be cut by one Shard, along one dimension of the mesh, got the placements "
            f"{tuple(x.placements)}; redistribute the input first"
        )
    return cuts[0]


@dataclass(frozen=True)
class _Way:
    """What one dimension of the mesh cuts; ``summed`` names whose gradients it adds up."""

    x: Placement
    w: Placement
    b: Placement
    y: Placement
    summed: str = ""


_ALL = Replicate()
_CUT_TIME = _Way(Shard(_TIME), _ALL, _ALL, Shard(_TIME), "wb")
_WHOLE = _Way(_ALL, _ALL, _ALL, _ALL)
_BATCH = _Way(Shard(0), _ALL, _ALL, Shard(0), "wb")
_COLUMNS = _Way(_ALL, Shard(1), Shard(0), Shard(1), "x")
_ROWS = _Way(Shard(1), Shard(0), _ALL, Partial(), "b")
_GROUPS = _Way(Shard(1), Shard(0), Shard(0), Shard(1))


def _way(
    x: Placement, w: Placement, groups: int, channels: tuple[int, int], ranks: int, others: int
) -> _Way:
    """What a dimension of the mesh that does not cut time cuts, by how the operands come.

    ``channels`` are all that go in and come out of a group; ``others`` are all ranks that do not
    cut time, of which each must have some.
    """
    if w.is_shard(1) and groups == 1:
        return _COLUMNS if some_for_all(channels[1], others) else _WHOLE
    if w.is_shard(0) or x.is_shard(1):
        if groups > 1:
            return _GROUPS if groups % ranks == 0 else _WHOLE
        return _ROWS if some_for_all(channels[0], others) else _WHOLE
    return _BATCH if x.is_shard(0) else _WHOLE


def conv_transpose1d(
    x: DTensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    cut: int,
    kept: PackedWeights | None = None,
) -> Tensor:
    """``T``: ``(B, C_out, L_out)``, cut along time as ``x`` is, by dimension ``cut`` of the mesh.

    ``w`` and ``b`` are DTensors on the mesh of ``x``, or ordinary tensors, the same on every rank;
    their gradients are sums over the ranks.
    """
    mesh = x.device_mesh
    w, b = on_mesh(mesh, "weight", w), None if b is None else on_mesh(mesh, "bias", b)
    x, w, b = _autocast(x), _autocast(w), None if b is None else _autocast(b)
    L, length = x.shape[_TIME], check_forward(x, w, b, geometry, groups)
    line = line_of(mesh, cut)
    rank, ranks = line.rank, len(line.members)
    ways, local_groups = [], groups
    channels = w.shape[0] // groups, w.shape[1]
    others = mesh.size() // ranks
    for i, (x_i, w_i) in enumerate(zip(x.placements, w.placements, strict=True)):
        size = mesh.size(i)
        way = _CUT_TIME if i == cut else _way(x_i, w_i, local_groups, channels, size, others)
        local_groups //= size if way is _GROUPS else 1
        ways.append(way)

    local = _local(x, ways, "x")
    first, stop = shard_bounds(L, ranks, rank)
    if local.shape[_TIME] != stop - first:
        raise ValueError(
            f"input of length {L}, cut over {ranks} ranks, must have {stop - first} frames on "
            f"rank {rank}, got {local.shape[_TIME]}"
        )
    halo = halo_of(geometry, L, ranks, rank)
    weight = _local(w, ways, "w")
    bias = None if b is None else _local(b, ways, "b")
    y = samples(local, weight, bias, geometry, local_groups, halo, line, kept)
    shape = torch.Size((x.shape[0], w.shape[1] * groups, length))
    stride = (shape[1] * length, length, 1)
    made = [way.y for way in ways]
    return DTensor.from_local(y, mesh, made, run_check=False, shape=shape, stride=stride)


def _autocast(tensor: DTensor) -> DTensor:
    """In the dtype of autocast, if that is on, as the operator will have it."""
    device = tensor.device.type
    if not torch.is_autocast_enabled(device) or tensor.dtype == torch.float64:
        return tensor
    if not tensor.is_floating_point():
        return tensor
    return cast(DTensor, tensor.to(torch.get_autocast_dtype(device)))


def on_mesh(mesh: DeviceMesh, name: str, tensor: Tensor) -> DTensor:
    """A weight or bias as a DTensor on the input's mesh; an ordinary one is every rank's."""
    if not isinstance(tensor, DTensor):
        if not torch.is_grad_enabled() and not forward_mode_possible():
            tensor = tensor.detach()
        return DTensor.from_local(tensor, mesh, [_ALL] * mesh.ndim, run_check=False)
    if tensor.device_mesh != mesh:
        raise ValueError(
            f"{name} must be on the mesh of input, {mesh}, got one on {tensor.device_mesh}"
        )
    return tensor


def _local(tensor: DTensor, ways: list[_Way], name: str) -> Tensor:
    """This rank's part of an operand, cut as the ways say, its gradient cut likewise."""
    mesh = tensor.device_mesh
    placements = tuple(getattr(way, name) for way in ways)
    if tensor.placements != placements:
        tensor = tensor.redistribute(mesh, placements)
    local = tensor.to_local(grad_placements=placements)
    for i, way in enumerate(ways):
        if name in way.summed:
            local = shared(local, mesh.get_group(i))
        if name == "b" and way is _ROWS and line_of(mesh, i).rank:
            local = local.masked_fill(local.new_ones((), dtype=torch.bool), 0)  # added once
    return local
