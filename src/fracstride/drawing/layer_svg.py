"""The picture of a layer as SVG."""

from __future__ import annotations

from fracstride.drawing import words
from fracstride.drawing.diagram import Diagram, Line, Term
from fracstride.drawing.palette import ink_on, tap_colour
from fracstride.drawing.svg import Canvas
from fracstride.geometry import Geometry

__all__ = ["layer_svg"]

_MARGIN = 20
_TOP = 66  # below heading and equation
_LABELS = 92  # beside the rows, at least
_CELL, _APART = 34, 6  # columns: their width, at least, and what lies between them
_STEP, _BOX = 32, 26  # of rows
_GAP = 22  # where something is left out
_NARROWEST = 540
_CHARACTER, _BOLD_CHARACTER = 7.0, 10.0  # pixels, on average
_DIGIT = 8.4  # pixels, in a wide font


def layer_svg(diagram: Diagram, *, themes: bool = True) -> str:
    """The picture of a layer."""
    return _Sheet(diagram).document(themes)


class _Sheet:
    """Where everything is, and the canvas that it is drawn on."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram, self.canvas = diagram, Canvas()
        self.is_transposed = isinstance(diagram.geometry, Geometry)
        lines = [line for line in (*diagram.rows, *diagram.columns) if line is not None]
        names = [_name(line) for line in lines] + [f"w{term.tap}" for term in diagram.terms]
        names += [str(line.number) for line in diagram.columns if line is not None]
        longest = max(map(len, names))
        self.cell = _CELL if longest < 5 else longest * _DIGIT + 4
        self.pitch = self.cell + _APART
        numbers = [len(str(line.number)) for line in diagram.rows if line is not None]
        self.labels = max(_LABELS, 8 + (len("sample ") + max(numbers)) * _DIGIT)
        self.left = _MARGIN + self.labels + self.pitch + 12
        self.x, self.right = _places(diagram.columns, self.left, self.pitch)
        # The frames of a Conv1d stand above its rows, the samples of the other layer below.
        self.headed = _TOP + (0 if self.is_transposed else 76)
        self.y, self.bottom = _places(diagram.rows, self.headed, _STEP)
        title = len(words.heading(diagram)) * _BOLD_CHARACTER
        self.width = max(self.right, _MARGIN + title, _NARROWEST) + _MARGIN

    def document(self, themes: bool) -> str:
        diagram, canvas = self.diagram, self.canvas
        canvas.text(_MARGIN, 30, words.heading(diagram), size=16, bold=True)
        canvas.text(_MARGIN, 50, words.equation(diagram), fill="faint")
        self._bands()
        for line in diagram.rows:
            self._row(line)
        for term in diagram.terms:
            self._tap(term)
        self._gaps()
        axis = self.bottom + 8 if self.is_transposed else _TOP
        for line in diagram.columns:
            if line is not None:
                self._column(line, axis)
        self._axis(axis)
        height = self._notes(self.bottom + (84 if self.is_transposed else 24))
        return canvas.document(
            self.width, height, words.heading(diagram), words.description(diagram), themes=themes
        )

    def _bands(self) -> None:
        """A shade behind the columns of phase 0, where there are others."""
        if not words.has_phases(self.diagram):
            return
        top, bottom = self.headed - 4, self.bottom
        for line in self.diagram.columns:
            if line is not None and line.phase == 0:
                x = self.x[line.number] - (self.pitch - self.cell) / 2
                self.canvas.rect(x, top, self.pitch, bottom - top, fill="band", radius=0)

    def _row(self, line: Line | None) -> None:
        if line is None:
            return
        y, x = self.y[line.number], _MARGIN + self.labels
        noun = "sample" if line.kind == "sample" else "frame"
        self.canvas.text(
            x - 8,
            y + 18,
            f"{noun} {line.number}",
            anchor="end",
            fill="faint" if line.kind == "copy" else "ink",
        )
        self._box(x, y, line)
        columns = [term.column for term in self.diagram.terms if term.row == line.number]
        if columns:  # one kernel: its taps on a thread
            ends = self.x[min(columns)] + self.cell / 2, self.x[max(columns)] + self.cell / 2
            self.canvas.line(*((end, y + _BOX / 2) for end in ends), stroke="rule", width=2)

    def _box(self, x: float, y: float, line: Line) -> None:
        """A frame with its value, or a sample."""
        is_outside = line.kind in ("copy", "zero", "cropped")
        self.canvas.rect(
            x,
            y,
            self.cell,
            _BOX,
            fill="paper" if is_outside else "box",
            stroke="rule" if is_outside else "ink",
            dash="4 3" if is_outside else "",
        )
        self.canvas.text(
            x + self.cell / 2,
            y + 18,
            _name(line),
            anchor="middle",
            fill="faint" if is_outside else "ink",
        )

    def _tap(self, term: Term) -> None:
        x, y = self.x[term.column], self.y[term.row]
        title = words.term_title(self.diagram, term)
        name = f"w{term.tap}"
        if term.counts:
            self.canvas.rect(x, y, self.cell, _BOX, fill=tap_colour(term.tap), title=title)
            self.canvas.text(
                x + self.cell / 2, y + 18, name, anchor="middle", fill=ink_on(term.tap)
            )
        else:
            self.canvas.rect(
                x, y, self.cell, _BOX, fill="paper", stroke="rule", dash="3 3", title=title
            )
            self.canvas.text(x + self.cell / 2, y + 18, name, anchor="middle", fill="faint")

    def _column(self, line: Line, y: float) -> None:
        x = self.x[line.number] + self.cell / 2
        if self.is_transposed:
            self._box(x - self.cell / 2, y + 8, line)
            below = y + 52
        else:
            self.canvas.text(
                x,
                y + 14,
                str(line.number),
                anchor="middle",
                size=12,
                fill="ink" if line.kind == "frame" else "faint",
            )
            self._box(x - self.cell / 2, y + 22, line)
            below = y + 64
        if words.has_phases(self.diagram):
            name = "-" if line.phase is None else str(line.phase)
            self.canvas.text(x, below, name, anchor="middle", size=12, fill="faint")

    def _axis(self, y: float) -> None:
        right = _MARGIN + self.labels - 8
        if self.is_transposed:
            start, end = self.left - 4, self.right
            self.canvas.line((start, y), (end, y), stroke="ink")
            self.canvas.text(right, y + 26, "samples", anchor="end")
        else:
            self.canvas.text(right, y + 14, "frames", anchor="end")
            self.canvas.text(right, y + 40, "hold", anchor="end", fill="faint")
        if words.has_phases(self.diagram):
            below = y + (52 if self.is_transposed else 64)
            self.canvas.text(right, below, "phase", anchor="end", fill="faint", size=12)

    def _gaps(self) -> None:
        """Dots where columns or rows are left out."""
        at = self.left
        for line in self.diagram.columns:
            if line is None:
                for y in self.y.values():
                    self.canvas.text(
                        at + _GAP / 2 - 3,
                        y + 17,
                        "\N{MIDLINE HORIZONTAL ELLIPSIS}",
                        anchor="middle",
                        fill="faint",
                    )
            at += _GAP if line is None else self.pitch
        down: float = self.headed
        for row in self.diagram.rows:
            if row is None:
                self.canvas.text(
                    _MARGIN + self.labels + self.cell / 2,
                    down + 14,
                    "\N{VERTICAL ELLIPSIS}",
                    anchor="middle",
                    fill="faint",
                )
            down += _GAP if row is None else _STEP

    def _notes(self, y: float) -> float:
        """The phases and the notes, from ``y`` on; the height of the picture."""
        room = (self.width - 2 * _MARGIN) / _CHARACTER
        for text in _filled(words.phase_lines(self.diagram), "; ", room):
            self.canvas.text(_MARGIN, y, text)
            y += 20
        for note in words.notes(self.diagram):
            for text in _filled(note.split(" "), " ", room):
                self.canvas.text(_MARGIN, y, text, fill="faint", size=12)
                y += 18
        return y + 4


def _name(line: Line) -> str:
    """What stands in the box of a frame or a sample."""
    name = f"y{line.number}" if line.kind == "sample" else f"x{line.source}"
    return {"zero": "0", "cropped": "\N{MULTIPLICATION SIGN}"}.get(line.kind, name)


def _places(lines: list[Line | None], start: float, step: float) -> tuple[dict[int, float], float]:
    """Where each line begins, by its number, and where they end."""
    places, at = {}, start
    for line in lines:
        if line is not None:
            places[line.number] = at
        at += _GAP if line is None else step
    return places, at


def _filled(words: list[str], between: str, room: float) -> list[str]:
    """Lines of as many words as there is room for."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(between) + len(word) <= room:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines
