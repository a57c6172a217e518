"""The transposed convolution of a DTensor whose time is cut: each rank computes its own samples.

The ranks exchange halos (:mod:`~fracstride.torch.distributed.halo`); then each has an ordinary
layer and an ordinary tensor. Nothing is summed across the cuts of time, so the output has the bits
of one process. A mesh may have more dimensions, which cut other axes: see :func:`_way`. A DTensor
whose time is not cut is DTensor's own business, by :mod:`~fracstride.torch.distributed.rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard

from fracstride.conv1d_geometry import Conv1dGeometry
from fracstride.geometry import Geometry
from fracstride.torch.checks import check_forward
from fracstride.torch.dispatch import forward_mode_possible
from fracstride.torch.distributed.exchange import share
from fracstride.torch.distributed.halo import halo_of, shard_bounds, some_for_all
from fracstride.torch.distributed.local import compute_samples
from fracstride.torch.distributed.meshes import line_of
from fracstride.torch.operators import transposed
from fracstride.torch.operators.forward import CONV1D
from fracstride.torch.packed import PackedWeights

__all__ = ["conv1d", "conv_transpose1d"]

_TIME = 2


def _time_cut(x: DTensor) -> int | None:
    """The dimension of the mesh along which the time of a DTensor ``(B, C, L)`` is cut, or None.

    ``NotImplementedError`` where the layer cannot follow the cut.
    """
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
    """How one dimension of the mesh cuts the input, the weight, the bias and the output.

    ``summed`` has the letters of the operands whose gradients are summed over its ranks.
    """

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
    """How a dimension of the mesh that does not cut time cuts the layer, given ``x`` and ``w``.

    It has ``ranks`` ranks. ``channels`` are the input and output channels of a group. Channels are
    cut only if none of the ``others``, the ranks of all dimensions that do not cut time, is left
    without any.
    """
    if w.is_shard(1) and groups == 1:
        return _COLUMNS if some_for_all(channels[1], others) else _WHOLE
    if w.is_shard(0) or x.is_shard(1):
        if groups > 1:
            return _GROUPS if groups % ranks == 0 else _WHOLE
        return _ROWS if some_for_all(channels[0], others) else _WHOLE
    return _BATCH if x.is_shard(0) else _WHOLE


def conv_transpose1d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    packed_weights: PackedWeights | None = None,
) -> Tensor:
    """``(B, C_out, L_out)`` of operands ``(B, C_in, L)`` and so on, some of them DTensors.

    Where time is cut, the ranks exchange halos; else DTensor calls the operator, by the rules of
    :mod:`~fracstride.torch.distributed.rules`. ``w`` and ``b`` are on the mesh of ``x``, or
    ordinary tensors, the same on every rank. ``packed_weights`` keeps packed weights from call to
    call.
    """
    if not isinstance(x, DTensor):  # and a weight is one: the operator raises DTensor's own error
        return transposed(x, w, b, geometry, groups)
    mesh, cut = x.device_mesh, _time_cut(x)
    w, b = _place_on_mesh(mesh, "weight", w), None if b is None else _place_on_mesh(mesh, "bias", b)
    if cut is None:
        return transposed(x, w, b, geometry, groups)
    return _cut_along_time(x, w, b, geometry, groups, cut, packed_weights)


def conv1d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Conv1dGeometry,
    groups: int,
    packed_weights: PackedWeights | None = None,
) -> Tensor:
    """The same for a Conv1d; an input whose time is cut is gathered along time."""
    if isinstance(x, DTensor):
        mesh = x.device_mesh
        w = _place_on_mesh(mesh, "weight", w)
        b = None if b is None else _place_on_mesh(mesh, "bias", b)
    return CONV1D(x, w, b, geometry, groups)


def _cut_along_time(
    x: DTensor,
    w: DTensor,
    b: DTensor | None,
    geometry: Geometry,
    groups: int,
    cut: int,
    packed_weights: PackedWeights | None,
) -> Tensor:
    """The output of an input whose time dimension ``cut`` of the mesh cuts, cut likewise.

    Gradients of ``w`` and ``b`` are sums over the ranks.
    """
    mesh = x.device_mesh
    x, w, b = _cast(x), _cast(w), None if b is None else _cast(b)
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

    shard = _local_operand(x, ways, "x")
    first, stop = shard_bounds(L, ranks, rank)
    if shard.shape[_TIME] != stop - first:
        raise ValueError(
            f"input of length {L}, cut over {ranks} ranks, must have {stop - first} frames on "
            f"rank {rank}, got {shard.shape[_TIME]}"
        )
    halo = halo_of(geometry, L, ranks, rank)
    weight = _local_operand(w, ways, "w")
    bias = None if b is None else _local_operand(b, ways, "b")
    y = compute_samples(shard, weight, bias, geometry, local_groups, halo, line, packed_weights)
    shape = torch.Size((x.shape[0], w.shape[1] * groups, length))
    stride = (shape[1] * length, length, 1)
    placements = [way.y for way in ways]
    return DTensor.from_local(y, mesh, placements, run_check=False, shape=shape, stride=stride)


def _cast(tensor: DTensor) -> DTensor:
    """The tensor in the dtype of autocast, if that is on: what the operator would do to it."""
    device = tensor.device.type
    if not torch.is_autocast_enabled(device) or tensor.dtype == torch.float64:
        return tensor
    if not tensor.is_floating_point():
        return tensor
    return cast(DTensor, tensor.to(torch.get_autocast_dtype(device)))


def _place_on_mesh(mesh: DeviceMesh, name: str, tensor: Tensor) -> DTensor:
    """A weight or bias as a DTensor on the input's mesh; an ordinary one is replicated."""
    if not isinstance(tensor, DTensor):
        if not torch.is_grad_enabled() and not forward_mode_possible():
            tensor = tensor.detach()
        return DTensor.from_local(tensor, mesh, [_ALL] * mesh.ndim, run_check=False)
    if tensor.device_mesh != mesh:
        raise ValueError(
            f"{name} must be on the mesh of input, {mesh}, got one on {tensor.device_mesh}"
        )
    return tensor


def _local_operand(tensor: DTensor, ways: list[_Way], name: str) -> Tensor:
    """This rank's part of an operand, cut as ``ways`` say; its gradient is cut likewise."""
    mesh = tensor.device_mesh
    placements = tuple(getattr(way, name) for way in ways)
    if tensor.placements != placements:
        tensor = tensor.redistribute(mesh, placements)
    local = tensor.to_local(grad_placements=placements)
    for i, way in enumerate(ways):
        if name in way.summed:
            local = share(local, mesh.get_group(i))
        if name == "b" and way is _ROWS and line_of(mesh, i).rank:
            local = local.masked_fill(local.new_ones((), dtype=torch.bool), 0)  # one rank adds it
    return local
