"""Pointwise programs of the native module: a number's bits do not depend on where it stands."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from programs import DEFAULTS, DTYPES, OPERATIONS, TWO_OPERANDS, Program, same, single, sum_dtype

import fracstride as fs
from fracstride._load import native

pytestmark = [
    pytest.mark.usefixtures("isa"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # NumPy's, of infinities and NaN
]

F4 = np.dtype("f4")
# Two per-channel values and a scalar, registers that are written twice, an input that is read late.
CHAIN: list[Any] = [
    ("multiply", 1, 0, -2),
    ("sin", 1, 1),
    ("square", 1, 1),
    ("divide", 1, 1, -3),
    ("add", 0, 0, 1),
    ("tanh", 2, 0),
    ("subtract", 1, -1, 2, 1.0),
    ("multiply", 3, 1, 0),
]


def numbers(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int = 0) -> Any:
    """Random numbers, some of them special, some beyond what sine's fast way reduces."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * rng.choice([0.1, 1, 10, 1e5], shape, p=[0.3, 0.4, 0.25, 0.05])
    ends = [0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40]
    return np.where(rng.random(shape) < 0.02, rng.choice(ends, shape), x).astype(dtype)


def chain(dtype: np.dtype[Any], channels: int) -> Program:
    rng = np.random.default_rng(channels)
    return Program(dtype, 1, CHAIN, [rng.uniform(0.5, 2, channels) for _ in range(2)])


def program_of(name: str, dtype: np.dtype[Any]) -> tuple[Program, int]:
    return single(name, dtype), 1 + (name in TWO_OPERANDS)


# --- places -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_place_of_a_number(name: str, dtype: np.dtype[Any]) -> None:
    """Lengths 1 to 200, from every offset, give the bits of one long row."""
    program, inputs = program_of(name, dtype)
    arrays = [numbers((1, 1, 240), dtype, seed) for seed in range(inputs)]
    whole = program(*arrays)
    for length in range(1, 201):
        offset = (7 * length) % (240 - length)
        part = slice(offset, offset + length)
        same(program(*(x[..., part] for x in arrays)), whole[..., part])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 16, 100, 255, 256, 300, 1500])
def test_channels_and_batch(length: int, dtype: np.dtype[Any]) -> None:
    """Each row alone gives the bits that it has among others, short rows and long ones."""
    batch, channels = 3, 37
    x = numbers((batch, channels, length), dtype)
    program = chain(dtype, channels)
    whole = program(x)
    for c in (0, 1, 17, 36):
        alone = Program(dtype, 1, CHAIN, [v[c : c + 1] for v in program.values])
        for b in range(batch):
            same(alone(x[b : b + 1, c : c + 1]), whole[b : b + 1, c : c + 1])
    same(program(x[1:2]), whole[1:2])


def layouts(x: Any) -> list[tuple[Any, Any]]:
    """The same numbers laid out in memory in other ways, each with the array that owns them."""
    batch, channels, length = x.shape
    owners = [np.zeros((batch, length, channels), x.dtype), np.zeros(x.shape[::-1], x.dtype)]
    views = [owners[0].transpose(0, 2, 1), owners[1].T]
    owners.append(np.zeros((channels, batch, length), x.dtype))
    views.append(owners[-1].transpose(1, 0, 2)[:, :, ::-1])
    for step in (1, 2, 9):
        owners.append(np.zeros((batch, channels + 3, step * length + 5), x.dtype))
        views.append(owners[-1][:, 1:-2, 3 : step * length + 3 : step])
    for view in views:
        view[...] = x
    return list(zip(owners, views, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 5, 9), (1, 40, 7), (2, 3, 700), (3, 1, 33), (2, 19, 1)])
