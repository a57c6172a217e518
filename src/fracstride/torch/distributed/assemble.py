"""One DTensor made of the piece of a signal that each rank has, once the pieces are checked.

A DTensor cut along time has pieces of sizes that follow from its length (:func:`shard_bounds`). A
rank sees its own piece only, so the ranks exchange shapes before they trust each other.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from fracstride.torch.distributed.halo import shard_bounds
from fracstride.torch.distributed.meshes import line_of

__all__ = ["assemble"]

_MAX_DIMS = 4
_DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.complex128,
)


def assemble(x: Any, dim: int, mesh: DeviceMesh) -> DTensor:
    """The DTensor that is cut along ``dim``, and of which ``x`` is this rank's piece.

    The mesh has one dimension; all its ranks call this. ``ValueError`` is raised on every rank if
    the pieces are not those that ``Shard`` makes of one signal.
    """
    line, ranks = line_of(mesh), mesh.size()
    mine = torch.tensor(
        _describe(x), device=x.device if isinstance(x, Tensor) else mesh.device_type
    )
    gathered = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(gathered, mine, group=line.group)
    pieces = [tuple(piece.tolist()) for piece in gathered]
    dims = pieces[0][0]
    if any(piece[0] != dims for piece in pieces) or not -dims <= dim < dims:
        raise _refusal(f"tensors of as many dimensions, with dimension {dim} among them", pieces)
    dim %= dims
    lengths = [piece[1 + dim] for piece in pieces]
    if len({piece[: 1 + dim] + piece[2 + dim :] for piece in pieces}) > 1:
        raise _refusal("alike but for their length, in dtype and requires_grad too", pieces)
    bounds = [shard_bounds(sum(lengths), ranks, rank) for rank in range(ranks)]
    if lengths != [stop - start for start, stop in bounds]:
        wanted = ", ".join(str(stop - start) for start, stop in bounds)
        raise _refusal(f"{sum(lengths)} frames in pieces of {wanted}", pieces)
    shape = torch.Size((*x.shape[:dim], sum(lengths), *x.shape[dim + 1 :]))
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(x, mesh, [Shard(dim)], run_check=False, shape=shape, stride=stride)


def _describe(x: Any) -> tuple[int, ...]:
    """Dimensions, sizes, dtype and requires_grad of a piece; zeros if ``x`` cannot be one."""
    if not isinstance(x, Tensor) or x.dim() > _MAX_DIMS or x.dtype not in _DTYPES:
        return (0,) * (_MAX_DIMS + 3)
    sizes = (*x.shape, *[0] * (_MAX_DIMS - x.dim()))
    return x.dim(), *sizes, _DTYPES.index(x.dtype), int(x.requires_grad)


def _refusal(wanted: str, pieces: list[tuple[int, ...]]) -> ValueError:
    descriptions = (
        f"{piece[1 : 1 + piece[0]]} of {_DTYPES[piece[-2]]}{' with gradient' * piece[-1]}"
        if piece[0]
        else f"no tensor of floating point or complex numbers of 1 to {_MAX_DIMS} dimensions"
        for piece in pieces
    )
    listed = "; ".join(f"rank {rank}: {text}" for rank, text in enumerate(descriptions))
    return ValueError(
        f"input must be each rank's piece of one signal, as Shard cuts it: {wanted}; got {listed}"
    )
