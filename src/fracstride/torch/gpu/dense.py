"""The products on the tensor cores: one loop over terms, three ways to fetch them.

A program makes one tile of the result, ``ROWS`` by ``COLUMNS``, and adds ``TERMS`` terms at a time;
:mod:`fracstride.torch.gpu.shapes` says which rows, columns and terms a map has. Operands are read
where they lie, in the layout that torch has them in: nothing is packed, padded or copied first.

A term that does not exist is read as zero. That is wrong where its partner is not finite: a tile
that has absent terms and a NaN is added up once more without them (:mod:`again`), row by row.

Strides and lengths are not specialised on: lengths of one bucket share their kernels.
"""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.absent import forward_row, input_grad_row, weight_grad_row
from fracstride.torch.gpu.indexing import edge_frame, source_frame, wide

__all__ = ["forward", "input_grad", "sum_parts", "weight_grad"]


@triton.jit
def multiply(a, b, acc, PRECISION: tl.constexpr, WIDEN: tl.constexpr):
    """``acc + a @ b``; the interpreter has no bfloat16 product."""
    if WIDEN:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=acc.dtype)


@triton.jit
def any_nan(acc):
    """Whether a tile has one."""
    return tl.max(tl.max((acc != acc).to(tl.int32), 1), 0) > 0


