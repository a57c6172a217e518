"""Sizes that differ between the runs of a recording, as functions of the clock and the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from fracstride.network.extent import Extent
from fracstride.network.recording import Conditions, Size, Varying

__all__ = ["Fitted", "constant_gap", "fit", "fit_extent", "samples", "values_of"]

# Strides are at most so much more than twice what the runs have shown.
_MORE_MULTIPLES = 16

_Basis = Callable[[Conditions], int]
_ONE: _Basis = lambda c: 1  # noqa: E731
_CLOCK: _Basis = lambda c: c.clock  # noqa: E731
_BATCH: _Basis = lambda c: c.batch  # noqa: E731
_BOTH: _Basis = lambda c: c.clock * c.batch  # noqa: E731
# From the plainest to the richest.
_BASES: tuple[tuple[_Basis, ...], ...] = (
    (_ONE,),
    (_BATCH,),
    (_CLOCK, _ONE),
    (_BOTH, _BATCH),
    (_ONE, _CLOCK, _BATCH, _BOTH),
)


@dataclass(frozen=True)
class Fitted:
    """A size as a sum of clock, batch, their product and 1, each times a number."""

    terms: tuple[tuple[_Basis, Fraction], ...]

    def __call__(self, clock: int, batch: int) -> int:
        """The size under these conditions."""
        here = Conditions(clock, batch)
        total = sum((factor * basis(here) for basis, factor in self.terms), Fraction(0))
        return total.numerator // total.denominator


def values_of(size: Size, conditions: Sequence[Conditions]) -> tuple[int, ...]:
    """A size in each run."""
    if isinstance(size, Varying):
        return tuple(int(value) for value in size.values)
    return (size,) * len(conditions)


def samples(extent: Extent, conditions: Sequence[Conditions]) -> tuple[int, ...]:
    """A length in each run."""
    return tuple(extent(c.clock) for c in conditions)


def constant_gap(first: Sequence[int], second: Sequence[int]) -> int | None:
    """``first - second`` if it is the same in each run."""
    gaps = {a - b for a, b in zip(first, second, strict=True)}
    return gaps.pop() if len(gaps) == 1 else None


def fit(size: Size, conditions: Sequence[Conditions]) -> Fitted | None:
    """The plainest function of clock and batch that is this size in each run, or None."""
    values = values_of(size, conditions)
    for basis in _BASES:
        factors = _solve([[b(c) for b in basis] for c in conditions], values)
        if factors is not None:
            return Fitted(tuple(zip(basis, factors, strict=True)))
    return None


def fit_extent(
    wanted: Sequence[int],
    base: Extent,
    known: Sequence[Extent],
    conditions: Sequence[Conditions],
) -> Extent | None:
    """The plainest extent that has these lengths in the runs, or None.

    It is ``base`` with a constant added; another one that is ``known``; ``base`` extended or cut to
    the next multiple of a number, as strides want it; the shorter or the longer of it and another
    one; or one that is known, with a constant added.
    """
    lengths = samples(base, conditions)
    for extent in (base, *(e for e in known if list(wanted) == list(samples(e, conditions)))):
        found = _moved(extent, wanted, conditions)
        if found is not None:
            return found
    gaps = [w - n for w, n in zip(wanted, lengths, strict=True)]
    for choose in (min, max):
        for extent in known:
            if extent.rate == base.rate:
                chosen = base.joined(extent, choose)
                if list(samples(chosen, conditions)) == list(wanted):
                    return chosen
    rounded = _rounded(gaps, base, lengths, -1) or _rounded(gaps, base, lengths, 1)
    if rounded is not None:
        return rounded
    moved = (_moved(extent, wanted, conditions) for extent in known)
    return next((extent for extent in moved if extent is not None), None)


def _moved(
    extent: Extent, wanted: Sequence[int], conditions: Sequence[Conditions]
) -> Extent | None:
    """An extent with the constant added that gives these lengths."""
    gap = constant_gap(wanted, samples(extent, conditions))
    return None if gap is None else extent.then(lambda length: length + gap)


def _rounded(gaps: Sequence[int], base: Extent, lengths: Sequence[int], sign: int) -> Extent | None:
    """The base with ``least + (sign*length + rest) mod multiple`` added; ``sign`` is 1 or -1."""
    spread = max(gaps) - min(gaps)
    for multiple in range(spread + 1, 2 * spread + _MORE_MULTIPLES):
        pairs = zip(gaps, lengths, strict=True)
        rests = {(gap - sign * length) % multiple for gap, length in pairs}
        if len(rests) > 1:
            continue
        # Where the runs do not show all remainders: what is added, or cut, is 0 for some length.
        natural = 0 if sign < 0 else 1 - multiple
        least = max(gaps) - multiple + 1
        least = natural if least <= natural <= min(gaps) else least
        rest = (rests.pop() - least) % multiple

        def rule(length: int, m: int = multiple, r: int = rest, b: int = least) -> int:
            return length + b + (sign * length + r) % m

        return base.then(rule, period=multiple)
    return None


def _solve(rows: Sequence[Sequence[int]], values: Sequence[int]) -> list[Fraction] | None:
    """The only factors with which each row gives its value, if there are such."""
    count = len(rows[0])
    table = [[*map(Fraction, row), Fraction(v)] for row, v in zip(rows, values, strict=True)]
    for column in range(count):
        pivot = next((row for row in table[column:] if row[column]), None)
        if pivot is None:
            return None
        table.remove(pivot)
        table.insert(column, pivot)
        for row in table:
            if row is not pivot and row[column]:
                factor = row[column] / pivot[column]
                row[:] = [a - factor * b for a, b in zip(row, pivot, strict=True)]
    if any(row[count] for row in table[count:]):
        return None
    return [table[i][count] / table[i][i] for i in range(count)]
