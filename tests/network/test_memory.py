"""Slots: two values that are alive at once never share memory."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import RandomGraph, inputs_of, outputs_of, same_bits

import fracstride as fs
from fracstride.network import Graph, Network, Value
from fracstride.network.memory import Arena, plan_slots
from fracstride.network.operations.arithmetic import Add
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.functions import Sin, Tanh

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "200"))


def lives(graph: Graph) -> dict[Value, tuple[int, int]]:
    """When each value with memory of its own is written, and the last time that it is read.

    Also by views of it, and views of these.
    """
    memory = {value: value for value in graph.inputs}
    written = dict.fromkeys(graph.inputs, -1)
    read = dict.fromkeys(graph.inputs, -1)
    for index, node in enumerate(graph.nodes):
        for value in node.inputs:
            if value.is_signal:
                read[memory[value]] = index
        for value in node.outputs:
            memory[value] = memory[node.inputs[0]] if node.operation.is_view else value
            written.setdefault(memory[value], index)
            read.setdefault(memory[value], index)
    for value in graph.outputs:
        read[memory[value]] = len(graph.nodes)
    return {value: (written[value], read[value]) for value in written}


def sizes_of(graph: Graph, clock: int) -> dict[Value, int]:
    return {v: 4 * v.channels * v.extent(clock) for v in graph.values() if v.is_signal}


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), planned=st.integers(20, 60), clock=st.integers(20, 60))
def test_values_that_are_alive_do_not_share(seed: int, planned: int, clock: int) -> None:
    graph = Network(RandomGraph(np.random.default_rng(seed), exact=False).graph).fused
    slots = plan_slots(graph, sizes_of(graph, planned))
    sizes = sizes_of(graph, clock)
    starts, end = slots.layout(sizes)
    alive = lives(graph)
    assert set(slots.slot) == set(alive)
    places = {v: range(starts[slot], starts[slot] + sizes[v]) for v, slot in slots.slot.items()}
    assert all(place.stop <= end for place in places.values())
    for a, (written, read) in alive.items():
        for b, (written_b, _) in alive.items():
            if a is b or written_b < written or written_b > read:
                continue
            shared = max(places[a].start, places[b].start) < min(places[a].stop, places[b].stop)
            if not shared:
                continue
            # Written over an input that nothing reads any more, number by number.
            node = graph.nodes[written_b]
            assert written_b == read
            assert node.operation.in_place
            assert a in node.inputs
            assert places[a].start == places[b].start
            assert a.shape == b.shape
            assert written_b > written


def chain(count: int, channels: int = 4) -> Graph:
    graph = Graph()
    x = graph.add_input("x", channels)
    for seed in range(count):
        x = graph.add(Conv1d(fs.Conv1d(channels, channels, 3, padding=1, rng=seed)), x)
    graph.outputs.append(x)
    return graph


def test_a_chain_needs_two_slots() -> None:
    graph = chain(10)
    assert plan_slots(graph, sizes_of(graph, 100)).count == 2


def test_an_elementwise_operation_writes_over_its_input() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    graph.outputs.append(graph.add(Tanh(), x))
    fused = Network(graph).fused
    assert plan_slots(fused, sizes_of(fused, 10)).count == 1


def test_views_need_no_slot() -> None:
    graph = Graph()
    x = graph.add_input("x", 4)
    graph.outputs.append(graph.add(Channels((1, 2)), graph.add(Channels((3, 2, 1)), x)))
    assert plan_slots(graph, sizes_of(graph, 10)).count == 1


def test_slots_do_not_begin_at_the_same_place_of_a_page() -> None:
    graph = chain(2, channels=16)
    starts, end = plan_slots(graph, sizes_of(graph, 1024)).layout(sizes_of(graph, 1024))
    assert all(start % 64 == 0 for start in starts)
    assert len({start % 4096 for start in starts}) == len(starts)
    assert end >= 2 * 16 * 1024 * 4


def test_the_memory_of_a_network_grows_with_the_length() -> None:
    network = Network(chain(5))
    assert network.memory(1000) - network.memory(500) == 2 * 500 * 4 * 4
    assert network.memory(500, batch=2) - network.memory(500) == 2 * 500 * 4 * 4


def test_lengths_in_any_order() -> None:
    """The arena is kept, and holds what a longer run has left."""
    graph = RandomGraph(np.random.default_rng(5), exact=False).graph
    network = Network(graph)
    clocks = [network.least + n for n in (3, 40, 0, 40, 7, 90, 3, 1, 2, 4, 5, 6, 8, 9, 3)]
    for clock in clocks:
        inputs = inputs_of(graph, clock, 2)
        same_bits(outputs_of(network, inputs), outputs_of(Network(graph), inputs))


def test_results_are_the_callers() -> None:
    network = Network(chain(3))
    first = network(np.ones((1, 4, 10), np.float32))
    before = np.array(first)
    network(np.zeros((1, 4, 10), np.float32))
    same_bits([first], [before])


def test_inputs_stay_as_they_are() -> None:
    graph = Graph()
    graph.outputs.append(graph.add(Tanh(), graph.add_input("x", 4)))
    x = np.ones((1, 4, 10), np.float32)
    Network(graph)(x)
    same_bits([x], [np.ones((1, 4, 10), np.float32)])


def test_an_input_that_is_an_output_is_a_new_array() -> None:
    graph = Graph()
    graph.outputs.append(graph.add_input("x", 4))
    x = np.ones((1, 4, 10), np.float32)
    y: Any = Network(graph)(x)
    assert not np.shares_memory(x, y)


def test_arena() -> None:
    arena = Arena()
    assert arena.reserve(1000)
    assert not arena.reserve(900)
    array = arena.array(64, (2, 3), np.dtype("f4"))
    assert array.ctypes.data % 64 == 0
    assert array.shape == (2, 3)
    assert arena.reserve(5000)
    assert arena.size >= 5000


@pytest.mark.parametrize("workers", [4])
def test_threads_may_call_one_network(workers: int) -> None:
    graph = chain(4)
    network = Network(graph)
    calls = [inputs_of(graph, 50 + n % 7, 1, seed=n) for n in range(40)]
    expected = [outputs_of(Network(graph), inputs) for inputs in calls]
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(lambda inputs: outputs_of(network, inputs), calls))
    for a, b in zip(found, expected, strict=True):
        same_bits(a, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_known_length_and_shorter_ones_fault_no_page(threads: int) -> None:
    resource = pytest.importorskip("resource")
    graph = Graph()
    up = fs.ConvTranspose1d(16, 32, 8, 4, 2, rng=0)
    x = graph.add(ConvTranspose1d(up), graph.add_input("x", 16))
    for seed in range(3):
        conv = Conv1d(fs.Conv1d(32, 32, 7, padding=3, rng=seed))
        x = graph.add(Add(), x, graph.add(conv, graph.add(Sin(), x)))
    graph.outputs.append(graph.add(Conv1d(fs.Conv1d(32, 1, 7, padding=3, rng=9)), x))
    network = Network(graph)
    frames = np.zeros((1, 16, 4000), np.float32)
    fs.set_num_threads(threads)
    lengths = (4000, 3000, 4000, 2000, 3999)
    for length in lengths:
        network(frames[..., :length])
    faults = []
    for length in lengths:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        network(frames[..., :length])
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert network.memory(4000) > 1000 * resource.getpagesize()
    assert sorted(faults)[2] <= 32  # the result has 16 pages, and other threads may interfere
