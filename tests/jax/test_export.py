"""``jax.export``: several platforms in one module, symbolic batches and lengths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import export
from jax_layers import CONV1D, KINDS, TRANSPOSED, Layer, assert_close, assert_same_bits, random

import fracstride.jax as fj
from fracstride._load import native
from fracstride.jax import kernels

CHECKS = [
    export.DisabledSafetyCheck.custom_call(f"fracstride_{name}_v1")
    for name in native.xla_handlers()
]


def exported(function: Any, *operands: Any, **options: Any) -> Any:
    return export.export(jax.jit(function), disabled_checks=CHECKS, **options)(*operands)


@pytest.mark.parametrize("kind", KINDS)
def test_one_module_for_all_platforms(kind: str) -> None:
    layer = Layer(kind, "circular")
    given = layer.operands("float32")
    module = exported(layer, *given, platforms=("cpu", "cuda", "tpu"))
    assert module.platforms == ("cpu", "cuda", "tpu")
    assert_same_bits(module.call(*given), layer(*given))
    text = module.mlir_module()
    assert f"@fracstride_{kind}_v1(" in text
    assert "stablehlo.convolution" in text


def test_a_module_for_another_platform() -> None:
    layer = Layer(TRANSPOSED, "reflect")
    module = exported(layer, *layer.operands("float32"), platforms=("cuda",))
    assert "_v1(" not in module.mlir_module()


def test_gradients() -> None:
    layer = Layer(TRANSPOSED, "replicate")
    given = layer.operands("float32")

    def gradients(x: Any, w: Any, b: Any) -> Any:
        return jax.grad(lambda *a: (layer(*a) ** 2).sum(), (0, 1, 2))(x, w, b)

    for got, wanted in zip(
        exported(gradients, *given).call(*given), gradients(*given), strict=True
    ):
        assert got.shape == wanted.shape
        assert jnp.allclose(got, wanted, rtol=1e-5)


def spec(shape: str, dtype: str = "float32") -> Any:
    return jax.ShapeDtypeStruct(export.symbolic_shape(shape), dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_symbolic_batch(mode: str, kind: str) -> None:
    layer = Layer(kind, mode)
    x, w, b = layer.operands("float32")
    shape = "b, " + ", ".join(map(str, x.shape[1:]))
    module = exported(layer, spec(shape), w, b)
    for batch in (1, 3):
        rows = random((batch, *x.shape[1:]), "float32")
        assert_same_bits(module.call(rows, w, b), layer(rows, w, b))


@pytest.mark.parametrize("kind", KINDS)
def test_symbolic_length(kind: str) -> None:
    layer = Layer(kind)
    _, w, b = layer.operands("float32")
    module = exported(layer, spec("b, 4, 5*n + 4"), w, b, platforms=("cpu", "cuda"))
    for batch, length in ((1, 9), (2, 24)):
        x = random((batch, 4, length), "float32")
        assert_same_bits(module.call(x, w, b), layer(x, w, b))


@pytest.mark.parametrize("kind", KINDS)
def test_symbolic_length_of_a_gradient(kind: str) -> None:
    layer = Layer(kind)
    _, w, _ = layer.operands("float32")

    def gradients(x: Any, w: Any) -> Any:
        return jax.grad(lambda *a: (layer(*a) ** 2).sum(), (0, 1))(x, w)

    module = exported(gradients, spec("2, 4, n + 3"), w, platforms=("cpu", "cuda"))
    for length in (8, 9, 10):
        x = random((2, 4, length), "float32")
        for got, wanted in zip(module.call(x, w), jax.jit(gradients)(x, w), strict=True):
            assert_same_bits(got, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_symbolic_length_by_lax(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other platforms compute, on the CPU."""
    layer = Layer(kind)
    _, w, _ = layer.operands("float32")
    monkeypatch.setattr(kernels, "available", lambda: False)

    def results(x: Any, w: Any) -> Any:
        y, backward = jax.vjp(layer, x, w)
        return y, *backward(y)

    module = exported(lambda *a: results(*a), spec("2, 4, n + 3"), w)
    assert "_v1(" not in module.mlir_module()
    monkeypatch.undo()
    for length in (8, 9, 10):
        x = random((2, 4, length), "float32")
        for got, wanted in zip(module.call(x, w), jax.jit(results)(x, w), strict=True):
            assert_close(got, wanted, 1e-5)


def test_symbolic_output_size() -> None:
    _, w, _ = Layer(TRANSPOSED).operands("float32")

    def doubled(x: Any) -> Any:
        return fj.conv_transpose1d(
            x, w, stride=2, padding=1, groups=2, output_size=2 * x.shape[-1] + 1
        )

    module = exported(doubled, spec("1, 4, n"))
    x = random((1, 4, 7), "float32")
    assert_same_bits(module.call(x), doubled(x))
    with pytest.raises(ValueError, match=r"^output_size must be from \d*"):
        exported(
            lambda x: fj.conv_transpose1d(x, w, stride=2, output_size=9 * x.shape[-1] + 9),
            spec("1, 4, n"),
        )


def test_symbolic_lengths_of_the_adjoints() -> None:
    _, w, _ = Layer(TRANSPOSED).operands("float32")

    def of_input(gy: Any) -> Any:
        frames = gy.shape[-1] - 3
        return fj.conv_transpose1d_input_grad(gy, w, frames)

    def of_conv1d(gy: Any) -> Any:
        return fj.conv1d_adjoint(gy, w, gy.shape[-1] + 3)

    gy = random((1, 3, 9), "float32")
    assert_same_bits(exported(of_input, spec("1, 3, n + 4")).call(gy), of_input(gy))
    x = random((1, 4, 9), "float32")
    assert_same_bits(exported(of_conv1d, spec("1, 4, n")).call(x), of_conv1d(x))


@pytest.mark.parametrize("kind", KINDS)
def test_an_extension_needs_a_length(kind: str) -> None:
    layer = Layer(kind, "reflect")
    _, w, b = layer.operands("float32")
    said = r"^padding_mode must be 'zeros' where the length .* is a symbol, got 'reflect'"
    with pytest.raises(ValueError, match=said):
        exported(layer, spec("1, 4, n + 9"), w, b)


LOAD = """
import sys, jax, numpy as np
from jax import export
import fracstride.jax
assert fracstride.jax.register()
with open(sys.argv[1], "rb") as file:
    module = export.deserialize(bytearray(file.read()))
print(np.asarray(module.call(np.ones((1, 4, 5), np.float32))).sum())
"""


def test_a_module_in_another_process(tmp_path: Path) -> None:
    pytest.importorskip("flatbuffers")
    _, w, _ = Layer(CONV1D).operands("float32")
    module = export.export(jax.jit(lambda x: fj.conv1d(x, w, groups=2)), disabled_checks=CHECKS)(
        jax.ShapeDtypeStruct((1, 4, 5), "float32")
    )
    path = tmp_path / "module"
    path.write_bytes(module.serialize(vjp_order=0))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = fj.conv1d(jnp.ones((1, 4, 5), "float32"), w, groups=2).sum()
    assert float(done.stdout) == pytest.approx(float(wanted), rel=1e-5)
