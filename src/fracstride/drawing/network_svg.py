"""The picture of a network as SVG: from top to bottom, branches side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fracstride.drawing.parts import Fork, Item, Repeat, Step, Tangle, steps_of
from fracstride.drawing.svg import Canvas

__all__ = ["network_svg"]

_MARGIN, _TOP = 24, 80
_NARROWEST = 480
_LEGEND = (
    "Beside each arrow: the signal; rates in positions a tick, look-ahead in ticks.",
    "A tick is the unit of time that all signals of the network share.",
)
_CHARACTER, _SMALL, _BOLD = 8.3, 6.2, 10.0  # pixels of one, on average
_LINE = 18  # of text in a box
_BOX = 150  # the least width
_ARROW, _LABELLED = 20, 44  # heights, without a signal and with one
_BETWEEN = 26  # branches
_FRAME = 16  # around what is repeated
_ROW, _LANE = 34, 12  # of a tangle
_MOST_TANGLED = 40  # steps of a tangle that are drawn
_MOST = 240  # steps of a network
_MOST_BRANCHES = 24  # of a fork that is too large


def network_svg(
    items: Sequence[Item], heading: str, notes: Sequence[str], *, themes: bool = True
) -> str:
    """The picture of a network."""
    canvas = Canvas()
    shown, left_out = _first(items)
    if left_out:
        notes = [
            *notes,
            f"The picture ends before {left_out} more operation{'s' * (left_out != 1)}.",
        ]
    column = _Column(shown)
    text = max([len(heading) * _BOLD, *(len(note) * _SMALL for note in notes)])
    width = max(column.width, text, _NARROWEST) + 2 * _MARGIN
    canvas.text(_MARGIN, 30, heading, size=16, bold=True)
    for number, line in enumerate(_LEGEND):
        canvas.text(_MARGIN, 50 + 16 * number, line, fill="faint", size=12)
    column.draw(canvas, width / 2, _TOP, is_inner=False)
    y = _TOP + column.height + 28
    for note in notes:
        canvas.text(_MARGIN, y, note, fill="faint", size=12)
        y += 18
    names = "; ".join(
        f"{step.name}: {step.signal}" if step.signal else step.name for step in steps_of(shown)
    )
    words = f"{heading}. {' '.join(notes)} Operations: {names}."
    return canvas.document(width, y, heading, words, themes=themes)


def _first(items: Sequence[Item]) -> tuple[list[Item], int]:
    """The first items, of a network that is too large, and how many operations are left out."""
    shown: list[Item] = []
    count = 0
    for at, item in enumerate(items):
        drawn = _drawn([item])
        if count + drawn > _MOST:
            rest = at
            if drawn > _MOST:  # it is too large for any picture: its beginning
                shown += _cut([item], _MOST - count)
                rest += 1
            return shown, sum(1 for _ in steps_of(items[rest:]))
        count += drawn
        shown.append(item)
    return shown, 0


def _drawn(items: Sequence[Item]) -> int:
    """How many steps are drawn of items."""
    count = 0
    for item in items:
        if isinstance(item, Fork):
            count += sum(map(_drawn, item.branches))
        elif isinstance(item, Repeat):
            count += _drawn(item.items)
        else:
            count += 1 if isinstance(item, Step) else min(len(item.steps), _MOST_TANGLED)
    return count


def _cut(items: Sequence[Item], most: int) -> tuple[Item, ...]:
    """The beginnings of items, about so many steps, and steps that say how many are left out."""
    shown: list[Item] = []
    for at, item in enumerate(items):
        if _drawn([item]) <= most:
            shown.append(item)
            most -= _drawn([item])
            continue
        rest = at + 1
        if isinstance(item, Fork):
            branches, others = item.branches[:_MOST_BRANCHES], item.branches[_MOST_BRANCHES:]
            cut = [_cut(branch, most // len(branches)) for branch in branches]
            cut += [_cut([each for branch in others for each in branch], 0)] if others else []
            shown.append(Fork(tuple(cut)))
        elif isinstance(item, Repeat):
            shown.append(Repeat(_cut(item.items, most), item.times))
        else:
            rest = at
        return (*shown, *_left_out(items[rest:]))
    return tuple(shown)


def _left_out(items: Sequence[Item]) -> list[Item]:
    count = sum(1 for _ in steps_of(items))
    name = f"... and {count} more operation{'s' * (count != 1)}"
    return [Step(name, "", kind=("left out",))] if count else []


@dataclass
class _Box:
    """Steps one after another, without anything between them."""

    steps: list[Step]

    def __post_init__(self) -> None:
        longest = max(len(step.name) for step in self.steps)
        self.width = max(_BOX, longest * _CHARACTER + 20)
        self.height = _LINE * len(self.steps) + 10

    def takes(self, step: Step) -> bool:
        """Whether a step may stand below its own."""
        if step.is_input or self.steps[0].is_input:
            return False
        return not (step.has_weights and any(own.has_weights for own in self.steps))

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it below ``y``, in the middle around ``x``."""
        is_input = self.steps[0].is_input
        weighs = any(step.has_weights for step in self.steps)
        title = "\n".join(f"{step.path or step.name}: {step.signal}" for step in self.steps)
        canvas.rect(
            x - self.width / 2,
            y,
            self.width,
            self.height,
            fill="box",
            stroke="ink" if weighs else "rule",
            radius=14 if is_input else 4,
            title=title,
        )
        for place, step in enumerate(self.steps):
            canvas.text(
                x, y + 5 + _LINE * (place + 0.75), step.name, anchor="middle", bold=step.has_weights
            )