def test_layout(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    x = numbers(shape, dtype)
    program = chain(dtype, shape[1])
    whole = program(x)
    for _, view in layouts(x):
        same(program(view), whole)
    for owner, out in layouts(np.ones_like(x)):
        same(program(x, out=out), whole)
        out[...] = 0  # between them nothing was written
        assert not owner.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype: np.dtype[Any]) -> None:
    for shape in ((2, 9, 3000), (1, 1, 40000), (1, 4000, 9), (1, 300, 300)):
        x = numbers(shape, dtype)
        program = chain(dtype, shape[1])
        fs.set_num_threads(1)
        alone = program(x)
        for count in (2, 3):
            fs.set_num_threads(count)
            same(program(x), alone)


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place(dtype: np.dtype[Any]) -> None:
    for shape in ((2, 9, 300), (1, 5, 7), (1, 1, 5000)):
        x = numbers(shape, dtype)
        program = chain(dtype, shape[1])
        whole = program(x)
        copy = x.copy()
        same(program(copy, out=copy), whole)
        other = numbers(shape, dtype, 1)
        add = Program(dtype, 2, [("exp", 1, 1), ("add", 0, 0, 1)])
        want = add(x, other)
        copy = other.copy()
        same(add(x, copy, out=copy), want)


# --- programs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 5, 9), (1, 33, 4), (2, 3, 700)])
def test_broadcast(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Values without time, without channels, and one number for all."""
    program = Program(
        dtype, 3, [("multiply", 3, 0, 1), ("tanh", 3, 3), ("subtract", 3, 2, 3), ("add", 4, 3, 0)]
    )
    x = numbers(shape, dtype)
    for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        y, z = numbers(small, dtype, 1), numbers(small, dtype, 2)
        full = [np.broadcast_to(a, shape).copy() for a in (y, z)]
        same(program(x, y, z), program(x, *full))


def random_program(rng: np.random.Generator, inputs: int, channel_values: int) -> list[Any]:
    """Instructions that read what is there, with operands of every kind."""
    written = list(range(inputs))
    instructions: list[Any] = []
    for _ in range(int(rng.integers(1, 12))):
        name = str(rng.choice(OPERATIONS))
        kinds = [int(rng.choice(written)), -1, *(-2 - j for j in range(channel_values))]
        a = int(rng.choice(kinds, p=[0.8, *[0.2 / (len(kinds) - 1)] * (len(kinds) - 1)]))
        b = int(rng.choice([int(rng.choice(written)), *kinds]))
        target = int(rng.integers(0, 6))
        instructions.append(
            (name, target, a, b, float(rng.uniform(0.3, 3)), float(rng.uniform(3, 9)))
        )
        written = sorted({*written, target})
    return instructions


def one_by_one(
    dtype: np.dtype[Any], instructions: list[Any], inputs: list[Any], values: list[Any]
) -> Any:
    """Each instruction as a program of its own, on whole arrays in memory."""
    registers = dict(enumerate(inputs))
    result = None
    for instruction in instructions:
        name, target, a, b, first, second = [*instruction, *DEFAULTS[len(instruction) - 3 :]]
        read = [registers[o] if o >= 0 else inputs[0] for o in (a, b)]
        operands = [i if o >= 0 else o for i, o in enumerate((a, b))]
        program = Program(dtype, 2, [(name, 2, *operands, first, second)], values)
        registers[target] = result = program(*read)
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(25))
def test_a_chain_has_the_bits_of_its_steps(seed: int, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in (rng.integers(1, 4), rng.integers(1, 20), rng.integers(1, 400)))
    inputs = [numbers(shape, dtype, seed + i) for i in range(int(rng.integers(1, 4)))]
    values = [rng.uniform(0.3, 2, shape[1]) for _ in range(int(rng.integers(0, 3)))]
    instructions = random_program(rng, len(inputs), len(values))
    fused = Program(dtype, len(inputs), instructions, values)(*inputs)
    same(fused, one_by_one(dtype, instructions, inputs, values))


# Register 1 is x, register 2 another input.
SNAKES: dict[str, list[Any]] = {
    "product": [("multiply", 3, 1, -2), ("sin", 3, 3), ("square", 3, 3), ("multiply", 3, 3, -3)],
    "quotient": [("multiply", 3, 1, -2), ("sin", 3, 3), ("square", 3, 3), ("divide", 3, 3, -2)],
    "turned": [
        ("multiply", 3, -2, 1),
        ("sin", 4, 3),
        ("multiply", 5, 4, 4),
        ("multiply", 3, -3, 5),
    ],
    "of inputs": [("multiply", 3, 1, 2), ("sin", 3, 3), ("square", 3, 3), ("multiply", 3, 3, 0)],
    "scalar": [
        ("multiply", 3, 1, -1, 1.3),
        ("sin", 3, 3),
        ("square", 3, 3),
        ("divide", 3, 3, -1, 3),
    ],
    # No snake, though it looks like one.
    "squared": [("multiply", 3, 1, -2), ("sin", 3, 3), ("square", 3, 3), ("multiply", 3, 3, 3)],
    "reciprocal": [("multiply", 3, 1, -2), ("sin", 3, 3), ("square", 3, 3), ("divide", 3, -2, 3)],
    "not the sine": [
        ("multiply", 3, 1, -2),
        ("sin", 4, 3),
        ("square", 4, 3),
        ("multiply", 3, 4, -2),
    ],
    "other sine": [
        ("multiply", 3, 1, -2),
        ("sin", 4, 3),
        ("multiply", 4, 4, 3),
        ("multiply", 3, 4, -2),
    ],
    "not the square": [
        ("multiply", 3, 1, -2),
        ("sin", 3, 3),
        ("square", 4, 3),
        ("multiply", 3, 3, -2),
    ],
    "x is gone": [("multiply", 1, 1, -2), ("sin", 1, 1), ("square", 3, 1), ("multiply", 3, 3, -3)],
    "factor is gone": [
        ("multiply", 3, 1, 2),
        ("sin", 2, 3),
        ("square", 3, 2),
        ("multiply", 3, 3, 2),
    ],
}
ENDS: list[list[Any]] = [
    [("add", 3, 1, 3)],
    [("add", 1, 3, 1)],
    [("add", 4, 2, 3)],
    [("add", 4, 1, 3), ("subtract", 4, 4, 3)],  # the product is read once more
    [("add", 3, 1, 3), ("copy", 4, 2), ("tanh", 3, 3)],
    [("add", 5, 1, 3), ("add", 5, 5, 4)],
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", SNAKES)
def test_snake_has_the_bits_of_its_steps(form: str, dtype: np.dtype[Any]) -> None:
    """Five instructions that are computed as one, and chains that must not be."""
    shape = (2, 3, 150)
    inputs = [numbers(shape, dtype, seed) for seed in range(5)]
    values = [np.array([0.5, 1.3, 40.0]), np.array([2.0, 0.7, 0.1])]
    for end in ENDS:
        instructions = SNAKES[form] + end
        fused = Program(dtype, 5, instructions, values)(*inputs)
        same(fused, one_by_one(dtype, instructions, inputs, values))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scalars_are_rounded_to_the_dtype(dtype: np.dtype[Any]) -> None:
    x = np.ones((1, 1, 5), dtype)
    got = Program(dtype, 1, [("multiply", 1, 0, -1, 1 / 3)])(x)
    same(got, np.full_like(x, np.array(1 / 3).astype(dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_per_channel_are_copied(dtype: np.dtype[Any]) -> None:
    program = chain(dtype, 4)
    x = numbers((1, 4, 20), dtype)
    before = program(x)
    for values in program.values:
        values[...] = np.nan
    same(program(x), before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_that_a_kernel_holds(dtype: np.dtype[Any]) -> None:
    """What is fused into another kernel has the bits of the program on its own."""
    program = chain(dtype, 3)
    for count in (1, 5, 16, 100, 3000):
        x = numbers((1, 3, count), dtype, count)
        whole = program(x)
        for channel in range(3):
            row = np.zeros(count + 16, sum_dtype(dtype))
            row[:count] = x[0, channel]
            native.pointwise_apply(program.native, channel, row.ctypes.data, count)
            same(row[:count].astype(dtype), whole[0, channel])
            same(row[:count].astype(dtype).astype(row.dtype), row[:count])


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_registers_and_many_steps(dtype: np.dtype[Any]) -> None:
    """Sixteen inputs, 64 steps, 64 values per channel: the most that there may be."""
    steps: list[Any] = [("add", i % 16, i % 16, -2 - i) for i in range(48)]
    steps += [("add", 0, 0, i) for i in range(1, 16)] + [("multiply", 0, 0, -1, 0.5)]
    assert len(steps) == 64
    values = [np.full(3, float(j)) for j in range(64)]
    for length in (5, 2000):
        inputs = [np.full((2, 3, length), float(i), dtype) for i in range(16)]
        got = Program(dtype, 16, steps, values)(*inputs)
        # Half of 0 + ... + 15 and 0 + ... + 47; bfloat16 rounds on the way.
        exact = (120 + 1128) / 2
        assert (np.abs(got.astype("f8") - exact) <= (10 if dtype.itemsize == 2 else 0)).all()


def test_nothing_to_do() -> None:
    program = Program(F4, 1, [("exp", 1, 0)])
    native.pointwise(program.native, 0, 3, 4, *[0] * 8)
    native.pointwise(program.native, 2, 3, 0, *[0] * 8)
    native.pointwise(program.native, 2, 3, 4, *[0] * 8)


# --- errors -------------------------------------------------------------------------------------

REFUSALS = [
    ("float33", 1, [(0, 1, 0, -1)], "dtype is float33: it must be float32, float64, float16 or"),
    ("float32", 0, [(0, 1, 0, -1)], "a program has 1 to 16 inputs, not 0"),
    ("float32", 17, [(0, 1, 0, -1)], "a program has 1 to 16 inputs, not 17"),
    ("float32", 1, [], "a program has 1 to 64 instructions, not 0"),
    ("float32", 1, [(0, 1, 0, -1)] * 65, "a program has 1 to 64 instructions, not 65"),
    ("float32", 1, [(99, 1, 0, -1)], "instruction 0 has operation 99, but they are numbered 0 to"),
    ("float32", 1, [(-1, 1, 0, -1)], "instruction 0 has operation -1, but"),
    ("float32", 1, [(0, 16, 0, -1)], "instruction 0 writes register 16, but they are numbered 0"),
    ("float32", 1, [(0, -1, 0, -1)], "instruction 0 writes register -1, but"),
    ("float32", 1, [(0, 1, 0, 0), (0, 1, 16, 0)], "instruction 1 reads register 16 as operand a"),
    ("float32", 1, [(0, 1, 2, -1)], "instruction 0 reads register 2 as operand a, which no input"),
    ("float32", 1, [(26, 1, 0, 1)], "instruction 0 reads register 1 as operand b, which no input"),
    ("float32", 1, [(0, 1, -3, -1)], "instruction 0 reads channel value 1 as operand a, but there"),
    ("float32", 1, [(26, 1, 0, -2147483648)], "instruction 0 reads channel value 2147483646 as"),
]


@pytest.mark.parametrize(("dtype", "inputs", "instructions", "message"), REFUSALS)
def test_refusals(dtype: str, inputs: int, instructions: list[Any], message: str) -> None:
    value = np.ones(3, "f4")
    full = [(*i, 0.0, 0.0) for i in instructions]
    with pytest.raises(ValueError, match=re.escape(message)):
        native.pointwise_program(dtype, inputs, full, [(value.ctypes.data, 3)])


def test_refusals_of_a_call() -> None:
    x = np.ones((1, 3, 4), "f4")
    program = Program(F4, 1, [("add", 1, 0, -2)], [np.ones(2)])
    with pytest.raises(ValueError, match="there are 3 channels, but the program has values for 2"):
        program(x)
    with pytest.raises(ValueError, match="a program of 1 inputs needs 11 integers after it, not 3"):
        native.pointwise(program.native, 1, 2, 3)
    with pytest.raises(ValueError, match="must not be negative"):
        native.pointwise(program.native, 1, -2, 3, *[0] * 8)
    with pytest.raises(ValueError, match="a count from 0 on, not -1"):
        native.pointwise_program("float32", 1, [(0, 1, 0, -1, 0.0, 0.0)], [(0, -1)])


def test_operation_names_are_unique() -> None:
    assert len(set(OPERATIONS)) == len(OPERATIONS)
    assert OPERATIONS[26] == "add"  # as in the refusals above
