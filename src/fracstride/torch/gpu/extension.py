"""What a padding mode is, in Triton: the twin of :mod:`fracstride.extension`.

The forward map and the weight's gradient read frames beyond the input's ends from the frames that
they copy (:func:`source_frame`). The input's gradient is the adjoint: what it sums for an extended
frame belongs to the frame that this one copies (:func:`add_copies`). A test holds
:func:`source_frame` against its twin.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.indexing import wide

__all__ = ["add_copies", "copies_within", "extended_frame", "source_frame"]


@triton.jit
def source_frame(t, L, MODE: tl.constexpr):
    """Frames of ``[0, L)`` whose values frames ``t``, any integers, have; of ``zeros``: ``t``."""
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
    else:
        tl.static_assert(MODE == "zeros", "unknown padding mode")
    return t


@triton.jit
def extended_frame(e, LEFT: tl.constexpr, L):
    """Extended frame number ``e``: ``LEFT`` are before frame 0, the others from ``L`` on."""
    return e - LEFT + tl.where(e < LEFT, 0, L)


@triton.jit
def copies_within(
    start, place, known, L,
    LEFT: tl.constexpr, EXTENDED: tl.constexpr, COPIES: tl.constexpr, MODE: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """``COPIES`` extended frames from number ``start`` on; which copy a frame of a tile; if any.

    The tile has frames from the lowest to the highest ``place`` that is ``known``.
    """
    e = wide(start + tl.arange(0, COPIES), WIDE)
    t = extended_frame(e, LEFT, L)
    source = source_frame(t, L, MODE)
    low = tl.min(tl.where(known, place, L), 0)
    high = tl.max(tl.where(known, place, -1), 0)
    inside = (e < EXTENDED) & (source >= low) & (source <= high)
    return t, inside, tl.max(inside.to(tl.int32), 0) > 0


@triton.jit
def add_copies(
    acc, sums, start, place, known, L,
    LEFT: tl.constexpr, EXTENDED: tl.constexpr, COPIES: tl.constexpr, MODE: tl.constexpr,
):  # fmt: skip
    """Adds the sums of extended frames to those of the frames that they copy, in rising order.

    ``acc`` has a column for each ``place``; ``sums`` one for each of ``COPIES`` extended frames,
    from number ``start`` on.
    """
    for e in range(start, tl.minimum(start + COPIES, EXTENDED)):
        is_copied = known & (place == source_frame(extended_frame(e, LEFT, L), L, MODE))
        if tl.max(is_copied.to(tl.int32), 0) > 0:
            is_this = (start + tl.arange(0, COPIES) == e)[None, :]
            of_copy = tl.sum(tl.where(is_this, sums, 0.0), 1)
            acc += tl.where(is_copied[None, :], of_copy[:, None], 0.0)
    return acc
