"""Rows of :mod:`dense`, added up of terms that exist and of nothing else.

For tiles where a zero that stands for a frame or a sample that does not exist met a NaN or an
infinity. One row at a time has few registers, so that tiles that need none of this lose none.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.indexing import source_frame, wide

__all__ = ["forward_row", "input_grad_row", "weight_grad_row"]


@triton.jit
def forward_row(
    x,
    w,
    u,
    known,
    begin,
    end,
    taps,
    length,
    x_channel,
    x_frame,
    w_channel,
    STEP: tl.constexpr,
    SHIFT: tl.constexpr,
    TERMS: tl.constexpr,
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
):
    """One row of ``T``, of terms that exist; each column has its own ``x``."""
    total = tl.zeros_like(u).to(ACC)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < end
        term = tl.minimum(term, end - 1)
        i = wide(term // taps, WIDE)
        j = term % taps
        t = u[None, :] - (j * SHIFT)[:, None]
        here = exists[:, None] & known[None, :] & (t >= 0) & (t < length)
        t = tl.where(here, t, 0)
        b = tl.load(x[None, :] + (i * x_channel)[:, None] + t * x_frame, mask=here, other=0.0)
        a = tl.load(w + i * w_channel + j * STEP).to(ACC)
        total += tl.sum(tl.where(here, a[:, None] * b.to(ACC), 0.0), 0)
    return total


@triton.jit
def input_grad_row(
    gy,
    w,
    sample,
    known,
    begin,
    end,
    out_length,
    gy_channel,
    gy_sample,
    K: tl.constexpr,
    DILATION: tl.constexpr,
    TERMS: tl.constexpr,
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
):
    """One row of ``C``, of terms that exist; tap 0 of a column, with a ``gy``, is on ``sample``."""
    total = tl.zeros_like(sample).to(ACC)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < end
        term = tl.minimum(term, end - 1)
        c = term // K
        n = sample[None, :] + ((term - c * K) * DILATION)[:, None]
        here = exists[:, None] & known[None, :] & (n >= 0) & (n < out_length)
        n = tl.where(here, n, 0)
        from_channel = (wide(c, WIDE) * gy_channel)[:, None]
        b = tl.load(gy[None, :] + from_channel + n * gy_sample, mask=here, other=0.0)
        a = tl.load(w + term).to(ACC)
        total += tl.sum(tl.where(here, a[:, None] * b.to(ACC), 0.0), 0)
    return total


@triton.jit
def weight_grad_row(
    x,
    gy,
    offset,
    known,
    begin,
    end,
    length,
    out_length,
    frames,
    first,
    x_batch,
    x_frame,
    gy_batch,
    gy_sample,
    STRIDE: tl.constexpr,
    MODE: tl.constexpr,
    TERMS: tl.constexpr,
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
):
    """One row of ``R``, of terms that exist; frame 0 of a column is on ``offset`` of its ``gy``."""
    total = tl.zeros_like(offset).to(ACC)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < end
        term = tl.minimum(term, end - 1)
        entry = wide(term // frames, WIDE)
        t = first + term % frames
        n = t[:, None] * STRIDE + offset[None, :]
        here = exists[:, None] & known[None, :] & (n >= 0) & (n < out_length)
        n = tl.where(here, n, 0)
        source = source_frame(t, length, MODE)
        a = tl.load(x + entry * x_batch + wide(source, WIDE) * x_frame).to(ACC)
        from_entry = (entry * gy_batch)[:, None]
        b = tl.load(gy[None, :] + from_entry + n * gy_sample, mask=here, other=0.0)
        total += tl.sum(tl.where(here, a[:, None] * b.to(ACC), 0.0), 0)
    return total
