"""Networks fed chunk by chunk."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from network_streams import check_streams
from networks import RandomGraph, inputs_of, same_bits

import fracstride as fs
from fracstride.network import Extent, Graph, Network
from fracstride.network.operations.arithmetic import Add, Multiply
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.embedding import Embedding
from fracstride.network.operations.functions import Tanh
from fracstride.network.operations.leaky_relu import LeakyReLU
from fracstride.network.operations.lstm import LSTM
from fracstride.network.operations.pad import Pad
from fracstride.network.streaming.schedule import Schedule
from fracstride.streaming import Chain, Identity, Pointwise, Sum
from fracstride.streaming.testing import assert_streams_exactly

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "150"))


@pytest.mark.parametrize("exact", [True, False])
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_graphs(exact: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = RandomGraph(rng, exact=exact).graph
    dtype = "f8" if exact else "f4"
    network = Network(graph, dtype, fused=bool(rng.integers(4))).astype(dtype)
    for ticks in (network.least - 1, network.least, network.least + int(rng.integers(1, 40))):
        if ticks:
            check_streams(network, inputs_of(graph, ticks, 2, dtype), ticks, rng)


@settings(max_examples=max(1, EXAMPLES // 6), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_rows_states_and_claims(seed: int) -> None:
    """What each stream promises: rows of their own, states, rate and latency."""
    rng = np.random.default_rng(seed)
    graph = RandomGraph(rng, exact=False).graph
    del graph.outputs[1:]
    graph = graph.without_unused()
    assume(not any(node.reads_codes for node in graph.nodes))
    graph.inputs = [value for value in graph.inputs if not value.is_codes]
    network = Network(graph, "f4")
    x, whole = inputs_of(graph, network.least + int(rng.integers(2, 20)), 3)
    another = network.stream(3, [whole])
    assert_streams_exactly(
        network.stream(3, [whole]), lambda x: network(x, whole[: len(x)]), x, another=another
    )


def decoder(rng: Any, *, units: int = 4, reverse: bool = False) -> Graph:
    """Frames and a signal at their samples' rate, with a part that has no time."""
    graph = Graph()
    frames = graph.add_input("frames", 3)
    source = graph.add_input("source", 2, Extent.affine(4))
    speaker = graph.add_input("speaker", 5, Extent.affine(0, 1))
    weights = [
        rng.normal(0, 0.4, shape).astype("f4") for shape in ((4 * units, 3), (4 * units, units))
    ]
    x = graph.add(LSTM(weights[0], weights[1], reverse=reverse), frames, path="rnn")
    condition = graph.add(Tanh(), graph.add(Conv1d(fs.Conv1d(5, units, 1, rng=1)), speaker))
    x = graph.add(Multiply(), x, condition)
    up = fs.ConvTranspose1d(units, 2, 8, stride=4, padding=2, padding_mode="reflect", rng=2)
    x = graph.add(Add(), graph.add(ConvTranspose1d(up), x), source)
    y = graph.add(Conv1d(fs.Conv1d(2, 2, 7, padding=3, rng=3)), graph.add(LeakyReLU(0.1), x))
    down = graph.add(Conv1d(fs.Conv1d(2, 3, 5, stride=8, padding=2, rng=4)), y)
    graph.outputs += [graph.add(Add(), x, y), down]
    return graph


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_several_rates(dtype: str) -> None:
    rng = np.random.default_rng(0)
    network = Network(decoder(rng)).astype(dtype)
    for ticks in (1, 2, 5, 40):
        inputs = inputs_of(network.graph, ticks, 2, network.dtype)
        check_streams(network, inputs, ticks, rng)


