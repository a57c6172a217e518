"""What is packed: arrays live for as long as a kernel has their addresses."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fracstride as fs
from fracstride import functional, packed
from fracstride._load import native
from fracstride.arrays import kernels_of
from fracstride.kernel_table import Kernels
from fracstride.packed import PackedLayer


def unaligned(a: Any) -> Any:
    """The same values where no kernel can read them in place."""
    view = np.frombuffer(bytearray(a.nbytes + 1), a.dtype, a.size, offset=1).reshape(a.shape)
    view[...] = a
    return view


def signal(*shape: int, dtype: Any = np.float32) -> Any:
    return unaligned(np.random.default_rng(0).standard_normal(shape).astype(dtype))


class Watched:
    """The compiled module; its kernels find that the arrays are still there."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self.calls = 0

    def signal_of(self, array: Any) -> Any:
        self.arrays.append(weakref.ref(array))
        return native.signal_of(array)

    def kernels_of(self, dtype: Any) -> Kernels:
        kernels = kernels_of(dtype)
        return replace(
            kernels,
            pack=self.watched(kernels.pack),
            weight_grad=self.watched(kernels.weight_grad),
        )

    def watched(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            assert all(array() is not None for array in self.arrays)
            self.calls += 1
            if arguments[-1] is not True:  # a weight that is packed for one call is read by that
                self.arrays.clear()
            return kernel(*arguments)

        return call

    def __getattr__(self, name: str) -> Any:
        return self.watched(getattr(native, name))


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
def test_arrays_outlive_the_kernels_that_read_them(
    monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    watched = Watched()
    for module in (functional, packed):
        monkeypatch.setattr(module, "native", watched)
        monkeypatch.setattr(module, "kernels_of", watched.kernels_of)
    x, w, y = (signal(*shape, dtype=dtype) for shape in [(2, 4, 5), (4, 3, 3), (2, 3, 7)])
    fs.conv_transpose1d(x, w, signal(3, dtype=dtype), out=y.copy())
    fs.conv_transpose1d_input_grad(y, w, 5)
    layer = fs.ConvTranspose1d.from_weights(w, signal(3, dtype=dtype))
    stream = layer.stream(2)
    if dtype != "complex64":
        layer(x, residual=y, negative_slope=0.5)
        stream = layer.stream(2, negative_slope=0.5)
    for t in range(5):
        stream.push(x[..., t : t + 1])
    w, y = signal(3, 4, 3, dtype=dtype), signal(2, 3, 2, dtype=dtype)
    fs.conv1d(x, w, signal(3, dtype=dtype), 2, out=y.copy())
    conv = fs.Conv1d.from_weights(w, signal(3, dtype=dtype), 2)
    conv(x, residual=y, negative_slope=None if dtype == "complex64" else 0.5)
    y = signal(2, 3, 7, dtype=dtype)
    fs.conv_transpose1d_weight_grad(x, y, 3)
    assert watched.calls > 14


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5)])
def test_out_is_returned(shape: tuple[int, ...]) -> None:
    layer = fs.ConvTranspose1d(4, 3, 3, rng=0)
    x = signal(*shape)
    y = layer(x)
    for out in (np.empty_like(y), np.empty_like(y, order="F"), unaligned(y)):
        assert layer(x, out=out) is out
        assert layer(x, residual=y, out=out) is out
        assert np.array_equal(out, y + y)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))]
)
def test_copies(copied: Any) -> None:
    """What a copy is assigned is not the original's."""
    whole = fs.ConvTranspose1d(4, 3, 3, rng=0)
    for layer in (whole.packed, whole):
        x, other = signal(2, 4, 5), copied(layer)
        run: Any = PackedLayer.output if layer is whole.packed else fs.ConvTranspose1d.__call__
        before = run(layer, x)
        assert run(other, x).tobytes() == before.tobytes()
        other.weight = np.zeros_like(layer.weight)
        other.bias = np.ones(3, np.float32)
        assert run(layer, x).tobytes() == before.tobytes()
        assert (run(other, x) == 1).all()
        with pytest.raises(ValueError, match="read-only"):
            other.weight[...] = 0
