"""What the picture of a layer shows: rows, columns, and the taps that stand where they cross.

A transposed convolution has a row for each frame and a column for each position of its uncropped
output; the sample below a column is the sum of the taps in it. A Conv1d has a row for each sample
and a column for each position of its padded input; the sample is the sum of the taps in its row.
Both are the same equation (:mod:`fracstride.reach`), and every number here comes from the geometry.

A layer that is too large for a picture is shown in parts: its beginning, its middle and its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.geometry import Geometry, geometry_of
from fracstride.reach import count_reaching, merged, taps_reaching

__all__ = ["Diagram", "Line", "Phase", "Term", "usual_length"]

#: Half-open ranges of numbers, sorted and disjoint.
Ranges: TypeAlias = tuple[tuple[int, int], ...]

_USUAL = 4  # frames
_NARROWEST = 12  # columns to which an excerpt shrinks for the sake of its rows


@dataclass(frozen=True)
class Line:
    """A row or a column: a frame or a sample, by its number."""

    number: int
    #: ``"frame"``, ``"copy"`` (an extended frame), ``"zero"`` (a frame of zeros), ``"sample"`` or
    #: ``"cropped"``.
    kind: str
    #: The frame in ``[0, L)`` whose value a frame has; None of zeros and of samples.
    source: int | None = None
    #: Of a column: the first tap of its phase; None where no tap lands.
    phase: int | None = None


@dataclass(frozen=True)
class Term:
    """A tap where a row and a column cross."""

    row: int
    column: int
    tap: int
    #: Whether it is a term of a sample: it is not where the sample is cropped or the frame zero.
    counts: bool


@dataclass(frozen=True)
class Phase:
    """The taps that land on the same columns; its name is the first of them."""

    first: int
    count: int
    step: int

    @property
    def taps(self) -> range:
        """All of them."""
        return range(self.first, self.first + self.count * self.step, self.step)


class Diagram:
    """The rows, columns and terms of a layer on an input of ``L`` frames.

    Args:
        geometry: of the layer.
        L: frames of the input.
        most_columns: of the picture.
        most_rows: of the picture.

    Raises:
        ValueError: the layer does not accept so few frames.

    >>> diagram = Diagram(Geometry(4, stride=2, padding=1), 3)
    >>> [(term.row, term.tap) for term in diagram.terms if term.column == 1]
    [(1, 0), (0, 2)]
    >>> [line.kind for line in diagram.columns if line is not None]  # doctest: +ELLIPSIS
    ['cropped', 'sample', ..., 'sample', 'cropped']
    """

    def __init__(
        self, geometry: AnyGeometry, L: int, most_columns: int = 48, most_rows: int = 28
    ) -> None:
        self.geometry = g = geometry
        self.L_out = g.output_length(L)
        self.L = int(L)
        last = self.L_out if isinstance(g, Geometry) else self.L
        #: The first column and the one after the last, of the whole layer.
        self.span = -g.padding_left, last + g.padding_right
        self._column_ranges, self._row_ranges = self._shown(most_columns, most_rows)

    # --- what there is, in the whole layer -------------------------------------------------------

    @cached_property
    def all_rows(self) -> Ranges:
        """The numbers of all rows."""
        if not isinstance(self.geometry, Geometry):
            return ((0, self.L_out),)
        return merged([(0, self.L), *self.extension])

    @cached_property
    def extension(self) -> Ranges:
        """The frames that extend the input, of those that some sample takes a tap of."""
        g, L = self.geometry, self.L
        if isinstance(g, Geometry):
            flat = g.edges(L, self.L_out)
            return tuple(zip(flat[::2], flat[1::2], strict=True))
        sides = (-g.padding_left, 0), (L, L + g.padding_right)
        return tuple((start, stop) for start, stop in sides if start < stop)

    @property
    def cropped(self) -> tuple[int, int]:
        """Samples cropped on the left and on the right."""
        g = self.geometry
        return (g.padding_left, g.padding_right) if isinstance(g, Geometry) else (0, 0)

    def phases(self, most: int) -> list[Phase]:
        """The first phases, at most so many."""
        g = self.geometry
        k, s, d = g.kernel_size, g.stride, g.dilation
        found = []
        for tap in range(min(k, s, most)):
            # The taps that land on the same position as this one.
            taps = [m for _, m in taps_reaching(tap * d, min(k, 2 * s), s, d)]
            if taps[0] == tap:
                step = taps[1] - tap if len(taps) > 1 else max(1, k)
                found.append(Phase(tap, -((tap - k) // step), step))
        return found

    # --- what is shown ---------------------------------------------------------------------------

    @property
    def is_excerpt(self) -> bool:
        """Whether something is left out."""
        return self._column_ranges != (self.span,) or self._row_ranges != self.all_rows

    @cached_property
    def columns(self) -> list[Line | None]:
        """The columns from left to right; None for a gap."""
        return _lines(self._column_ranges, (self.span,), self.column)

    @cached_property
    def rows(self) -> list[Line | None]:
        """The rows from top to bottom; None for a gap."""
        return _lines(self._row_ranges, self.all_rows, self.row)

    @cached_property
    def terms(self) -> list[Term]:
        """The taps, column by column, by rising tap."""
        g, found = self.geometry, []
        k, s, d = g.kernel_size, g.stride, g.dilation
        for column in _numbers(self._column_ranges):
            pairs = [
                pair
                for within in self._row_ranges
                for pair in taps_reaching(column + g.padding_left, k, s, d, within)
            ]
            counts = self.column(column).kind in ("sample", "frame", "copy")
            found += [Term(row, column, m, counts) for row, m in sorted(pairs, key=lambda p: p[1])]
        return found

    def column(self, number: int) -> Line:
        """A column."""
        g = self.geometry
        k, s, d = g.kernel_size, g.stride, g.dilation
        taps = taps_reaching(number + g.padding_left, min(k, s), s, d)
        phase = taps[0][1] if taps else None
        if isinstance(g, Geometry):
            kind = "sample" if 0 <= number < self.L_out else "cropped"
            return Line(number, kind, phase=phase)
        return self._frame(number, phase)

    def is_reached(self, number: int) -> bool:
        """Whether a tap stands in a column, be its row shown or not."""
        g = self.geometry
        position, sizes = number + g.padding_left, (g.kernel_size, g.stride, g.dilation)
        return any(count_reaching(position, *sizes, within) for within in self.all_rows)

    def row(self, number: int) -> Line:
        """A row."""
        is_transposed = isinstance(self.geometry, Geometry)
        return self._frame(number) if is_transposed else Line(number, "sample")

    def _frame(self, number: int, phase: int | None = None) -> Line:
        if 0 <= number < self.L:
            return Line(number, "frame", number, phase)
        source = self.geometry.source(number, self.L)
        return Line(number, "zero" if source is None else "copy", source, phase)

    # --- excerpts --------------------------------------------------------------------------------

    def _shown(self, most_columns: int, most_rows: int) -> tuple[Ranges, Ranges]:
        """The ranges of columns, and of the rows with a tap in one of them."""
        g, width = self.geometry, most_columns
        is_transposed = isinstance(g, Geometry)
        inner, last = (self.L, self.L_out) if is_transposed else (self.L_out, self.L)
        middle = inner // 2 * g.stride - g.padding_left  # where the kernel of that row begins
        while True:
            columns = _windows(self.span, (0, middle, last), width)
            rows = self._rows_of(columns, self.all_rows, most_rows)
            if rows is not None or width <= _NARROWEST:
                break
            width = max(_NARROWEST, width * 2 // 3)
        if rows is None:
            whole = self.all_rows[0][0], self.all_rows[-1][1]
            windows = _windows(whole, (0, inner // 2, inner), most_rows)
            rows = self._rows_of(columns, _common(windows, self.all_rows), most_rows)
        return columns, rows or ()

    def _rows_of(self, columns: Ranges, among: Ranges, most: int) -> Ranges | None:
        """The rows with a tap in one of the columns; None if they are more than ``most``.

        The work does not grow with the kernel.
        """
        if columns == (self.span,):
            return among if _count(among) <= most else None
        g = self.geometry
        sizes = g.kernel_size, g.stride, g.dilation
        found: set[int] = set()
        for position in (number + g.padding_left for number in _numbers(columns)):
            for within in among:
                if count_reaching(position, *sizes, within) > most:
                    return None
                found.update(row for row, _ in taps_reaching(position, *sizes, within))
            if len(found) > most:
                return None
        return merged((row, row + 1) for row in found)


def usual_length(geometry: AnyGeometry) -> int:
    """The frames of a picture that nobody asked a length of.

    They are 4, or 3 more than the first that makes a sample; or those of a Conv1d's 4 samples.

    >>> from fracstride.conv1d_geometry import Conv1dGeometry
    >>> usual_length(Geometry(4, stride=2)), usual_length(Conv1dGeometry(4, stride=2, padding=1))
    (4, 8)
    """
    if isinstance(geometry, Geometry):
        return _USUAL - 1 + max(1, -((geometry.overhang - 1) // geometry.stride))
    g, pads = geometry, (geometry.padding_left, geometry.padding_right)
    adjoint = geometry_of(g.kernel_size, g.stride, pads, 0, g.dilation, "zeros")
    return max(_USUAL, adjoint.length_at_end(_USUAL))


def _numbers(ranges: Ranges) -> Iterator[int]:
    for start, stop in ranges:
        yield from range(start, stop)


def _count(ranges: Ranges) -> int:
    return sum(stop - start for start, stop in ranges)


def _common(some: Ranges, others: Ranges) -> Ranges:
    """What is in both."""
    pairs = [(max(a, c), min(b, d)) for a, b in some for c, d in others]
    return merged((start, stop) for start, stop in pairs if start < stop)


def _windows(whole: tuple[int, int], points: Sequence[int], most: int) -> Ranges:
    """At most so many numbers of a range: around the points, or all of them if they are so few."""
    first, stop = whole
    if stop - first <= most:
        return (whole,)
    width = most // len(points)
    starts = (max(first, min(point - width // 2, stop - width)) for point in points)
    return merged((start, start + width) for start in starts)


def _lines(shown: Ranges, whole: Ranges, line: Callable[[int], Line]) -> list[Line | None]:
    """The lines of the ranges that are shown, and None where some of the whole are left out."""
    lines: list[Line | None] = []
    at = whole[0][0]
    for start, stop in (*shown, (whole[-1][1], whole[-1][1])):
        lines += [None] if _common(((at, start),), whole) else []
        lines += map(line, range(start, stop))
        at = stop
    return lines
