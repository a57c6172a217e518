"""A fingerprint of a weight sees every change that a kept packed weight must not outlive."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st

from fracstride._load import native
from fracstride.arrays import Array
from fracstride.kernel_table import KERNELS

REAL = [dtype for dtype in DTYPES if dtype.kind != "c"]
SMALL = 16 * 1024  # bytes that are compared as a whole


def address_of(array: Array) -> int:
    return native.signal_of(array)[0]


def fingerprint(weight: Array, frames: int = 1) -> Callable[[Array], bool]:
    """Whether another array has the fingerprint of this one, before it is used for the frames."""
    made = KERNELS[weight.dtype.name].fingerprint(address_of(weight), *weight.shape)
    return lambda other: made.matches(address_of(other), frames)


def normal(shape: tuple[int, ...], dtype: np.dtype, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def shapes_beyond(count: int) -> st.SearchStrategy[tuple[int, int, int]]:
    """Shapes of more than so many elements, with sizes of one in every place."""
    few, some = st.integers(1, 4), st.integers(60, 400)
    kinds = st.sampled_from([(few, some, some), (some, few, some), (some, some, few)])
    return kinds.flatmap(lambda kind: st.tuples(*kind)).filter(lambda s: np.prod(s) > count)


WHOLE: dict[str, Callable[[Array], Array]] = {
    "a factor": lambda w: w * w.dtype.type(1.01),
    "a sum": lambda w: w + w.dtype.type(0.5),
    "other values": lambda w: normal(w.shape, w.dtype, 1),
    "zeros": lambda w: w * w.dtype.type(0),
    "signs": lambda w: -w,
    "another order of rows": lambda w: np.roll(w, 1, 0),
    "another order of columns": lambda w: np.roll(w, 1, 1),
    "another order of taps": lambda w: np.roll(w, 1, 2),
    "half of it masked": lambda w: w * (normal(w.shape, np.float32, 2) > 0).astype(w.dtype),
    "one in thirty masked": lambda w: w * (normal(w.shape, np.float32, 2) < 1.8).astype(w.dtype),
    "the largest clamped": lambda w: np.minimum(w, np.sort(w, axis=None)[-2]),
    "the smallest clamped": lambda w: np.maximum(w, np.sort(w, axis=None)[1]),
    "what is near zero set to it": lambda w: np.where(abs(w) > abs(w).min(), w, w.dtype.type(0)),
}


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("change", WHOLE)
@settings(max_examples=20, deadline=None)
@given(shape=shapes_beyond(9000))
def test_sees_a_change_of_the_whole(
    shape: tuple[int, int, int], dtype: np.dtype, change: str
) -> None:
    weight = normal(shape, dtype)
    matches, changed = fingerprint(weight), np.ascontiguousarray(WHOLE[change](weight))
    assert matches(weight)
    assert matches(weight.copy())
    if changed.tobytes() != weight.tobytes():
        assert not matches(changed)


@pytest.mark.parametrize("dtype", REAL, ids=str)
@settings(max_examples=20, deadline=None)
@given(shape=shapes_beyond(9000), data=st.data())
def test_sees_what_is_not_finite(
    shape: tuple[int, int, int], dtype: np.dtype, data: st.DataObject
) -> None:
    weight = normal(shape, dtype)
    place = data.draw(st.integers(0, weight.size - 1))
    for value in (np.nan, -np.nan, np.inf, -np.inf):
        weight.reshape(-1)[place] = value
        matches = fingerprint(weight)
        assert matches(weight)
        replaced = weight.copy()
        replaced.reshape(-1)[place] = 0
        assert not matches(replaced)


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("axis", range(3))
@settings(max_examples=40, deadline=None)
@given(shape=shapes_beyond(9000), data=st.data())
def test_sees_a_row_a_column_and_a_tap(
    shape: tuple[int, int, int], dtype: np.dtype, axis: int, data: st.DataObject
) -> None:
    """Before many frames: each row, column and tap alone."""
    weight = normal(shape, dtype)
    matches = fingerprint(weight, 10**6)
    index = data.draw(st.integers(0, shape[axis] - 1))
    changed = weight.copy()
    np.moveaxis(changed, axis, 0)[index] += weight.dtype.type(1)
    assert not matches(changed)


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_sees_every_bit_of_a_small_weight(dtype: np.dtype) -> None:
    for shape in ((1, 1, 1), (3, 5, 7), (1, SMALL // 4 // dtype.itemsize, 4)):
        weight = normal(shape, dtype)
        matches = fingerprint(weight)
        assert matches(weight.copy())
        count = weight.nbytes
        for place in {0, 1, count // 2, count - 1}:
            changed = weight.copy()
            changed.view(np.uint8).reshape(-1)[place] ^= 1
            assert not matches(changed)


def test_sees_one_of_many_ends() -> None:
    """Words at the end of a weight whose bytes are no whole words."""
    weight = normal((1, 8193, 1), np.dtype(np.float32))
    weight[0, -1] = 100
    changed = weight.copy()
    changed[0, -1] = 99
    assert not fingerprint(weight)(changed)
