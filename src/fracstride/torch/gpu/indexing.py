"""Where in a tensor things are: what all kernels share."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["edge_frame", "source_frame", "wide"]


@triton.jit
def source_frame(t, L, MODE: tl.constexpr):
    """:func:`fracstride.geometry.source_frame` of a tensor of frames; for ``zeros``, themselves."""
    if MODE == "replicate":
        t = tl.minimum(tl.maximum(t, 0), L - 1)
    elif MODE == "circular":
        t = t % L  # the remainder has the sign of t
        t = tl.where(t < 0, t + L, t)
    elif MODE == "reflect":
        t = tl.where(t < 0, -t, t)
        last = tl.maximum(L - 1, 1)
        bounces = t // last
        t -= bounces * last
        t = tl.minimum(tl.where(bounces % 2 == 0, t, last - t), L - 1)
    return t


@triton.jit
def edge_frame(e, left, L):
    """Frame of the extension: ``left`` of them come before frame 0, the others after ``L - 1``."""
    return e - left + tl.where(e < left, 0, L)


@triton.jit
def wide(index, WIDE: tl.constexpr):
    """A number that counts frames, samples or places: of 64 bits where some tensor needs them."""
    if WIDE:
        index = index.to(tl.int64)
    return index
