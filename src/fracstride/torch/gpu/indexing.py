"""Which results a program makes, and where in a tensor they are: shared by all kernels.

Kernels of one file use the helpers of another by their own names, and no two helpers share a name:
``torch.compile`` copies a kernel and all helpers that it reaches into one module of its own. Groups
of values that belong together go from helper to helper as plain tuples, for the same reason: that
module has no classes of ours.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["SIZES", "columns_of_tile", "tile_of_program", "wide"]

#: Arguments whose values no kernel is compiled for: lengths of one bucket share their kernels.
SIZES = [
    "aligned_length",
    "batch",
    "channels",
    "column_tiles",
    "first",
    "frames",
    "gy_batch",
    "gy_channel",
    "length",
    "more_tiles",
    "out_length",
    "row_tiles",
    "splits",
    "tap_tiles",
    "terms",
    "terms_of_part",
    "tiles",
    "x_batch",
    "x_channel",
]


@triton.jit
def wide(index, WIDE: tl.constexpr):
    """A number that counts frames, samples or places: of 64 bits where some tensor needs them."""
    if WIDE:
        index = index.to(tl.int64)
    return index


@triton.jit
def tile_of_program(row_tiles, column_tiles, groups):
    """Number of the program's tile among those of rows and of columns; its group; its part."""
    program = tl.program_id(0)
    tile = program % row_tiles
    column_tile = program // row_tiles % column_tiles
    group = program // row_tiles // column_tiles % groups
    part = program // row_tiles // column_tiles // groups
    return tile, column_tile, group, part


@triton.jit
def columns_of_tile(
    tile, count, batch, COLUMNS: tl.constexpr, FLAT: tl.constexpr, WIDE: tl.constexpr
):
    """The batch entry and place of each column of a tile, and whether there is such a column.

    An entry has ``count`` places. ``FLAT`` tiles go on from one entry of the batch to the next; the
    others end with it.
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
