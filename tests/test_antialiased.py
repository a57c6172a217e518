"""A pointwise program between two depthwise layers: one call has the bits of the three calls."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from programs import DTYPES, Program, same, signal

import fracstride as fs
from fracstride._load import native
from fracstride.extension import PADDING_MODES
from fracstride.kernel_table import CONV1D, FORWARD


class Layer(NamedTuple):
    """One of the two depthwise layers, with what a call of it needs."""

    w: Any
    b: Any
    stride: int
    left: int
    mode: str
    dilation: int = 1

    def pack(self, direction: int) -> Any:
        channels, _, k = self.w.shape
        call = getattr(native, f"pack_{self.w.dtype.name}")
        integers = (channels, 1, k, channels, self.stride, self.dilation, direction, False)
        return call(self.w.ctypes.data, *integers)

    @property
    def integers(self) -> tuple[int, ...]:
        bias = 0 if self.b is None else self.b.ctypes.data
        return bias, self.left, PADDING_MODES.index(self.mode)

    def run(self, direction: int, x: Any, length: int) -> Any:
        y = np.full((*x.shape[:2], length), 7, x.dtype)
        bias, *rest = self.integers
        sizes = (*signal(x), x.shape[2], bias, *signal(y), length)
        native.forward(self.pack(direction), x.shape[0], *sizes, *rest)
        return y


class Case(NamedTuple):
    """An input, the two layers with the program between them, and the lengths that they have."""

    x: Any
    up: Layer
    program: Program
    down: Layer
    middle: int
    length: int

    def one_by_one(self) -> Any:
        middle = self.up.run(FORWARD, self.x, self.middle)
        return self.down.run(CONV1D, self.program(middle), self.length)

    def call(self, out: Any) -> bool:
        packed = self.up.pack(FORWARD), self.program.native, self.down.pack(CONV1D)
        x = (*signal(self.x), self.x.shape[2])
        middle, y = (*self.up.integers, self.middle), (*self.down.integers, *signal(out))
        return native.antialiased(*packed, self.x.shape[0], *x, *middle, *y, out.shape[2])

    def in_one(self) -> Any:
        out = np.full((*self.x.shape[:2], self.length), 7, self.x.dtype)
        assert self.call(out)
        return out


def random_program(rng: np.random.Generator, dtype: Any, channels: int) -> Program:
    kind = rng.integers(4)
    if kind == 0:  # snake: x + sin(a x)^2 / b
        values = [rng.uniform(0.5, 3, channels) for _ in range(2)]
        steps = [("multiply", 1, 0, -2), ("sin", 1, 1), ("square", 1, 1)]
        return Program(dtype, 1, [*steps, ("multiply", 1, 1, -3), ("add", 0, 0, 1)], [*values])
    if kind == 1:
        return Program(dtype, 1, [("copy", 1, 0)])
    if kind == 2:  # not 0 at 0, and not finite everywhere
        return Program(dtype, 1, [("exp", 3, 0), ("log", 2, 0), ("add", 1, 2, 3)])
    return Program(dtype, 1, [("elu", 2, 0, -1, 1.0, 0.0)])


def random_layer(rng: np.random.Generator, dtype: Any, channels: int, least: int) -> Layer:
    stride = int(rng.choice([1, 2, 2, 2, 3, 4, 5, 6, 7, 8]))
    k = max(int(rng.choice([1, 2, 3, 7, 12, 12, 16, 24, 65])), least * stride)
    left = int(rng.integers(0, k + 3))
    w = rng.standard_normal((channels, 1, k)).astype(dtype)
    b = rng.standard_normal(channels).astype(dtype) if rng.random() < 0.5 else None
    return Layer(w, b, stride, left, str(rng.choice(PADDING_MODES)))


def random_case(rng: np.random.Generator, dtype: Any) -> Case:
    channels, batch = int(rng.choice([1, 2, 3])), int(rng.choice([1, 1, 2]))
    length = int(rng.choice([1, 2, 3, 9, 16, 40, 100, 400, 3000]))
    up = random_layer(rng, dtype, channels, 1)
    down = random_layer(rng, dtype, channels, 0)
    if rng.random() < 0.4:
        down = down._replace(stride=up.stride)
    x = rng.standard_normal((batch, channels, length)).astype(dtype)
    middle = (length - 1) * up.stride + up.w.shape[2] - up.left - int(rng.integers(0, up.stride))
    middle = max(middle, 1)
    left, k = int(rng.integers(-2, 2 * down.left + 1)), down.w.shape[2]
    right = max(int(rng.integers(-2, k + 3)), k - middle - left)
    down = down._replace(left=left)
    outputs = (middle + left + right - k) // down.stride + 1
    return Case(x, up, random_program(rng, dtype, channels), down, middle, outputs)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_one_call_and_three(dtype: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        case = random_case(rng, dtype)
        same(case.in_one(), case.one_by_one())


@pytest.mark.usefixtures("isa")
def test_every_length_of_an_activation() -> None:
    """The layers of BigVGAN, of all lengths up to a few vectors and around a block."""
    rng = np.random.default_rng(9)
    dtype = np.dtype("f4")
    w = rng.standard_normal((2, 1, 12)).astype(dtype)
    up, down = Layer(w, None, 2, 5, "replicate"), Layer(w[::-1].copy(), None, 2, 5, "replicate")
    for length in [*range(1, 140), *range(700, 780), 1023, 1024, 1025, 1500, 4001]:
        x = rng.standard_normal((1, 2, length)).astype(dtype)
        program = random_program(rng, dtype, 2)
        case = Case(x, up, program, down, 2 * length, length)
        same(case.in_one(), case.one_by_one())


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_strides_of_arrays_and_threads(dtype: Any) -> None:
    rng = np.random.default_rng(6)
    for _ in range(40):
        case = random_case(rng, dtype)
        fs.set_num_threads(1)
        y = case.in_one()
        fs.set_num_threads(2)
        same(case.in_one(), y)
        moved = case._replace(x=np.asfortranarray(case.x))
        around = np.full((len(y), case.length, y.shape[1] + 1), 7, dtype)
        out = around.transpose(0, 2, 1)[:, 1:]
        assert moved.call(out)
        same(out, y)
        assert (around[..., 0] == 7).all()
        backward = case.x[..., ::-1].copy()[..., ::-1]
        same(case._replace(x=backward).in_one(), y)


@pytest.mark.usefixtures("isa")
def test_threads_share_one_long_row() -> None:
    rng = np.random.default_rng(7)
    case = random_case(rng, np.dtype("f4"))
    x = rng.standard_normal((1, case.x.shape[1], 60000)).astype("f4")
    up, down = case.up._replace(stride=2), case.down._replace(stride=2)
    long = case._replace(x=x, up=up, down=down, middle=110000, length=54000)
    fs.set_num_threads(1)
    y = long.in_one()
    fs.set_num_threads(2)
    same(long.in_one(), y)
    same(long.one_by_one(), y)


def test_infinite_weights_and_nan_in_the_signal() -> None:
    """Where no sample is absent, one call does for weights that are not finite too."""
    rng = np.random.default_rng(8)
    dtype = np.dtype("f4")
    taken = refused = 0
    for _ in range(200):
        case = random_case(rng, dtype)
        layer = [case.up, case.down][rng.integers(2)]
        layer.w[0, 0, rng.integers(layer.w.shape[2])] = rng.choice([np.inf, np.nan])
        case.x[0, 0, rng.integers(case.x.shape[2])] = np.nan
        out = np.full((*case.x.shape[:2], case.length), 7, dtype)
        if case.call(out):
            taken += 1
            same(out, case.one_by_one())
        else:
            refused += 1
            assert layer.mode == "zeros"
            assert (out == 7).all()
    assert taken > 20
    assert refused > 20


def refused(case: Case) -> bool:
    out = np.full((*case.x.shape[:2], case.length), 7, case.x.dtype)
    return not case.call(out) and bool((out == 7).all())


def test_what_has_to_be_called_one_by_one() -> None:
    rng = np.random.default_rng(10)
    dtype = np.dtype("f4")
    w = rng.standard_normal((2, 1, 12)).astype(dtype)
    x = rng.standard_normal((1, 2, 100)).astype(dtype)
    layer = Layer(w, None, 2, 5, "replicate")
    case = Case(x, layer, random_program(rng, dtype, 2), layer, 200, 100)
    assert not refused(case)
    for changed in (
        {"up": layer._replace(stride=9)},
        {"down": layer._replace(stride=9), "length": 20},
        {"up": layer._replace(stride=16)},
        {"up": layer._replace(dilation=3)},
        {"down": layer._replace(dilation=3)},
        {"up": layer._replace(w=rng.standard_normal((2, 1, 3000)).astype(dtype))},
        {"down": layer._replace(w=np.full_like(w, np.inf), mode="zeros")},
    ):
        assert refused(case._replace(**changed))
    out = np.full((1, 2, 100), 7, dtype)
    packed, packed_down = layer.pack(FORWARD), layer.pack(CONV1D)
    integers = (1, *signal(x), 100, *layer.integers, 200, *layer.integers, *signal(out), 100)
    assert not native.antialiased(packed_down, case.program.native, packed_down, *integers)
    assert not native.antialiased(packed, case.program.native, packed, *integers)
    assert native.antialiased(packed, case.program.native, packed_down, *integers)


@pytest.mark.skipif(
    "baseline" not in native.available_instruction_sets(),
    reason="float32 is packed alike for all sets of Arm",
)
def test_a_weight_for_another_instruction_set() -> None:
    rng = np.random.default_rng(11)
    dtype = np.dtype("f4")
    w = rng.standard_normal((2, 1, 12)).astype(dtype)
    layer = Layer(w, None, 2, 5, "replicate")
    x, out = rng.standard_normal((1, 2, 100)).astype(dtype), np.zeros((1, 2, 100), dtype)
    packed = layer.pack(FORWARD), random_program(rng, dtype, 2).native, layer.pack(CONV1D)
    integers = (1, *signal(x), 100, *layer.integers, 200, *layer.integers, *signal(out), 100)
    before = native.instruction_set()
    try:
        native.use_instruction_set("baseline")
        assert native.antialiased(*packed, *integers) == (before == "baseline")
    finally:
        native.use_instruction_set(before)


def test_nothing_to_compute() -> None:
    rng = np.random.default_rng(12)
    dtype = np.dtype("f4")
    layer = Layer(rng.standard_normal((2, 1, 12)).astype(dtype), None, 2, 5, "replicate")
    program = random_program(rng, dtype, 2)
    case = Case(np.ones((0, 2, 100), dtype), layer, program, layer, 200, 100)
    assert case.in_one().shape == (0, 2, 100)
    case = Case(np.ones((1, 2, 100), dtype), layer, program, layer, 200, 0)
    assert case.in_one().shape == (1, 2, 0)


def test_programs_that_do_not_fit() -> None:
    rng = np.random.default_rng(13)
    dtype = np.dtype("f4")
    layer = Layer(rng.standard_normal((2, 1, 12)).astype(dtype), None, 2, 5, "replicate")
    x = np.ones((1, 2, 100), dtype)
    two = Program(dtype, 2, [("add", 2, 0, 1)])
    double = Program(np.dtype("f8"), 1, [("copy", 1, 0)])
    short = Program(dtype, 1, [("add", 1, 0, -2)], [np.ones(1)])
    for program, message in ((two, "one input"), (double, "dtype"), (short, "fewer channels")):
        with pytest.raises(ValueError, match=message):
            Case(x, layer, program, layer, 200, 100).in_one()