class _Column:
    """Parts below each other, with arrows between them."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.parts = _parts(items)
        self.labels: list[str] = []  # of the arrow out of each part
        before = ""
        for part in self.parts:
            signal = part.steps[-1].signal if isinstance(part, (_Box, _Tangle)) else ""
            self.labels.append("" if signal == before else signal)
            before = signal or before
        widths = [part.width for part in self.parts]
        self.width: float = max([30.0, *widths, *map(_label_width, self.labels)])
        heights = (part.height + _arrow_height(label) for part, label in self._labelled())
        self.height: float = sum(heights)

    def _labelled(self) -> list[tuple[_Part, str]]:
        return list(zip(self.parts, self.labels, strict=True))

    def draw(self, canvas: Canvas, x: float, y: float, *, is_inner: bool = True) -> None:
        """Draw it. Inside a fork or a frame, the last arrow has no head: the line goes on."""
        for place, (part, label) in enumerate(self._labelled()):
            part.draw(canvas, x, y)
            y += part.height
            bottom = y + _arrow_height(label)
            is_last = place == len(self.parts) - 1
            _arrow(canvas, x, y, bottom, label, has_head=not (is_inner and is_last))
            y = bottom


class _Fork:
    """Columns side by side."""

    def __init__(self, fork: Fork) -> None:
        self.columns = [_Column(branch) for branch in fork.branches]
        widths = sum(column.width for column in self.columns)
        self.width: float = widths + _BETWEEN * (len(self.columns) - 1)
        self.height: float = max(column.height for column in self.columns) + _ARROW

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw a bar, the columns that hang from it, and the bar that joins them."""
        at, middles = x - self.width / 2, [x]
        bottom = y + self.height
        for column in self.columns:
            middle = at + column.width / 2
            middles.append(middle)
            at += column.width + _BETWEEN
            top = y
            if column.parts:
                top = y + _ARROW
                _arrow(canvas, middle, y, top, has_head=not isinstance(column.parts[0], _Repeat))
                column.draw(canvas, middle, top)
            canvas.line((middle, top + column.height), (middle, bottom), stroke="ink")
        for level in (y, bottom):
            canvas.line((min(middles), level), (max(middles), level), stroke="ink")


