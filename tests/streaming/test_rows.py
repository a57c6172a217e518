"""Rows of a batch that begin and end on their own, each against its own offline output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import DTYPES, Case, cases
from decoders import decoder
from hypothesis import given
from hypothesis import strategies as st
from streams import STEPS, check_rows, scheduled, through_a_file
from test_invariances import random_layers, same_bits

import fracstride as fs
import fracstride.streaming.layer as streaming_layer
from fracstride import packed
from fracstride.extension import STREAMING_MODES
from fracstride.streaming import Chain, Identity, Pad, Pointwise, Stream, Sum, Upsample


@pytest.mark.usefixtures("isa")
@random_layers
@given(cases(), st.sampled_from(STREAMING_MODES), STEPS)
def test_random_layers(case: Case, mode: str, steps: Any) -> None:
    layer = fs.ConvTranspose1d.from_weights(
        case.w, case.b, **{**case.options, "padding_mode": mode}
    )
    check_rows(
        layer.stream,
        layer,
        case.in_channels,
        case.dtype,
        steps,
        lambda frames: scheduled(layer.geometry, frames),
    )


@pytest.mark.usefixtures("isa")
@random_layers
@given(st.integers(0, 2**32), st.sampled_from(DTYPES), STEPS)
def test_random_compositions(seed: int, dtype: Any, steps: Any) -> None:
    # Drawn evenly, since most of Hypothesis's draws have no branches that wait for each other.
    rng = np.random.default_rng(seed)
    make, offline = decoder(lambda low, high: int(rng.integers(low, high + 1)), dtype)
    alone, due = make(1), [0]
    for _ in range(9 * len(steps)):
        due.append(due[-1] + alone.push(np.zeros((1, 3, 1), dtype)).shape[-1])
    check_rows(make, offline, 3, dtype, steps, due.__getitem__)


def up(**options: Any) -> fs.ConvTranspose1d:
    return fs.ConvTranspose1d(2, 2, 8, stride=4, padding=2, rng=0, **options)


def signal(*shape: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def test_lengths() -> None:
    x = signal(3, 2, 4)
    stream, unbatched = up().stream(3), up().stream(None)
    whole = Chain(Identity(), up().stream(3), Sum(Identity(), Pointwise(np.tanh)))
    for s in (stream, whole):
        assert s.lengths.tolist() == [0, 0, 0]
        s.push(x)
        assert s.lengths.tolist() == [14, 14, 14]
        s.push(x, active=[True, False, True])
        assert s.lengths.tolist() == [16, 0, 16]
        s.flush(rows=[False, True, False])
        assert s.lengths.tolist() == [0, 2, 0]
        assert s.push(x).shape == (3, 2, 16)
        assert s.lengths.tolist() == [16, 14, 16]
        s.lengths[:] = 7  # the caller's own
        assert s.lengths.tolist() == [16, 14, 16]
        s.reset(rows=[True, True, False])
        assert s.finish(x[..., :1]).shape == (3, 2, 6)
        assert s.lengths.tolist() == [4, 4, 6]
        assert s.lengths.dtype == np.int64
        s.push(x)
        assert s.lengths.tolist() == [14, 14, 14]
        state = s.state()
        s.reset()
        assert s.lengths.tolist() == [0, 0, 0]
        s.restore(state)
        assert s.lengths.tolist() == [0, 0, 0]
        s.flush()
        assert s.lengths.tolist() == [2, 2, 2]
    assert unbatched.lengths.shape == Identity().lengths.shape == ()
    for s in (unbatched, Chain(unbatched), Chain(unbatched, Identity()), Sum(unbatched)):
        assert s.push(x[0]).shape == (2, 14)
        assert s.lengths.tolist() == 14
        s.reset()
    for s in (Identity(), Chain(Identity()), Sum(Identity(), Identity())):
        s.push(x)
        assert s.lengths.tolist() == [4, 4, 4]


def test_rows_at_different_progress_share_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows past the left edge share one call of the kernel, at any progress."""
    calls = []
    forward = packed.samples

    def counted(source: Any, *args: Any) -> Any:
        calls.append(len(source))
        return forward(source, *args)

    layer, x = up(padding_mode="reflect"), signal(6, 2, 5)
    stream = layer.stream(6)
    for t in range(5):
        stream.push(x, active=np.arange(6) <= t)
    monkeypatch.setattr(packed, "samples", counted)
    stream.push(x[..., :1], active=[True, False, True, True, False, False])
    assert calls == [3]
    stream.push(x[..., :1], active=[True] * 5 + [False])
    assert calls == [3, 5]
    stream.push(x)  # the last one begins
    assert calls == [3, 5, 5, 1]


