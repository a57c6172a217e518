"""Staircases against what they say of every whole number."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, lcm
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracstride.streaming import staircase
from fracstride.streaming.ends import never_together
from fracstride.streaming.staircase import Staircase, lowest

STEP = st.tuples(st.integers(1, 6), st.integers(-9, 9), st.integers(1, 5))
STEPS = st.lists(STEP, max_size=4)
many = settings(max_examples=300, deadline=None)


def made(steps: Any) -> Staircase:
    stairs = Staircase()
    for step in steps:
        stairs = stairs.then(Staircase.of(*step))
    return stairs


def value(steps: Any, x: int) -> int:
    for a, b, q in steps:
        x = (a * x + b) // q
    return x


def period_of(steps: Any) -> int:
    rate, period = Fraction(1), 1
    for a, _, q in steps:
        rate *= Fraction(a, q)
        period = lcm(period, rate.denominator)
    return period


def lag_of(steps: Any) -> Fraction:
    rate = made(steps).rate
    return max(rate * x - value(steps, x) for x in range(period_of(steps)))


@many
@given(STEPS, STEPS)
def test_one_after_the_other(one: Any, another: Any) -> None:
    joined = made(one).then(made(another))
    assert joined == made(one + another)
    period = period_of(one + another)
    assert period % joined.period == 0
    for x in range(-20, 20):
        y = joined(x)
        assert y == value(one + another, x)
        assert joined(joined.least(x)) >= x > joined(joined.least(x) - 1)
        assert joined(x + joined.period) == y + joined.rate * joined.period
        assert y <= joined.rate * x + joined.most_ahead()


@many
@given(STEPS)
def test_the_lag_is_exact(steps: Any) -> None:
    assert made(steps).lag() == lag_of(steps)


@many
@given(STEPS)
def test_the_lag_of_a_long_period_is_a_bound(steps: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staircase, "_POINTS", 0)
        assert made(steps).lag() >= lag_of(steps)


def test_steps_in_lowest_terms() -> None:
    """Steps that are one are written as one, so that equal functions of one step are equal."""
    assert made([(6, 5, 4)]) == made([(3, 2, 2)])
    assert made([(2, 1, 1), (3, 1, 4)]) == made([(6, 4, 4)])
    assert made([(3, 1, 4), (1, 2, 5)]) == made([(3, 9, 20)])
    assert made([(1, -5, 4), (4, 1, 1)]).steps == ((1, 3, 4), (4, -7, 1))
    assert made([(4, 1, 1), (1, 0, 4)]) == made([(1, 0, 1)])


def test_huge_strides() -> None:
    n = 10**9 + 7
    down, up = Staircase.of(1, -1, n), Staircase.of(n, 0)
    assert down.then(up).lag() == n
    assert up.then(down).lag() == 1
    assert down.then(up).then(down).then(up).lag() == 2 * n
    assert up.then(Staircase.of(1, 0, n - 1)).lag() == Fraction(n - 2, n - 1)
    assert never_together([Staircase.of(1, 0), down.then(up)])
    assert not never_together([Staircase.of(1, -1), down.then(up)])
    assert never_together([Staircase.of(1, 2**62), Staircase.of(1, 0)])


@many
@given(st.lists(st.tuples(STEP, st.integers(-9, 9)), min_size=1, max_size=5))
def test_the_lowest(tried: Any) -> None:
    every = [made([(a, b, q), (q, c, a)]) for (a, b, q), c in tried]  # all of rate 1
    kept = lowest(every)
    assert set(kept) <= set(every)
    for x in range(-30, 30):
        assert min(one(x) for one in kept) == min(one(x) for one in every)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staircase, "_MOST", 0)
        (below,) = lowest(every)
    assert all(below(x) <= min(one(x) for one in every) for x in range(-30, 30))
    assert ceil(below.lag()) == ceil(max(one.lag() for one in every))


@many
@given(STEPS, STEPS, st.integers(-9, 9))
def test_where_two_end_together(one: Any, another: Any, more: int) -> None:
    first, second = made(one), made(another)
    rate = first.rate / second.rate
    second = second.then(Staircase.of(rate.numerator, more, rate.denominator))
    period = lcm(first.period, second.period)
    together = any(first(x) == second(x) for x in range(period))
    assert never_together([first, second]) == (not together)