@triton.jit
def store_frames(
    y,
    acc,
    tile,
    column_tile,
    to_group,
    first_entry,
    out_channels,
    groups,
    batch,
    frames,
    first,
    aligned_length,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    ALIGN: tl.constexpr,
    FLAT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """A tile whose rows are all phases of some channels: ``(channel, phase), frame``.

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
    kept = (c < out_channels)[:, None] & (known & (n >= 0) & (n < aligned_length * ALIGN))[None, :]
    tl.store(y + to * aligned_length * ALIGN + n[None, :], acc.to(y.dtype.element_ty), mask=kept)


@triton.jit
def cut(tile, count, batch, COLUMNS: tl.constexpr, FLAT: tl.constexpr, WIDE: tl.constexpr):
    """The batch entry and place of each column of a tile, and whether there is such a column.

    ``FLAT`` tiles go on from one entry of the batch to the next; the others end with it.
    """
    tile = wide(tile, WIDE)
    column = wide(tl.arange(0, COLUMNS), WIDE)
    if FLAT:
        column += tile * COLUMNS
        entry = column // count
        place = column - entry * count
        known = entry < batch
    else:
        tiles = tl.cdiv(count, COLUMNS)
        entry = tl.zeros_like(column) + tile // tiles
        place = column + tile % tiles * COLUMNS
        known = place < count
    return entry, place, known


@triton.jit(
    do_not_specialize=[
        "batch",
        "length",
        "aligned_length",
        "frames",
        "first",
        "x_batch",
        "x_channel",
        "row_tiles",
        "more_tiles",
        "column_tiles",
        "terms_of_part",
    ]
)
def forward(
    x,
    w,
    bias,
    y,
    in_channels,  # of a group, as out_channels
    out_channels,
    groups,
    batch,
    length,
    aligned_length,
    frames,
    first,
    x_batch,
    x_channel,
    x_frame,
    row_tiles,
    more_tiles,
    column_tiles,
    terms_of_part,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    PADDING: tl.constexpr,
    STEP: tl.constexpr,
    SHIFT: tl.constexpr,
    MODE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    ONE_CLASS: tl.constexpr,
    INTERLEAVE: tl.constexpr,
    ALIGN: tl.constexpr,
    FLAT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TERMS: tl.constexpr,
    EVEN: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    WIDE: tl.constexpr,
):
    """``T``, of ``length`` frames; samples are ``aligned_length * ALIGN``, columns ``frames``.

    Of ``terms_of_part`` terms each, where these are fewer than all: ``(part, B, C_out, L_out)``.
    """
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    aligned_length = wide(aligned_length, WIDE)
    first = wide(first, WIDE)
    pid = tl.program_id(0)
    tile = pid % row_tiles
    column_tile = pid // row_tiles % column_tiles
    group = pid // row_tiles // column_tiles % groups
    part = pid // row_tiles // column_tiles // groups
    if ONE_CLASS:
        begin = 0
        phases = STEP if K >= STEP else K
        taps = K // STEP if K >= STEP else 1
    else:
        more = tile < more_tiles
        begin = tl.where(more, 0, K % STEP)
        phases = tl.where(more, K % STEP, STEP - K % STEP)
        taps = K // STEP + more.to(tl.int32)
        tile -= tl.where(more, 0, more_tiles)

    row = tile * ROWS + tl.arange(0, ROWS)
    c = row // phases
    m = begin + row % phases
    row_known = c < out_channels
    c = wide(tl.minimum(c, out_channels - 1), WIDE)
    entry, u, known = cut(column_tile, frames, batch, COLUMNS, FLAT, WIDE)
    u += first
    entry = wide(tl.minimum(entry, batch - 1), WIDE)
    from_x = entry * x_batch
    channel = wide(group, WIDE) * in_channels

    acc = tl.zeros((ROWS, COLUMNS), ACC)
    begin_term = part * terms_of_part
    end_term = tl.minimum(begin_term + terms_of_part, in_channels * taps)
    for start in range(begin_term, end_term, TERMS):
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
        if MODE == "zeros":
            here &= (t >= 0) & (t < length)
        t = tl.where(here, source_frame(t, length, MODE), 0)
        b = tl.load(
            x + from_x[None, :] + (i * x_channel)[:, None] + wide(t, WIDE) * x_frame,
            mask=here,
            other=0.0,
        )
        acc = multiply(a, b, acc, PRECISION, WIDEN)

    to_group = wide(group, WIDE) * out_channels
    first_entry = wide(part, WIDE) * batch
    again = False
    if MODE == "zeros":
        early = tl.min(tl.where(known, u, length), 0) < (taps - 1) * SHIFT
        late = tl.max(tl.where(known, u, 0), 0) >= length
        again = (early | late) & any_nan(acc)
    if again:
        for r in range(tile * ROWS, tl.minimum((tile + 1) * ROWS, out_channels * phases)):
            of_channel = wide(r // phases, WIDE)
            first_tap = begin + r % phases
            total = forward_row(
                x + from_x + channel * x_channel,
                w + (channel * out_channels + of_channel) * K + first_tap,
                u,
                known,
                begin_term,
                end_term,
                taps,
                length,
                x_channel,
                x_frame,
                out_channels * K,
                STEP,
                SHIFT,
                TERMS,
                ACC,
                WIDE,
            )
            if HAS_BIAS:
                of_row = tl.load(bias + to_group + of_channel).to(ACC)
                total += tl.where(part == 0, of_row, 0.0)
            sample_of_u = u * STRIDE + first_tap * DILATION - PADDING
            row_of_y = (entry + first_entry) * (groups * out_channels) + to_group + of_channel
            is_sample = known & (sample_of_u >= 0) & (sample_of_u < aligned_length * ALIGN)
            tl.store(
                y + row_of_y * aligned_length * ALIGN + sample_of_u,
                total.to(y.dtype.element_ty),
                mask=is_sample,
            )
    else:
        if HAS_BIAS:
            of_row = tl.load(bias + to_group + c, mask=row_known, other=0.0)
            acc += tl.where(part == 0, of_row.to(ACC), 0.0)[:, None]
        if INTERLEAVE:
            store_frames(
                y,
                acc,
                tile,
                column_tile,
                to_group,
                first_entry,
                out_channels,
                groups,
                batch,
                frames,
                first,
                aligned_length,
                STRIDE,
                PADDING,
                ALIGN,
                FLAT,
                ROWS,
                COLUMNS,
                WIDE,
            )
        else:
            n = u[None, :] * STRIDE + (m * DILATION)[:, None] - PADDING
            to = (entry + first_entry)[None, :] * (groups * out_channels)
            to += (to_group + c)[:, None]
            kept = row_known[:, None] & known[None, :]
            kept &= (n >= 0) & (n < aligned_length * ALIGN)
            tl.store(y + to * aligned_length * ALIGN + n, acc.to(y.dtype.element_ty), mask=kept)


@triton.jit(
    do_not_specialize=[
        "batch",
        "length",
        "out_length",
        "frames",
        "left",
        "edges_count",
        "gy_batch",
        "gy_channel",
        "row_tiles",
        "column_tiles",
        "terms_of_part",
    ]
)
def input_grad(
    gy,
    w,
    edges,
    gx,
    in_channels,
    out_channels,
    groups,
    batch,
    length,
    out_length,
    frames,
    left,
    edges_count,
    gy_batch,
    gy_channel,
    gy_sample,
    row_tiles,
    column_tiles,
    terms_of_part,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    PADDING: tl.constexpr,
    MODE: tl.constexpr,
    OF_EDGES: tl.constexpr,
    FLAT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TERMS: tl.constexpr,
    EVEN: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    WIDE: tl.constexpr,
):
    """``C`` of ``frames`` frames, of ``length``, or ``OF_EDGES``: of the extension by itself.

    The sums of the extension, ``edges_count`` of them in ``edges``, are added where they belong.
    Of ``terms_of_part`` terms each, where these are fewer than all: ``(part, B, C_in, frames)``.
    """
    ACC: tl.constexpr = tl.float64 if gy.dtype.element_ty == tl.float64 else tl.float32
    pid = tl.program_id(0)
    tile = pid % row_tiles
    column_tile = pid // row_tiles % column_tiles
    group = pid // row_tiles // column_tiles % groups
    part = pid // row_tiles // column_tiles // groups
    row = tile * ROWS + tl.arange(0, ROWS)
    row_known = row < in_channels
    i = wide(group, WIDE) * in_channels + tl.minimum(row, in_channels - 1)
    entry, place, known = cut(column_tile, frames, batch, COLUMNS, FLAT, WIDE)
    t = place
    if OF_EDGES:
        t = edge_frame(place, left, length)
    entry = wide(tl.minimum(entry, batch - 1), WIDE)
    from_gy = entry * gy_batch
    channel = wide(group, WIDE) * out_channels

    acc = tl.zeros((ROWS, COLUMNS), ACC)
    begin = part * terms_of_part
    end = tl.minimum(begin + terms_of_part, out_channels * K)
    for start in range(begin, end, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = tl.full((TERMS,), 1, tl.int1)
        if not EVEN:
            exists = term < out_channels * K
            term = tl.minimum(term, out_channels * K - 1)
        a = tl.load(
            w + i[:, None] * (out_channels * K) + term[None, :],
            mask=row_known[:, None] & exists[None, :],
            other=0.0,
        )
        c = term // K
        n = t[None, :] * STRIDE + ((term - c * K) * DILATION - PADDING)[:, None]
        here = exists[:, None] & known[None, :] & (n >= 0) & (n < out_length)
        n = wide(tl.where(here, n, 0), WIDE)
        from_channel = ((channel + c) * gy_channel)[:, None]
        b = tl.load(gy + from_gy[None, :] + from_channel + n * gy_sample, mask=here, other=0.0)
        acc = multiply(a, b, acc, PRECISION, WIDEN)

    low = tl.min(tl.where(known, t, length), 0) * STRIDE - PADDING
    high = tl.max(tl.where(known, t, -left), 0) * STRIDE - PADDING + (K - 1) * DILATION
    to_part = gx + wide(part, WIDE) * batch * (groups * in_channels) * frames
    absent = (low < 0) | (high >= out_length)
    if absent & any_nan(acc):
        for r in range(tile * ROWS, tl.minimum((tile + 1) * ROWS, in_channels)):
            of_row = wide(group, WIDE) * in_channels + r
            total = input_grad_row(
                gy + from_gy + channel * gy_channel,
                w + of_row * (out_channels * K),
                t * STRIDE - PADDING,
                known,
                begin,
                end,
                out_length,
                gy_channel,
                gy_sample,
                K,
                DILATION,
                TERMS,
                ACC,
                WIDE,
            )
            of_rows = entry * (groups * in_channels) + of_row
            if MODE != "zeros":
                for e in range(tl.where(part == 0, edges_count, 0)):
                    source = source_frame(edge_frame(e, left, length), length, MODE)
                    hit = known & (place == source)
                    total += tl.load(edges + of_rows * edges_count + e, mask=hit, other=0.0)
            tl.store(to_part + of_rows * frames + place, total.to(gx.dtype.element_ty), mask=known)
    else:
        if MODE != "zeros":
            of_row = tl.max(entry, 0) * (groups * in_channels) + i  # not FLAT: one entry
            for e in range(tl.where(part == 0, edges_count, 0)):
                source = source_frame(edge_frame(e, left, length), length, MODE)
                hit = known & (place == source)
                if tl.max(hit.to(tl.int32), 0) > 0:
                    more = tl.load(edges + of_row * edges_count + e, mask=row_known, other=0.0)
                    acc += tl.where(hit[None, :], more[:, None], 0.0)
        stored = row_known[:, None] & known[None, :]
        to = (entry[None, :] * (groups * in_channels) + i[:, None]) * frames + place[None, :]
        tl.store(to_part + to, acc.to(gx.dtype.element_ty), mask=stored)


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
        "row_tiles",
        "column_tiles",
        "terms_of_part",
    ]
)
def weight_grad(
    x,
    gy,
    parts,
    in_channels,
    out_channels,
    groups,
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
    row_tiles,
    column_tiles,
    terms_of_part,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    PADDING: tl.constexpr,
    MODE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TERMS: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    WIDE: tl.constexpr,
):
    """``R``, or the part of it that ``terms_of_part`` of the ``terms`` are: ``(part, weight)``."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    first = wide(first, WIDE)
    pid = tl.program_id(0)
    tile = pid % row_tiles
    column_tile = pid // row_tiles % column_tiles
    group = pid // row_tiles // column_tiles % groups
    part = pid // row_tiles // column_tiles // groups
    row = tile * ROWS + tl.arange(0, ROWS)
    row_known = row < in_channels
    i = wide(group, WIDE) * in_channels + tl.minimum(row, in_channels - 1)
    column = column_tile * COLUMNS + tl.arange(0, COLUMNS)
    column_known = column < out_channels * K
    column = tl.minimum(column, out_channels * K - 1)
    c = column // K
    offset = (column - c * K) * DILATION - PADDING
    from_gy = (wide(group, WIDE) * out_channels + c) * gy_channel
    begin = wide(part, WIDE) * terms_of_part
    stop = tl.minimum(begin + terms_of_part, terms)

    acc = tl.zeros((ROWS, COLUMNS), ACC)
    for start in range(begin, stop, TERMS):
        term = start + tl.arange(0, TERMS)
        exists = term < stop
        term = tl.minimum(term, stop - 1)
        entry = term // frames
        t = first + term - entry * frames
        entry = wide(entry, WIDE)
        source = wide(source_frame(t, length, MODE), WIDE)
        a = tl.load(
            x + (i * x_channel)[:, None] + (entry * x_batch + source * x_frame)[None, :],
            mask=row_known[:, None] & exists[None, :],
            other=0.0,
        )
        n = t[:, None] * STRIDE + offset[None, :]
        here = exists[:, None] & column_known[None, :] & (n >= 0) & (n < out_length)
        n = wide(tl.where(here, n, 0), WIDE)
        b = tl.load(
            gy + from_gy[None, :] + (entry * gy_batch)[:, None] + n * gy_sample,
            mask=here,
            other=0.0,
        )
        acc = multiply(a, b, acc, PRECISION, WIDEN)

    # Some of its frames have taps that fall outside; all frames count, if it goes across entries.
    one_entry = begin // frames == (stop - 1) // frames
    low = first + tl.where(one_entry, begin % frames, 0)
    high = first + tl.where(one_entry, (stop - 1) % frames, frames - 1)
    absent = low * STRIDE < PADDING
    absent |= high * STRIDE - PADDING + (K - 1) * DILATION >= out_length
    if absent & any_nan(acc):
        for r in range(tile * ROWS, tl.minimum((tile + 1) * ROWS, in_channels)):
            of_row = wide(group, WIDE) * in_channels + r
            total = weight_grad_row(
                x + of_row * x_channel,
                gy + from_gy,
                offset,
                column_known,
                begin,
                stop,
                length,
                out_length,
                frames,
                first,
                x_batch,
                x_frame,
                gy_batch,
                gy_sample,
                STRIDE,
                MODE,
                TERMS,
                ACC,
                WIDE,
            )
            of_row += wide(part, WIDE) * (groups * in_channels)
            tl.store(
                parts + of_row * (out_channels * K) + column,
                total.to(parts.dtype.element_ty),
                mask=column_known,
            )
    else:
        row_of_weight = wide(part, WIDE) * (groups * in_channels) + i
        to = row_of_weight[:, None] * (out_channels * K) + column[None, :]
        kept = row_known[:, None] & column_known[None, :]
        tl.store(parts + to, acc.to(parts.dtype.element_ty), mask=kept)


@triton.jit(do_not_specialize=["count", "splits"])
def sum_parts(parts, whole, count, splits, ELEMENTS: tl.constexpr, WIDE: tl.constexpr):
    """Parts of a sum, added up in order."""
    element = wide(tl.program_id(0), WIDE) * ELEMENTS + tl.arange(0, ELEMENTS)
    known = element < count
    total = tl.zeros((ELEMENTS,), parts.dtype.element_ty)
    for part in range(splits):
        total += tl.load(parts + wide(part, WIDE) * count + element, mask=known, other=0.0)
    tl.store(whole + element, total.to(whole.dtype.element_ty), mask=known)