def test_threads_and_one_network() -> None:
    """Streams of one network in threads of their own, while the library uses two."""
    network = Network(decoder(np.random.default_rng(1)))
    failed: list[BaseException] = []

    def listen(seed: int) -> None:
        try:
            check_streams(
                network, inputs_of(network.graph, 30, 2, seed=seed), 30, np.random.default_rng(seed)
            )
        except BaseException as error:
            failed.append(error)

    before = fs.get_num_threads()
    fs.set_num_threads(2)
    try:
        threads = [threading.Thread(target=listen, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        fs.set_num_threads(before)
    assert not failed


def test_no_growth() -> None:
    """Memory and plans stay as they are, whatever comes later."""
    graph = Graph()
    x = graph.add_input("x", 2)
    layer = fs.Conv1d(2, 2, 5, stride=3, padding=2, rng=0)
    graph.outputs.append(graph.add(Conv1d(layer), graph.add(LeakyReLU(0.1), x)))
    stream = Network(graph).stream()
    chunk = np.ones((1, 2, 1), np.float32)
    for _ in range(60):
        stream.push(chunk)
    windows, plans = dict(stream.memory.windows), stream.memory.pieces
    for _ in range(100_000):
        stream.push(chunk)
    assert stream.memory.windows == windows
    assert sorted(stream.memory.pieces) == sorted(plans)
    assert stream.flush().shape[2] == layer.geometry.output_length(100_060) - stream.output_length(
        100_060
    )


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"cannot stream: rnn \(LSTM\) begins at the end"):
        Network(decoder(rng, reverse=True)).stream(constants=[np.ones((1, 5, 1), "f4")])
    graph = Graph()
    x = graph.add_input("x", 2)
    graph.outputs.append(graph.add(Pad(1, 1, "circular"), x, path="net.pad"))
    with pytest.raises(ValueError, match=r"net\.pad \(Pad\) pads 'circular': its first"):
        Network(graph).stream()
    circular = fs.Conv1d(2, 2, 3, padding=1, padding_mode="circular")
    graph.outputs = [graph.add(Conv1d(circular), x, path="net.conv")]
    with pytest.raises(ValueError, match=r"net\.conv \(Conv1d\) is padded 'circular'"):
        Network(graph).stream()
    whole = graph.add_input("whole", 2, Extent.affine(0, 1))
    graph.outputs = [graph.add(Tanh(), x), graph.add(Tanh(), whole)]
    with pytest.raises(ValueError, match="output 1 has no time"):
        Network(graph).stream(constants=[np.ones((1, 2, 1), "f4")])
    alone = Graph()
    alone.outputs.append(alone.add(Tanh(), alone.add_input("x", 2, Extent.affine(0, 1))))
    with pytest.raises(ValueError, match="none of its inputs has time"):
        Network(alone).stream()


def test_codes() -> None:
    """A code that no table has changes nothing."""
    graph = Graph()
    codes = graph.add_input("codes", 2, codes=True)
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(n, 3)).astype("f4") for n in (5, 7)]
    rows = [graph.add(Channels((i,)), codes) for i in (0, 1)]
    x = graph.add(
        Add(), *(graph.add(Embedding(t), r, path="book") for t, r in zip(tables, rows, strict=True))
    )
    weights = [rng.normal(0, 0.4, shape).astype("f4") for shape in ((8, 3), (8, 2))]
    x = graph.add(LSTM(*weights), x)
    up = fs.ConvTranspose1d(2, 1, 8, stride=4, padding=2, rng=0)
    graph.outputs += [graph.add(ConvTranspose1d(up), x), codes]
    network = Network(graph)
    given = np.stack([rng.integers(0, n, (2, 20)) for n in (5, 7)], 1)
    for inputs in (given, given.astype(np.int16)):
        check_streams(network, [inputs], 20, rng)
    stream = network.stream(2)
    first = stream.push(given[:, :, :9])
    wrong = given.copy()
    wrong[1, 1, 12] = 7
    with pytest.raises(ValueError, match=r"book \(Embedding\): codes must be 0 to 6, got 7"):
        stream.push(wrong[:, :, 9:])
    with pytest.raises(TypeError, match="chunk must be codes"):
        stream.push(given.astype("f4"))
    last = stream.finish(given[:, :, 9:])
    found = [np.concatenate(pieces, -1) for pieces in zip(first, last, strict=True)]
    same_bits(found, network(given))


