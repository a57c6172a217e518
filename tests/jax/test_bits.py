"""The JAX face has the bits of the NumPy face, on random layers of every dtype."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest
from cases import DTYPES, Case, random_case, random_conv1d_case
from jax_layers import assert_same_bits, operands_of

import fracstride as fs
import fracstride.jax as fj
from fracstride.extension import PADDING_MODES

# Layers of each dtype and kind, 20 of them in a program: XLA compiles for longer than it runs.
LAYERS = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "20"))
SEEDS = range(max(1, LAYERS // 20))


def maps(module: Any, case: Case, operands: Sequence[Any]) -> list[Any]:
    """T, C and R by the functions of a module."""
    (x, w, b, gy), o, k = operands, case.options, case.geometry.kernel_size
    return [
        module.conv_transpose1d(x, w, b, **o),
        module.conv_transpose1d_input_grad(gy, w, case.length, **o),
        module.conv_transpose1d_weight_grad(x, gy, k, **o),
    ]


def conv1d_maps(module: Any, case: Case, operands: Sequence[Any]) -> list[Any]:
    """The Conv1d and its adjoint."""
    (x, w, b, gy), o = operands, case.options
    return [module.conv1d(x, w, b, **o), module.conv1d_adjoint(gy, w, case.length, **o)]


def check(functions: Any, cases: Sequence[Case]) -> None:
    given = [operands_of(case) for case in cases]

    def program(given: Any) -> Any:
        return [functions(fj, case, o) for case, o in zip(cases, given, strict=True)]

    for case, operands, results in zip(cases, given, jax.jit(program)(given), strict=True):
        for got, wanted in zip(results, functions(fs, case, operands), strict=True):
            assert_same_bits(got, wanted)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_random_layers(dtype: np.dtype[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 3 if dtype.kind == "c" else 20  # XLA takes long to compile the splitting into parts
    check(maps, [random_case(rng, dtype=dtype) for _ in range(count)])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_random_conv1ds(dtype: np.dtype[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 2 if dtype.kind == "c" else 6
    check(conv1d_maps, [random_conv1d_case(rng, dtype=dtype) for _ in range(count)])


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_one_frame(mode: str, length: int) -> None:
    rng = np.random.default_rng(length)
    x, w = rng.standard_normal((2, 3, length)), rng.standard_normal((3, 2, 9))
    sizes = {"stride": 2, "padding": (1, 2), "padding_mode": mode}
    y = fs.conv_transpose1d(x, w, **sizes)
    assert_same_bits(fj.conv_transpose1d(x, w, **sizes), y)
    gx = fs.conv_transpose1d_input_grad(y, w, length, **sizes)
    assert_same_bits(fj.conv_transpose1d_input_grad(y, w, length, **sizes), gx)
    gw = fs.conv_transpose1d_weight_grad(x, y, 9, **sizes)
    assert_same_bits(fj.conv_transpose1d_weight_grad(x, y, 9, **sizes), gw)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_go_where_they_go_in_numpy(value: float, which: int) -> None:
    rng = np.random.default_rng(0)
    x, w, gy = (rng.standard_normal(shape) for shape in ((2, 4, 6), (4, 3, 5), (2, 6, 14)))
    operands = [x, w, gy]
    operands[which].flat[7] = value
    sizes = {"stride": 2, "padding": (1, 0), "groups": 2}
    calls = [
        ("conv_transpose1d", (x, w)),
        ("conv_transpose1d_input_grad", (gy, w, 6)),
        ("conv_transpose1d_weight_grad", (x, gy, 5)),
    ]
    for name, arguments in calls:
        got = np.asarray(getattr(fj, name)(*arguments, **sizes))
        np.testing.assert_array_equal(got, getattr(fs, name)(*arguments, **sizes))


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_a_batch_of_nothing(dtype: str) -> None:
    x, w, gy = np.ones((0, 4, 5), dtype), np.ones((4, 3, 2), dtype), np.ones((0, 3, 6), dtype)
    assert fj.conv_transpose1d(x, w).shape == (0, 3, 6)
    assert fj.conv_transpose1d_input_grad(gy, w, 5).shape == (0, 4, 5)
    gw = fj.conv_transpose1d_weight_grad(x, gy, 2)
    assert_same_bits(gw, np.zeros((4, 3, 2), dtype))
    assert fj.conv1d(gy, w).shape == (0, 4, 5)
    assert fj.conv1d_adjoint(x, w, 6).shape == (0, 3, 6)


def test_results_do_not_depend_on_threads_or_batch() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 32, 500)), rng.standard_normal((32, 16, 8))
    call = jax.jit(lambda x, w: fj.conv_transpose1d(x, w, stride=4, padding="same"))
    fs.set_num_threads(1)
    y = np.asarray(call(x, w))
    fs.set_num_threads(2)
    assert_same_bits(call(x, w), y)
    assert_same_bits(call(x[1:2], w), y[1:2])
    assert_same_bits(fj.conv_transpose1d(x[2], w, stride=4, padding="same"), y[2])


def test_denormal_numbers_count_as_zero() -> None:
    """As in all that XLA computes on CPUs; docs/jax.md says so."""
    x, w = np.full((1, 1, 1), 1e-39, np.float32), np.ones((1, 1, 1), np.float32)
    assert fs.conv_transpose1d(x, w).item() > 0
    assert jax.jit(fj.conv_transpose1d)(x, w).item() == 0
