"""``vmap`` over each operand and all of them: right, and one call for the whole batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax_layers import KINDS, TRANSPOSED, Layer, assert_close, primitives_in, random

import fracstride.jax as fj

AXES = [
    (0, None, None),
    (3, None, None),
    (None, 1, None),
    (None, None, 0),
    (1, 0, None),
    (2, 3, 1),
    (0, None, 1),
    (None, 2, 0),
]


def stacked(operands: Any, axes: Any, count: int = 3) -> list[Any]:
    return [
        a if axis is None else jnp.stack([a * (i + 1) for i in range(count)], axis)
        for a, axis in zip(operands, axes, strict=True)
    ]


def one_by_one(function: Any, axes: Any, operands: Any, count: int = 3) -> Any:
    rows = [
        [
            a if axis is None else jnp.take(a, i, axis)
            for a, axis in zip(operands, axes, strict=True)
        ]
        for i in range(count)
    ]
    return jnp.stack([function(*row) for row in rows])


@pytest.mark.parametrize("kind", KINDS)
def test_operands(kind: str) -> None:
    layer = Layer(kind, "reflect")
    mapped = [stacked(layer.operands(), axes) for axes in AXES]

    def both(mapped: Any) -> Any:
        return [
            (jax.vmap(layer, axes)(*many), one_by_one(layer, axes, many))
            for axes, many in zip(AXES, mapped, strict=True)
        ]

    for got, wanted in jax.jit(both)(mapped):
        assert_close(got, wanted, 1e-14)


@pytest.mark.parametrize("axes", [(0, None), (None, 2), (1, 1)])
@pytest.mark.parametrize("which", ["input_grad", "weight_grad"])
def test_the_adjoints(which: str, axes: tuple[int | None, int | None]) -> None:
    layer = Layer(TRANSPOSED, "circular")
    x, w, _ = layer.operands()
    gy = layer(x, w)

    def input_grad(gy: Any, w: Any) -> Any:
        return fj.conv_transpose1d_input_grad(gy, w, x.shape[2], **layer.sizes)

    def weight_grad(x: Any, gy: Any) -> Any:
        return fj.conv_transpose1d_weight_grad(x, gy, w.shape[2], **layer.sizes)

    function, operands = (input_grad, (gy, w)) if which == "input_grad" else (weight_grad, (x, gy))
    many = stacked(operands, axes)
    got = jax.jit(jax.vmap(function, axes))(*many)
    assert_close(got, jax.jit(lambda *many: one_by_one(function, axes, many))(*many), 1e-14)
    assert len(primitives_in(jax.vmap(function, axes), *many)) == 1


@pytest.mark.parametrize(
    ("axes", "groups"), [((0, None, None), 2), ((None, 0, None), 6), ((0, 0, 0), 6)]
)
def test_it_is_one_call(axes: Any, groups: int) -> None:
    layer = Layer(TRANSPOSED)
    many = stacked(layer.operands(), axes)
    found = primitives_in(jax.vmap(layer, axes), *many)
    assert found == [f"conv_transpose1d_with_bias[{groups}]"]


def test_nested() -> None:
    layer = Layer(TRANSPOSED)
    x, w, b = layer.operands()
    xs, ws = jnp.stack([x, -x]), jnp.stack([w, 2 * w, -w])
    nested = jax.vmap(jax.vmap(layer, (0, None, None)), (None, 0, None))
    got = nested(xs, ws, b)
    assert_close(got, jnp.stack([jnp.stack([layer(x, w, b) for x in xs]) for w in ws]), 1e-14)
    assert len(primitives_in(nested, xs, ws, b)) == 1


def test_an_input_without_batch() -> None:
    layer = Layer(TRANSPOSED)
    x, w, b = layer.operands()
    got = jax.vmap(layer, (0, None, None))(x, w, b)
    assert (got == layer(x, w, b)).all()


def test_gradients_for_each_example() -> None:
    layer = Layer(TRANSPOSED)
    x, w, b = layer.operands()

    def gradients(f: Any) -> Any:
        of_one = jax.grad(lambda w, b, x: (f(x[None], w, b) ** 3).sum(), (0, 1))
        return jax.jit(jax.vmap(of_one, (None, None, 0)))

    assert_close(gradients(layer)(w, b, x), gradients(layer.by_lax)(w, b, x), 1e-12)


def test_a_batch_of_nothing() -> None:
    layer = Layer(TRANSPOSED)
    x, w, b = layer.operands()
    got = jax.vmap(layer, (None, 0, None))(x[:0], jnp.stack([w, w]), b)
    assert got.shape == (2, 0, *layer(x, w, b).shape[1:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", AXES)
def test_an_axis_of_nothing(kind: str, axes: Any) -> None:
    layer = Layer(kind, "reflect")
    given = layer.operands("float32")
    none = [
        a if axis is None else jnp.zeros((*a.shape[:axis], 0, *a.shape[axis:]), a.dtype)
        for a, axis in zip(given, axes, strict=True)
    ]
    mapped = jax.vmap(layer, axes)
    one = layer(*given)

    def gradients(*operands: Any) -> Any:
        return jax.grad(lambda *a: mapped(*a).sum(), (0, 1, 2))(*operands)

    for transform in (lambda f: f, jax.jit):
        y = transform(mapped)(*none)
        assert (y.shape, y.dtype) == ((0, *one.shape), one.dtype)
        for got, operand in zip(transform(gradients)(*none), none, strict=True):
            assert (got.shape, got.dtype) == (operand.shape, operand.dtype)
            assert not got.any()
    each = jax.vmap(jax.grad(lambda *a: layer(*a).sum(), (0, 1, 2)), axes)(*none)
    assert [g.shape for g in each] == [(0, *a.shape) for a in given]


def test_of_random_operands_in_another_dtype() -> None:
    x, w = random((3, 2, 4, 6), "complex64"), random((3, 4, 2, 5), "complex64")
    got = jax.jit(jax.vmap(fj.conv_transpose1d))(x, w)
    each = jnp.stack([fj.conv_transpose1d(a, b) for a, b in zip(x, w, strict=True)])
    assert (got == each).all()
