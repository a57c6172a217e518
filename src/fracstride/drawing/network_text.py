"""The picture of a network as text: an outline, with a branch below each other."""

from __future__ import annotations

from collections.abc import Sequence

from fracstride.drawing.parts import Item, Repeat, Step, Tangle
from fracstride.drawing.text import Lines, Span

__all__ = ["network_text"]

_DOWN, _CORNER, _TEE = (
    "\N{BOX DRAWINGS LIGHT VERTICAL}",
    "\N{BOX DRAWINGS LIGHT DOWN AND RIGHT}",
    "\N{BOX DRAWINGS LIGHT VERTICAL AND RIGHT}",
)
_LAST, _ACROSS = "\N{BOX DRAWINGS LIGHT UP AND RIGHT}", "\N{BOX DRAWINGS LIGHT HORIZONTAL}"


def network_text(items: Sequence[Item], heading: str, notes: Sequence[str]) -> Lines:
    """Lines of spans: the operations on the left, their signals on the right."""
    rows = [row for item in items for row in _rows(item)]
    width = max((len(name) for name, _ in rows), default=0) + 2
    lines: Lines = [[Span(heading, "bold")], []]
    last = ""
    for name, signal in rows:
        shown = "" if signal == last else signal
        lines.append([Span(name.ljust(width)), Span(shown, "dim")])
        last = signal or last
    return [*lines, [], *([Span(note, "dim")] for note in notes)]


def _rows(item: Item) -> list[tuple[str, str]]:
    """What each line says of operations, and of signals."""
    if isinstance(item, Step):
        return [(f"[{item.name}]" if item.is_input else item.name, item.signal)]
    if isinstance(item, Repeat):
        inner = [row for each in item.items for row in _rows(each)]
        return [(f"{item.times} times:", ""), *((f"  {name}", signal) for name, signal in inner)]
    if isinstance(item, Tangle):
        return _tangle(item)
    rows: list[tuple[str, str]] = []
    for number, branch in enumerate(item.branches):
        inner = [row for each in branch for row in _rows(each)] or [("(unchanged)", "")]
        for place, (name, signal) in enumerate(inner):
            edge = (_TEE if number else _CORNER) if not place else _DOWN
            rows.append((f"{edge}{' ' if place else _ACROSS} {name}", signal))
    return [*rows, (_LAST + _ACROSS, "")]


def _tangle(item: Tangle) -> list[tuple[str, str]]:
    """Its steps, and what each reads where that is not the step before it alone."""
    rows = []
    for place, step in enumerate(item.steps):
        before = _sources(item, place)
        reads = "" if before == [place - 1] else f", reads {_named(before)}"
        rows.append((f"({place + 1}) {step.name}{reads}", step.signal))
    end = len(item.steps)
    last = _sources(item, end)
    return rows if last == [end - 1] else [*rows, (f"what follows reads {_named(last)}", "")]


def _sources(item: Tangle, place: int) -> list[int]:
    return sorted({start for start, end in item.links if end == place})


def _named(places: Sequence[int]) -> str:
    return " and ".join("the input" if place < 0 else f"({place + 1})" for place in places)
