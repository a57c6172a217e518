"""Chains and sums of streams that go down and up in rate."""

from __future__ import annotations

import time
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from cases import DTYPES
from encoders import rates_of_all_kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import through_a_file
from test_invariances import random_layers, same_bits

import fracstride as fs
from fracstride.streaming import (
    Chain,
    Identity,
    Pad,
    Pointwise,
    Stream,
    Sum,
    Upsample,
    WindowStream,
)
from fracstride.streaming.testing import assert_streams_exactly


def signal(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def drawn(data: st.DataObject, dtype: Any) -> Any:
    return rates_of_all_kinds(lambda low, high: data.draw(st.integers(low, high)), dtype)


def made(make: Any, offline: Any, batch: int) -> Stream | None:
    """The stream; None where it is refused, as offline refuses inputs of every length."""
    try:
        stream: Stream = make(batch)
    except ValueError:
        with pytest.raises(ValueError, match="total length"):
            make(batch)
        for length in (*range(1, 40), 240):
            with pytest.raises(ValueError, match=r"differ|must|at least"):
                offline(np.ones((1, 2, length)))
        return None
    return stream


@random_layers
@given(st.data(), st.sampled_from(DTYPES), st.integers(1, 70), st.integers(0, 99))
def test_any_rates(data: st.DataObject, dtype: Any, length: int, seed: int) -> None:
    make, offline = drawn(data, dtype)
    batch = 1 + seed % 2
    stream = made(make, offline, batch)
    if stream is not None:
        x = np.random.default_rng(seed).standard_normal((batch, 2, length)).astype(dtype)
        assert_streams_exactly(stream, offline, x, another=make(batch), seed=seed)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_latency_is_the_least_number(data: st.DataObject) -> None:
    make, offline = drawn(data, np.float64)
    stream = made(make, offline, 1)
    if stream is None:
        return
    far, rate = 10**6, stream.rate
    least = max(ceil(t * rate - stream.output_length(t)) for t in range(far, far + 2000))
    assert stream.latency >= least
    if max(one.period for one in stream.staircases()) <= 2000:
        # No less than 0 unless a pad gives samples before there are frames.
        assert stream.latency in (least, max(0, least))


@random_layers
@given(
    st.data(),
    st.lists(
        st.tuples(
            st.sampled_from(("push", "push", "flush", "finish", "reset", "move")),
            st.lists(st.booleans(), min_size=3, max_size=3),
            st.integers(0, 9),
        ),
        min_size=5,
        max_size=16,
    ),
)
def test_rows(data: st.DataObject, steps: Any) -> None:
    """Each row as a stream of its own; where one cannot end, none ends, and nothing changes."""
    make, offline = drawn(data, np.float32)
    stream = made(make, offline, 3)
    if stream is None:
        return
    rng, alone = np.random.default_rng(0), [make(1) for _ in range(3)]
    for what, mask, count in steps:
        x = rng.standard_normal((3, 2, count if what in ("push", "finish") else 0), np.float32)
        active = np.array(mask)
        x[~active] = np.nan
        if what == "move":
            state = through_a_file(stream.state())
            stream = make(3)
            stream.restore(state)
            continue
        if what == "reset":
            stream.reset(rows=active)
            for row in np.flatnonzero(active):
                alone[row].reset()
            continue
        expected: list[Any] = [None] * 3
        refused = False
        states = [one.state() for one in alone]
        for row in np.flatnonzero(active):
            try:
                one, own = alone[row], x[row : row + 1]
                expected[row] = one.flush() if what == "flush" else getattr(one, what)(own)
            except ValueError:
                refused = True
        if refused:
            for one, state in zip(alone, states, strict=True):
                one.restore(state)
            with pytest.raises(ValueError, match="cannot end after"):
                stream.flush(rows=active) if what == "flush" else stream.finish(x, rows=active)
            continue
        if what == "push":
            y = stream.push(x, active=active)
        else:
            y = stream.flush(rows=active) if what == "flush" else stream.finish(x, rows=active)
        lengths = stream.lengths if y.shape[-1] else np.zeros(3, int)
        for row, one in enumerate(expected):
            assert lengths[row] == (0 if one is None else one.shape[-1])
            if one is not None and one.shape[-1]:
                same_bits(y[row : row + 1, :, : lengths[row]], one)


def halves(s: int, channels: int = 2) -> tuple[Any, Any]:
    """The two halves of a U-Net, of kernels of twice the stride."""
    down = fs.Conv1d(channels, channels, 2 * s, stride=s, padding=(s // 2, s - s // 2), rng=s)
    return down, fs.ConvTranspose1d(channels, channels, 2 * s, stride=s, padding="same", rng=s)


def test_a_u_net() -> None:
    (down, up), (down4, up4) = halves(2), halves(4)

    def make() -> Stream:
        inner = Sum(Identity(), Chain(down4.stream(2), Pointwise(np.tanh), up4.stream(2)))
        return Sum(Identity(), Chain(down.stream(2), inner, up.stream(2)))

    def offline(x: Any) -> Any:
        if x.shape[-1] % 8:
            raise ValueError("the branches differ")
        half = down(x)
        return x + up(half + up4(np.tanh(down4(half))))

    stream = make()
    assert (stream.rate, stream.stride, stream.overhang, stream.may_end_uneven) == (1, 1, 0, True)
    # A sample waits for the 8 frames that make a sample in the middle, and what these look ahead.
    assert stream.latency == 17
    for length in (40, 41, 3, 8):
        assert_streams_exactly(make(), offline, signal(2, 2, length), another=make())
    x = signal(2, 2, 40)
    pieces = [stream.push(x[..., :37])]
    message = (
        r"the signal cannot end after 37 frames, of which the branches of a Sum make 37 and 32 "
        r"samples\. The nearest lengths that fit: 32 and 40"
    )
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            stream.flush()
        with pytest.raises(ValueError, match="cannot end after 39 frames"):
            stream.finish(x[..., 37:39])
    pieces.append(stream.finish(x[..., 37:]))  # it goes on
    same_bits(np.concatenate(pieces, -1), offline(x))
    same_bits(stream.finish(x[..., :16]), offline(x[..., :16]))


def test_a_u_net_behind_other_parts() -> None:
    """The lengths in the message are those of the whole signal."""
    down, up = halves(4)
    conv = fs.Conv1d(2, 2, 3, stride=2, padding=1, rng=0)

    def make() -> Stream:
        return Chain(conv.stream(), Sum(Chain(down.stream(), up.stream()), Identity()))

    stream, x = make(), signal(1, 2, 64)
    stream.push(x[..., :57])  # 29 samples of the first layer
    with pytest.raises(
        ValueError, match=r"after 29 frames, .* make 28 and 29 .*lengths that fit: 56 and 63$"
    ):
        stream.flush()
    state = stream.state()
    assert state["received"].tolist() == [57]
    other = make()
    other.restore(through_a_file(state))
    with pytest.raises(ValueError, match="29 frames"):
        other.flush()
    for wrong in ([1.5], [-1], [], 3, [[57]]):
        with pytest.raises(ValueError, match="state received must be integers"):
            other.restore({**state, "received": np.array(wrong)})
    with pytest.raises(ValueError, match="state must have the key 'received'"):
        other.restore({k: v for k, v in state.items() if k != "received"})
    other.reset()
    assert other.flush().shape[-1] == 0
    rest = stream.finish(x[..., 57:])
    same_bits(other.finish(x)[..., 32 - rest.shape[-1] :], rest)


def test_what_never_fits() -> None:
    down, up = halves(4)
    bare = fs.ConvTranspose1d(2, 2, 8, stride=4, rng=0)  # 4 samples more
    with pytest.raises(
        ValueError,
        match=r"argument 1 of Sum must have the total length of argument 0 of Sum for some input, "
        r"but never has: of 1000 frames they make 1004 and 1000 samples",
    ):
        Sum(Chain(down.stream(), up.stream()), Chain(down.stream(), bare.stream()))
    # Of 4*n + 3 frames, a branch with one frame more at the end makes 4*n + 4 samples.
    stream = Sum(Pad(0, 1), Chain(Pad(0, 1), down.stream(), up.stream()))
    assert stream.push(signal(1, 2, 7)).shape[-1] + stream.flush().shape[-1] == 8
    with pytest.raises(ValueError, match="must have the rate of argument 0 of Sum, 1, got 1/4"):
        Sum(Identity(), down.stream())
    with pytest.raises(ValueError, match="must have the stride of argument 0 of Sum, 1, got 4"):
        Sum(Identity(), up.stream())
    alike = Sum(Chain(down.stream(), up.stream()), Chain(down.stream(), Upsample(4)))
    assert alike.may_end_uneven is False
    assert alike.finish(signal(1, 2, 15)).shape[-1] == 12


def test_rates_multiply() -> None:
    down, up = halves(3)
    for parts, rate, latency in (
        ((down, up), Fraction(1), 5),
        ((up, down), Fraction(1), 1),
        ((down, down, up), Fraction(1, 3), 7),
        ((up, up, down), Fraction(3), 2),
    ):
        stream = Chain(*(layer.stream() for layer in parts))
        assert (stream.rate, stream.latency) == (rate, latency)
        assert stream.stride == (rate if rate.denominator == 1 else None)
        out = [stream.output_length(t) for t in range(200)]
        # The latency is reached, and never exceeded.
        assert max(ceil(t * rate - out[t]) for t in range(200)) == latency
    whole = Chain(up.stream(), down.stream())
    assert (whole.overhang, Chain(down.stream(), up.stream()).overhang) == (0, None)


def test_huge_strides_are_a_matter_of_arithmetic() -> None:
    """A period of 10**9 frames and more is not walked through."""
    s, begin = 10**9 + 7, time.process_time()
    down = fs.Conv1d(1, 1, 1, stride=s, rng=0)
    up = fs.ConvTranspose1d(1, 1, 1, stride=s, rng=0)
    near = fs.Conv1d(1, 1, 1, stride=s - 2, rng=0)
    chain = Chain(down.stream(), near.stream(), down.stream())
    assert chain.rate == Fraction(1, s * s * (s - 2))
    assert (chain.latency, chain.output_length(1), chain.output_length(2**62)) == (0, 1, 1)
    there = Chain(up.stream(), down.stream(), up.stream(), near.stream())
    assert there.rate == Fraction(s, s - 2)
    net = Sum(Identity(), Chain(down.stream(), Pad(0, 0), Upsample(s)))
    assert net.latency == 0  # the first frame of each s makes them all
    net.push(np.ones((1, 1, 1), np.float32)[..., :0])
    with pytest.raises(ValueError, match="must have the total length"):
        Sum(Identity(), Chain(down.stream(), up.stream(), Pad(0, s + 5)))
    shown = Sum(Identity(), Chain(near.stream(), Upsample(s - 2)))
    shown._count.received = np.int64(5)  # type: ignore[attr-defined, assignment]
    with pytest.raises(ValueError, match="None of the lengths within 2048 frames of it fits"):
        shown.flush()
    assert time.process_time() - begin < 20  # not hours


class Median(WindowStream):
    """The median of five frames, of every third frame; beyond the ends are zeros."""

    rate = Fraction(1, 3)
    latency = 1  # sample n has frames 3*n - 2 to 3*n + 2

    def final_length(self, frames: int) -> int:
        return frames // 3

    def length_at_end(self, frames: int) -> int:
        return (frames + 2) // 3

    def first_kept(self, frames: int) -> int:
        return max(0, frames // 3 * 3 - 2)

    def compute(self, window: Any, start: int, first: int, stop: int, last: bool) -> Any:
        padded = np.pad(window, [(0, 0)] * (window.ndim - 1) + [(2, 2)])
        middle = [3 * n - start + 2 for n in range(first, stop)]
        return np.median([padded[..., [m + i for m in middle]] for i in range(-2, 3)], axis=0)


def median(x: Any) -> Any:
    if not x.shape[-1]:
        raise ValueError("too short")
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(2, 2)])
    count = (x.shape[-1] + 2) // 3
    return np.median([padded[..., i : i + 3 * count - 2 : 3] for i in range(5)], axis=0)


def test_a_window_stream_of_ones_own() -> None:
    x = signal(3, 2, 40)
    assert_streams_exactly(Median(), median, x)
    up = fs.ConvTranspose1d(2, 2, 5, stride=2, padding="same", rng=0)
    assert_streams_exactly(
        Chain(up.stream(3), Median(), Upsample(3)), lambda x: np.repeat(median(up(x)), 3, -1), x
    )
    assert (Median().stride, Median().overhang) == (None, None)
    assert Chain(Median(), Upsample(3)).staircase_at_end() is not None
    stream = Sum(Upsample(1), Chain(Median(), Upsample(3)))
    assert stream.may_end_uneven
    assert stream.push(x[:1]).shape[-1] == 39
    with pytest.raises(ValueError, match=r"make 40 and 42 samples.*that fit: 39 and 42"):
        stream.flush()
