"""Lists of kernel calls, and what a push does around them."""

from __future__ import annotations

import numpy as np
import pytest

from fracstride.network.steps import Push, Steps, copy, move_rows


def doubling(place: np.ndarray, result: np.ndarray) -> Push:
    """A push that writes twice its chunk to its result, by a function of Python."""
    steps = Steps()
    steps.add(lambda: np.multiply(place, 2, out=result))
    return Push(steps, Steps(), [place], [result])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_chunks_and_results_may_lie_anyhow(dtype: type) -> None:
    place, result = np.zeros((2, 3, 5), dtype), np.zeros((2, 3, 5), dtype)
    push = doubling(place, result)
    values = np.arange(30, dtype=dtype).reshape(2, 3, 5)
    wide = np.zeros((5, 7, 2), dtype)
    chunk = wide.transpose(2, 1, 0)[:, ::3]
    chunk[...] = values
    out = np.zeros((5, 3, 4), dtype).transpose(2, 1, 0)[::-2]
    assert push.run([chunk], [out])
    assert np.array_equal(out, 2 * values)
    assert np.array_equal(place, values)
    assert push.seconds >= 0


def test_one_row_stands_for_all() -> None:
    place, result = np.zeros((3, 1, 2), np.float32), np.zeros((3, 1, 2), np.float32)
    one = np.array([[[1, 2]]], np.float32)
    assert doubling(place, result).run([np.broadcast_to(one, (3, 1, 2))], [result])
    assert np.array_equal(place, np.repeat(one, 3, 0))


@pytest.mark.parametrize(
    ("chunk", "out"),
    [
        (np.ones((2, 3, 4)), np.ones((2, 3, 5))),
        (np.ones((2, 3, 5)), np.ones((2, 3, 6))),
        (np.ones((3, 5)), np.ones((2, 3, 5))),
        (np.ones((2, 3, 5), np.float32), np.ones((2, 3, 5))),
    ],
)
def test_another_shape_changes_nothing(chunk: np.ndarray, out: np.ndarray) -> None:
    place, result = np.zeros((2, 3, 5)), np.zeros((2, 3, 5))
    push = doubling(place, result)
    assert not push.run([chunk], [out])
    assert not push.run([], [out])
    assert not push.run([chunk, chunk], [out])
    assert not place.any()
    assert not result.any()
    assert (out == 1).all()


def test_results_are_never_written_to_what_is_read_only() -> None:
    place, result = np.zeros((1, 1, 2)), np.zeros((1, 1, 2))
    out = np.zeros((1, 1, 2))
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        doubling(place, result).run([np.ones((1, 1, 2))], [out])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("keep", [1, 2, 7, 16, 33])
@pytest.mark.parametrize("by", [1, 3, 40])
def test_moved_rows_may_overlap(dtype: type, keep: int, by: int) -> None:
    window = np.random.default_rng(keep).standard_normal((2, 3, keep + by)).astype(dtype)
    before = window.copy()
    steps = Steps()
    steps.add(move_rows(window[:, :, :keep], window[:, :, -keep:]))
    steps()
    assert np.array_equal(window[:, :, :keep], before[:, :, -keep:])
    later = max(keep, by)  # what lies behind is as it was
    assert np.array_equal(window[:, :, later:], before[:, :, later:])


def test_rows_do_not_move_backwards() -> None:
    window = np.zeros((1, 1, 8))
    with pytest.raises(ValueError, match="before them"):
        Steps().add(move_rows(window[:, :, 2:], window[:, :, :6]))


def test_a_copy_between_any_strides() -> None:
    source = np.arange(24.0).reshape(4, 3, 2).transpose(1, 2, 0)
    target = np.zeros((2, 3, 8)).transpose(1, 0, 2)[:, :, ::2]
    steps = Steps()
    steps.add(copy(target, source))
    assert len(steps) == 1
    steps()
    assert np.array_equal(target, source)
