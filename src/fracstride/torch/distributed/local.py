"""The samples of one rank, computed from its shard and its halo.

With derivatives, the halo is exchanged first and one call of the transposed convolution follows.
Without, the samples that need no halo are computed while it is on its way.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as tf

from fracstride.geometry import Geometry, geometry_of
from fracstride.torch import kernels
from fracstride.torch.dispatch import needs_derivative, plain
from fracstride.torch.distributed.exchange import compute_in_parts, extend
from fracstride.torch.distributed.halo import Halo
from fracstride.torch.distributed.meshes import Line
from fracstride.torch.operators import transposed
from fracstride.torch.packed import PackedWeights

__all__ = ["compute_samples"]


def compute_samples(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    halo: Halo,
    line: Line,
    packed_weights: PackedWeights | None,
) -> Tensor:
    """``(B, C_out, samples)`` of a shard ``(B, C_in, frames)``; all ranks of the group call this.

    ``packed_weights`` keeps packed weights from call to call.
    """
    if plain(x, w, b) and not needs_derivative(x, w, b) and kernels.reads(x.dtype):
        return _compute_without_derivatives(x, w, b, geometry, groups, halo, line, packed_weights)
    window = extend(x, halo, line)
    if halo.whole is not None:
        return transposed(window, w, b, halo.whole.geometry, groups, packed_weights)
    # A rank without samples takes part in the sums of gradients nevertheless.
    k, s, d = geometry.kernel_size, geometry.stride, geometry.dilation
    nothing = transposed(tf.pad(window, (0, 1)), w, b, geometry_of(k, s, 0, 0, d, "zeros"), groups)
    return nothing[:, :, :0]


def _compute_without_derivatives(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    halo: Halo,
    line: Line,
    packed_weights: PackedWeights | None,
) -> Tensor:
    """The same without derivatives: only samples at the edges wait, and only they are copied."""
    count = 0 if halo.whole is None else halo.whole.samples
    y = x.new_empty((x.shape[0], w.shape[1] * groups, count))
    packed = (kernels.pack if packed_weights is None else packed_weights.pack)(w, geometry, groups)

    def make(frames: Tensor, part: Geometry, at: slice) -> None:
        kernels.forward(frames, w, b, part, groups, lambda *_: packed, out=y[:, :, at])

    compute_in_parts(x, halo, line, make)
    return y
