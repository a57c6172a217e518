"""Compositions of streams against the same compositions of layers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import DTYPES
from decoders import decoder
from hypothesis import given
from hypothesis import strategies as st
from streams import check_stream
from test_invariances import random_layers, same_bits

import fracstride as fs
from fracstride.streaming import Chain, Identity, Pointwise, Stream, Sum


@pytest.mark.usefixtures("isa")
@random_layers
@given(st.data(), st.sampled_from(DTYPES), st.lists(st.integers(0, 60), max_size=8))
def test_random_decoders(data: st.DataObject, dtype: Any, cuts: list[int]) -> None:
    def pick(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    batch, length = pick(1, 2), pick(1, 60)
    make_rows, offline = decoder(pick, dtype)

    def make() -> Stream:
        return make_rows(batch)

    x = np.random.default_rng(0).standard_normal((batch, 3, length)).astype(dtype)
    # Frame by frame first: how much has come out depends on the number of frames only.
    stream, out = make(), [0]
    for t in range(length):
        out.append(out[-1] + stream.push(x[..., t : t + 1]).shape[-1])
    for frames, samples in enumerate(out):
        due = max(0, frames * stream.stride - stream.latency)
        # Fewer samples only while a left edge waits for the frames that it mirrors.
        assert samples == due or (samples < due and "reflect" in repr(stream))
    rest = stream.flush().shape[-1]
    check_stream(make, offline, x, cuts, out.__getitem__)
    total = length * stream.stride + stream.overhang
    assert out[-1] + rest in (0, total)


def residual(kernel: int, padding: Any, batch: int = 1, **options: Any) -> tuple[Any, Any]:
    layer = fs.ConvTranspose1d.from_conv1d(
        np.random.default_rng(kernel).standard_normal((4, 4, kernel)).astype(np.float32),
        padding=padding,
        **options,
    )
    stream = Sum(Identity(), Chain(Pointwise(np.tanh), layer.stream(batch)))
    return stream, lambda x: x + layer(np.tanh(x))


def test_latencies_add_up() -> None:
    up = fs.ConvTranspose1d(4, 4, 16, stride=8, padding=4, rng=0)
    a, _ = residual(3, "same")
    b, _ = residual(11, "same", dilation=5)
    whole = Chain(up.stream(), a, Pointwise(np.tanh), b, up.stream())
    assert (a.latency, b.latency) == (1, 25)
    # The latency of the chain: the sum of all latencies, in samples of the final output.
    assert whole.latency == (4 + 1 + 25) * 8 + 4
    assert whole.stride == 64
    assert whole.overhang == 0
    sizes = [whole.push(np.ones((1, 4, 1), np.float32)).shape[-1] for _ in range(10)]
    assert np.cumsum(sizes).tolist() == [max(0, 64 * t - whole.latency) for t in range(1, 11)]
    assert whole.flush().shape[-1] == whole.latency
    causal = Chain(residual(7, "causal")[0], residual(3, "causal", dilation=9)[0])
    assert causal.latency == 0


@pytest.mark.usefixtures("isa")
def test_chunks_that_are_lists() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 40)).astype(np.float32)
    narrow, wide = (fs.ConvTranspose1d(2, 2, k, 1, (k - 1) // 2, rng=k) for k in (3, 21))
    for a, b in ((narrow, wide), (wide, narrow)):
        stream = Sum(a.stream(), b.stream())
        pieces = [stream.push(x[..., t : t + 20].tolist()) for t in (0, 20)]
        same_bits(np.concatenate([*pieces, stream.flush()], -1), a(x) + b(x))


def test_branches_that_upsample() -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 40)).astype(np.float32)
    for stride in (1, 2, 3, 8):
        layers = [
            fs.ConvTranspose1d(4, 5, k * stride, stride, padding, rng=k)
            for k, padding in ((1, "same"), (5, "same"), (3, "causal"), (9, "same"))
        ]
        for a in layers:
            for b in layers:
                for cuts in ([1, 2, 3, 9], [20], []):
                    check_stream(
                        lambda a=a, b=b: Sum(a.stream(), b.stream()),
                        lambda x, a=a, b=b: a(x) + b(x),
                        x,
                        cuts,
                    )


def test_rows_of_a_whole_decoder() -> None:
    """Rows begin and end at different times; each gives the samples that it gives alone."""
    rng = np.random.default_rng(0)
    up = fs.ConvTranspose1d(4, 4, 9, stride=4, padding="causal", rng=0)
    tail = fs.ConvTranspose1d(4, 4, 8, stride=4, rng=1)
    conv = fs.ConvTranspose1d.from_conv1d(
        rng.standard_normal((4, 4, 5)).astype(np.float32), padding="causal"
    )

    def make(batch: int) -> Stream:
        block = Sum(Identity(), Chain(Pointwise(np.tanh), conv.stream(batch)))
        return Chain(up.stream(batch), block, Pointwise(np.sin), tail.stream(batch))

    def offline(x: Any) -> Any:
        y = up(x)
        return tail(np.sin(y + conv(np.tanh(y))))

    x = rng.standard_normal((3, 4, 30)).astype(np.float32)
    together, heard = make(3), [[], [], []]
    assert together.independent_rows
    spans = {0: (0, 12), 1: (3, 30), 2: (7, 15)}  # when each of them listens
    for t in range(30):
        active = np.array([a <= t < b for a, b in spans.values()])
        y = together.push(x[..., t : t + 1], active=active)
        for row in np.flatnonzero(active):
            heard[row].append(y[row])
        leaving = np.array([t + 1 == b for _, b in spans.values()])
        if leaving.any():
            y = together.flush(rows=leaving)
            for row in np.flatnonzero(leaving):
                heard[row].append(y[row])
    for row, (a, b) in spans.items():
        same_bits(np.concatenate(heard[row], -1), offline(x[row : row + 1, :, a:b])[0])
    # All rows begin again, one of them later; from then on no mask is needed.
    together.push(x)
    together.reset(rows=np.array([True, True, True]))
    heard = [[], [], []]
    for t in range(30):
        y = together.push(x[..., t : t + 1], active=[True, True, t > 2] if t < 7 else None)
        for row in range(3):
            heard[row].append(y[row])
    y = together.flush()
    for row, first in enumerate((0, 0, 3)):
        alone = offline(x[row : row + 1, :, first:])[0]
        same_bits(np.concatenate([*heard[row][first:], y[row]], -1), alone)
    together.push(x)
    together.reset(rows=[True, True, True])
    same_bits(
        np.concatenate([together.push(x[..., :1]), together.finish(x[..., 1:])], -1), offline(x)
    )


def test_state_of_another_is_refused() -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 9)).astype(np.float32)
    chain = Chain(residual(3, "same")[0], residual(5, "same")[0])
    chain.push(x)
    before = chain.state()
    other = Chain(residual(3, "same")[0], residual(7, "same")[0])
    other.push(2 * x)
    for state, error, match in (
        (other.state(), ValueError, "argument 1 of Chain: argument 1 of Sum: argument 1 of Chain"),
        ({}, ValueError, "state must have the keys"),
        ({"7.frames": x}, ValueError, "composition of 2 streams, got the key '7.frames'"),
        ({"frames": x}, ValueError, "composition of 2 streams, got the key 'frames'"),
        (3, TypeError, "state must be what a stream's state"),
        ({**before, "0.0.waiting": x[:, :3]}, ValueError, "waiting must be an array of 4 channels"),
        ({**before, "0.1.waiting": x[:, :3]}, ValueError, "waiting must be an array of 4 channels"),
        ({**before, "0.0.waiting": x[[0, 0]]}, ValueError, "waiting must be .* 1 rows"),
        ({**before, "0.0.waiting": x[0]}, ValueError, "waiting must be .* 1 rows"),
        ({**before, "0.0.waiting": x[0, 0]}, ValueError, "waiting must be an array"),
        ({**before, "0.0.waiting": memoryview(x)}, ValueError, "waiting must be an array"),
        ({**before, "0.0.waiting": x.astype(str)}, ValueError, "arrays of numbers"),
    ):
        with pytest.raises(error, match=match):
            chain.restore(state)
        after = chain.state()
        assert after.keys() == before.keys()
        for key in before:
            same_bits(after[key], before[key])


def test_what_does_not_fit() -> None:
    a, b = fs.ConvTranspose1d(4, 6, 4, 2, 1, rng=0), fs.ConvTranspose1d(4, 6, 3, 1, 1, rng=0)
    wide = fs.ConvTranspose1d(4, 6, 4, 2, 0, rng=0)
    with pytest.raises(
        TypeError, match=r"argument 1 of Chain must be a stream, .*its .stream\(\)\?"
    ):
        Chain(Identity(), a)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="argument 0 of Sum must be a stream, got 3"):
        Sum(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="argument 2 of Chain must take the 6 channels"):
        Chain(a.stream(), Pointwise(np.tanh), b.stream())
    with pytest.raises(
        ValueError, match="must have the batch_size of argument 0 of Chain, 1, got 2"
    ):
        Chain(a.stream(), fs.ConvTranspose1d(6, 4, 3).stream(2))
    with pytest.raises(ValueError, match="must have the stride of argument 0 of Sum, 2, got 1"):
        Sum(a.stream(), b.stream())
    with pytest.raises(
        ValueError, match=r"must have the overhang \(total length\) of .*, 0, got 2"
    ):
        Sum(a.stream(), wide.stream())
    with pytest.raises(ValueError, match="must have the out_channels of"):
        Sum(a.stream(), fs.ConvTranspose1d(4, 5, 4, 2, 1).stream())
    with pytest.raises(ValueError, match="Sum must have a branch"):
        Sum()
    with pytest.raises(ValueError, match="Chain must have a stream, got none"):
        Chain()
    same = b.stream()
    with pytest.raises(ValueError, match="more than once"):
        Chain(Sum(same, b.stream()), Chain(same))
    with pytest.raises(TypeError, match="function must be callable, got 3"):
        Pointwise(3)  # type: ignore[arg-type]
    x = np.ones((1, 4, 5), np.float32)
    with pytest.raises(ValueError, match="function must be elementwise: it made"):
        Pointwise(lambda x: x[..., 1:]).push(x)
    with pytest.raises(ValueError, match="must put out"):
        Sum(Identity(), b.stream()).push(x)
    unbatched = Chain(Identity(), a.stream(None))
    for call in (
        lambda: unbatched.push(x[0], active=[True]),
        lambda: unbatched.finish(x[0], rows=[True]),
        lambda: unbatched.flush(rows=[True]),
        lambda: unbatched.reset(rows=[True]),
    ):
        with pytest.raises(
            ValueError, match=r"(active|rows) must be None for a stream that has no batch"
        ):
            call()
    for stream in (Chain(Identity(), a.stream()), Sum(b.stream(), b.stream()), Pointwise(np.tanh)):
        for mask in ([True, False], [1], True, [[True]]):
            with pytest.raises(ValueError, match="active must be a mask of 1 bools"):
                stream.push(x, active=mask)
            with pytest.raises(ValueError, match="rows must be a mask of 1 bools"):
                stream.finish(x, rows=mask)
    with pytest.raises(ValueError, match="active must be None for a chunk without a batch"):
        Identity().push(x[0], active=[True])
    with pytest.raises(ValueError, match="rows must be a mask of bools"):
        Identity().flush(rows=[3])


def test_a_failure_half_way() -> None:
    layer = fs.ConvTranspose1d(4, 4, 3, padding=1, rng=0)
    x = np.random.default_rng(0).standard_normal((1, 4, 9)).astype(np.float32)
    works = [True]

    def function(x: Any) -> Any:
        if works[0]:
            return np.tanh(x)
        raise KeyError("the caller's own")

    for stream in (
        Chain(layer.stream(), Pointwise(function)),
        Sum(Chain(layer.stream(), Identity()), Pointwise(function)),
        Sum(layer.stream(), Chain(layer.stream(), Pointwise(function), layer.stream())),
        Chain(Pointwise(function), layer.stream()),  # fails before anything has changed
    ):
        expected = stream.finish(x)
        stream.push(x)
        state = stream.state()
        works[0] = False
        with pytest.raises(KeyError):
            stream.push(x)
        works[0] = True
        if isinstance(stream._streams[0], Pointwise):
            stream.push(x)
        else:
            for call in (lambda: stream.push(x), stream.flush, lambda: stream.finish(x)):  # noqa: B023
                with pytest.raises(RuntimeError, match="failed half way: reset"):
                    call()
        stream.restore(state)
        stream.push(x)
        stream.reset()
        same_bits(stream.finish(x), expected)
    # A chunk that the first layer refuses has changed nothing.
    chain = Chain(Pointwise(np.tanh), layer.stream(), Pointwise(np.tanh))
    with pytest.raises(ValueError, match="chunk must have the shape"):
        chain.push(x[:, :3])
    chain.push(x)


def test_a_refused_state_repairs_nothing() -> None:
    layers = [fs.ConvTranspose1d(4, 4, 3, padding=1, rng=i) for i in range(3)]
    x = np.ones((1, 4, 9), np.float32)
    works = [True]

    def function(x: Any) -> Any:
        return x if works[0] else 1 / 0

    inner = Chain(layers[0].stream(), Pointwise(function), layers[1].stream())
    outer = Chain(inner, layers[2].stream())
    outer.push(x)
    state = outer.state()
    works[0] = False
    with pytest.raises(ZeroDivisionError):
        outer.push(x)
    works[0] = True
    with pytest.raises(ValueError, match="argument 1 of Chain"):
        outer.restore({**state, "1.frames": x})
    for call in (lambda: outer.push(x), lambda: outer.reset(rows=[True])):
        with pytest.raises(RuntimeError, match="this Chain failed half way"):
            call()
    outer.restore(state)
    outer.push(x)
    outer.reset(rows=[True])


def test_a_sum_that_fails_while_adding() -> None:
    layer = fs.ConvTranspose1d(4, 4, 3, padding=1, rng=0)
    x = np.ones((1, 4, 9), np.float32)
    wrong = [False]
    branch = Pointwise(lambda x: x.astype("S1") if wrong[0] else x)
    stream = Sum(branch, layer.stream())
    stream.push(x)
    wrong[0] = True
    with pytest.raises(TypeError):
        stream.push(x)
    with pytest.raises(RuntimeError, match="failed half way"):
        stream.push(x)


def test_a_nested_sum_that_fails_while_adding() -> None:
    layers = [fs.ConvTranspose1d(4, 4, 3, padding=1, rng=i) for i in range(2)]
    inner = Sum(*(layer.stream() for layer in layers))
    outer = Sum(Identity(), inner)
    x = np.full((1, 4, 9), 3e38, np.float32)
    for layer in layers:
        layer.weight = np.zeros_like(layer.weight)
        layer.bias = np.full(4, 3e38, np.float32)
    layers[1].bias = np.zeros(4, np.float32)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        outer.push(x)
    with pytest.raises(RuntimeError, match="failed half way"):
        outer.push(x)
    outer.reset()
    assert outer.push(0 * x).shape == (1, 4, 8)


def test_nobody_active() -> None:
    layer = fs.ConvTranspose1d.from_conv1d(np.ones((4, 4, 3), np.float32), padding="causal")
    x = np.random.default_rng(0).standard_normal((2, 4, 9)).astype(np.float32)
    stream = Sum(Identity(), layer.stream(2))
    assert stream.push(100 * x, active=[False, False]).shape == x.shape
    same_bits(stream.push(x), x + layer(x))


def test_a_chunk_without_frames_at_all() -> None:
    with pytest.raises(TypeError, match="chunk must be an array, got list"):
        Identity().push([[1.0]])
    for stream in (Identity(), Chain(Identity()), Sum(Identity(), Identity())):
        for chunk in (np.float32(1), np.ones(3, np.float32)):
            with pytest.raises(ValueError, match=r"chunk must have the shape \(batch, channels"):
                stream.push(chunk)


def test_nothing_pushed() -> None:
    layer = fs.ConvTranspose1d(4, 6, 3, stride=2, rng=0)
    for make, shape in (
        (lambda: Identity(), (0, 0, 0)),
        (lambda: Sum(Identity(), Pointwise(np.tanh)), (0, 0, 0)),
        (lambda: Chain(Identity(), layer.stream(2), Pointwise(np.tanh)), (2, 6, 0)),
        (lambda: Chain(layer.stream(None)), (6, 0)),
    ):
        assert make().flush().shape == shape
        stream = copy.deepcopy(make())
        stream.reset()
        stream.restore(stream.state())
        assert stream.flush().shape == shape
    assert Chain(Identity(), Identity()).finish(np.ones((1, 2, 3))).shape == (1, 2, 3)


def test_reading_a_composition() -> None:
    layer = fs.ConvTranspose1d(4, 4, 3, padding=1)
    chain = Chain(Sum(Identity(), Chain(Pointwise(np.tanh), layer.stream(negative_slope=0.1))))
    assert repr(chain) == (
        "Chain(Sum(Identity(), Chain(Pointwise(tanh), ConvTranspose1d(4, 4, kernel_size=3, "
        "padding=(1, 1)).stream(negative_slope=0.1))))"
    )
    assert (chain.in_channels, chain.out_channels, chain.batch_size) == (4, 4, 1)
