"""Parts of signals: the positions of a stream that are in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fracstride.arrays import Array

__all__ = ["FOREVER", "Part"]

#: More positions than any signal has: how many are known of a value without time.
FOREVER = 1 << 62


@dataclass(frozen=True, eq=False)
class Part:
    """Some positions of a signal, one after the other.

    Args:
        array: ``(B, channels, n)``.
        first: the position of the first of them; None of a value without time, which is whole.
        ends: whether the signal ends behind them.
    """

    array: Array
    first: int | None
    ends: bool = False

    @property
    def start(self) -> int:
        """The first position; 0 of a value without time."""
        return self.first or 0

    @property
    def stop(self) -> int:
        """The position behind the last."""
        return self.start + int(self.array.shape[2])

    def since(self, first: int) -> Part:
        """Without the positions before one, which has to be at hand."""
        if self.first is None or first <= self.first:
            return self
        return replace(self, array=self.array[:, :, first - self.first :], first=first)

    def between(self, first: int, stop: int) -> Array:
        """These positions, which have to be at hand; all of a value without time."""
        if self.first is None:
            return self.array
        return self.array[:, :, first - self.first : stop - self.first]