class _Repeat:
    """A column in a frame."""

    def __init__(self, repeat: Repeat) -> None:
        self.column, self.times = _Column(repeat.items), repeat.times
        self.width: float = self.column.width + 2 * _FRAME
        self.height: float = self.column.height + 2 * _FRAME + 8

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it with how often it comes."""
        left, top = x - self.width / 2, y + _FRAME + 12
        canvas.rect(left, y, self.width, self.height, stroke="rule", dash="6 4", radius=8)
        canvas.text(left + 8, y + 16, f"{self.times} times", fill="faint", size=12)
        starts_with_fork = isinstance(self.column.parts[0], _Fork)
        _arrow(canvas, x, y, top, has_head=not starts_with_fork)
        self.column.draw(canvas, x, top)
        canvas.line((x, top + self.column.height), (x, y + self.height), stroke="ink")


class _Tangle:
    """Steps below each other, with their links on lanes at the side."""

    def __init__(self, tangle: Tangle) -> None:
        self.steps, count = tangle.steps[:_MOST_TANGLED], len(tangle.steps)
        self.left_out = count - len(self.steps)
        end = len(self.steps)
        links = {(a, min(b, end)) for a, b in tangle.links if a < end}
        self.straight = {a for a, b in links if b == a + 1}
        self.lanes = _lanes(sorted((a, b) for a, b in links if b != a + 1))
        self.box = max(_Box([step]).width for step in self.steps)
        self.side = _LANE * (1 + max(self.lanes.values(), default=-1))
        self.width: float = self.box + 2 * self.side + 2 * _LANE
        self.height = _ROW * (end + bool(self.left_out)) + 10.0

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it."""
        end = len(self.steps)

        def top(place: int) -> float:
            return y + 10 + _ROW * place

        for place, step in enumerate(self.steps):
            canvas.rect(
                x - self.box / 2,
                top(place),
                self.box,
                26,
                fill="box",
                stroke="ink" if step.has_weights else "rule",
                title=f"{step.path or step.name}: {step.signal}",
            )
            canvas.text(x, top(place) + 18, step.name, anchor="middle", bold=step.has_weights)
        for place in self.straight:
            start = y if place < 0 else top(place) + 26
            stop = y + self.height if place == end - 1 else top(place + 1)
            _arrow(canvas, x, start, stop)
        if self.left_out:
            canvas.text(
                x,
                top(end) + 14,
                f"... and {self.left_out} more operations",
                anchor="middle",
                fill="faint",
            )
        edge = x + self.box / 2
        for (start, stop), lane in self.lanes.items():
            at = edge + _LANE * (lane + 1)
            first = (x, y) if start < 0 else (edge, top(start) + 18)
            last = (x, y + self.height) if stop == end else (edge, top(stop) + 8)
            canvas.line(first, (at, first[1]), (at, last[1]), last, stroke="rule")
            if stop < end:
                canvas.line((edge + 5, last[1] - 3), last, (edge + 5, last[1] + 3), stroke="rule")


def _lanes(links: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """A lane for each link, shared by those that do not overlap; short ones are inside."""
    lanes: dict[tuple[int, int], int] = {}
    for link in sorted(links, key=lambda link: link[1] - link[0]):
        taken = {lane for (a, b), lane in lanes.items() if a < link[1] and link[0] < b}
        lanes[link] = next(lane for lane in range(len(links)) if lane not in taken)
    return lanes


_Part = _Box | _Fork | _Repeat | _Tangle


def _parts(items: Sequence[Item]) -> list[_Part]:
    """Steps in boxes: one with weights begins a new box after another one with weights."""
    parts: list[_Part] = []
    for item in items:
        if isinstance(item, Step):
            box = parts[-1] if parts else None
            if isinstance(box, _Box) and box.takes(item):
                parts[-1] = _Box([*box.steps, item])
            else:
                parts.append(_Box([item]))
        elif isinstance(item, Fork):
            parts.append(_Fork(item))
        else:
            parts.append(_Repeat(item) if isinstance(item, Repeat) else _Tangle(item))
    return parts


def _arrow(
    canvas: Canvas, x: float, start: float, stop: float, label: str = "", *, has_head: bool = True
) -> None:
    canvas.line((x, start), (x, stop), stroke="ink")
    if has_head:
        canvas.line((x - 4, stop - 6), (x, stop), (x + 4, stop - 6), stroke="ink")
    if label:
        middle, width = (start + stop) / 2 - 2, _label_width(label)
        canvas.rect(x - width / 2, middle - 9, width, 18, fill="paper", radius=0)
        canvas.text(x, middle + 4, label, anchor="middle", fill="faint", size=11)


def _arrow_height(label: str) -> float:
    return _LABELLED if label else _ARROW


def _label_width(label: str) -> float:
    return len(label) * _SMALL + 8
