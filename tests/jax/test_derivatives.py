"""Derivatives of every order, against those that lax has of its own convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import DTYPES, random_case
from jax_layers import CONV1D, KINDS, TRANSPOSED, Layer, assert_close, assert_same_bits, operands_of
from jax_layers import random as random_array

import fracstride as fs
import fracstride.jax as fj
from fracstride.extension import PADDING_MODES

MODES = pytest.mark.parametrize("mode", PADDING_MODES)
KIND = pytest.mark.parametrize("kind", KINDS)
ALL = (0, 1, 2)


def loss(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *operands: (function(*operands) ** 3).sum()


def norm_of_grad(function: Callable[..., Any]) -> Callable[..., Any]:
    def norm(*operands: Any) -> Any:
        return sum((g**2).sum() for g in jax.grad(loss(function), ALL)(*operands))

    return norm


def transforms() -> dict[str, Callable[[Any], Callable[..., Any]]]:
    """Each makes of a layer a function of its operands (and, as in `vjp`, of their cosines)."""

    def linear_transposes(f: Any) -> Callable[..., Any]:
        def both(x: Any, w: Any, b: Any) -> Any:
            y, zero = f(x, w, b), jnp.zeros_like(b)
            return (
                jax.linear_transpose(lambda x: f(x, w, zero), x)(y),
                jax.linear_transpose(lambda w: f(x, w, zero), w)(y),
                jax.linear_transpose(lambda b: f(x, jnp.zeros_like(w), b), b)(y),
            )

        return both

    def scanned(f: Any) -> Callable[..., Any]:
        def total(x: Any, w: Any, b: Any) -> Any:
            step = jax.checkpoint(lambda carry, w: (carry + f(x, w, b).sum(), f(x, w)))
            return jax.lax.scan(step, 0.0, jnp.stack([w, jnp.cos(w)]))

        return jax.jacrev(total, ALL)

    return {
        "grad": lambda f: jax.grad(loss(f), ALL),
        "jvp": lambda f: lambda *a: jax.jvp(f, a, tuple(map(jnp.cos, a))),
        "vjp": lambda f: lambda *a: jax.vjp(f, *a)[1](jnp.cos(f(*a))),
        "linearize": lambda f: lambda *a: jax.linearize(f, *a)[1](*map(jnp.sin, a)),
        "linear_transpose": linear_transposes,
        "scan of checkpoint": scanned,
        "hessian": lambda f: jax.hessian(loss(f), ALL),
        "grad of grad": lambda f: jax.grad(norm_of_grad(f), ALL),
    }


@MODES
@KIND
def test_transforms(kind: str, mode: str) -> None:
    """All of them in one program, since XLA compiles for longer than it runs."""
    layer = Layer(kind, mode)
    made = transforms()
    if mode in ("replicate", "circular"):
        made = {name: made[name] for name in ("grad", "jvp", "grad of grad")}
    # (Operands are arguments: XLA of JAX 0.6.2 folds lax's gradients of constants wrongly.)
    ours, by_lax = (
        jax.jit(lambda *a, f=f: {name: make(f)(*a) for name, make in made.items()})(
            *layer.operands()
        )
        for f in (layer.__call__, layer.by_lax)
    )
    for name in made:
        assert_close(ours[name], by_lax[name], 1e-12)


def test_without_jit() -> None:
    layer, make = Layer(TRANSPOSED, "reflect"), transforms()["grad of grad"]
    given = layer.operands()
    assert_close(make(layer)(*given), jax.jit(make(layer.by_lax))(*given), 1e-12)


@KIND
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 2e-6), ("complex128", 1e-14)],
)
def test_dtypes(kind: str, dtype: str, tolerance: float) -> None:
    """First and second derivatives; complex ones without conjugates of this library's own."""
    layer = Layer(kind)
    complex_ = dtype.startswith("complex")

    def derivatives(f: Any) -> Any:
        def values(x: Any, w: Any, b: Any) -> Any:
            return jax.grad(lambda *a: (f(*a) ** 2).sum(), (0, 1), holomorphic=complex_)(x, w, b)

        def tangents(*a: Any) -> Any:
            return jax.jvp(values, a, tuple(map(jnp.negative, a)))

        return jax.jit(tangents)

    given = layer.operands(dtype)
    assert_close(derivatives(layer)(*given), derivatives(layer.by_lax)(*given), tolerance)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype: str) -> None:
    """Every derivative is a sum in float32, rounded once."""
    layer = Layer(TRANSPOSED)
    x, w, _ = layer.operands(dtype)
    wide = [a.astype("float32") for a in (x, w)]

    def derivatives(f: Any, x: Any, w: Any) -> Any:
        y, backward = jax.vjp(f, x, w)
        return y, backward(y)

    y, (gx, gw) = jax.jit(lambda *a: derivatives(layer, *a))(x, w)
    exact, backward = jax.vjp(layer.by_lax, *wide)
    pairs = [(y, exact), *zip((gx, gw), backward(y.astype("float32")), strict=True)]
    step = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
    for got, wanted in pairs:
        assert got.dtype == dtype
        error = abs(np.asarray(got, np.float32) - np.asarray(wanted))
        assert (error <= 1.01 * step * abs(np.asarray(wanted)) + 1e-6).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_have_the_bits_of_the_numpy_face(dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(1)
    cases = [random_case(rng, dtype=dtype) for _ in range(2 if dtype.kind == "c" else 6)]
    given = [operands_of(case) for case in cases]

    def gradients(given: Any) -> Any:
        found = []
        for case, (x, w, _, gy) in zip(cases, given, strict=True):
            layer = lambda x, w, o=case.options: fj.conv_transpose1d(x, w, **o)  # noqa: E731
            found.append(jax.vjp(layer, x, w)[1](gy))
        return found

    for case, (x, w, _, gy), (gx, gw) in zip(cases, given, jax.jit(gradients)(given), strict=True):
        o, k = case.options, case.geometry.kernel_size
        assert_same_bits(gx, fs.conv_transpose1d_input_grad(gy, w, case.length, **o))
        assert_same_bits(gw, fs.conv_transpose1d_weight_grad(x, gy, k, **o))


@MODES
def test_gradient_of_a_conv1d_has_the_bits_of_its_adjoint(mode: str) -> None:
    layer = Layer(CONV1D, mode)
    x, w, _ = layer.operands("float32")
    y, backward = jax.vjp(lambda x: layer(x, w), x)
    wanted = fs.conv1d_adjoint(np.asarray(y), np.asarray(w), x.shape[2], **layer.sizes)
    assert_same_bits(backward(y)[0], wanted)


@MODES
def test_the_three_maps_are_adjoints_of_each_other(mode: str) -> None:
    """And so are their derivatives: each is bilinear in its two operands."""
    layer = Layer(TRANSPOSED, mode)
    x, w, _ = layer.operands()
    gy = random_array(layer(x, w).shape, seed=9)
    sizes = layer.sizes

    def products(x: Any, w: Any, gy: Any) -> Any:
        gx = fj.conv_transpose1d_input_grad(gy, w, x.shape[2], **sizes)
        gw = fj.conv_transpose1d_weight_grad(x, gy, w.shape[2], **sizes)
        return jnp.stack([(layer(x, w) * gy).sum(), (x * gx).sum(), (w * gw).sum()])

    values = products(x, w, gy)
    assert_close(values, values[:1].repeat(3), 1e-12)
    jacobian = jax.jit(jax.jacrev(products, (0, 1, 2)))(x, w, gy)
    for of_operand in jacobian:
        assert_close(of_operand, of_operand[:1].repeat(3, 0), 1e-12)


def test_the_gradient_of_an_operand_alone_needs_no_other_map() -> None:
    layer = Layer(TRANSPOSED)
    x, w, b = layer.operands()
    names = str(jax.make_jaxpr(jax.grad(lambda b: layer(x, w, b).sum()))(b))
    assert "input_grad" not in names
    assert "weight_grad" not in names
    names = str(jax.make_jaxpr(jax.grad(lambda w: layer(x, w, b).sum()))(w))
    assert "input_grad" not in names
    assert "weight_grad" in names
