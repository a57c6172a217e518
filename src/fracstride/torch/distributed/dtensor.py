"""A layer of a DTensor whose time is cut: each rank computes its own samples.

The ranks exchange halos (:mod:`~fracstride.torch.distributed.halo`); then each has an ordinary
layer and an ordinary tensor. Nothing is summed across the cuts of time, so the output has the bits
of one process. A mesh may have more dimensions, which cut other axes:
:mod:`~fracstride.torch.distributed.ways` says how. A DTensor whose time is not cut is DTensor's own
business, by :mod:`~fracstride.torch.distributed.rules`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch.checks import channels_of, check_forward
from fracstride.torch.dispatch import forward_mode_possible
from fracstride.torch.distributed.exchange import share
from fracstride.torch.distributed.halo import halo_of, shard_bounds
from fracstride.torch.distributed.local import compute_samples
from fracstride.torch.distributed.meshes import line_of
from fracstride.torch.distributed.ways import Cuts, placement, possible, way_of
from fracstride.torch.operators.operator import of_layer
from fracstride.torch.packed import PackedWeights

__all__ = ["apply"]

_TIME = 2
_CUT_TIME: Cuts = (_TIME, "whole", "whole", _TIME)  # input, weight, bias; output


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


def apply(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: AnyGeometry,
    groups: int,
    packed_weights: PackedWeights | None = None,
) -> Tensor:
    """``(B, C_out, L_out)`` of operands ``(B, C_in, L)`` and so on, some of them DTensors.

    The geometry says which layer is meant. Where time is cut, the ranks exchange halos; else
    DTensor calls the operator, by the rules of :mod:`~fracstride.torch.distributed.rules`. ``w``
    and ``b`` are on the mesh of ``x``, or ordinary tensors, the same on every rank.
    ``packed_weights`` keeps packed weights from call to call.
    """
    if not isinstance(x, DTensor):  # and a weight is one: the operator raises DTensor's own error
        return of_layer(geometry)(x, w, b, geometry, groups)
    mesh, cut = x.device_mesh, _time_cut(x)
    w, b = _place_on_mesh(mesh, "weight", w), None if b is None else _place_on_mesh(mesh, "bias", b)
    if cut is None:
        return of_layer(geometry)(x, w, b, geometry, groups)
    return _cut_along_time(x, w, b, geometry, groups, cut, packed_weights)


def _cut_along_time(
    x: DTensor,
    w: DTensor,
    b: DTensor | None,
    geometry: AnyGeometry,
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
    rows, columns, others = w.shape[0] // groups, w.shape[1], mesh.size() // ranks
    cuts = of_layer(geometry).cuts
    for i, (x_i, w_i) in enumerate(zip(x.placements, w.placements, strict=True)):
        size, way = mesh.size(i), way_of(x_i, w_i, local_groups, cuts)
        if i == cut:
            ways.append(_CUT_TIME)
        elif possible(way, rows, columns, local_groups, size, others):
            ways.append(cuts[way])
            local_groups //= size if way == "groups" else 1
        else:
            ways.append(cuts["whole"])

    shard = _local_operand(x, ways, 0)
    first, stop = shard_bounds(L, ranks, rank)
    if shard.shape[_TIME] != stop - first:
        raise ValueError(
            f"input of length {L}, cut over {ranks} ranks, must have {stop - first} frames on "
            f"rank {rank}, got {shard.shape[_TIME]}"
        )
    halo = halo_of(geometry, L, ranks, rank)
    weight = _local_operand(w, ways, 1)
    bias = None if b is None else _local_operand(b, ways, 2)
    y = compute_samples(shard, weight, bias, geometry, local_groups, halo, line, packed_weights)
    shape = torch.Size((x.shape[0], channels_of(w, geometry, groups)[1], length))
    stride = (shape[1] * length, length, 1)
    placements = [placement(way[-1]) for way in ways]
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
        return DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)
    if tensor.device_mesh != mesh:
        raise ValueError(
            f"{name} must be on the mesh of input, {mesh}, got one on {tensor.device_mesh}"
        )
    return tensor


def _local_operand(tensor: DTensor, ways: list[Cuts], index: int) -> Tensor:
    """This rank's part of an operand, cut as ``ways`` say; its gradient is cut likewise."""
    mesh, cuts = tensor.device_mesh, [way[index] for way in ways]
    # A term of a sum, which a bias can be, is all of it on one rank, and nothing on the others.
    placements = tuple(placement("whole" if cut == "sum" else cut) for cut in cuts)
    if tensor.placements != placements:
        tensor = tensor.redistribute(mesh, placements)
    local = tensor.to_local(grad_placements=placements)
    for i, cut in enumerate(cuts):
        if not isinstance(cut, int) and ways[i][-1] != "whole":  # each rank has a part of the rest
            local = share(local, mesh.get_group(i))
        if cut == "sum" and line_of(mesh, i).rank:
            local = local.masked_fill(local.new_ones((), dtype=torch.bool), 0)
    return local
