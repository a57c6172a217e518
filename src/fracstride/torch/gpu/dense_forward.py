"""The forward map T on the tensor cores: the transposed convolution.

A program makes one tile of the output, ``ROWS`` by ``COLUMNS``, and adds ``TERMS`` terms at a
time. A row is an output channel ``c`` and a first tap ``m``. A column is an entry of the batch and
a frame ``u``. A term is an input channel ``i`` and a number ``j``: tap ``m + j*STEP`` of the row
meets frame ``u - j*SHIFT`` (:mod:`fracstride.torch.gpu.shapes`). The input is read where it lies,
in the layout that torch has it in: nothing is packed, padded or copied first.

A term whose frame does not exist is read as zero. That is wrong where the weight is not finite: a
tile that has such terms and a NaN is added up once more without them, row by row. One row at a time
has few registers, so that tiles that need none of this lose none.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.extension import source_frame
from fracstride.torch.gpu.indexing import SIZES, columns_of_tile, tile_of_program, wide
from fracstride.torch.gpu.products import add_product, has_nan

__all__ = ["dense_forward"]


@triton.jit(do_not_specialize=SIZES)
def dense_forward(
    x, w, bias, y,
    in_channels, out_channels, groups, batch,  # channels of one group
    length, aligned_length, frames, first,
    x_batch, x_channel, x_frame,
    row_tiles, more_tiles, column_tiles, terms_of_part,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    STEP: tl.constexpr, SHIFT: tl.constexpr, MODE: tl.constexpr,
    ALIGN: tl.constexpr, FLAT: tl.constexpr, EVEN: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TERMS: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """``(part, B, C_out, L_out)``: sums of ``terms_of_part`` terms each, or of all of them.

    The input has ``length`` frames, the output ``aligned_length * ALIGN`` samples, an entry of the
    batch ``frames`` columns from frame ``first`` on. ``bias`` may be None.
    """
    tile, column_tile, group, part = tile_of_program(row_tiles, column_tiles, groups)
    tile, first_tap, phases, taps = phases_of_tile(tile, more_tiles, K, STEP)
    row = tile * ROWS + tl.arange(0, ROWS)
    c = row // phases
    m = first_tap + row % phases
    row_known = c < out_channels
    c = wide(tl.minimum(c, out_channels - 1), WIDE)
    entry, u, known = columns_of_tile(column_tile, frames, batch, COLUMNS, FLAT, WIDE)
    first = wide(first, WIDE)
    u += first
    entry = wide(tl.minimum(entry, batch - 1), WIDE)
    begin = part * terms_of_part
    terms = begin, tl.minimum(begin + terms_of_part, in_channels * taps), taps
    channel = wide(group, WIDE) * in_channels
    columns = entry * x_batch, u, known
    signal = x, length, x_channel, x_frame
    acc = forward_tile(
        signal, w, (c, m, row_known), columns, terms, channel, in_channels, out_channels,
        K, STEP, SHIFT, MODE, EVEN, ROWS, COLUMNS, TERMS, PRECISION, WIDE,
    )  # fmt: skip

    length_of_y = wide(aligned_length, WIDE) * ALIGN
    to_group = wide(group, WIDE) * out_channels
    first_entry = wide(part, WIDE) * batch
    absent = False
    if MODE == "zeros":
        early = tl.min(tl.where(known, u, length), 0) < (taps - 1) * SHIFT
        late = tl.max(tl.where(known, u, 0), 0) >= length
        absent = (early | late) & has_nan(acc)
    if absent:
        to_columns = (entry + first_entry) * (groups * out_channels) + to_group
        forward_rows(
            signal, w, bias, y, tile, first_tap, phases, columns, to_columns, terms, part,
            channel, to_group, out_channels, length_of_y,
            K, STRIDE, DILATION, PADDING, STEP, SHIFT, ROWS, TERMS, WIDE,
        )  # fmt: skip
    else:
        if bias is not None:
            of_row = tl.load(bias + to_group + c, mask=row_known, other=0.0)
            acc += tl.where(part == 0, of_row.to(acc.dtype), 0.0)[:, None]
        if (DILATION == 1) & (STRIDE > 1) & (K % STRIDE == 0) & (ROWS % STRIDE == 0):
            store_interleaved(
                y, acc, tile, column_tile, to_group, first_entry, out_channels, groups, batch,
                frames, first, length_of_y, STRIDE, PADDING, FLAT, ROWS, COLUMNS, WIDE,
            )  # fmt: skip
        else:
            n = u[None, :] * STRIDE + (m * DILATION)[:, None] - PADDING
            to = (entry + first_entry)[None, :] * (groups * out_channels)
            to += (to_group + c)[:, None]
            kept = row_known[:, None] & known[None, :] & (n >= 0) & (n < length_of_y)
            tl.store(y + to * length_of_y + n, acc.to(y.dtype.element_ty), mask=kept)


@triton.jit
def phases_of_tile(tile, more_tiles, K: tl.constexpr, STEP: tl.constexpr):
    """The tile's number in its class of rows; the class's first tap, phases and taps of a phase.

    Twin of :attr:`fracstride.torch.gpu.shapes.Phases.classes`. The first ``more_tiles`` tiles are
    those of the class with more taps, if there are two classes.
    """
    if (K < STEP) | (K % STEP == 0):
        first_tap = 0
        phases = STEP if K >= STEP else K
        taps = K // STEP if K >= STEP else 1
    else:
        more = tile < more_tiles
        first_tap = tl.where(more, 0, K % STEP)
        phases = tl.where(more, K % STEP, STEP - K % STEP)
        taps = K // STEP + more.to(tl.int32)
        tile -= tl.where(more, 0, more_tiles)
    return tile, first_tap, phases, taps


@triton.jit
def load_frames(signal, from_x, i, t, exists, MODE: tl.constexpr, WIDE: tl.constexpr):
    """Frames ``t`` of channels ``i``: terms by columns, 0 where there is none; which exist.

    A ``signal`` is ``(x, length, x_channel, x_frame)``: a pointer, a length and two strides.
    """
    x, length, x_channel, x_frame = signal
    if MODE == "zeros":
        exists &= (t >= 0) & (t < length)
    t = wide(tl.where(exists, source_frame(t, length, MODE), 0), WIDE)
    at = from_x[None, :] + (i * x_channel)[:, None] + t * x_frame
    return tl.load(x + at, mask=exists, other=0.0), exists


@triton.jit
def forward_tile(
    signal, w, rows, columns, terms, channel, in_channels, out_channels,
    K: tl.constexpr, STEP: tl.constexpr, SHIFT: tl.constexpr, MODE: tl.constexpr,
    EVEN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, TERMS: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The sums of one tile; ``channel`` is the first input channel of its group.

    ``rows`` are ``(c, m, known)``, ``columns`` ``(place of the entry in x, u, known)``, ``terms``
    ``(begin, end, taps of a phase)``.
    """
    ACC: tl.constexpr = tl.float64 if w.dtype.element_ty == tl.float64 else tl.float32
    c, m, row_known = rows
    from_x, u, known = columns
    begin, end, taps = terms
    acc = tl.zeros((ROWS, COLUMNS), ACC)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        i = term // taps
        j = term - i * taps
        exists = tl.full((TERMS,), 1, tl.int1)
        if not EVEN:
            exists = i < in_channels
            i = tl.minimum(i, in_channels - 1)
        i = wide(i, WIDE) + channel
        at_w = (i[None, :] * out_channels + c[:, None]) * K + m[:, None] + (j * STEP)[None, :]
        a = tl.load(w + at_w, mask=row_known[:, None] & exists[None, :], other=0.0)
        t = u[None, :] - (j * SHIFT)[:, None]
        here = exists[:, None] & known[None, :]
        b, _ = load_frames(signal, from_x, i, t, here, MODE, WIDE)
        acc = add_product(acc, a, b, PRECISION)
    return acc


