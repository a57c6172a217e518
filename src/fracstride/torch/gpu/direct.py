"""The maps without a sum over channels worth a tensor core: depthwise layers and the like.

A program has the frames and phases of one channel in its registers and goes through the taps: each
input is read once per tap of a phase, out of the first-level cache, and each output written once,
phases next to each other as memory has them. What does not exist is never multiplied.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.indexing import edge_frame, source_frame, wide

__all__ = ["forward", "input_grad", "weight_grad"]


@triton.jit
def add_present(acc, a, b, here):
    """``acc + a*b`` where the term exists."""
    return tl.where(here, acc + a.to(acc.dtype) * b.to(acc.dtype), acc)


@triton.jit(
    do_not_specialize=[
        "length",
        "aligned_length",
        "frames",
        "first",
        "x_batch",
        "x_channel",
        "tiles",
        "channels",
    ]
)
def forward(
    x,
    w,
    bias,
    y,
    in_channels,
    out_channels,
    channels,  # all output channels
    length,
    aligned_length,
    frames,
    first,
    x_batch,
    x_channel,
    x_frame,
    tiles,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    PADDING: tl.constexpr,
    STEP: tl.constexpr,
    SHIFT: tl.constexpr,
    MODE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    ALIGN: tl.constexpr,
    FRAMES: tl.constexpr,
    PHASES: tl.constexpr,
    UNROLL: tl.constexpr,
    WIDE: tl.constexpr,
):
    """``T``; :func:`fracstride.torch.gpu.dense.forward` says what the arguments are."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    pid = tl.program_id(0)
    row = wide(pid // tiles, WIDE)  # (entry of the batch, output channel)
    channel = row % channels
    group = channel // out_channels
    c = channel % out_channels
    aligned_length = wide(aligned_length, WIDE)
    first = wide(first, WIDE)
    place = wide(pid % tiles, WIDE) * FRAMES + tl.arange(0, FRAMES)
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
                acc = add_present(acc, a[:, None], b[None, :], here[:, None] & is_tap[None, :])
    if HAS_BIAS:
        acc += tl.load(bias + channel).to(ACC)
    if DILATION == 1 and PHASES == STRIDE:  # one run of samples, said so that it is seen
        q = tl.arange(0, FRAMES * PHASES)
        before = wide(pid % tiles, WIDE) * FRAMES
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


@triton.jit(
    do_not_specialize=[
        "length",
        "out_length",
        "frames",
        "left",
        "edges_count",
        "gy_batch",
        "gy_channel",
        "tiles",
        "channels",
    ]
)
def input_grad(
    gy,
    w,
    edges,
    gx,
    in_channels,
    out_channels,
    channels,  # all input channels
    length,
    out_length,
    frames,
    left,
    edges_count,
    gy_batch,
    gy_channel,
    gy_sample,
    tiles,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    PADDING: tl.constexpr,
    STEP: tl.constexpr,
    MODE: tl.constexpr,
    OF_EDGES: tl.constexpr,
    FRAMES: tl.constexpr,
    PHASES: tl.constexpr,
    UNROLL: tl.constexpr,
    WIDE: tl.constexpr,
):
    """``C``; :func:`fracstride.torch.gpu.dense.input_grad` says what the arguments are."""
    ACC: tl.constexpr = tl.float64 if gy.dtype.element_ty == tl.float64 else tl.float32
    pid = tl.program_id(0)
    row = wide(pid // tiles, WIDE)
    i = row % channels
    group = i // in_channels
    place = wide(pid % tiles, WIDE) * FRAMES + tl.arange(0, FRAMES)
    t = place
    if OF_EDGES:
        t = edge_frame(place, left, length)
    m = tl.arange(0, PHASES)
    from_gy = gy + row // channels * gy_batch

    acc = tl.zeros((FRAMES, PHASES), ACC)
    for c in range(out_channels):
        from_channel = from_gy + (group * out_channels + c) * gy_channel
        of_channel = w + (i * out_channels + c) * K
        for block in range((K + STEP * UNROLL - 1) // (STEP * UNROLL)):
            for step in tl.static_range(UNROLL):
                j = block * UNROLL + step
                is_tap = (m < STEP) & (m + j * STEP < K)
                b = tl.load(of_channel + m + j * STEP, mask=is_tap, other=0.0)
                n = t[:, None] * STRIDE + ((m + j * STEP) * DILATION)[None, :] - PADDING
                here = (place < frames)[:, None] & is_tap[None, :] & (n >= 0) & (n < out_length)
                n = wide(tl.where(here, n, 0), WIDE)
                a = tl.load(from_channel + n * gy_sample, mask=here, other=0.0)
                acc = add_present(acc, a, b[None, :], here)
    total = tl.sum(acc, 1)
    if MODE != "zeros":
        for e in range(edges_count):
            source = source_frame(edge_frame(e, left, length), length, MODE)
            hit = (place == source) & (place < frames)
            if tl.max(hit.to(tl.int32), 0) > 0:
                total += tl.where(hit, tl.load(edges + row * edges_count + e), 0.0)
    tl.store(gx + row * frames + place, total.to(gx.dtype.element_ty), mask=place < frames)


@triton.jit(
    do_not_specialize=[
        "terms",
        "length",
        "out_length",
        "frames",
        "first",
        "x_batch",
        "x_channel",
        "gy_batch",
        "gy_channel",
        "tap_tiles",
        "terms_of_part",
        "channels",
    ]
)
def weight_grad(
    x,
    gy,
    parts,
    in_channels,
    out_channels,
    channels,  # all input channels
    terms,
    length,
    out_length,
    frames,
    first,
    x_batch,
    x_channel,
    x_frame,
    gy_batch,
    gy_channel,
    gy_sample,
    tap_tiles,
    terms_of_part,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    PADDING: tl.constexpr,
    MODE: tl.constexpr,
    TERMS: tl.constexpr,
    TAPS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """``R``; :func:`fracstride.torch.gpu.dense.weight_grad` says what the arguments are."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    pid = tl.program_id(0)
    first = wide(first, WIDE)
    m = pid % tap_tiles * TAPS + tl.arange(0, TAPS)
    row = wide(pid // tap_tiles % (channels * out_channels), WIDE)  # (input, output channel)
    part = pid // tap_tiles // (channels * out_channels)
    i = row // out_channels
    c = i // in_channels * out_channels + row % out_channels
    begin = wide(part, WIDE) * terms_of_part
    stop = tl.minimum(begin + terms_of_part, terms)

    acc = tl.zeros((TERMS, TAPS), ACC)
    for start in range(begin, stop, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < stop
        term = tl.minimum(term, stop - 1)
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
        acc = add_present(acc, a[:, None], b, here)
    total = tl.sum(acc, 0)
    to = (wide(part, WIDE) * (channels * out_channels) + row) * K + m
    tl.store(parts + to, total.to(parts.dtype.element_ty), mask=m < K)
