"""The samples of one rank, computed from its shard and its halo.

With derivatives, the halo is exchanged first and one call of the layer's operator follows.
Without, the samples that need no halo are computed while it is on its way.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as tf

from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry, conv1d_geometry_of
from fracstride.geometry import geometry_of
from fracstride.torch import kernels
from fracstride.torch.checks import channels_of
from fracstride.torch.dispatch import needs_derivative, plain
from fracstride.torch.distributed.exchange import compute_in_parts, extend
from fracstride.torch.distributed.halo import Halo
from fracstride.torch.distributed.meshes import Line
from fracstride.torch.operators.operator import of_layer
from fracstride.torch.packed import PackedWeights

__all__ = ["compute_samples"]


def compute_samples(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: AnyGeometry,
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
    window, layer = extend(x, halo, line), of_layer(geometry)
    if halo.whole is not None:
        y = layer(window, w, b, halo.whole.geometry, groups)
        return y if y.shape[2] == halo.whole.samples else y[:, :, : halo.whole.samples]
    # A rank without samples takes part in the sums of gradients nevertheless.
    return layer(tf.pad(window, (0, 1)), w, b, _geometry_of_one(geometry), groups)[:, :, :0]


def _geometry_of_one(geometry: AnyGeometry) -> AnyGeometry:
    """A geometry that makes samples of one frame."""
    k, s, d = geometry.kernel_size, geometry.stride, geometry.dilation
    if isinstance(geometry, Conv1dGeometry):
        return conv1d_geometry_of(k, s, (0, geometry.span - 1), d, "zeros")
    return geometry_of(k, s, 0, 0, d, "zeros")


def _compute_without_derivatives(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: AnyGeometry,
    groups: int,
    halo: Halo,
    line: Line,
    packed_weights: PackedWeights | None,
) -> Tensor:
    """The same without derivatives: only samples at the edges wait, and only they are copied."""
    count = 0 if halo.whole is None else halo.whole.samples
    y = x.new_empty((x.shape[0], channels_of(w, geometry, groups)[1], count))
    if packed_weights is None:
        packed = kernels.pack(w, geometry, groups)
    else:
        packed = packed_weights.pack(w, geometry, groups, x.shape[0] * x.shape[2])

    def make(frames: Tensor, part: AnyGeometry, at: slice) -> None:
        operands, out = (frames, w, b, part, groups, lambda *_: packed), y[:, :, at]
        if part.output_length(frames.shape[2]) == out.shape[2]:
            kernels.forward(*operands, out=out)
        else:  # one more: geometry_of_part says when
            out.copy_(kernels.forward(*operands)[:, :, : out.shape[2]])

    compute_in_parts(x, halo, line, make)
    return y
