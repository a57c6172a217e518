"""Envelopes: constants that repeat themselves but near the ends, whatever the length."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fracstride as fs
from fracstride.network import Graph, Network
from fracstride.network.operations.envelope import DividedByEnvelope, TimesEnvelope
from fracstride.network.periodic import Periodic, fit_periodic, window_envelope

Rng = np.random.Generator


def overlap_add(window: Any, hop: int, frames: int) -> Any:
    """The sum of the frames' windows, as it is written."""
    total = np.zeros((frames - 1) * hop + len(window))
    for frame in range(frames):
        total[frame * hop : frame * hop + len(window)] += window
    return total


def drawn(rng: Rng) -> tuple[Any, int, int, int]:
    size = int(rng.integers(1, 24))
    hop = int(rng.integers(1, size + 3))
    left, right = (int(n) for n in rng.integers(0, size, 2))
    return rng.uniform(0.1, 1, size), hop, left, right


@pytest.mark.parametrize("seed", range(60))
def test_the_sum_of_windows_at_every_length(seed: int) -> None:
    """From the first length that there is, also where the ends overlap."""
    rng = np.random.default_rng(seed)
    window, hop, left, right = drawn(rng)
    envelope = window_envelope(window, hop, left, right)
    assert len(envelope.period) == hop
    for frames in range(1, 12):
        whole = overlap_add(window, hop, frames)
        expected = whole[left : len(whole) - right]
        if not len(expected):
            continue
        length = len(expected)
        found = envelope.values(0, length, length)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_stretches(seed: int) -> None:
    """Any stretch has the bits of the whole; without a length, those of a signal that goes on."""
    rng = np.random.default_rng(seed)
    window, hop, left, right = drawn(rng)
    envelope = window_envelope(window, hop, left, right)
    for length in (1, 2, 7, 40, 61):
        whole = envelope.values(0, length, length)
        longer = envelope.values(0, length + len(envelope.end), length + len(envelope.end))
        for _ in range(5):
            first, last = sorted(int(n) for n in rng.integers(0, length + 1, 2))
            np.testing.assert_array_equal(envelope.values(first, last, length), whole[first:last])
            np.testing.assert_array_equal(envelope.values(first, last), longer[first:last])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("seed", range(30))
def test_what_recorded_numbers_repeat(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    window, hop, left, right = drawn(rng)
    hop = min(hop, len(window))
    envelope = window_envelope(window, hop, left, right)
    ends = (len(envelope.start) + len(envelope.end)) // hop + 3
    counts = [ends, ends + 1, ends + 4, *(int(n) for n in rng.integers(2, 9, 2))]
    rows = []
    for frames in counts:
        row = overlap_add(window, hop, frames)
        rows.append(row[left : len(row) - right].astype(dtype).reshape(1, -1, 1))
    found = fit_periodic([row for row in rows if row.size])
    assert found is not None
    assert hop % len(found.period) == 0
    for frames in (1, 2, ends + 2, 2 * ends):
        row = overlap_add(window, hop, frames)
        row = row[left : len(row) - right]
        if len(row):
            values = found.values(0, len(row), len(row))
            np.testing.assert_allclose(values, row, rtol=0, atol=3e-6 if dtype == "f4" else 1e-12)


def test_a_window_whose_copies_add_up_to_a_constant() -> None:
    """The numbers are those of each position, as they were rounded, small ones too."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)).astype("f4") ** 2
    rows = []
    for frames in (12, 13, 30):
        total = np.zeros(64 * (frames - 1) + 256, "f4")
        for frame in range(frames):
            total[64 * frame : 64 * frame + 256] += window
        rows.append(total[96:-96])
    found = fit_periodic(rows)
    assert found is not None
    assert len(found.period) == 64
    for row in rows:
        np.testing.assert_array_equal(found.values(0, len(row), len(row)).astype("f4"), row)


NOT_PERIODIC: dict[str, Any] = {
    "a ramp": lambda n: np.linspace(0, 1, n),
    "positions": lambda n: np.arange(n) * 0.1,
    "a wave": lambda n: np.sin(0.1 * np.arange(n)),
    "noise": lambda n: np.random.default_rng(n).normal(size=n),
    "a part of the length": lambda n: np.full(n, 1 / n),
    "one in the middle": lambda n: np.arange(n) == n // 2,
    "integers": lambda n: np.ones(n, int),
    "two axes": lambda n: np.ones((2, n)),
    "one length": lambda n: np.ones(7),
}


@pytest.mark.parametrize("kind", NOT_PERIODIC)
def test_what_does_not_repeat_itself(kind: str) -> None:
    make = NOT_PERIODIC[kind]
    arrays = [np.asarray(make(n)) for n in (40, 44, 48, 80)]
    if kind == "one in the middle":
        arrays = [array.astype("f4") for array in arrays]
    assert fit_periodic(arrays) is None
    assert fit_periodic([np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.ones(3)]) is None


def network_of(operation: Any, dtype: str = "f4") -> Network:
    graph = Graph()
    graph.outputs.append(graph.add(operation, graph.add_input("x", channels=2)))
    return Network(graph, dtype)


RAMP = Periodic(np.array([2.1, 4.3]), np.array([-1.0, -3.3, -0.5]), np.array([-0.2, -2.1]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_operation(dtype: str) -> None:
    for kind, combined in ((DividedByEnvelope, np.divide), (TimesEnvelope, np.multiply)):
        network = network_of(kind.of(RAMP)).astype(dtype)
        for length in (1, 2, 3, 4, 30):
            x = np.random.default_rng(length).normal(size=(3, 2, length)).astype(network.dtype)
            numbers = RAMP.values(0, length, length)
            found = network(x)
            assert found.dtype == network.dtype
            wide = np.float64 if dtype == "float64" else np.float32
            with np.errstate(all="ignore"):
                expected = combined(x.astype(wide), numbers.astype(wide)).astype(network.dtype)
            np.testing.assert_array_equal(found, expected)


def test_files_and_copies(tmp_path: Path) -> None:
    network = network_of(TimesEnvelope.of(RAMP, ahead=1))
    network.save(tmp_path / "net.safetensors")
    x = np.random.default_rng(0).normal(size=(1, 2, 9)).astype("f4")
    for copy in (fs.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(network))):
        np.testing.assert_array_equal(copy(x), network(x))
        assert copy.graph.nodes[0].operation.ahead == 1
    assert "period 2, ends 3, 2" in str(network)


def test_how_far_it_looks_ahead() -> None:
    graph = Graph()
    x = graph.add_input("x", channels=1)
    assert DividedByEnvelope.of(RAMP).delay(x) == 0
    assert DividedByEnvelope.of(RAMP, ahead=2).delay(x) == Fraction(2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"period": np.ones(0)}, "period not empty"),
        ({"start": np.ones((1, 3))}, "one row of float64"),
        ({"end": np.ones(3, "f4")}, "one row of float64"),
        ({"ahead": 4}, "ahead must be 0 to 3, got 4"),
        ({"ahead": -1}, "ahead must be 0 to 3, got -1"),
    ],
)
def test_refusals(fields: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"period": np.ones(2), "start": np.ones(1), "end": np.ones(3)}
    network_of(DividedByEnvelope(**good))
    with pytest.raises(ValueError, match=message):
        network_of(DividedByEnvelope(**good | fields))