def test_wrong_chunks() -> None:
    """Each gets a sentence, and the stream is as it was."""
    network = Network(decoder(np.random.default_rng(0)))
    speaker = np.ones((2, 5, 1), "f4")
    with pytest.raises(TypeError, match=r"constants must be the 1 inputs without time \(speaker\)"):
        network.stream(2)
    with pytest.raises(ValueError, match=r"constants: speaker must have the shape \(2, 5, 1\)"):
        network.stream(2, [speaker[:1]])
    with pytest.raises(ValueError, match="batch_size must be a positive int, got 0"):
        network.stream(0, [speaker])
    frames, source, _ = inputs_of(network.graph, 12, 2)
    stream = network.stream(2, [speaker])
    stream.push(frames[:, :, :9], source[:, :, :36])
    before = stream.state()
    wrong: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
        (TypeError, "takes 2 chunks, got 1", (frames,), {}),
        (
            ValueError,
            "length of the chunk of source must be 48, got 47",
            (frames, source[:, :, 1:]),
            {},
        ),
        (ValueError, "chunk of frames must have the shape", (frames[:1], source), {}),
        (TypeError, "chunk", (frames.astype("f8"), source), {}),
        (ValueError, "active must be a mask of 2 bools", (frames, source), {"active": [True]}),
    ]
    for kind, message, chunks, more in wrong:
        with pytest.raises(kind, match=message):
            stream.push(*chunks, **more)
    after = stream.state()
    assert all((after[name] == array).all() for name, array in before.items())
    with pytest.raises(ValueError, match="state ticks must be 2 integers"):
        stream.restore({**before, "ticks": np.array([1.0, 2.0])})
    with pytest.raises(ValueError, match="state signal 1 must be float32 of shape"):
        stream.restore({**before, "signal 1": before["signal 1"][:, :, 1:]})
    with pytest.raises(ValueError, match="state must have the keys"):
        stream.restore({"ticks": before["ticks"]})


def test_without_a_batch() -> None:
    graph = Graph()
    layer = fs.ConvTranspose1d(3, 2, 7, stride=3, padding=2, rng=0)
    graph.outputs.append(graph.add(ConvTranspose1d(layer), graph.add_input("x", 3)))
    network = Network(graph)
    x = np.random.default_rng(0).normal(size=(3, 20)).astype("f4")
    assert_streams_exactly(network.stream(None), network, x)


def test_places() -> None:
    """Late ticks give what the small numbers that stand for them give, shifted."""
    for seed in range(40):
        graph = RandomGraph(np.random.default_rng(seed), exact=False).graph
        network = Network(graph)
        schedule = Schedule(network.fused, network.least)
        for ticks in (1, 2, 3, 7, 20, schedule.settled, schedule.settled + 11):
            far = ticks + 1000 * schedule.period
            assert schedule.place(far) <= schedule.settled + schedule.period
            direct = schedule.after(far).given
            found = tuple(schedule.output_length(i, far) for i in range(len(direct)))
            assert found == direct


def test_a_network_without_memory() -> None:
    """It keeps no positions: alone, with an empty chunk first, and in compositions."""
    graph = Graph()
    graph.outputs.append(graph.add(Tanh(), graph.add_input("x", 3)))
    network = Network(graph)
    x = np.random.default_rng(0).normal(size=(2, 3, 9)).astype("f4")
    assert_streams_exactly(network.stream(2), network, x, another=network.stream(2))
    stream = network.stream(2)
    stream.restore(network.stream(2).state())  # of one that is as new
    same_bits([stream.finish(x)], [network(x)])
    chain = Chain(network.stream(2), Pointwise(np.negative))
    assert_streams_exactly(chain, lambda x: -network(x), x)


def down_and_up() -> Network:
    graph = Graph()
    x = graph.add_input("x", 1)
    down = graph.add(Conv1d(fs.Conv1d(1, 2, 4, stride=4, padding=(0, 3), rng=0)), x)
    up = fs.ConvTranspose1d(2, 1, 4, stride=4, rng=1)
    graph.outputs.append(graph.add(ConvTranspose1d(up), down))
    return Network(graph)


def test_compositions() -> None:
    """A network goes down and up in rate: it has as many positions as it got for some lengths."""
    network = down_and_up()
    x = np.random.default_rng(0).normal(size=(1, 1, 37)).astype("f4")
    chain = Chain(network.stream(), Pointwise(np.tanh))
    assert_streams_exactly(chain, lambda x: np.tanh(network(x)), x)
    both = Sum(Identity(), network.stream())
    both.push(x)
    with pytest.raises(ValueError, match="cannot end after 37 frames"):
        both.flush()
    last = both.finish(x[:, :, :3])
    assert last.shape[2] + both.output_length(37) == 40
    with pytest.raises(ValueError, match="must take one signal and give one"):
        Chain(
            Network(decoder(np.random.default_rng(0))).stream(constants=[np.ones((1, 5, 1), "f4")])
        )