def test_a_mask_of_all_rows_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain path, with the same results and lengths; and nothing is planned."""
    layer, x = up(), signal(3, 2, 5)

    def planned(*args: Any) -> Any:
        raise AssertionError("rows were planned")

    monkeypatch.setattr(streaming_layer, "plan_rows", planned)
    monkeypatch.setattr("fracstride.streaming.window.plan_rows", planned)
    everyone = [True, True, True]
    for make in (
        lambda: layer.stream(3),
        lambda: Pad(2, 3, "reflect"),
        lambda: Chain(Pad(2, 3), layer.stream(3), Pointwise(np.tanh)),
        lambda: Sum(Identity(), Pad(2, -2)),
    ):
        masked, plain = make(), make()
        for _ in range(2):
            same_bits(masked.push(x, active=everyone), plain.push(x))
            assert masked.lengths.tolist() == plain.lengths.tolist()
            same_bits(masked.finish(x, rows=everyone), plain.finish(x))
            assert masked.lengths.tolist() == plain.lengths.tolist()
            same_bits(masked.flush(rows=everyone), plain.flush())
            assert masked.lengths.tolist() == [0, 0, 0]


@pytest.mark.parametrize("end", ["flush", "finish", "reset"])
def test_another_batch_after_the_rows_have_ended_one_by_one(end: str) -> None:
    for make in (
        lambda: Pad(1, 2, "reflect"),
        lambda: Upsample(2),
        lambda: Pointwise(np.tanh),
        lambda: Chain(Pad(1, 2), Pointwise(np.tanh), Upsample(2)),
        lambda: Sum(Identity(), Pad(1, -1)),
    ):
        stream = make()
        for rows, channels in ((3, 2), (1, 4), (2, 2)):
            x = signal(rows, channels, 6)
            stream.push(x, active=np.arange(rows) < 2)
            assert stream.current_batch == (rows,)
            for row in range(rows):
                one = np.arange(rows) == row
                if end == "flush":
                    stream.flush(rows=one)
                elif end == "finish":
                    stream.finish(x, rows=one)
                else:
                    stream.reset(rows=one)
            assert stream.current_batch is None
            assert stream.flush().shape[-1] == 0
        pieces = [stream.push(x[..., :2]), stream.finish(x[..., 2:])]
        same_bits(np.concatenate(pieces, -1), make().finish(x))


def test_a_signal_without_a_batch_has_no_rows() -> None:
    x = signal(2, 5)
    for stream in (Pad(1, 2), Pointwise(np.tanh), Chain(Pad(1, 2), Identity())):
        stream.push(x)
        for call in (lambda: stream.flush(rows=[True]), lambda: stream.reset(rows=[True])):  # noqa: B023
            with pytest.raises(ValueError, match="rows must be None for a signal without a batch"):
                call()


def test_room_for_rows() -> None:
    layer, x = up(), signal(3, 2, 5)
    stream, other = layer.stream(3), layer.stream(3)
    for mask in ([True, False, True], None, [False, True, False], [False, False, False]):
        expected = other.push(x, active=mask)
        assert stream.output_length(5, rows=mask) == expected.shape[-1]
        wide = np.full((3, 2, 2 * expected.shape[-1]), 9, np.float32)
        out = wide[..., ::2]
        assert stream.push(x, active=mask, out=out) is out
        same_bits(out.copy(), expected)
        assert (wide[..., 1::2] == 9).all()
    with pytest.raises(ValueError, match=r"out must have the shape \(3, 2, 20\)"):
        stream.push(x, active=[True, True, False], out=np.empty((3, 2, 1), np.float32))
    same_bits(stream.state()["frames"], other.state()["frames"])
    mask = [True, False, False]
    out = np.empty((3, 2, stream.output_length(0, last=True, rows=mask)), np.float32)
    same_bits(stream.flush(rows=mask, out=out).copy(), other.flush(rows=mask))
    with pytest.raises(ValueError, match="active must be a mask of 3 bools"):
        stream.output_length(1, rows=[True])
    with pytest.raises(ValueError, match="rows must be a mask of 3 bools"):
        stream.output_length(1, rows=[True], last=True)


def test_a_branch_that_is_too_short() -> None:
    """Samples that wait in one branch are not added to the next signal of the row."""
    rng = np.random.default_rng(0)
    crop, grow = (
        fs.ConvTranspose1d.from_weights(rng.standard_normal((2, 2, k)), padding=p)
        for k, p in ((1, 3), (7, 0))
    )
    stream = Sum(Identity(), Chain(crop.stream(2), grow.stream(2)))
    x = signal(2, 2, 12, dtype=float)
    stream.push(x[..., :4], active=[True, False])
    assert stream.flush(rows=[True, False]).shape[-1] == 0
    stream.push(x[..., :5])
    stream.reset(rows=[False, True])
    y = stream.finish(x)
    assert stream.lengths.tolist() == [17, 12]
    same_bits(y[1:, :, :12], (x + grow(crop(x)))[1:])
    whole = np.concatenate([x[..., :5], x], -1)
    same_bits(y[:1], (whole + grow(crop(whole)))[:1])


def test_refused_pushes_change_nothing() -> None:
    layer, x = up(), signal(3, 2, 5)
    narrow, wide = (fs.ConvTranspose1d(2, 2, k, 1, (k - 1) // 2, rng=k) for k in (3, 21))
    for stream in (
        layer.stream(3),
        Chain(Pointwise(np.tanh), layer.stream(3)),
        Sum(narrow.stream(3), wide.stream(3)),
    ):
        stream.push(x, active=[True, True, False])
        stream.push(x, active=[True, False, False])
        before = stream.state()
        on = [True, False, True]
        for chunk in (x[:1], x[:, :1], x[0], x.astype(float), 1.0, None):
            for call in (
                lambda chunk=chunk: stream.push(chunk),  # noqa: B023
                lambda chunk=chunk: stream.push(chunk, active=on),  # noqa: B023
                lambda chunk=chunk: stream.finish(chunk, rows=on),  # noqa: B023
            ):
                with pytest.raises((ValueError, TypeError), match="chunk must"):
                    call()
        for mask in ([True], [1, 0, 1], "no", np.ones((3, 1), bool)):
            with pytest.raises(ValueError, match="active must be a mask of 3 bools"):
                stream.push(x, active=mask)
            with pytest.raises(ValueError, match="rows must be a mask of 3 bools"):
                stream.reset(rows=mask)
        after = stream.state()
        assert after.keys() == before.keys()
        for key in before:
            same_bits(after[key], before[key])
        stream.push(x)


def test_a_function_gets_zeros_for_what_a_row_does_not_have() -> None:
    seen = []

    def function(x: Any) -> Any:
        seen.append(x.copy())
        return x + 1

    x = signal(2, 2, 3)
    stream = Chain(Pointwise(function), Pointwise(function), up().stream(2))
    stream.push(x, active=[False, True])
    zeros = np.zeros_like(x[0])
    seen = [chunk for chunk in seen if chunk.shape[-1]]  # the first came without its frames, too
    same_bits(seen[0], np.stack([zeros, x[1]]))
    same_bits(seen[1], np.stack([zeros, x[1] + 1]))


def test_states_of_rows_that_are_refused() -> None:
    narrow, wide = (fs.ConvTranspose1d(2, 2, k, 1, (k - 1) // 2, rng=k) for k in (3, 21))
    x = signal(2, 2, 7)

    def make() -> Stream:
        return Sum(narrow.stream(2), wide.stream(2))

    stream = make()
    stream.push(x)
    stream.push(x, active=[True, False])
    state = stream.state()
    assert state["0.lengths"].tolist() == [9, 6]
    assert not state["0.waiting"][1, :, 6:].any()
    for lengths in ([9, 7, 1], [8, 6], [9, -1], [9.0, 6.0], "no", 9, []):
        with pytest.raises(ValueError, match=r"state 0.lengths must be an integer for each row"):
            make().restore({**state, "0.lengths": np.array(lengths)})
    without = {key: value for key, value in state.items() if key != "0.waiting"}
    with pytest.raises(ValueError, match=r"state 0.lengths must be"):
        make().restore(without)
    other = make()
    other.restore(through_a_file(state))
    same_bits(other.push(x), stream.push(x))
    assert other.lengths.tolist() == stream.lengths.tolist()
