"""The samples of one rank, made of its shard and its halo."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as tf

from fracstride.geometry import Geometry, geometry_of
from fracstride.torch import kernels
from fracstride.torch.dispatch import needs_derivative, plain
from fracstride.torch.distributed.exchange import extended, in_parts
from fracstride.torch.distributed.halo import Halo
from fracstride.torch.distributed.meshes import Line
from fracstride.torch.operators import transposed
from fracstride.torch.packed import PackedWeights

__all__ = ["samples"]


def samples(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    halo: Halo,
    line: Line,
    kept: PackedWeights | None,
) -> Tensor:
    """``(B, C_out, samples)`` of a shard ``(B, C_in, frames)``; all ranks of the group call it."""
    if plain(x, w, b) and not needs_derivative(x, w, b) and kernels.reads(x.dtype):
        return _while_frames_come(x, w, b, geometry, groups, halo, line, kept)
    mine = extended(x, halo, line)
    if halo.whole is not None:
        return transposed(mine, w, b, halo.whole.geometry, groups, kept)
    # A rank without samples takes part in the sums of gradients nevertheless.
    k, s, d = geometry.kernel_size, geometry.stride, geometry.dilation
    nothing = transposed(tf.pad(mine, (0, 1)), w, b, geometry_of(k, s, 0, 0, d, "zeros"), groups)
    return nothing[:, :, :0]


def _while_frames_come(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    halo: Halo,
    line: Line,
    kept: PackedWeights | None,
) -> Tensor:
    """The same without derivatives: only the edges wait for others, and only they are copied."""
    count = 0 if halo.whole is None else halo.whole.samples
    y = x.new_empty((x.shape[0], w.shape[1] * groups, count))
    packed = (kernels.pack if kept is None else kept.pack)(w, geometry, groups)

    def make(frames: Tensor, part: Geometry, at: slice) -> None:
        kernels.forward(frames, w, b, part, groups, lambda *_: packed, out=y[:, :, at])

    in_parts(x, halo, line, make)
    return y
