"""The weight's gradient R on the tensor cores: the correlation of the input with ``gy``.

A program makes one tile of the weight. A row is an input channel ``i``; a column is an output
channel ``c`` and a tap ``m``; a term is an entry of the batch and a frame ``t``, extended ones
included: ``x[i, source of t] * gy[c, t*STRIDE + m*DILATION - PADDING]``.

As in :mod:`fracstride.torch.gpu.dense_forward`, a term whose sample does not exist is read as zero,
and a tile that has such terms and a NaN is added up once more without them, row by row.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.extension import source_frame
from fracstride.torch.gpu.indexing import SIZES, tile_of_program, wide
from fracstride.torch.gpu.products import add_product, has_nan

__all__ = ["dense_weight_grad"]


@triton.jit(do_not_specialize=SIZES)
def dense_weight_grad(
    x, gy, gw,
    in_channels, out_channels, groups,  # channels of one group
    terms, length, out_length, frames, first,
    x_batch, x_channel, x_frame, gy_batch, gy_channel, gy_sample,
    row_tiles, column_tiles, terms_of_part,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    MODE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TERMS: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """``(part, C_in, C_out/g, k)``: sums of ``terms_of_part`` of the ``terms``, or of all of them.

    The terms of an entry of the batch are ``frames`` from frame ``first`` on.
    """
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    tile, column_tile, group, part = tile_of_program(row_tiles, column_tiles, groups)
    first = wide(first, WIDE)
    row = tile * ROWS + tl.arange(0, ROWS)
    row_known = row < in_channels
    i = wide(group, WIDE) * in_channels + tl.minimum(row, in_channels - 1)
    column = column_tile * COLUMNS + tl.arange(0, COLUMNS)
    known = column < out_channels * K
    column = tl.minimum(column, out_channels * K - 1)
    c = column // K
    offset = (column - c * K) * DILATION - PADDING
    columns = (wide(group, WIDE) * out_channels + c) * gy_channel, offset, known
    begin = wide(part, WIDE) * terms_of_part
    end = tl.minimum(begin + terms_of_part, terms)
    sum_of = begin, end, frames, first
    gradient = gy, out_length, gy_batch, gy_sample
    acc = weight_grad_tile(
        (x, length, x_batch, x_frame), gradient, (i * x_channel, row_known), columns, sum_of,
        STRIDE, MODE, ACC, ROWS, COLUMNS, TERMS, PRECISION, WIDE,
    )  # fmt: skip

    # Some of its frames have taps that fall outside; all frames count, if it goes across entries.
    one_entry = begin // frames == (end - 1) // frames
    low = first + tl.where(one_entry, begin % frames, 0)
    high = first + tl.where(one_entry, (end - 1) % frames, frames - 1)
    absent = low * STRIDE < PADDING
    absent |= high * STRIDE - PADDING + (K - 1) * DILATION >= out_length
    first_row = wide(part, WIDE) * (groups * in_channels)
    if absent & has_nan(acc):
        for r in range(tile * ROWS, tl.minimum((tile + 1) * ROWS, in_channels)):
            of_row = wide(group, WIDE) * in_channels + r
            total = weight_grad_row(
                (x + of_row * x_channel, length, x_batch, x_frame), gradient, columns, sum_of,
                STRIDE, MODE, ACC, TERMS, WIDE,
            )  # fmt: skip
            to = (first_row + of_row) * (out_channels * K) + column
            tl.store(gw + to, total.to(gw.dtype.element_ty), mask=known)
    else:
        to = (first_row + i)[:, None] * (out_channels * K) + column[None, :]
        tl.store(gw + to, acc.to(gw.dtype.element_ty), mask=row_known[:, None] & known[None, :])


@triton.jit
def load_samples_of_frames(
    gradient, columns, entry, t, exists, STRIDE: tl.constexpr, WIDE: tl.constexpr
):
    """What frames ``t`` meet: terms by columns, 0 where there is no sample; where there is one.

    ``gradient`` is ``(gy, out_length, gy_batch, gy_sample)``: a pointer, a length, two strides.
    ``columns`` are ``(place of the channel in gy, sample of frame 0, known)``.
    """
    gy, out_length, gy_batch, gy_sample = gradient
    from_gy, offset, known = columns
    n = t[:, None] * STRIDE + offset[None, :]
    exists = exists[:, None] & known[None, :] & (n >= 0) & (n < out_length)
    n = wide(tl.where(exists, n, 0), WIDE)
    at = from_gy[None, :] + (entry * gy_batch)[:, None] + n * gy_sample
    return tl.load(gy + at, mask=exists, other=0.0), exists


@triton.jit
def weight_grad_tile(
    signal, gradient, rows, columns, sum_of,
    STRIDE: tl.constexpr, MODE: tl.constexpr, ACC: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TERMS: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The sums of one tile.

    A ``signal`` is ``(x, length, x_batch, x_frame)``, ``rows`` are ``(place of the channel in x,
    known)``, ``sum_of`` is ``(first term, end, frames of an entry, first frame)``.
    """
    x, length, x_batch, x_frame = signal
    from_x, row_known = rows
    begin, end, frames, first = sum_of
    acc = tl.zeros((ROWS, COLUMNS), ACC)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < end
        term = tl.minimum(term, end - 1)
        entry = term // frames
        t = first + term - entry * frames
        entry = wide(entry, WIDE)
        source = wide(source_frame(t, length, MODE), WIDE)
        at_x = from_x[:, None] + (entry * x_batch + source * x_frame)[None, :]
        a = tl.load(x + at_x, mask=row_known[:, None] & exists[None, :], other=0.0)
        b, _ = load_samples_of_frames(gradient, columns, entry, t, exists, STRIDE, WIDE)
        acc = add_product(acc, a, b, PRECISION)
    return acc


@triton.jit
def weight_grad_row(
    signal, gradient, columns, sum_of,
    STRIDE: tl.constexpr, MODE: tl.constexpr, ACC: tl.constexpr, TERMS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """The sums of one row, of terms that exist only; ``signal`` points to its input channel."""
    x, length, x_batch, x_frame = signal
    _, offset, _ = columns
    begin, end, frames, first = sum_of
    total = tl.zeros_like(offset).to(ACC)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < end
        term = tl.minimum(term, end - 1)
        entry = term // frames
        t = first + term - entry * frames
        entry = wide(entry, WIDE)
        b, here = load_samples_of_frames(gradient, columns, entry, t, exists, STRIDE, WIDE)
        source = wide(source_frame(t, length, MODE), WIDE)
        a = tl.load(x + entry * x_batch + source * x_frame).to(ACC)
        total += tl.sum(tl.where(here, a[:, None] * b.to(ACC), 0.0), 0)
    return total
