"""The maps without a sum over channels worth a tensor core: depthwise layers and the like.

A program has the frames and phases of one channel in its registers and goes through the taps: each
input is read once per tap of a phase, out of the first-level cache, and each output written once,
phases next to each other as memory has them. What does not exist is never multiplied.

Arguments are those of the ``dense`` kernels, except that ``channels`` are those of all groups.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.extension import add_copies, copies_within, source_frame
from fracstride.torch.gpu.indexing import SIZES, wide
from fracstride.torch.gpu.products import add_existing

__all__ = ["direct_forward", "direct_input_grad", "direct_weight_grad"]


@triton.jit(do_not_specialize=SIZES)
def direct_forward(
    x, w, bias, y,
    in_channels, out_channels, channels,  # of one group, and all output channels
    length, aligned_length, frames, first,
    x_batch, x_channel, x_frame,
    tiles,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    STEP: tl.constexpr, SHIFT: tl.constexpr, MODE: tl.constexpr, ALIGN: tl.constexpr,
    FRAMES: tl.constexpr, PHASES: tl.constexpr, UNROLL: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """``T``: ``(B, C_out, L_out)``; its arguments are those of :func:`dense_forward`."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    program = tl.program_id(0)
    row = wide(program // tiles, WIDE)  # (entry of the batch, output channel)
    channel = row % channels
    group = channel // out_channels
    c = channel % out_channels
    aligned_length = wide(aligned_length, WIDE)
    first = wide(first, WIDE)
    before = wide(program % tiles, WIDE) * FRAMES
    place = before + tl.arange(0, FRAMES)
    u = first + place
    m = tl.arange(0, PHASES)
    from_x = x + row // channels * x_batch

    acc = tl.zeros((FRAMES, PHASES), ACC)
    for i in range(in_channels):
        from_channel = from_x + (group * in_channels + i) * x_channel
        of_channel = w + ((group * in_channels + i) * out_channels + c) * K
        for block in range((K + STEP * UNROLL - 1) // (STEP * UNROLL)):
            for step in tl.static_range(UNROLL):
                j = block * UNROLL + step
                t = u - j * SHIFT
                here = place < frames
                if MODE == "zeros":
                    here &= (t >= 0) & (t < length)
                t = wide(tl.where(here, source_frame(t, length, MODE), 0), WIDE)
                a = tl.load(from_channel + t * x_frame, mask=here, other=0.0)
                is_tap = (m < STEP) & (m + j * STEP < K)
                b = tl.load(of_channel + m + j * STEP, mask=is_tap, other=0.0)
                acc = add_existing(acc, a[:, None], b[None, :], here[:, None] & is_tap[None, :])
    if bias is not None:
        acc += tl.load(bias + channel).to(ACC)
    if DILATION == 1 and PHASES == STRIDE:  # one run of samples, said so that it is seen
        q = tl.arange(0, FRAMES * PHASES)
        n = (first + before) * STRIDE - PADDING + q
        acc = tl.reshape(acc, (FRAMES * PHASES,))
        known = q < (frames - before) * STRIDE
        if K < STEP:
            known &= q % STRIDE < K
    else:
        n = u[:, None] * STRIDE + (m * DILATION)[None, :] - PADDING
        known = (place < frames)[:, None] & ((m < STEP) & (m < K))[None, :]
    kept = known & (n >= 0) & (n < aligned_length * ALIGN)
    tl.store(y + row * aligned_length * ALIGN + n, acc.to(y.dtype.element_ty), mask=kept)


@triton.jit(do_not_specialize=SIZES)
def direct_input_grad(
    gy, w, gx,
    in_channels, out_channels, channels,  # of one group, and all input channels
    length, out_length,
    gy_batch, gy_channel, gy_sample,
    tiles,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    STEP: tl.constexpr, MODE: tl.constexpr,
    LEFT: tl.constexpr, EXTENDED: tl.constexpr, COPIES: tl.constexpr,
    FRAMES: tl.constexpr, PHASES: tl.constexpr, UNROLL: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """``C``: ``(B, C_in, length)``; its arguments are those of :func:`dense_input_grad`."""
    program = tl.program_id(0)
    row = wide(program // tiles, WIDE)  # (entry of the batch, input channel)
    i = row % channels
    from_gy = gy + row // channels * gy_batch
    channel = i // in_channels * out_channels
    from_w = w + i * out_channels * K
    t = wide(program % tiles, WIDE) * FRAMES + tl.arange(0, FRAMES)
    known = t < length
    total = sum_of_frames(
        from_gy, from_w, t, known, channel, out_channels, out_length, gy_channel, gy_sample,
        K, STRIDE, DILATION, PADDING, STEP, FRAMES, PHASES, UNROLL, WIDE,
    )  # fmt: skip
    for start in range(0, EXTENDED, COPIES):
        copy, is_copy, any_copy = copies_within(
            start, t, known, length, LEFT, EXTENDED, COPIES, MODE, WIDE
        )
        if any_copy:
            sums = sum_of_frames(
                from_gy, from_w, copy, is_copy, channel, out_channels, out_length,
                gy_channel, gy_sample,
                K, STRIDE, DILATION, PADDING, STEP, COPIES, PHASES, UNROLL, WIDE,
            )  # fmt: skip
            total = add_copies(total, sums, start, t, known, length, LEFT, EXTENDED, COPIES, MODE)
    tl.store(gx + row * length + t[None, :], total.to(gx.dtype.element_ty), mask=known[None, :])


@triton.jit
def sum_of_frames(
    gy, w, t, known, channel, out_channels, out_length, gy_channel, gy_sample,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    STEP: tl.constexpr, FRAMES: tl.constexpr, PHASES: tl.constexpr, UNROLL: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """``C`` of frames ``t`` of one input channel, as a tile of one row.

    ``gy`` and ``w`` point to its entry and its weights, ``channel`` is its group's first in ``gy``.
    """
    m = tl.arange(0, PHASES)
    acc = tl.zeros(
        (FRAMES, PHASES), tl.float64 if gy.dtype.element_ty == tl.float64 else tl.float32
    )
    for c in range(out_channels):
        for block in range((K + STEP * UNROLL - 1) // (STEP * UNROLL)):
            for step in tl.static_range(UNROLL):
                tap = m + (block * UNROLL + step) * STEP
                is_tap = (m < STEP) & (tap < K)
                b = tl.load(w + c * K + tap, mask=is_tap, other=0.0)
                n = t[:, None] * STRIDE + (tap * DILATION)[None, :] - PADDING
                here = known[:, None] & is_tap[None, :] & (n >= 0) & (n < out_length)
                n = wide(tl.where(here, n, 0), WIDE)
                at = (channel + c) * gy_channel + n * gy_sample
                a = tl.load(gy + at, mask=here, other=0.0)
                acc = add_existing(acc, a, b[None, :], here)
    return tl.sum(acc, 1)[None, :]


@triton.jit(do_not_specialize=SIZES)
def direct_weight_grad(
    x, gy, gw,
    in_channels, out_channels, channels,  # of one group, and all input channels
    terms, length, out_length, frames, first,
    x_batch, x_channel, x_frame, gy_batch, gy_channel, gy_sample,
    tap_tiles, terms_of_part,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    MODE: tl.constexpr, TERMS: tl.constexpr, TAPS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """``R``: ``(part, C_in, C_out/g, k)``; its arguments are those of :func:`dense_weight_grad`."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    program = tl.program_id(0)
    first = wide(first, WIDE)
    m = program % tap_tiles * TAPS + tl.arange(0, TAPS)
    row = wide(program // tap_tiles % (channels * out_channels), WIDE)  # (input, output channel)
    part = program // tap_tiles // (channels * out_channels)
    i = row // out_channels
    c = i // in_channels * out_channels + row % out_channels
    begin = wide(part, WIDE) * terms_of_part
    end = tl.minimum(begin + terms_of_part, terms)

    acc = tl.zeros((TERMS, TAPS), ACC)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < end
        term = tl.minimum(term, end - 1)
        entry = term // frames
        t = first + term - entry * frames
        entry = wide(entry, WIDE)
        source = wide(source_frame(t, length, MODE), WIDE)
        a = tl.load(x + i * x_channel + entry * x_batch + source * x_frame, mask=exists, other=0.0)
        n = t[:, None] * STRIDE + (m * DILATION)[None, :] - PADDING
        here = exists[:, None] & (m < K)[None, :] & (n >= 0) & (n < out_length)
        n = wide(tl.where(here, n, 0), WIDE)
        b = tl.load(
            gy + c * gy_channel + (entry * gy_batch)[:, None] + n * gy_sample, mask=here, other=0.0
        )
        acc = add_existing(acc, a[:, None], b, here)
    total = tl.sum(acc, 0)
    to = (wide(part, WIDE) * (channels * out_channels) + row) * K + m
    tl.store(gw + to, total.to(gw.dtype.element_ty), mask=m < K)
