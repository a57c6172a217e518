"""The runs that are made of a module: at which lengths, with which batches and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fracstride.network.recording import Conditions
from fracstride.torch.capture.example import Example

__all__ = ["Trial", "Trials"]

_SOON = 0.1  # seconds; where the example takes longer, most runs are shorter than the example
_LONGEST = 4.0  # seconds for which the module may run at about twice the example's length
_LONG = 0.3  # seconds for which it may run at lengths beyond
_FAR = 3000  # ticks that are enough
_BATCHES = (1, 1, 2, 1, 3)
_VALUES = ("normal", "other", "large", "small", "zeros", "constant")


@dataclass(frozen=True)
class Trial:
    """What the inputs of a run are made of."""

    conditions: Conditions
    values: str
    seed: int = 0


class Trials:
    """The runs that are made.

    Args:
        example: whose batch is known.
        seconds: that the module takes for the example.
        least: ticks that it takes.
    """

    def __init__(self, example: Example, seconds: float, least: int) -> None:
        self._example, self._seconds = example, seconds
        self._clock, self._least = example.conditions.clock, least
        #: Ticks of most runs.
        self.usual = self._clock
        if seconds > _SOON:
            self.usual = min(self._clock, max(least + 4, int(self._clock * _SOON / seconds)))

    def affordable(self, clock: int) -> bool:
        """Whether a run of so many ticks is short enough."""
        return self._seconds * clock / self._clock < _LONG

    def near(self, least: int) -> list[Trial]:
        """Runs up to the example's length, of at least so many ticks."""
        own, usual = self._example.conditions, self.usual
        found = [Trial(own, "own")]
        lengths = {least, least + 1, least + 2, usual, usual + 1, usual + 3}
        found += [self.at(clock) for clock in sorted({*lengths, *_ladder(least, usual)})]
        if self._example.batched:
            found.append(Trial(Conditions(usual + 1, 3), "normal"))
        rows = Conditions(usual, 2 if self._example.batched else own.batch)
        found += [Trial(rows, values, 1 + (values == "other")) for values in _VALUES]
        return list(dict.fromkeys(found))

    def far(self) -> Iterator[Trial]:
        """Runs beyond the example's length."""
        if 2 * self._seconds < _LONGEST:
            yield self.at(2 * self._clock + 1)
        longer = 4 * self._clock + 3
        while self.affordable(longer) and longer < _FAR:
            yield self.at(longer)
            longer = 2 * longer + 1

    def at(self, clock: int) -> Trial:
        """A run of so many ticks; the batch differs from length to length."""
        batch = self._example.conditions.batch
        if self._example.batched:
            batch = _BATCHES[clock % len(_BATCHES)]
        return Trial(Conditions(clock, batch), "normal", clock)


def _ladder(least: int, most: int) -> Iterator[int]:
    """Lengths between, even and odd ones, each step longer than the one before."""
    clock, step = 3, 2
    while clock < most:
        if clock > least:
            yield clock
        clock, step = clock + step, 2 * step - (step % 3 == 0)
