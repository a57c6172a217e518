"""Each rank has a piece of a signal: do they make one?"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from fracstride.torch.distributed.halo import shard_bounds
from fracstride.torch.distributed.meshes import line_of

__all__ = ["of_pieces"]

_MOST = 4  # dimensions
_DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.complex128,
)


def of_pieces(x: Any, dim: int, mesh: DeviceMesh) -> DTensor:
    """The tensor that is cut along ``dim`` into what each rank of a mesh of one dimension has.

    The ranks tell each other their shapes, so that ``ValueError`` is raised by all of them if these
    are not the pieces that ``Shard`` makes.
    """
    line, ranks = line_of(mesh), mesh.size()
    mine = torch.tensor(_told(x), device=x.device if isinstance(x, Tensor) else mesh.device_type)
    gathered = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(gathered, mine, group=line.group)
    everyone = [tuple(told.tolist()) for told in gathered]
    dims = everyone[0][0]
    if any(told[0] != dims for told in everyone) or not -dims <= dim < dims:
        raise _refused(f"tensors of as many dimensions, with dimension {dim} among them", everyone)
    dim %= dims
    lengths = [told[1 + dim] for told in everyone]
    if len({told[: 1 + dim] + told[2 + dim :] for told in everyone}) > 1:
        raise _refused("alike but for their length, in dtype and requires_grad too", everyone)
    bounds = [shard_bounds(sum(lengths), ranks, rank) for rank in range(ranks)]
    if lengths != [stop - start for start, stop in bounds]:
        wanted = ", ".join(str(stop - start) for start, stop in bounds)
        raise _refused(f"{sum(lengths)} frames in pieces of {wanted}", everyone)
    shape = torch.Size((*x.shape[:dim], sum(lengths), *x.shape[dim + 1 :]))
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(x, mesh, [Shard(dim)], run_check=False, shape=shape, stride=stride)


def _told(x: Any) -> tuple[int, ...]:
    """What the others have to know: dimensions, sizes, dtype and requires_grad."""
    if not isinstance(x, Tensor) or x.dim() > _MOST or x.dtype not in _DTYPES:
        return (0,) * (_MOST + 3)
    sizes = (*x.shape, *[0] * (_MOST - x.dim()))
    return x.dim(), *sizes, _DTYPES.index(x.dtype), int(x.requires_grad)


def _refused(wanted: str, everyone: list[tuple[int, ...]]) -> ValueError:
    shown = (
        f"{told[1 : 1 + told[0]]} of {_DTYPES[told[-2]]}{' with gradient' * told[-1]}"
        if told[0]
        else f"no tensor of floating point or complex numbers of 1 to {_MOST} dimensions"
        for told in everyone
    )
    listed = "; ".join(f"rank {rank}: {text}" for rank, text in enumerate(shown))
    return ValueError(
        f"input must be each rank's piece of one signal, as Shard cuts it: {wanted}; got {listed}"
    )
