"""The parts of a network's picture: steps, one after another, side by side, or repeated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Fork", "Item", "Repeat", "Step", "Tangle", "steps_of", "tangled"]


@dataclass(frozen=True)
class Step:
    """One operation, or an input of the network."""

    #: What it is, such as ``"Conv1d k3 d2"``.
    name: str
    #: Of its result, such as ``"128 channels, rate 8, look-ahead 3.5"``.
    signal: str
    #: In the model.
    path: str = ""
    is_input: bool = False
    has_weights: bool = False
    #: What folded steps have in common.
    kind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fork:
    """Branches side by side; an empty one passes on what comes in."""

    branches: tuple[tuple[Item, ...], ...]


@dataclass(frozen=True)
class Repeat:
    """Items that come several times in a row, with other weights."""

    items: tuple[Item, ...]
    times: int


@dataclass(frozen=True)
class Tangle:
    """Steps whose links have no simpler form, in an order in which they can run.

    Links go from one place in ``steps`` to another; -1 is what comes in, and ``len(steps)`` what
    comes after.
    """

    steps: tuple[Step, ...]
    links: tuple[tuple[int, int], ...]


Item: TypeAlias = Step | Fork | Repeat | Tangle


def steps_of(items: Iterable[Item]) -> Iterator[Step]:
    """All steps, in their order."""
    for item in items:
        if isinstance(item, Step):
            yield item
        elif isinstance(item, Fork):
            for branch in item.branches:
                yield from steps_of(branch)
        else:
            yield from steps_of(item.items if isinstance(item, Repeat) else item.steps)


def tangled(items: Iterable[Item]) -> int:
    """How many steps are in tangles."""
    count = 0
    for item in items:
        if isinstance(item, Fork):
            count += sum(map(tangled, item.branches))
        elif isinstance(item, Repeat):
            count += tangled(item.items)
        elif isinstance(item, Tangle):
            count += len(item.steps)
    return count
