"""The input's gradient C on the tensor cores: a convolution of ``gy``.

A program makes one tile of the gradient. A row is an input channel ``i``; a column is an entry of
the batch and a frame ``t``; a term is an output channel ``c`` and a tap ``m``:
``w[i, c, m] * gy[c, t*STRIDE + m*DILATION - PADDING]``.

The sum of an extended frame belongs to the frame that this one copies. So a program whose frames
are copied sums ``COPIES`` extended frames at a time by the same loop, and adds them before it
rounds (:func:`fracstride.torch.gpu.extension.add_copies`). They are few columns, whose sums fit
into registers next to the tile's own, and their loop has two stages only, because with more of them
it would take registers that the other tiles have to pay for.

As in :mod:`fracstride.torch.gpu.dense_forward`, a term whose sample does not exist is read as zero,
and a tile that has such terms and a NaN is added up once more without them, row by row.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.extension import add_copies, copies_within
from fracstride.torch.gpu.indexing import SIZES, columns_of_tile, tile_of_program, wide
from fracstride.torch.gpu.products import add_product, has_nan

__all__ = ["dense_input_grad"]


@triton.jit(do_not_specialize=SIZES)
def dense_input_grad(
    gy, w, gx,
    in_channels, out_channels, groups, batch,  # channels of one group
    length, out_length,
    gy_batch, gy_channel, gy_sample,
    row_tiles, column_tiles, terms_of_part,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    MODE: tl.constexpr, LEFT: tl.constexpr, EXTENDED: tl.constexpr, COPIES: tl.constexpr,
    FLAT: tl.constexpr, EVEN: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TERMS: tl.constexpr,
    PRECISION: tl.constexpr, STAGES: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """``(part, B, C_in, length)``: sums of ``terms_of_part`` terms each, or of all of them.

    ``EXTENDED`` frames outside the input are copies of frames inside, ``LEFT`` of them before it;
    ``FLAT`` tiles have none.
    """
    tile, column_tile, group, part = tile_of_program(row_tiles, column_tiles, groups)
    row = tile * ROWS + tl.arange(0, ROWS)
    row_known = row < in_channels
    i = wide(group, WIDE) * in_channels + tl.minimum(row, in_channels - 1)
    entry, t, known = columns_of_tile(column_tile, length, batch, COLUMNS, FLAT, WIDE)
    entry = wide(tl.minimum(entry, batch - 1), WIDE)
    begin = part * terms_of_part
    terms = begin, tl.minimum(begin + terms_of_part, out_channels * K)
    channel = wide(group, WIDE) * out_channels
    from_gy = entry * gy_batch + channel * gy_channel
    signal = gy, out_length, gy_channel, gy_sample
    acc = input_grad_tile(
        signal, w, (i, row_known), (from_gy, t, known), terms, out_channels,
        K, STRIDE, DILATION, PADDING, EVEN, ROWS, COLUMNS, TERMS, PRECISION, STAGES, WIDE,
    )  # fmt: skip
    low = tl.min(tl.where(known, t, length), 0) * STRIDE - PADDING
    high = tl.max(tl.where(known, t, 0), 0) * STRIDE - PADDING + (K - 1) * DILATION
    absent = (low < 0) | (high >= out_length)
    for start in range(0, EXTENDED, COPIES):
        copy, is_copy, any_copy = copies_within(
            start, t, known, length, LEFT, EXTENDED, COPIES, MODE, WIDE
        )
        absent |= any_copy
        if any_copy:
            from_entry = tl.zeros_like(copy) + tl.max(from_gy, 0)
            sums = input_grad_tile(
                signal, w, (i, row_known), (from_entry, copy, is_copy), terms, out_channels,
                K, STRIDE, DILATION, PADDING, EVEN, ROWS, COPIES, TERMS, PRECISION, 2, WIDE,
            )  # fmt: skip
            acc = add_copies(acc, sums, start, t, known, length, LEFT, EXTENDED, COPIES, MODE)

    gx += wide(part, WIDE) * batch * (groups * in_channels) * length
    to_entry = entry * (groups * in_channels)
    if absent & has_nan(acc):
        input_grad_rows(
            signal, w, gx, (from_gy, t, known), to_entry, terms,
            wide(group, WIDE) * in_channels + tile * ROWS,
            tl.minimum(in_channels - tile * ROWS, ROWS),
            out_channels, length,
            K, STRIDE, DILATION, PADDING, MODE, LEFT, EXTENDED, COPIES, TERMS, WIDE,
        )  # fmt: skip
    else:
        to = (to_entry[None, :] + i[:, None]) * length + t[None, :]
        tl.store(gx + to, acc.to(gx.dtype.element_ty), mask=row_known[:, None] & known[None, :])


@triton.jit
def load_samples(
    signal, columns, term, exists,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """What the taps of terms meet: terms by columns, 0 where there is no sample; where is one.

    A ``signal`` is ``(gy, out_length, gy_channel, gy_sample)``: a pointer, a length, two strides.
    ``columns`` are ``(place of the entry's first channel in gy, t, known)``.
    """
    gy, out_length, gy_channel, gy_sample = signal
    from_gy, t, known = columns
    c = term // K
    n = t[None, :] * STRIDE + ((term - c * K) * DILATION - PADDING)[:, None]
    exists = exists[:, None] & known[None, :] & (n >= 0) & (n < out_length)
    n = wide(tl.where(exists, n, 0), WIDE)
    at = from_gy[None, :] + (wide(c, WIDE) * gy_channel)[:, None] + n * gy_sample
    return tl.load(gy + at, mask=exists, other=0.0), exists


@triton.jit
def input_grad_tile(
    signal, w, rows, columns, terms, out_channels,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    EVEN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, TERMS: tl.constexpr,
    PRECISION: tl.constexpr, STAGES: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The sums of one tile: ``rows`` are ``(i, known)``, ``terms`` are ``(begin, end)``."""
    ACC: tl.constexpr = tl.float64 if w.dtype.element_ty == tl.float64 else tl.float32
    i, row_known = rows
    begin, end = terms
    acc = tl.zeros((ROWS, COLUMNS), ACC)
    for start in tl.range(begin, end, TERMS, num_stages=STAGES):
        term = start + tl.arange(0, TERMS)
        exists = tl.full((TERMS,), 1, tl.int1)
        if not EVEN:
            exists = term < out_channels * K
            term = tl.minimum(term, out_channels * K - 1)
        at_w = i[:, None] * (out_channels * K) + term[None, :]
        a = tl.load(w + at_w, mask=row_known[:, None] & exists[None, :], other=0.0)
        b, _ = load_samples(signal, columns, term, exists, K, STRIDE, DILATION, PADDING, WIDE)
        acc = add_product(acc, a, b, PRECISION)
    return acc


@triton.jit
def input_grad_row(
    signal, w, columns, terms,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    TERMS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The sums of one row, whose weights ``w`` points to, of terms that exist and of nothing else.

    As a tile of one row.
    """
    ACC: tl.constexpr = tl.float64 if w.dtype.element_ty == tl.float64 else tl.float32
    _, t, _ = columns
    begin, end = terms
    total = tl.zeros_like(t).to(ACC)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < end
        term = tl.minimum(term, end - 1)
        b, here = load_samples(signal, columns, term, exists, K, STRIDE, DILATION, PADDING, WIDE)
        a = tl.load(w + term).to(ACC)
        total += tl.sum(tl.where(here, a[:, None] * b.to(ACC), 0.0), 0)
    return total[None, :]


@triton.jit
def input_grad_rows(
    signal, w, gx, columns, to_entry, terms, first_row, rows, out_channels, length,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    MODE: tl.constexpr, LEFT: tl.constexpr, EXTENDED: tl.constexpr, COPIES: tl.constexpr,
    TERMS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Adds up and stores a tile row by row, of terms that exist and of nothing else.

    ``to_entry`` are the first rows of the columns' entries in ``gx``.
    """
    from_gy, t, known = columns
    for row in range(rows):
        i = first_row + row
        from_w = w + i * (out_channels * K)
        total = input_grad_row(
            signal, from_w, columns, terms, K, STRIDE, DILATION, PADDING, TERMS, WIDE
        )
        for start in range(0, EXTENDED, COPIES):
            copy, is_copy, any_copy = copies_within(
                start, t, known, length, LEFT, EXTENDED, COPIES, MODE, WIDE
            )
            if any_copy:
                from_entry = tl.zeros_like(copy) + tl.max(from_gy, 0)
                sums = input_grad_row(
                    signal, from_w, (from_entry, copy, is_copy), terms,
                    K, STRIDE, DILATION, PADDING, TERMS, WIDE,
                )  # fmt: skip
                total = add_copies(
                    total, sums, start, t, known, length, LEFT, EXTENDED, COPIES, MODE
                )
        to = gx + ((to_entry + i) * length + t)[None, :]
        tl.store(to, total.to(gx.dtype.element_ty), mask=known[None, :])
