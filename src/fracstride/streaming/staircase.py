"""How the samples of a stream follow its frames, where the rate is no whole number.

A convolution of stride ``q`` is ready with ``(T + b)//q`` outputs after ``T`` inputs, a transposed
one of stride ``a`` with ``a*T + b``. A chain of them is one such step after the other: a staircase
that rises at a steady rate. This file knows integers alone. It says what the streams of a chain
have in common however long the signal is; the first frames, where nothing comes out yet, are not
its business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, gcd, lcm

__all__ = ["Staircase", "lowest"]

#: Points of one period that are looked at, at most; beyond that :meth:`Staircase.lag` is a bound.
_POINTS = 20_000
#: Staircases that :func:`lowest` keeps, at most; beyond that it gives one that lies below all.
_MOST = 16

_Step = tuple[int, int, int]


@dataclass(frozen=True)
class Staircase:
    """``x -> (a*x + b)//q`` for each of some steps ``(a, b, q)``, one after the other.

    In lowest terms: two steps that are one are written as one. (A step up, ``q == 1``, joins the
    step after it; a step down, ``a == 1``, the one before it.) And ``0 <= b < q`` for all but the
    last.

    >>> down, up = Staircase.of(1, -1, 4), Staircase.of(4, 3)
    >>> down.then(up), up.then(down)
    (Staircase(steps=((1, 3, 4), (4, -1, 1))), Staircase(steps=((1, 0, 1),)))
    >>> [down.then(up)(x) for x in range(8)]
    [-1, 3, 3, 3, 3, 7, 7, 7]
    """

    steps: tuple[_Step, ...] = ()

    @staticmethod
    def of(a: int, b: int, q: int = 1) -> Staircase:
        """``x -> (a*x + b)//q``, with ``a`` and ``q`` positive."""
        return Staircase().then(Staircase(((a, b, q),)))

    def __call__(self, x: int) -> int:
        for a, b, q in self.steps:
            x = (a * x + b) // q
        return x

    @property
    def rates(self) -> list[Fraction]:
        """What ``x`` is multiplied by in the long run before the first step, and after each."""
        rates = [Fraction(1)]
        for a, _, q in self.steps:
            rates.append(rates[-1] * Fraction(a, q))
        return rates

    @property
    def rate(self) -> Fraction:
        """What ``x`` is multiplied by in the long run."""
        return self.rates[-1]

    @property
    def period(self) -> int:
        """The least ``P`` such that ``x + P`` is ``rate*P`` higher, after each step."""
        return lcm(*(rate.denominator for rate in self.rates))

    def then(self, after: Staircase) -> Staircase:
        """``x -> after(self(x))``."""
        steps = list(self.steps)
        for step in after.steps:
            a, b, q = step
            while True:
                g = gcd(a, q)
                a, b, q = a // g, b // g, q // g
                if not steps or not (steps[-1][2] == 1 or a == 1):
                    break
                a0, b0, q0 = steps.pop()
                a, b, q = (a * a0, a * b0 + b, q) if q0 == 1 else (a0, b0 + b * q0, q0 * q)
            if steps:  # what is whole goes into the later step
                a0, b0, q0 = steps[-1]
                steps[-1] = (a0, b0 % q0, q0)
                b += a * (b0 // q0)
            steps.append((a, b, q))
        return Staircase(tuple(steps))

    def lag(self) -> Fraction:
        """The most by which ``rate*x`` is ahead of ``self(x)``, of all whole numbers ``x``.

        Never too little. It may be too much for a chain of steps up and down whose period has more
        than 20,000 points at its narrowest place.

        >>> Staircase.of(1, -1, 4).lag(), Staircase.of(1, -1, 4).then(Staircase.of(4, 3)).lag()
        (Fraction(1, 1), Fraction(1, 1))
        """
        # Each step loses a remainder of 0 to q - 1, divided by q. All that can be lost is lost at
        # once where the remainders do not depend on each other.
        steps, scale, ahead = self.steps, self.rate, Fraction(0)
        while steps and (steps[0][0] == 1 or len(steps) == 1):
            # Of one step alone, all remainders occur, as a and q have no divisor in common; and a
            # step down gives each number with each remainder.
            ahead += _loss(steps[0], scale)
            scale *= Fraction(steps[0][2], steps[0][0])
            steps = steps[1:]
        up = Fraction(0)
        if steps and steps[-1][2] == 1:
            up, ahead = Fraction(steps[-1][0]), ahead - steps[-1][1]
            steps = steps[:-1]
        if not steps:
            return ahead
        inner = _lag_of_one_period(Staircase(steps))
        if inner is None:
            inner, rate = Fraction(0), Staircase(steps).rate
            for step in steps:
                inner += _loss(step, rate)
                rate *= Fraction(step[2], step[0])
        return ahead + inner * (up or 1)

    def most_ahead(self) -> Fraction:
        """A number that ``self(x) - rate*x`` does not exceed: no step loses a remainder."""
        ahead = Fraction(0)
        for a, b, q in self.steps:
            ahead = (a * ahead + b) / q
        return ahead

    def least(self, y: int) -> int:
        """The least ``x`` with ``self(x) >= y``."""
        for a, b, q in reversed(self.steps):
            y = -((b - q * y) // a)
        return y


def _loss(step: _Step, scale: Fraction) -> Fraction:
    """What a step loses at most; ``scale`` is the rate of it and the steps after it."""
    a, b, q = step
    return scale / a * (q - 1 - b)


def _lag_of_one_period(stairs: Staircase) -> Fraction | None:
    """:meth:`Staircase.lag` by looking at a period; None if it has too many points.

    Of all ``x`` that give one number at some place of the chain, the last is furthest ahead. So one
    is looked at for each number at the place where there are fewest.
    """
    rates = stairs.rates
    place = min(range(len(rates)), key=rates.__getitem__)
    points = int(stairs.period * rates[place])
    if points > _POINTS:
        return None
    before, rate = Staircase(stairs.steps[:place]), stairs.rate
    worst = (before.least(y + 1) - 1 for y in range(points))
    return Fraction(
        max(rate.numerator * x - rate.denominator * stairs(x) for x in worst), rate.denominator
    )


def lowest(all_of_one_rate: Iterable[Staircase]) -> tuple[Staircase, ...]:
    """Those of which, for some ``x``, one may lie below all others: their least is that of all.

    >>> lowest([Staircase.of(2, 0), Staircase.of(2, -3), Staircase.of(2, -1)])
    (Staircase(steps=((2, -3, 1),)),)
    """
    stairs = list(dict.fromkeys(all_of_one_rate))
    stairs.sort(key=Staircase.lag, reverse=True)
    kept: list[Staircase] = []
    for one in stairs:
        if not any(_never_above(low, one) for low in kept):
            kept = [high for high in kept if not _never_above(one, high)]
            kept.append(one)
    if len(kept) > _MOST:
        rate = kept[0].rate  # floor(rate*x - lag) is below all of them
        lag = ceil(max(one.lag() for one in kept) * rate.denominator)
        return (Staircase.of(rate.numerator, -lag, rate.denominator),)
    return tuple(kept)


def _never_above(low: Staircase, high: Staircase) -> bool:
    """Whether it is plain that ``low(x) <= high(x)`` for all ``x``."""
    alike = [(a, q) for a, _, q in low.steps] == [(a, q) for a, _, q in high.steps]
    if alike and all(b <= c for (_, b, _), (_, c, _) in zip(low.steps, high.steps, strict=True)):
        return True
    return low.most_ahead() <= -high.lag()
