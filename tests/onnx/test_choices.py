"""Comparisons and choices of numbers that arithmetic is easily wrong about."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import helper
from onnx_models import assert_close, model_of, run

import fracstride.onnx
from fracstride.network import Graph, Network
from fracstride.network.operations import choices
from fracstride.network.operations.choices import Where
from fracstride.network.operations.leaky_relu import LeakyReLU, PReLU

COMPARISONS = {
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Equal": np.equal,
}
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def numbers(dtype: Any) -> Any:
    """All pairs of zeros, the least and the largest numbers, infinities and others."""
    info = ml_dtypes.finfo(dtype)
    some = [0, -0.0, info.smallest_subnormal, info.tiny, info.max, 1, 1 + float(info.eps), np.inf]
    both = np.array([*some, *(-float(each) for each in some)]).astype(dtype)
    return [x.reshape(1, 1, -1) for x in np.meshgrid(both, both)]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name: str, dtype: Any) -> None:
    a, b = numbers(dtype)
    graph = Graph()
    given = [graph.add_input(each, 1) for each in "ab"]
    graph.outputs.append(graph.add(getattr(choices, name)(), *given))
    found = np.asarray(Network(graph, dtype)(a, b))
    wanted = COMPARISONS[name](a, b).astype(dtype)
    wanted[np.isinf(a) & (a == b)] = np.nan
    assert np.array_equal(found, wanted, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_a_choice_keeps_bits_and_ignores_the_other(dtype: Any) -> None:
    truth = np.arange(256).reshape(1, 1, -1) % 2
    a, b = numbers(dtype)
    graph = Graph()
    given = [graph.add_input(each, 1) for each in "tab"]
    graph.outputs.append(graph.add(Where(), *given))
    net = Network(graph, dtype)
    as_bits = f"u{np.dtype(dtype).itemsize}"
    nothing = np.full_like(a, np.nan)
    for one, other, wanted in (
        (a, b, np.where(truth, a, b)),
        (np.where(truth, a, nothing), b, np.where(truth, a, b)),
        (a, np.where(truth, nothing, b), np.where(truth, a, b)),
        (nothing, b, np.where(truth, nothing, b)),
    ):
        found = np.asarray(net(truth.astype(dtype), one, other))
        assert np.array_equal(np.isnan(found), np.isnan(wanted))
        same = found.view(as_bits) == wanted.view(as_bits)
        assert (same | np.isnan(wanted)).all()


def node(kind: str, *names: str, out: str = "y") -> Any:
    return helper.make_node(kind, names, [out])


@pytest.mark.parametrize(
    ("slope", "kind"), [(np.float32(0.1), LeakyReLU), (np.full((3, 1), 0.2, np.float32), PReLU)]
)
def test_a_choice_by_sign_runs_as_a_leaky_relu(slope: Any, kind: type) -> None:
    nodes = [
        node("Greater", "x", "zero", out="p"),
        node("Mul", "s", "x", out="m"),
        node("Where", "p", "x", "m"),
    ]
    model = model_of(nodes, {"x": ("b", 3, "t")}, weights={"zero": np.float32(0), "s": slope})
    net = fracstride.onnx.load(model)
    (fused,) = (each.operation for each in net.fused.nodes)
    assert [type(operation) for operation, _ in fused.steps] == [kind]  # type: ignore[attr-defined]
    x = np.random.default_rng(0).standard_normal((2, 3, 20)).astype(np.float32)
    assert_close(net(x), run(model, x)[0])


@pytest.mark.parametrize(
    ("compared", "bound", "factor", "first"),
    [("x", 0.1, "x", "x"), ("x", 0, "t", "x"), ("x", 0, "x", "t"), ("c", 0, "x", "x")],
)
def test_choices_that_are_no_leaky_relu(
    compared: str, bound: float, factor: str, first: str
) -> None:
    """By something else, by another bound, of a multiple of something else, or of that itself."""
    nodes = [
        node("Tanh", "x", out="t"),
        node("Sin", "n", out="c"),
        node("Greater", compared, "bound", out="p"),
        node("Mul", factor, "s", out="m"),
        node("Where", "p", first, "m"),
    ]
    nodes.insert(1, node("Neg", "x", out="n"))
    found = {"bound": np.float32(bound), "s": np.float32(0.3)}
    model = model_of(nodes, {"x": ("b", 3, "t")}, weights=found)
    x = np.linspace(-1, 1, 60, dtype=np.float32).reshape(1, 3, 20)
    assert_close(fracstride.onnx.load(model)(x), run(model, x)[0])


def test_truth_is_no_result() -> None:
    model = model_of([node("Greater", "x", "x")], {"x": ("b", 3, "t")})
    with pytest.raises(ValueError, match="output 0 has the dtype bool"):
        fracstride.onnx.load(model)
