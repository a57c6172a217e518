"""Lengths as functions of the clock, against the rules that they come from."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fracstride.network import Extent

TICKS = range(200, 400)  # long enough that no rule gives a negative length


def rules(seed: int) -> list[tuple[Callable[[int], int], int]]:
    """Rules of lengths of convolutions, pads and crops, each with its period."""
    rng = np.random.default_rng(seed)
    found: list[tuple[Callable[[int], int], int]] = []
    for _ in range(rng.integers(1, 6)):
        a, b, stride = int(rng.integers(1, 4)), int(rng.integers(-9, 10)), int(rng.integers(1, 5))
        kinds: list[tuple[Callable[[int], int], int]] = [
            (lambda n, b=b: n + b, 1),
            (lambda n, a=a, b=b: a * n + b, 1),
            (lambda n, b=b, stride=stride: (n + b) // stride, stride),
            (lambda n, b=b, stride=stride: -(-n // stride) * stride + b, stride),
        ]
        found.append(kinds[rng.integers(len(kinds))])
    return found


def lengths(seed: int) -> tuple[Extent, list[int]]:
    """An extent, and the lengths that the rules give one after the other."""
    rng = np.random.default_rng(seed)
    extent = Extent.affine(int(rng.integers(1, 4)), int(rng.integers(0, 3)))
    expected = [extent(t) for t in TICKS]
    for rule, period in rules(seed):
        extent, expected = extent.then(rule, period), [rule(n) for n in expected]
    return extent, expected


@given(st.integers(0, 2**32))
def test_rules_one_after_the_other(seed: int) -> None:
    extent, expected = lengths(seed)
    assert [extent(t) for t in TICKS] == expected
    assert extent.rate == Fraction(extent(20 * extent.period) - extent(0), 20 * extent.period)


@given(st.integers(0, 200), st.integers(0, 200))
def test_equal_if_and_only_if_the_lengths_are(first: int, second: int) -> None:
    (a, lengths_of_a), (b, lengths_of_b) = lengths(first), lengths(second)
    same = lengths_of_a == lengths_of_b
    assert (a == b) is same
    if same:
        assert hash(a) == hash(b)


def test_equal_by_other_ways() -> None:
    x = Extent.affine(1)
    halves = x.then(lambda n: n // 2, 2)
    assert halves.then(lambda n: 2 * n + 1) != x
    assert x.then(lambda n: 4 * n).then(lambda n: n // 2, 2) == Extent.affine(2)
    assert halves.then(lambda n: n // 3, 3) == x.then(lambda n: n // 6, 6)
    assert x.then(lambda n: 2 * (n // 2), 2) != x
    assert x.then(lambda n: n // 2 + (n + 1) // 2, 2) == x


@given(st.integers(0, 2**32))
def test_joined(seed: int) -> None:
    extent, expected = lengths(seed)
    later = extent.then(lambda n: -(-n // 3) * 3 - 1, 3)
    for rule in (min, max):
        joined = extent.joined(later, rule)
        assert [joined(t) for t in TICKS] == [
            rule(n, -(-n // 3) * 3 - 1) for n in expected
        ]  # fmt: skip


def test_without_time() -> None:
    one = Extent.affine(0, 1)
    assert one.then(lambda n: 3 * n + 2) == Extent.affine(0, 5)
    assert one.then(lambda n: (n + 6) // 2, 2) == Extent.affine(0, 3)
    assert one.rate == 0
    assert [one(t) for t in (0, 1, 100)] == [1, 1, 1]


def test_short_clocks_may_give_negative_lengths() -> None:
    extent = Extent.affine(1).then(lambda n: (n - 7) // 2, 2)
    assert [extent(t) for t in range(10)] == [(t - 7) // 2 for t in range(10)]


def test_rules_that_refuse_short_lengths() -> None:
    def rule(length: int) -> int:
        if length < 100:
            raise ValueError("too short")
        return length - 99

    assert Extent.affine(1).then(rule) == Extent.affine(1, -99)


def test_periods_beyond_reason_are_refused() -> None:
    extent = Extent.affine(1).then(lambda n: n // 4099, 4099)
    with pytest.raises(ValueError, match="repeat themselves only after 67194907 ticks"):
        extent.then(lambda n: n // 16393, 16393)


@pytest.mark.parametrize(
    ("extent", "text"),
    [
        (Extent.affine(1), "T"),
        (Extent.affine(2, 3), "2 T + 3"),
        (Extent.affine(8, -1), "8 T - 1"),
        (Extent.affine(0, 1), "1"),
        (Extent.affine(0, 0), "0"),
        (Extent.affine(0, -2), "-2"),
        (Extent.affine(1).then(lambda n: (n + 1) // 2, 2), "1/2 T + (0 to 1/2)"),
    ],
    ids=str,
)
def test_text(extent: Extent, text: str) -> None:
    assert str(extent) == text
