"""LSTM: exactly its two Conv1ds of kernel 1 and its gates, one position after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from programs import DTYPES, Program, same

import fracstride as fs
from fracstride.network import Extent, Shape, Value
from fracstride.network.operations.lstm import LSTM

# Units that fill blocks and panels or not, and more channels or units than a run of a sum has.
SIZES = [(1, 1, 1, 1), (3, 16, 2, 5), (5, 33, 3, 4), (40, 20, 1, 9), (300, 7, 2, 3), (6, 280, 1, 3)]


def lstm(channels: int, units: int, dtype: Any = "f4", seed: int = 0, **options: Any) -> LSTM:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return rng.normal(0, units**-0.5, shape).astype(dtype)

    weights = draw(4 * units, channels), draw(4 * units, units), draw(4 * units)
    return LSTM(*weights, **options)


def signal(*shape: int, dtype: Any = "f4", seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(dtype)


def result(operation: LSTM, x: Any, state: Any = None) -> Any:
    out = np.full((len(x), operation.units, x.shape[2]), 9, x.dtype)
    operation.call(x, out, state)
    return out


def one_by_one(operation: LSTM, x: Any) -> Any:
    """The definition: layers and programs of one operation, on one position at a time."""
    dtype, units, length = x.dtype, operation.units, x.shape[2]
    of_input = fs.Conv1d.from_weights(operation.input_weight[:, :, None], operation.bias)
    of_state = fs.Conv1d.from_weights(operation.recurrent_weight[:, :, None])

    def program(name: str, inputs: int) -> Any:
        return Program(dtype, inputs, [(name, 2, 0, inputs - 1 or -1)])

    add, multiply = program("add", 2), program("multiply", 2)
    sigmoid, tanh = program("sigmoid", 1), program("tanh", 1)
    projected = of_input(x)
    hidden, cell = np.zeros((2, len(x), units, 1), dtype)
    states = []
    for t in range(length):
        z = add(of_state(hidden), projected[:, :, t : t + 1])
        i, f, g, o = (np.ascontiguousarray(gate) for gate in np.split(z, 4, axis=1))
        cell = add(multiply(sigmoid(f), cell), multiply(sigmoid(i), tanh(g)))
        hidden = multiply(sigmoid(o), tanh(cell))
        states.append(hidden)
    return np.concatenate(states, axis=2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.usefixtures("isa")
def test_bits_of_its_parts(sizes: tuple[int, ...], dtype: Any) -> None:
    channels, units, batch, length = sizes
    operation, x = lstm(channels, units, dtype), signal(batch, channels, length, dtype=dtype)
    same(result(operation, x), one_by_one(operation, x))


@pytest.mark.parametrize("batch", range(1, 16))
@pytest.mark.usefixtures("isa")
def test_bits_of_a_batch_entry(batch: int) -> None:
    operation, x = lstm(5, 24), signal(batch, 5, 4)
    for row, y in zip(x, result(operation, x), strict=True):
        same(result(operation, row[None])[0], y)


def test_close_to_the_formula() -> None:
    operation, x = lstm(4, 8), signal(2, 4, 30)
    hidden = cell = np.zeros((2, 8))
    expected = []
    for t in range(30):
        z = x[:, :, t] @ operation.input_weight.T + hidden @ operation.recurrent_weight.T
        i, f, g, o = np.split(z + operation.bias, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        cell = f * cell + i * np.tanh(g)
        hidden = o * np.tanh(cell)
        expected.append(hidden)
    np.testing.assert_allclose(result(operation, x), np.stack(expected, axis=2), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.usefixtures("isa")
def test_bits_do_not_depend_on_what_follows(batch: int) -> None:
    # (Long enough that the kernel goes through it in several chunks.)
    operation, x = lstm(3, 120), signal(batch, 3, 700)
    whole = result(operation, x)
    for length in (1, 2, 16, 181, 182, 183, 400, 699):
        same(result(operation, x[:, :, :length]), whole[:, :, :length])


@pytest.mark.parametrize("units", [24, 300])
def test_bits_do_not_depend_on_threads(units: int) -> None:
    operation, x = lstm(3, units), signal(8, 3, 50)
    fs.set_num_threads(1)
    alone = result(operation, x)
    for threads in (2, 3, 6):
        fs.set_num_threads(threads)
        same(result(operation, x), alone)


def test_state_is_carried_from_part_to_part() -> None:
    operation, x = lstm(3, 20), signal(2, 3, 40)
    whole, state = result(operation, x), np.zeros((2, 2, 20), np.float32)
    parts = [result(operation, x[:, :, a:b], state) for a, b in ((0, 1), (1, 18), (18, 40))]
    same(np.concatenate(parts, axis=2), whole)
    same(state[0], whole[:, :, -1])


def test_arrays_may_have_any_strides() -> None:
    operation, x = lstm(3, 20), signal(2, 3, 40)
    turned = np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0)
    out = np.empty((40, 2, 20), np.float32).transpose(1, 2, 0)
    operation.call(turned, out)
    same(out, result(operation, x))


def test_reverse() -> None:
    operation, x = lstm(3, 20, reverse=True), signal(2, 3, 40)
    out = np.empty((2, 20, 40), np.float32)
    operation.bind([x], out)()
    same(out, result(operation, np.ascontiguousarray(x[:, :, ::-1]))[:, :, ::-1])


def test_initial_state_is_that_of_every_call() -> None:
    initial = signal(2, 20)
    operation, x = lstm(3, 20, initial=(initial[0], initial[1])), signal(2, 3, 40)
    out = np.empty((2, 20, 40), np.float32)
    run = operation.bind([x], out)
    run()
    first = out.copy()
    run()
    same(out, first)
    same(result(operation, x, np.repeat(initial[:, None], 2, axis=1)), first)


def test_infinities_stay_in_their_entry() -> None:
    operation, x = lstm(3, 20), signal(2, 3, 10)
    expected = result(operation, x)
    x[0, 1, 4], x[0, 2, 6] = np.inf, np.nan
    found = result(operation, x)
    same(found[1], expected[1])
    same(found[0, :, :4], expected[0, :, :4])
    assert np.isnan(found[0, :, 6:]).all()


def test_sizes() -> None:
    operation = lstm(3, 20)
    x = Value("x", Shape(3, Extent.affine(2, 1)))
    assert operation.result(x) == Shape(20, Extent.affine(2, 1))
    assert operation.parameters == 80 * (3 + 20 + 1)
    assert operation.multiply_adds == 80 * (3 + 20)
    assert operation.delay(x) == 0
    assert lstm(3, 20, reverse=True).delay(x) is None
    with pytest.raises(ValueError, match="LSTM takes 3 channels, got 4"):
        operation.result(Value("x", Shape(4, Extent.affine(1))))


def test_without_bias_and_in_other_dtypes() -> None:
    whole = lstm(3, 20)
    operation = LSTM(whole.input_weight, whole.recurrent_weight)
    x = signal(2, 3, 10)
    same(result(operation, x), one_by_one(operation, x))
    exact = result(operation.astype(np.dtype("f8")), x.astype("f8"))
    np.testing.assert_allclose(result(operation, x), exact, atol=1e-6)
