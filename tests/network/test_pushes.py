"""Pushes like those before take a short way: it must refuse and compute what the long way does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fracstride as fs
from fracstride.network import Graph, Network
from fracstride.network.operations.arithmetic import Add
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.embedding import Embedding
from fracstride.network.operations.leaky_relu import LeakyReLU
from fracstride.network.streaming.stream import NetworkStream


def network(dtype: Any = "float32", *, down: int = 1) -> Network:
    """A residual decoder, or with `down` one that goes down in rate first."""
    graph = Graph()
    x = graph.add_input("x", 3)
    if down > 1:
        x = graph.add(Conv1d(fs.Conv1d(3, 3, 2 * down, stride=down, padding=1, rng=5)), x)
    up = fs.ConvTranspose1d(3, 4, 8, stride=4, padding=2, rng=0)
    x = graph.add(ConvTranspose1d(up), x)
    y = graph.add(LeakyReLU(0.1), x)
    for dilation in (1, 3):
        layer = fs.Conv1d(4, 4, 5, dilation=dilation, padding=2 * dilation, rng=dilation)
        y = graph.add(Conv1d(layer), y)
    graph.outputs.append(graph.add(Add(), x, y))
    return Network(graph).astype(dtype)


def signal(frames: int, batch: int = 1, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(frames).standard_normal((batch, 3, frames)).astype(dtype)


def pushed(stream: NetworkStream, x: np.ndarray, size: int) -> np.ndarray:
    pieces = [stream.push(x[..., t : t + size]) for t in range(0, x.shape[-1], size)]
    return np.concatenate([*pieces, stream.flush()], -1)


@pytest.mark.parametrize("down", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_short_way_has_the_bits(down: int, dtype: str, batch: int) -> None:
    net = network(dtype, down=down)
    x = signal(120, batch).astype(net.dtype)
    stream, expected = net.stream(batch), net(x)
    for size in (1, 2, 3, 7, 1):
        assert pushed(stream, x, size).tobytes() == expected.tobytes()


def test_chunks_that_lie_anyhow() -> None:
    net, x = network(), signal(90, 2)
    stream, pieces = net.stream(2), []
    wide = np.zeros((90, 5, 2), np.float32)
    turned = wide.transpose(2, 1, 0)[:, 1:4]
    turned[...] = x
    backwards = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    read_only = x.copy()
    read_only.flags.writeable = False
    for t in range(90):
        chunk = (x, turned, backwards, read_only)[t % 4][..., t : t + 1]
        pieces.append(stream.push(chunk.copy() if t % 5 == 0 else chunk))
    assert np.array_equal(np.concatenate([*pieces, stream.flush()], -1), net(x))


def test_chunks_that_do_not_fit_change_nothing() -> None:
    net, x = network(), signal(60)
    stream, other = net.stream(), net.stream()
    pieces = [stream.push(x[..., t : t + 1]) for t in range(40)]
    wrong: list[Any] = [
        x[:, :2, :1],
        x[0, :, :1],
        np.repeat(x[..., :1], 2, 0),
        x[..., :1].astype(np.complex64),
        x[..., :1, None],
        x[..., :1].astype(np.int64),
        "x",
        None,
    ]
    for chunk in wrong:
        with pytest.raises((TypeError, ValueError)) as later:
            stream.push(chunk)
        with pytest.raises(type(later.value)) as first:
            other.push(chunk)
        assert str(later.value) == str(first.value)
    pieces += [stream.push(x[..., t : t + 1]) for t in range(40, 60)]
    assert np.array_equal(np.concatenate([*pieces, stream.flush()], -1), net(x))


def test_numbers_of_other_types_go_the_long_way() -> None:
    net, x = network(), signal(60)
    stream = net.stream()
    assert np.array_equal(pushed(stream, x, 1), net(x))  # the short way is known now
    pieces = []
    for t in range(60):
        chunk = x[..., t : t + 1]
        pieces.append(stream.push((chunk.astype(">f4"), chunk.view(np.recarray))[t % 2]))
    assert np.array_equal(np.concatenate([*pieces, stream.flush()], -1), net(x))


def test_a_stream_without_a_batch() -> None:
    net, x = network(), signal(50)
    stream = net.stream(None)
    for size in (1, 1, 4):
        assert np.array_equal(pushed(stream, x[0], size), net(x)[0])
    stream.push(x[0, :, :5])
    assert stream.lengths.shape == ()


def test_lengths_and_states_are_those_of_the_long_way() -> None:
    net, x = network(), signal(80, 2)
    stream, long_way = net.stream(2), net.stream(2)
    for t in range(60):
        chunk = x[..., t : t + 1]
        y = stream.push(chunk)
        z = long_way.push(chunk, active=[True, True])  # a mask takes the long way
        assert np.array_equal(y, z)
        assert np.array_equal(stream.lengths, long_way.lengths)
    states = stream.state(), long_way.state()
    assert states[0].keys() == states[1].keys()
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_rows_that_part_and_meet_again() -> None:
    net, x = network(), signal(90, 2)
    stream = net.stream(2)
    for t in range(30):
        stream.push(x[..., t : t + 1])
    stream.push(x[..., 30:34], active=[True, False])
    stream.push(x[..., 30:34], active=[False, True])
    pieces = [stream.push(x[..., t : t + 1]) for t in range(34, 90)]
    rest = stream.flush()
    tail = np.concatenate([*pieces, rest], -1)
    assert np.array_equal(tail, net(x)[..., -tail.shape[-1] :])


def test_plans_that_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """More sizes of chunks than are remembered; those that come again are right."""
    monkeypatch.setattr("fracstride.network.streaming.memory._PLANS", 6)
    net, x = network(down=3), signal(400)
    stream, rng, pieces, now = net.stream(), np.random.default_rng(3), [], 0
    while now < 400:
        size = int(rng.integers(0, 6))
        pieces.append(stream.push(x[..., now : now + size]))
        now += size
        assert len(stream.memory.pieces) <= 6
        assert len(stream.memory.usual) <= 6
    assert np.array_equal(np.concatenate([*pieces, stream.flush()], -1), net(x))


def test_a_push_that_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = network(), signal(60)
    stream = net.stream()
    for t in range(30):
        stream.push(x[..., t : t + 1])
    plan = stream.memory.usual[stream.schedule.settled, 1]

    def fail(*_: Any) -> bool:
        raise MemoryError

    monkeypatch.setattr(plan.push, "run", fail)
    with pytest.raises(MemoryError):
        stream.push(x[..., 30:31])
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="reset"):
        stream.push(x[..., 30:31])
    stream.reset()
    assert np.array_equal(pushed(stream, x, 1), net(x))


def test_codes_that_wait_do_not_move_before_others_are_refused() -> None:
    graph = Graph()
    first, second = (graph.add_input(name, 1, codes=True) for name in ("first", "second"))
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(n, 3)).astype("f4") for n in (9, 4)]
    later = graph.add(Embedding(tables[0]), graph.add(Crop(0, 2), first))
    graph.outputs += [later, graph.add(Embedding(tables[1]), second)]
    net, stream = Network(graph), Network(graph).stream()
    codes = [rng.integers(0, n, (1, 1, 30)) for n in (9, 4)]
    pieces = []
    for t in range(0, 30, 3):
        given = [x[..., t : t + 3] for x in codes]
        if t:
            with pytest.raises(ValueError, match="codes must be 0 to 3, got 4"):
                stream.push((given[0] + 1) % 9, np.full_like(given[1], 4))
        pieces.append(stream.push(*given))
    pieces.append(stream.flush())
    found = [np.concatenate(each, -1) for each in zip(*pieces, strict=True)]
    assert all(map(np.array_equal, found, net(*codes)))