@triton.jit
def forward_rows(
    signal, w, bias, y, tile, first_tap, phases, columns, to_columns, terms, part,
    channel, to_group, out_channels, length_of_y,
    K: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, PADDING: tl.constexpr,
    STEP: tl.constexpr, SHIFT: tl.constexpr, ROWS: tl.constexpr, TERMS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """Adds up and stores a tile of ``zeros`` row by row, of terms that exist and of nothing else.

    ``to_columns`` is the row of ``y`` that the columns' entries have for the group's first channel,
    which is ``to_group`` of all channels.
    """
    ACC: tl.constexpr = tl.float64 if w.dtype.element_ty == tl.float64 else tl.float32
    from_x, u, known = columns
    begin, end, taps = terms
    for row in range(tile * ROWS, tl.minimum((tile + 1) * ROWS, out_channels * phases)):
        c = row // phases
        m = first_tap + row % phases
        from_w = w + (channel * out_channels + c) * K + m
        total = tl.zeros_like(u).to(ACC)
        for start in range(begin, end, TERMS):
            term = start + tl.arange(0, TERMS)
            exists = term < end
            term = tl.minimum(term, end - 1)
            i = wide(term // taps, WIDE)
            j = term % taps
            t = u[None, :] - (j * SHIFT)[:, None]
            here = exists[:, None] & known[None, :]
            b, here = load_frames(signal, from_x, i + channel, t, here, "zeros", WIDE)
            a = tl.load(from_w + i * (out_channels * K) + j * STEP).to(ACC)
            total += tl.sum(tl.where(here, a[:, None] * b.to(ACC), 0.0), 0)
        if bias is not None:
            of_row = tl.load(bias + to_group + c).to(ACC)
            total += tl.where(part == 0, of_row, 0.0)
        n = u * STRIDE + m * DILATION - PADDING
        kept = known & (n >= 0) & (n < length_of_y)
        tl.store(y + (to_columns + c) * length_of_y + n, total.to(y.dtype.element_ty), mask=kept)


@triton.jit
def store_interleaved(
    y, acc, tile, column_tile, to_group, first_entry, out_channels, groups, batch, frames, first,
    length_of_y,
    STRIDE: tl.constexpr, PADDING: tl.constexpr, FLAT: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Stores a tile whose rows are all phases of some channels: ``(channel, phase), frame``.

    The phases of a frame are neighbours in memory, and so are the frames: ``channel, sample``.
    """
    acc = tl.reshape(acc, (ROWS // STRIDE, STRIDE, COLUMNS))
    acc = tl.reshape(tl.permute(acc, (0, 2, 1)), (ROWS // STRIDE, COLUMNS * STRIDE))
    c = tile * (ROWS // STRIDE) + tl.arange(0, ROWS // STRIDE)
    sample = wide(tl.arange(0, COLUMNS * STRIDE), WIDE)
    column_tile = wide(column_tile, WIDE)
    if FLAT:
        column = column_tile * COLUMNS + sample // STRIDE
        entry = column // frames
        known = entry < batch
        n = (first + column - entry * frames) * STRIDE + sample % STRIDE - PADDING
    else:
        tiles = tl.cdiv(frames, COLUMNS)
        place = column_tile % tiles * COLUMNS
        entry = tl.zeros_like(sample) + column_tile // tiles
        known = sample < (frames - place) * STRIDE
        n = (first + place) * STRIDE - PADDING + sample
    entry = wide(entry, WIDE) + first_entry
    to = entry[None, :] * (groups * out_channels) + (to_group + c)[:, None]
    kept = (c < out_channels)[:, None] & (known & (n >= 0) & (n < length_of_y))[None, :]
    tl.store(y + to * length_of_y + n[None, :], acc.to(y.dtype.element_ty), mask=kept)