def test_rows_share_steps() -> None:
    """Rows that began at other times are computed together, once no edge is near."""
    network = down_and_up()
    x = np.random.default_rng(0).normal(size=(4, 1, 80)).astype("f4")
    stream = network.stream(4)
    heard: list[list[Any]] = [[] for _ in x]
    read = [0] * 4
    for step in range(40):
        active = np.array([step >= 4 * row and read[row] < 80 for row in range(4)])
        chunk = np.stack(
            [
                x[row, :, at : at + 4] if on else np.full((1, 4), np.nan, "f4")
                for row, (at, on) in enumerate(zip(read, active, strict=True))
            ]
        )
        y = stream.push(chunk, active=active)
        for row in np.flatnonzero(active).tolist():
            heard[row].append(y[row, :, : stream.lengths[row]])
            read[row] += 4
    tail = stream.flush()
    for row, pieces in enumerate(heard):
        whole = np.concatenate([*pieces, tail[row, :, : stream.lengths[row]]], -1)
        same_bits([whole], [network(x[row : row + 1])[0]])
    rows = {piece.rows for piece in stream.memory.pieces}
    assert (0, 4) in rows  # all of them at once


def test_lengths_of_several_outputs() -> None:
    network = Network(decoder(np.random.default_rng(0)))
    stream = network.stream(2, [np.ones((2, 5, 1), "f4")])
    frames, source, _ = inputs_of(network.graph, 12, 2)
    pieces = stream.push(frames, source, active=[True, False])
    assert [each.tolist() for each in stream.lengths] == [[p.shape[2], 0] for p in pieces]
    pieces = stream.push(frames, source)
    for lengths, piece in zip(stream.lengths, pieces, strict=True):
        assert lengths.max() == piece.shape[2]


def test_a_wrong_code_in_one_row() -> None:
    """The listeners of the others do not hear of it."""
    graph = Graph()
    codes = graph.add_input("codes", 1, codes=True)
    table = np.random.default_rng(0).normal(size=(5, 2)).astype("f4")
    x = graph.add(Embedding(table), codes, path="book")
    graph.outputs.append(graph.add(Conv1d(fs.Conv1d(2, 2, 3, padding=1, rng=0)), x))
    stream = Network(graph).stream(2)
    chunk = np.ones((2, 1, 4), np.int64)
    stream.push(chunk, active=[True, False])
    before = stream.state()
    wrong = chunk.copy()
    wrong[1] = 9
    with pytest.raises(ValueError, match=r"book \(Embedding\): codes must be 0 to 4, got 9"):
        stream.push(wrong)
    assert all((stream.state()[name] == array).all() for name, array in before.items())
    stream.push(wrong, active=[True, False])  # that row is not read


def test_a_crop_deeper_than_what_is_kept() -> None:
    """Where a crop begins is an edge, though what is kept before it has moved on."""
    graph = Graph()
    x = graph.add(Conv1d(fs.Conv1d(1, 2, 1, rng=0)), graph.add_input("x", 1))
    x = graph.add(Crop(7), x)
    graph.outputs.append(graph.add(Conv1d(fs.Conv1d(2, 1, 7, padding=3, rng=1)), x))
    network, rng = Network(graph), np.random.default_rng(0)
    check_streams(network, inputs_of(graph, 30, 2), 30, rng)


def test_copies() -> None:
    stream = down_and_up().stream()
    for duplicate in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            duplicate(stream)


def test_inputs_of_other_rates() -> None:
    graph = Graph()
    x = graph.add_input("x", 1, Extent.affine(2, 3))
    graph.outputs.append(graph.add(Tanh(), x))
    with pytest.raises(ValueError, match=r"x lasts 2 T \+ 3, which is no whole number"):
        Network(graph).stream()
    graph = Graph()
    x = graph.add_input("x", 1, Extent.affine(2))
    graph.outputs.append(graph.add(Conv1d(fs.Conv1d(1, 1, 3, padding=1, rng=0)), x))
    stream = Network(graph).stream()
    assert all(stream.output_length(n) >= n - stream.latency for n in range(20))
    with pytest.raises(ValueError, match="must be a multiple of 2, got 3"):
        stream.push(np.ones((1, 1, 3), "f4"))


def test_a_layer_that_is_changed() -> None:
    """A bias that is set anew does not pull the old one from under a stream."""
    layer = fs.Conv1d(2, 2, 3, padding=1, rng=0)
    graph = Graph()
    graph.outputs.append(graph.add(Conv1d(layer), graph.add_input("x", 2)))
    stream = Network(graph).stream()
    x = np.ones((1, 2, 8), "f4")
    stream.push(x)
    first = stream.push(x)
    for _ in range(50):
        layer.bias = np.random.default_rng(0).normal(size=2).astype("f4")
    same_bits([stream.push(x)], [first])
