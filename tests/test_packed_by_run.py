"""Weights that a call packs run by run, and the ways of the weight's gradient.

The layers of `cases` have too few channels for a sum of several runs, or signals too short for a
gradient of several. These have them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import Case, Definition, wide
from numpy.random import Generator

import fracstride as fs
from fracstride import reference
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry

pytestmark = pytest.mark.usefixtures("isa")

DTYPES = [np.dtype(t) for t in ("f4", "f8", "f2", ml_dtypes.bfloat16)]


def wide_layer(rng: Generator, dtype: np.dtype[Any], mode: str = "zeros") -> Case:
    """Many channels in and out, few frames."""
    stride, k = int(rng.choice([1, 1, 2, 3, 4, 8])), int(rng.integers(1, 18))
    dilation = int(rng.choice([1, 1, 1, 2, 3]))
    span = dilation * (k - 1) + 1
    geometry = Geometry(k, stride, tuple(map(int, rng.integers(0, span, 2))), 0, dilation, mode)
    # Such padding crops less than a short signal gives.
    length = int(rng.choice([1, 1, 2, 3, 5, 8, 13, 60])) + (span - 1) // stride + 1
    if rng.random() < 0.5:
        geometry, length = Geometry(k, stride, 0, 0, dilation, mode), int(rng.integers(1, 4))
    per_group = rng.integers(1, 400, 2)
    groups, batch = int(rng.choice([1, 1, 2])), int(rng.choice([1, 1, 2, 5]))
    channels = [int(c) * groups for c in per_group]
    return Case(
        geometry, batch, groups, *channels, length, dtype, True, "plain", int(rng.integers(2**30))
    )


def many_runs(rng: Generator, dtype: np.dtype[Any], mode: str = "zeros") -> Case:
    """Gradients of many runs, of few channels or few taps."""
    stride, k = int(rng.integers(1, 10)), int(rng.integers(1, 14))
    dilation = int(rng.choice([1, 1, 1, 2, 40]))
    span = dilation * (k - 1) + 1
    geometry = Geometry(k, stride, tuple(map(int, rng.integers(0, span, 2))), 0, dilation, mode)
    length = int(rng.choice([20, 100, 500])) + (span - 1) // stride + 1
    channels = [int(c) for c in rng.choice([1, 2, 3, 5, 8, 16, 20, 33, 50], 2)]
    batch = int(rng.choice([1, 2, 7]))
    return Case(
        geometry, batch, 1, *channels, length, dtype, True, "plain", int(rng.integers(2**30))
    )


def kept(case: Case) -> Any:
    """The layer's output with a weight that is packed as a whole, for many calls."""
    layer = fs.ConvTranspose1d.from_weights(case.w, case.b, **case.options)
    return layer(case.x)


def same_bits(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(wide(a)), np.signbit(wide(b)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_runs_have_the_bits_of_the_whole(dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        case = wide_layer(rng, dtype, str(rng.choice(PADDING_MODES)))
        same_bits(fs.conv_transpose1d(case.x, case.w, case.b, **case.options), kept(case))


def test_runs_of_a_conv1d_have_the_bits_of_the_whole() -> None:
    rng = np.random.default_rng(6)
    for _ in range(12):
        case = wide_layer(rng, np.dtype("f4"))
        g, options = case.geometry, case.options
        of = {name: options[name] for name in ("stride", "padding", "dilation", "groups")}
        layer = fs.Conv1d.from_weights(case.w, None, **of)
        same_bits(fs.conv1d(case.gy, case.w, None, **of), layer(case.gy))
        assert layer(case.gy).shape[2] >= 1, g


def test_wide_layers_are_what_the_definition_says() -> None:
    rng = np.random.default_rng(2)
    for _ in range(12):
        Definition.of(wide_layer(rng, np.dtype("f4"), str(rng.choice(PADDING_MODES)))).check(fs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_of_many_runs_are_what_the_definition_says(dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(3)
    for _ in range(12):
        Definition.of(many_runs(rng, dtype, str(rng.choice(PADDING_MODES)))).check(fs)


@cache
def layers_with(value: float, draw: Any) -> list[tuple[Case, list[Any]]]:
    """Layers with some operand of that value, and where the three maps are finite by definition.

    For all instruction sets: the definition of a wide layer takes long.
    """
    rng, found = np.random.default_rng(4), []
    for _ in range(20):
        case = draw(rng, np.dtype("f4"))
        operand = getattr(case, str(rng.choice(["x", "w", "gy"])))
        # Near an end of the signal, or a tap: there it meets what is absent.
        operand[..., int(rng.choice([0, -1]))].flat[int(rng.integers(3)) :: 3] = value
        exact = Definition.of(case)
        maps = exact.forward, exact.input_grad, exact.weight_grad
        found.append((case, [np.isfinite(values) for values, _ in maps]))
    return found


@pytest.mark.parametrize("draw", [wide_layer, many_runs])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_meets_nothing_that_is_absent(draw: Any, value: float) -> None:
    for case, finite in layers_with(value, draw):
        k, length, options = case.geometry.kernel_size, case.length, case.options
        maps = (
            fs.conv_transpose1d(case.x, case.w, case.b, **options),
            fs.conv_transpose1d_input_grad(case.gy, case.w, length, **options),
            fs.conv_transpose1d_weight_grad(case.x, case.gy, k, **options),
        )
        for got, where in zip(maps, finite, strict=True):
            np.testing.assert_array_equal(np.isfinite(got), where)


def test_the_gradient_of_a_signal_alone_is_that_in_a_batch() -> None:
    # One run is added up in the gradient itself, with each tap as a phase.
    rng = np.random.default_rng(5)
    for _ in range(12):
        case = wide_layer(rng, np.dtype("f8"))
        k, options = case.geometry.kernel_size, case.options
        gw = fs.conv_transpose1d_weight_grad(case.x[:1], case.gy[:1], k, **options)
        exact = reference.conv_transpose1d_weight_grad(
            case.x[:1], case.gy[:1], case.geometry, case.groups
        )
        np.testing.assert_allclose(gw, exact, rtol=1e-9, atol=1e-9)
