"""How many positions a value has, as a function of the clock.

All values of a network run in proportion to one clock of ``T`` ticks. A convolution of stride ``s``
turns ``L`` positions into about ``L/s``, rounded down. So a length is affine in ``T`` for each
remainder of ``T`` by some period: :class:`Extent` holds exactly this, and two extents are equal if
and only if they are equal for every ``T``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

__all__ = ["LONGEST_PERIOD", "Extent"]

#: Periods beyond this are refused: no model of audio has strides whose product is larger.
LONGEST_PERIOD = 1 << 16
_LONG = 1 << 32


@dataclass(frozen=True)
class Extent:
    """``L(T) = step*(T // period) + offsets[T % period]``, with ``period = len(offsets)``.

    It may be negative for small ``T``: then the network has no result there.

    >>> frames = Extent.affine(1)
    >>> samples = frames.then(lambda L: 8 * L + 3)
    >>> samples(10), samples.rate
    (83, Fraction(8, 1))
    >>> halves = frames.then(lambda L: (L + 1) // 2, period=2)
    >>> halves(5), halves(6), halves.rate
    (3, 3, Fraction(1, 2))
    """

    step: int
    offsets: tuple[int, ...]

    @classmethod
    def affine(cls, rate: int, offset: int = 0) -> Extent:
        """``rate*T + offset``."""
        return cls(rate, (offset,))

    @property
    def period(self) -> int:
        """After so many ticks the length has grown by ``step``."""
        return len(self.offsets)

    @property
    def rate(self) -> Fraction:
        """Positions for each tick, in the long run."""
        return Fraction(self.step, self.period)

    @property
    def first_positive(self) -> int:
        """The least number of ticks from which on there is a position, of a length that grows.

        >>> Extent.affine(2, -5).first_positive
        3
        """
        # Of each remainder, the last number of ticks without one.
        without = (
            (-offset // self.step) * self.period + rest for rest, offset in enumerate(self.offsets)
        )
        return max(without) + 1

    def __call__(self, clock: int) -> int:
        """The length after ``clock`` ticks."""
        whole, rest = divmod(clock, len(self.offsets))
        return self.step * whole + self.offsets[rest]

    def then(self, rule: Callable[[int], int], period: int = 1) -> Extent:
        """``rule`` of this length, where ``rule(L + period) - rule(L)`` is the same for each ``L``.

        Raises:
            ValueError: the result repeats itself only after more than 65536 ticks.
        """
        if not self.step:
            return Extent(0, tuple(map(rule, self.offsets)))._reduced()
        ticks = self.period * (period // gcd(period, self.step))
        if ticks > LONGEST_PERIOD:
            raise ValueError(
                f"the strides and paddings of the network repeat themselves only after {ticks} "
                f"ticks, and {LONGEST_PERIOD} are the most"
            )
        # Rules refuse lengths that are too short for them, so they are asked about long signals.
        later = _LONG - _LONG % ticks
        lengths = [rule(self(later + t)) for t in range(ticks + 1)]
        step = lengths[ticks] - lengths[0]
        return Extent(step, tuple(n - step * (later // ticks) for n in lengths[:ticks]))._reduced()

    def least_from_then_on(self) -> Extent:
        """The least of the lengths after so many ticks or more.

        >>> Extent(1, (3, 2)).least_from_then_on().offsets
        (2, 2)
        """
        least, lengths = self(2 * self.period - 1), []
        for clock in range(2 * self.period - 1, -1, -1):
            least = min(least, self(clock))
            lengths.append(least)
        return Extent(self.step, tuple(lengths[::-1][: self.period]))

    def most_to(self, longer: Extent) -> int:
        """How many positions another length of the same rate has more, at the most.

        >>> Extent.affine(1).most_to(Extent(4, (0, 4, 4, 4)))
        3
        """
        return max(longer(t) - self(t) for t in range(lcm(self.period, longer.period)))

    def joined(self, other: Extent, rule: Callable[[int, int], int]) -> Extent:
        """``min`` or ``max`` of both lengths, whose rate is the same."""
        ticks = lcm(self.period, other.period)
        offsets = tuple(rule(self(t), other(t)) for t in range(ticks))
        return Extent(rule(self(ticks), other(ticks)) - offsets[0], offsets)._reduced()

    def _reduced(self) -> Extent:
        """The same function with its shortest period, so that equal functions compare equal."""
        for period in range(1, self.period // 2 + 1):
            if self.period % period or self.step * period % self.period:
                continue
            shorter = Extent(self.step * period // self.period, self.offsets[:period])
            if all(shorter(t) == length for t, length in enumerate(self.offsets)):
                return shorter
        return self

    def __str__(self) -> str:
        if self.period > 1:
            return f"{self.rate} T + ({min(self._rests())} to {max(self._rests())})"
        (offset,) = self.offsets
        parts = [f"{self.step} T" if self.step != 1 else "T"] if self.step else []
        if offset or not parts:
            parts.append(str(abs(offset)) if parts else str(offset))
        return (" - " if offset < 0 else " + ").join(parts)

    def _rests(self) -> list[Fraction]:
        return [length - self.rate * t for t, length in enumerate(self.offsets)]
