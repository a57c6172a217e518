"""A chunk that one part refuses changes nothing in the composition, not in earlier parts either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_invariances import same_bits

import fracstride as fs
from fracstride.streaming import Chain, Identity, Pad, Pointwise, Stream, Sum, Upsample


def layer(channels: int = 2) -> fs.ConvTranspose1d:
    return fs.ConvTranspose1d(channels, channels, 7, padding=3, rng=0)


MAKERS: dict[str, Callable[[], Stream]] = {
    "pad": lambda: Chain(Pad(3, 3, "reflect"), layer().stream(2)),
    "function": lambda: Chain(Pointwise(np.tanh), layer().stream(2)),
    "upsampling": lambda: Chain(Upsample(3, "linear"), Pointwise(np.tanh), layer().stream(2)),
    "branches": lambda: Sum(Pad(1, -1), Chain(Pointwise(np.tanh), layer().stream(2))),
    "nested": lambda: Chain(Sum(Identity(), Pad(1, -1)), Chain(Identity(), layer().stream(2))),
}
WRONG = {
    "dtype": np.ones((2, 2, 4)),
    "channels": np.ones((2, 3, 4), np.float32),
    "batch": np.ones((5, 2, 4), np.float32),
    "no batch": np.ones((2, 4), np.float32),
    "one axis": np.ones(4, np.float32),
}


def pushes(stream: Stream, wrong: Any) -> None:
    mask = np.ones(len(wrong), np.bool_)
    for call in (
        lambda: stream.push(wrong),
        lambda: stream.finish(wrong),
        lambda: stream.push(wrong, active=mask),
        lambda: stream.finish(wrong, rows=mask),
    ):
        with pytest.raises((ValueError, TypeError), match=r"must|chunk"):
            call()


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("uneven", [False, True])
def test_a_refused_chunk_changes_nothing(name: str, wrong: str, uneven: bool) -> None:
    stream, undisturbed = MAKERS[name](), MAKERS[name]()
    x = np.random.default_rng(0).standard_normal((2, 2, 12), dtype=np.float32)
    pushes(stream, WRONG[wrong])  # before the first chunk
    assert stream.lengths.tolist() == undisturbed.lengths.tolist()
    first = [True, not uneven]
    for s in (stream, undisturbed):
        s.push(x[..., :5], active=first)
    pushes(stream, WRONG[wrong])  # and in the middle
    assert stream.lengths.tolist() == undisturbed.lengths.tolist()
    for call in (lambda s: s.push(x[..., 5:]), lambda s: s.flush(), lambda s: s.flush()):
        same_bits(call(stream), call(undisturbed))
    pushes(stream, WRONG[wrong])  # and as the first after the end
    same_bits(stream.flush(), undisturbed.flush())


@pytest.mark.parametrize(
    "make", [lambda: Pad(1, 1), lambda: Pointwise(np.tanh), lambda: Upsample(2)]
)
def test_a_mask_has_a_bool_for_each_row_of_the_signal(make: Callable[[], Stream]) -> None:
    for stream in (make(), Chain(make()), Sum(make())):
        stream.push(np.ones((4, 2, 3), np.float32))
        for call in (lambda: stream.flush(rows=[True]), lambda: stream.reset(rows=[True])):  # noqa: B023
            with pytest.raises(ValueError, match="rows must be a mask of 4 bools"):
                call()
        assert stream.flush().shape[:2] == (4, 2)


def test_a_batch_of_no_rows_with_a_mask() -> None:
    stream, nobody = Sum(Identity(), Pad(1, -1)), np.zeros(0, np.bool_)
    nothing = np.ones((0, 2, 3))
    assert stream.push(nothing, active=nobody).shape == (0, 2, 0)
    stream.reset(rows=nobody)
    assert stream.finish(nothing, rows=nobody).shape[:2] == (0, 2)


@pytest.mark.parametrize(
    "make", [lambda: Pad(1, 1), lambda: Pointwise(np.tanh), lambda: Upsample(2)]
)
def test_the_dtype_is_known_after_a_signal(make: Callable[[], Stream]) -> None:
    stream = make()
    stream.push(np.ones((2, 3, 4)))
    stream.flush()
    assert stream.flush().dtype == np.float64


SHOWN: dict[str, Callable[[], Stream]] = {
    "chain": lambda: Chain(layer().stream(), Identity()),
    "behind a function": lambda: Chain(Identity(), Chain(Pointwise(np.tanh), layer().stream())),
    "branch": lambda: Sum(Identity(), Chain(Identity(), layer().stream())),
    "window": lambda: Chain(Pad(1, 1), Chain(layer().stream(), Pad(1, 1))),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_refusal_shows_the_shape_that_was_sent(name: str) -> None:
    stream = SHOWN[name]()
    if name == "window":
        stream.push(np.zeros((1, 2, 5), np.float32))
    for call in (stream.push, stream.finish):
        with pytest.raises(ValueError, match=r"got .*shape \(1, 5, 4\)") as caught:
            call(np.zeros((1, 5, 4), np.float32))
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
