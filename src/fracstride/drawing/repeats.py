"""Equal parts in a row as one that is repeated.

Layers that differ in their dilation alone count as equal, as those of residual blocks do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from fracstride.drawing.parts import Fork, Item, Repeat, Step, Tangle

__all__ = ["DILATION", "folded"]

#: In the name of a step, or of several that are folded.
DILATION = re.compile(r" d(\d+(?:,\d+)*)")

_LONGEST_ROUND = 64  # of items that are folded


def folded(items: Sequence[Item]) -> Iterator[Item]:
    """The items with equal ones in a row folded, where that leaves out at least two."""
    items = list(items)
    at = 0
    while at < len(items):
        saved, length, times = 0, 1, 1
        for period in range(1, min((len(items) - at) // 2, _LONGEST_ROUND) + 1):
            if not _same(items[at], items[at + period]):
                continue
            repeats = 1
            while _alike(items[at : at + period], items[at + repeats * period :][:period]):
                repeats += 1
            if (repeats - 1) * period > max(saved, 1):
                saved, length, times = (repeats - 1) * period, period, repeats
        if times > 1:
            rounds = [items[at + n * length :][:length] for n in range(times)]
            yield Repeat(tuple(_merged(same) for same in zip(*rounds, strict=True)), times)
        else:
            yield items[at]
        at += length * times


def _alike(some: Sequence[Item], others: Sequence[Item]) -> bool:
    return len(some) == len(others) and all(map(_same, some, others))


def _same(a: Item, b: Item) -> bool:
    if isinstance(a, Step) and isinstance(b, Step):
        return a.kind == b.kind and not a.is_input
    if isinstance(a, Fork) and isinstance(b, Fork):
        return len(a.branches) == len(b.branches) and all(map(_alike, a.branches, b.branches))
    if isinstance(a, Repeat) and isinstance(b, Repeat):
        return a.times == b.times and _alike(a.items, b.items)
    if isinstance(a, Tangle) and isinstance(b, Tangle):
        return a.links == b.links and _alike(a.steps, b.steps)
    return False


def _merged(items: Sequence[Item]) -> Item:
    """One of items that are alike: with the names of all, and the signal of the last."""
    first = items[0]
    if isinstance(first, Step):
        return _merged_steps([item for item in items if isinstance(item, Step)])
    if isinstance(first, Fork):
        forks = [item for item in items if isinstance(item, Fork)]
        branches = zip(*(fork.branches for fork in forks), strict=True)
        return Fork(tuple(_merged_rows(rows) for rows in branches))
    if isinstance(first, Repeat):
        repeats = [item for item in items if isinstance(item, Repeat)]
        return replace(first, items=_merged_rows([item.items for item in repeats]))
    tangles = [item for item in items if isinstance(item, Tangle)]
    rows = zip(*(tangle.steps for tangle in tangles), strict=True)
    return replace(tangles[0], steps=tuple(_merged_steps(row) for row in rows))


def _merged_rows(rows: Sequence[Sequence[Item]]) -> tuple[Item, ...]:
    return tuple(_merged(same) for same in zip(*rows, strict=True))


def _merged_steps(steps: Sequence[Step]) -> Step:
    first, last = steps[0], steps[-1]
    name = first.name
    if any(step.name != name for step in steps):
        dilations = [DILATION.findall(f"{step.name} d1")[0] for step in steps]
        name = DILATION.sub("", name) + f" d{','.join(dilations)}"
    return replace(last, name=name, path=first.path)
