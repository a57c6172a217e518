"""Pad and Upsample on arrays: bits, schedules, refusals."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import DTYPES
from hypothesis import given
from hypothesis import strategies as st
from streams import STEPS, check_rows, check_stream, through_a_file
from test_invariances import random_layers, same_bits

import fracstride as fs
from fracstride.extension import STREAMING_MODES
from fracstride.streaming import Chain, Identity, Pad, Pointwise, Stream, Sum, Upsample

#: What ``numpy.pad`` calls them.
NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def padded(x: Any, left: int, right: int, mode: str, value: float = 0) -> Any:
    """``Pad`` of the whole signal, by NumPy; ValueError if no frame is left."""
    widths = [(0, 0)] * (x.ndim - 1) + [(max(left, 0), max(right, 0))]
    values = {"constant_values": value} if mode == "zeros" else {}
    y = np.pad(x, widths, NUMPY_MODES[mode], **values)  # type: ignore[call-overload]
    y = y[..., max(-left, 0) : max(0, y.shape[-1] - max(-right, 0))]
    if x.shape[-1] == 0 or y.shape[-1] == 0:
        raise ValueError("no sample is left")
    return y


def due(frames: int, left: int, right: int, mode: str) -> int:
    """By trial: how many samples no later frame changes and an input ending now has."""

    def sources(length: int) -> list[int]:
        numbered = np.arange(1, length + 1)
        try:
            return padded(numbered, left, right, mode).tolist()
        except ValueError:
            return []

    if frames == 0:
        return 0
    longer = [sources(length) for length in range(frames, frames + abs(left) + abs(right) + 3)]
    count = 0
    while all(count < len(s) and s[count] == longer[0][count] for s in longer):
        count += 1
    return count


def schedule_of(left: int, right: int, mode: str) -> Any:
    return lambda frames: due(frames, left, right, mode)


@random_layers
@given(
    st.integers(-6, 9),
    st.integers(-6, 9),
    st.sampled_from(STREAMING_MODES),
    st.integers(1, 20),
    st.lists(st.integers(0, 20), max_size=8),
    st.sampled_from([*DTYPES, np.dtype(np.int16)]),
    st.booleans(),
)
def test_any_pad(
    left: int,
    right: int,
    mode: str,
    length: int,
    cuts: list[int],
    dtype: Any,
    batched: bool,
) -> None:
    value = 3 if mode == "zeros" and length % 2 else 0
    x = np.random.default_rng(0).integers(-99, 99, (2, 3, length)).astype(dtype)
    check_stream(
        lambda: Pad(left, right, mode, value),
        lambda x: padded(x, left, right, mode, value),
        x if batched else x[0],
        cuts,
        schedule_of(left, right, mode),
    )


@pytest.mark.parametrize("mode", STREAMING_MODES)
def test_the_docstring_names_them(mode: str) -> None:
    assert f'``"{mode}"``' in str(Pad.__doc__)


def test_memory_is_what_is_needed() -> None:
    x = np.zeros((1, 2, 1000))
    for pad, frames in (
        (Pad(5, 7), 0),
        (Pad(5, -7), 7),
        (Pad(-5000, 7), 0),
        (Pad(5, 7, "replicate"), 1),
        (Pad(5, 0, "replicate"), 0),
        (Pad(5, 7, "reflect"), 8),
        (Pad(5, 0, "reflect"), 0),
    ):
        pad.push(x)
        assert pad.state()["frames"].shape == (1, 2, frames)


def test_a_pad_in_front_of_a_layer() -> None:
    """A reflection pad before a layer has latency and bits of ``padding_mode="reflect"``."""
    w = np.random.default_rng(0).standard_normal((3, 3, 7)).astype(np.float32)
    bare = fs.ConvTranspose1d.from_conv1d(w)
    x = np.random.default_rng(1).standard_normal((2, 3, 30)).astype(np.float32)
    for mode in STREAMING_MODES:
        whole = fs.ConvTranspose1d.from_conv1d(w, padding=3, padding_mode=mode)
        make = lambda mode=mode: Chain(Pad(3, 3, mode), bare.stream(2))  # noqa: E731
        stream, built_in = make(), whole.stream(2)
        assert (stream.latency, stream.overhang) == (3, 0) == (built_in.latency, built_in.overhang)
        for t in range(30):
            chunk = x[..., t : t + 1]
            same_bits(stream.push(chunk), built_in.push(chunk))
        same_bits(stream.flush(), built_in.flush())
        block = lambda make=make: Sum(Identity(), Chain(Pointwise(np.tanh), make()))  # noqa: E731
        offline = lambda x, mode=mode: x + bare(padded(np.tanh(x), 3, 3, mode))  # noqa: E731
        check_stream(block, offline, x, [1, 2, 3, 4, 20])


def test_branches_of_pads() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 9))
    make = lambda: Sum(Pad(3, 1), Pad(0, 4, "reflect"), Pad(4, 0, "replicate"))  # noqa: E731
    assert (make().latency, make().overhang) == (0, 4)
    offline = lambda x: (  # noqa: E731
        padded(x, 3, 1, "zeros") + padded(x, 0, 4, "reflect") + padded(x, 4, 0, "replicate")
    )
    check_stream(make, offline, x, [1, 4])
    with pytest.raises(ValueError, match=r"overhang \(total length\)"):
        Sum(Identity(), Pad(1, 0))


@pytest.mark.usefixtures("isa")
@random_layers
@given(
    st.integers(1, 9),
    st.sampled_from(["nearest", "linear"]),
    st.integers(1, 20),
    st.lists(st.integers(0, 20), max_size=8),
    st.sampled_from(DTYPES),
    st.booleans(),
)
def test_any_upsampling(
    scale: int,
    mode: str,
    length: int,
    cuts: list[int],
    dtype: Any,
    batched: bool,
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, length)).astype(dtype)

    def offline(x: Any) -> Any:
        if mode == "nearest":
            return np.repeat(x, scale, -1)
        half = scale // 2
        taps = 1 - np.abs(np.arange(2 * scale - scale % 2) - (scale - 0.5 - scale % 2 / 2)) / scale
        w = np.broadcast_to(taps.astype(dtype), (3, 1, len(taps)))
        return fs.conv_transpose1d(x, w, None, scale, half, groups=3, padding_mode="replicate")

    latency = scale // 2 if mode == "linear" else 0
    check_stream(
        lambda: Upsample(scale, mode),
        offline,
        x if batched else x[0],
        cuts,
        lambda frames: max(0, frames * scale - latency),
    )


def test_straight_lines() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 10))
    for scale in range(1, 9):
        y = Upsample(scale, "linear").finish(x)
        at = np.clip((np.arange(10 * scale) + 0.5) / scale - 0.5, 0, 9)
        expected = [[np.interp(at, np.arange(10), row) for row in x[0]]]
        np.testing.assert_allclose(y, expected, atol=1e-14)


@random_layers
@given(
    st.integers(-4, 6),
    st.integers(-4, 6),
    st.sampled_from(["zeros", "reflect", "replicate"]),
    STEPS,
)
def test_rows_of_blocks(left: int, right: int, mode: str, steps: Any) -> None:
    """Streams of any number of rows, given by the first chunk, against each row alone."""

    def make(rows: int) -> Stream:
        straight = Chain(Pad(left, right, "replicate"), Upsample(2, "linear"))
        return Sum(straight, Chain(Upsample(2), Pad(2 * left, 2 * right, mode)))

    due, alone = [0], make(1)
    for _ in range(9 * len(steps)):
        due.append(due[-1] + alone.push(np.zeros((1, 2, 1), np.float32)).shape[-1])

    def offline(x: Any) -> Any:
        y = make(1).finish(x)
        if y.shape[-1] == 0:
            raise ValueError("no sample is left")
        return y

    check_rows(make, offline, 2, np.float32, steps, due.__getitem__)


def test_state_after_the_longest_row_began_again() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 6))
    stream, other = Pad(0, 4, "reflect"), Pad(0, 4, "reflect")
    stream.push(x, active=[True, False])
    stream.push(x[..., :2])
    stream.reset(rows=[True, False])
    state = through_a_file(stream.state())
    assert state["frames"].shape == (2, 3, 2)
    other.restore(state)
    y = other.finish(x)
    assert other.lengths.tolist() == [10, 10]
    same_bits(y[0], padded(x[0], 0, 4, "reflect"))
    same_bits(y[1], padded(np.concatenate([x[1, :, :2], x[1]], -1), 0, 4, "reflect")[:, 2:])


def test_another_batch_after_all_rows_have_ended() -> None:
    for stream in (Pad(1, 2), Upsample(2, "linear"), Chain(Pad(1, 2), Upsample(3))):
        for rows, channels in ((3, 2), (1, 4)):
            x = np.ones((rows, channels, 5))
            stream.push(x, active=np.arange(rows) == 0)
            stream.push(x)
            stream.flush(rows=np.ones(rows, np.bool_))


def test_what_is_refused() -> None:
    for make, error, match in (
        (lambda: Pad(1.5, 0), TypeError, "left must be an int, got 1.5"),
        (lambda: Pad(0, True), TypeError, "right must be an int, got True"),
        (lambda: Pad(2**63, 0), ValueError, r"left must be at most 2\*\*62"),
        (lambda: Pad(1, 1, "circular"), ValueError, "got 'circular': its first samples are"),
        (lambda: Pad(1, 1, "edge"), ValueError, "mode must be one of .*, got 'edge'"),
        (lambda: Pad(1, 1, "reflect", 2), ValueError, "value must be 0 with mode 'reflect'"),
        (lambda: Upsample(0), ValueError, "scale must be a positive int, got 0"),
        (lambda: Upsample(1.5), TypeError, "scale must be a positive int, got 1.5"),
        (lambda: Upsample(2, "cubic"), ValueError, "mode must be 'nearest' or 'linear'"),
    ):
        with pytest.raises(error, match=match):
            make()
    x = np.zeros((1, 2, 5), np.float32)
    for make in (lambda: Pad(1, 1), lambda: Upsample(2, "linear")):
        stream = make()
        with pytest.raises(TypeError, match="chunk must be an array, got list"):
            stream.push([[1.0]])
        with pytest.raises(ValueError, match="chunk must have the shape"):
            stream.push(x[0, 0])
        stream.push(x)
        state = stream.state()
        for chunk in (x[0], x[:, :1], np.concatenate([x, x]), x.astype(np.float64)):
            with pytest.raises(ValueError, match="chunk must be as those before it"):
                stream.push(chunk)
        for wrong in (
            {"received": np.array([-1])},
            {"received": np.array([1.0])},
            {"received": np.array([True])},
            {"received": np.array([5, 5])},
            {"received": None},
            {"frames": None},
            {"frames": x},
        ):
            with pytest.raises(ValueError, match=r"state received|state frames"):
                stream.restore({**state, **wrong})
        for key, value in stream.state().items():
            same_bits(value, state[key])
        stream.flush()
        stream.push(np.concatenate([x, x]).astype(np.float64))  # as new: any batch, any dtype
        assert copy.deepcopy(make()).flush().shape == (0, 0, 0)
        stream = make()
        stream.restore(make().state())
        stream.push(x)


def test_reading() -> None:
    streams = Pad(1, 2), Pad(3, -1, "reflect"), Pad(0, 1, value=2.5), Upsample(3, "linear")
    assert [repr(s) for s in streams] == [
        "Pad(1, 2)",
        "Pad(3, -1, 'reflect')",
        "Pad(0, 1, value=2.5)",
        "Upsample(3, 'linear')",
    ]
