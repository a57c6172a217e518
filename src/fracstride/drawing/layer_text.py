"""The picture of a layer as text, for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from fracstride.drawing import words
from fracstride.drawing.diagram import Diagram, Line
from fracstride.drawing.palette import TAPS
from fracstride.drawing.text import Lines, Span
from fracstride.geometry import Geometry

__all__ = ["columns_of", "layer_text"]

_GAPS = 8  # characters
_CROPPED, _RULE, _GAP, _DOWN = "\N{MULTIPLICATION SIGN}", "\u2500", "\u2026", "\u22ee"


def layer_text(diagram: Diagram, width: int) -> Lines:
    """The picture of a layer, in lines of spans; notes are so wide."""
    return _Sheet(diagram).lines(width)


def columns_of(diagram: Diagram, width: int) -> int:
    """The columns of a layer for which a picture so wide has room."""
    first, stop = diagram.span
    names = [f"w{diagram.geometry.kernel_size - 1}", f"y{stop}", str(first)]
    widest = max(map(len, names))
    room = width - len("sample  ") - 2 * widest
    if (stop - first) * (widest + 1) <= room:
        return stop - first
    return max(6, (room - _GAPS) // (widest + 1))


@dataclass
class _Sheet:
    diagram: Diagram

    def __post_init__(self) -> None:
        diagram = self.diagram
        self.is_transposed = isinstance(diagram.geometry, Geometry)
        names = [f"w{term.tap}" for term in diagram.terms]
        names += [self._value(line) for line in diagram.columns if line is not None]
        names += [str(line.number) for line in diagram.columns if line is not None]
        self.cell = max(map(len, names), default=2) + 1
        numbers = [str(line.number) for line in diagram.rows if line is not None]
        values = [self._value(line) for line in diagram.rows if line is not None]
        self.number = max(map(len, numbers))
        self.noun = "frame" if self.is_transposed else "sample"
        self.value = max(map(len, values))
        self.label = max(len(self.noun) + 1 + self.number + 1 + self.value, len("samples")) + 1

    def lines(self, width: int) -> Lines:
        diagram = self.diagram
        lines: Lines = [
            [Span(words.heading(diagram), "bold")],
            [Span(words.equation(diagram))],
            [],
        ]
        head = [] if self.is_transposed else self._axis("frames")
        rule = [Span(" " * self.label), Span(_RULE * self._across(), "dim")]
        foot = [rule, *self._axis("samples")] if self.is_transposed else []
        lines += [*head, *([] if self.is_transposed else [rule])]
        lines += map(self._row, diagram.rows)
        lines += [*foot, []]
        phases = words.phase_lines(diagram)
        lines += [[Span(text)] for text in wrap("; ".join(phases), width)]
        for note in words.notes(diagram):
            lines += [[Span(text, "dim")] for text in wrap(note, width)]
        return lines

    def _across(self) -> int:
        return sum(self.cell if line else 2 for line in self.diagram.columns)

    def _value(self, line: Line) -> str:
        if line.kind in ("sample", "cropped"):
            return f"y{line.number}" if line.kind == "sample" else _CROPPED
        return "0" if line.source is None else f"x{line.source}"

    def _row(self, line: Line | None) -> list[Span]:
        if line is None:
            return [Span(_DOWN.rjust(self.label - 1), "dim")]
        name = f"{self.noun} {line.number:>{self.number}} {self._value(line):>{self.value}}"
        spans = [Span(name.ljust(self.label), "dim" if line.kind == "copy" else "")]
        return spans + self._taps(line)

    def _taps(self, line: Line) -> list[Span]:
        """The taps of a row, joined by a line where other columns lie between them."""
        taps = {term.column: term for term in self.diagram.terms if term.row == line.number}
        first, last = min(taps, default=0), max(taps, default=-1)
        spans, was_tap = [], True
        for at, column in enumerate(self.diagram.columns):
            place = column.number if column else _next(self.diagram.columns[at:])
            fill = _RULE if first < place <= last else " "
            if column is None:
                spans.append(Span(f"{fill}{_GAP if fill == _RULE else ' '}", "dim"))
                was_tap = False
                continue
            term = taps.get(column.number)
            name = f"w{term.tap}" if term else ""
            width = self.cell - len(name)
            spans.append(Span((" " if term and was_tap else fill) * width, "dim"))
            if term:
                spans.append(Span(name, f"tap{term.tap % len(TAPS)}" if term.counts else "dim"))
            was_tap = term is not None
        return spans

    def _axis(self, noun: str) -> Lines:
        columns = self.diagram.columns
        outside = ("cropped", "copy", "zero")

        def line(label: str, cells: list[str], dim: bool = False) -> list[Span]:
            spans = [Span(label.ljust(self.label), "dim" if dim else "")]
            for cell, column in zip(cells, columns, strict=True):
                width = self.cell if column else 2
                style = "dim" if dim or column is None or column.kind in outside else ""
                spans.append(Span(cell.rjust(width), style))
            return spans

        values = [self._value(c) if c else _GAP for c in columns]
        lines = [line(noun, values)]
        if not self.is_transposed:
            lines = [line(noun, [str(c.number) if c else _GAP for c in columns])]
            lines.append(line("hold", values))
        if words.has_phases(self.diagram):
            phases = [
                "" if c is None else "-" if c.phase is None else str(c.phase) for c in columns
            ]
            lines.append(line("phase", phases, dim=True))
        return lines


def _next(columns: Sequence[Line | None]) -> int:
    """The number of the first column that is shown."""
    return next((column.number for column in columns if column is not None), 1 << 63)
