"""STFT, DFT and Col2Im of ONNX, and exported spectra of torch, against ONNX Runtime."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load_from_string
from onnx_models import assert_close, model_of, run

import fracstride.onnx

Rng = np.random.Generator
Made = tuple[list[Any], dict[str, Any], tuple[Any, ...]]  # nodes, weights, dimensions of x


def node(kind: str, *names: str, out: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, names, [out], name=f"the_{kind} {out}", **attributes)


def ints(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def stft(rng: Rng, opset: int) -> Made:
    size, hop = int(rng.integers(4, 17)), int(rng.integers(1, 6))
    window = rng.uniform(0.1, 1, size).astype(np.float32)
    found = {"hop": np.int64(hop), "w": window, "size": np.int64(size), "a": ints(2)}
    names = [("hop", "w", "size"), ("hop", "w"), ("hop", "", "size")][int(rng.integers(3))]
    nodes = [
        node("Unsqueeze", "x", "a", out="u"),
        node("STFT", "u", *names, onesided=int(rng.integers(2))),
    ]
    return nodes, found, ("batch", "time")


def dft(rng: Rng, opset: int, *, inverse: bool, onesided: bool, complex_: bool) -> Made:
    given, last = int(rng.integers(3, 12)), bool(rng.integers(2))
    size = int(rng.integers(3, 16))
    if inverse and onesided:  # ONNX Runtime wants all frequencies
        given = size // 2 + 1
    parts = 2 if complex_ else 1
    dims = ("batch", "time", given, parts) if last else ("batch", given, "time", parts)
    axis = 2 if last else 1
    found: dict[str, Any] = {"n": np.int64(size)}
    attributes = {"inverse": int(inverse), "onesided": int(onesided)}
    names = ["x", "n" if rng.random() < 0.7 or inverse else ""]
    if opset >= 20:
        names.append("axis")
        found["axis"] = np.int64(axis)
    else:
        attributes["axis"] = axis
    return [node("DFT", *names, **attributes)], found, dims


def col2im(rng: Rng, opset: int) -> Made:
    """Frames added up, to an image whose length the graph works out."""
    size, hop = int(rng.integers(1, 8)), int(rng.integers(1, 5))
    dilation, left, right = int(rng.integers(1, 3)), *map(int, rng.integers(0, 3, 2))
    span = dilation * (size - 1) + 1
    nodes = [
        node("Shape", "x", out="s"),
        node("Gather", "s", "two", out="t"),
        node("Mul", "t", "hop", out="m"),
        node("Add", "m", "more", out="l"),
        node("Concat", "one", "l", out="image", axis=0),
        node(
            "Col2Im",
            "x",
            "image",
            "block",
            strides=[1, hop],
            dilations=[1, dilation],
            pads=[0, left, 0, right],
        ),
    ]
    more = span - hop - left - right
    found = {
        "two": ints(2),
        "hop": ints(hop),
        "more": ints(more),
        "one": ints(1),
        "block": ints(1, size),
    }
    return nodes, found, ("batch", int(rng.integers(1, 4)) * size, "time")


def matrix(rng: Rng, opset: int) -> Made:
    """A filter bank, on the left of the signal."""
    found = {"m": rng.normal(size=(3, 5)).astype(np.float32)}
    return [node("MatMul", "m", "x")], found, ("batch", 5, "time")


def reduced(kind: str) -> Callable[[Rng, int], Made]:
    def make(rng: Rng, opset: int) -> Made:
        keep, several = (int(n) for n in rng.integers(0, 2, 2))
        dims = ("batch", 3, "time", 2) if several else ("batch", 5, "time")
        axis = int(rng.choice([3, -1])) if several else 1
        if kind == "ReduceL2" and opset < 18:
            return [node(kind, "x", axes=[axis], keepdims=keep)], {}, dims
        return [node(kind, "x", "a", keepdims=keep)], {"a": ints(axis)}, dims

    return make


OPERATORS: dict[str, tuple[int, Callable[[Rng, int], Made]]] = {
    "STFT": (17, stft),
    "Col2Im": (18, col2im),
    "MatMul": (17, matrix),
    "ReduceSum": (17, reduced("ReduceSum")),
    "ReduceL2": (17, reduced("ReduceL2")),
    **{
        f"DFT {name}": (17, lambda rng, opset, kind=kind: dft(rng, opset, **kind))
        for name, kind in {
            "real": {"inverse": False, "onesided": False, "complex_": False},
            "onesided": {"inverse": False, "onesided": True, "complex_": False},
            "complex": {"inverse": False, "onesided": False, "complex_": True},
            "inverse": {"inverse": True, "onesided": False, "complex_": True},
            "inverse of real": {"inverse": True, "onesided": False, "complex_": False},
            "to real": {"inverse": True, "onesided": True, "complex_": True},
        }.items()
    },
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str, seed: int) -> None:
    first, make = OPERATORS[name]
    rng = np.random.default_rng(seed)
    opset = max(first, [17, 18, 20, 20][seed])
    nodes, found, dims = make(rng, opset)
    model = model_of(nodes, {"x": dims}, weights=found, opset=opset)
    net = fracstride.onnx.load(model)
    for batch, length in [(1, net.least), (2, net.least + 1), (1, 40), (3, 71)]:
        sizes = {"batch": batch, "time": length}
        x = rng.normal(size=[sizes.get(dim, dim) for dim in dims]).astype(np.float32)
        assert_close(net(x), run(model, x)[0])


REFUSED: dict[str, tuple[list[Any], dict[str, Any], tuple[Any, ...], str]] = {
    "time": ([node("DFT", "x", axis=1)], {}, ("batch", "time", 4, 1), "transforms time"),
    "complex": (
        [node("STFT", "x", "h", "", "n")],
        {"h": np.int64(2), "n": np.int64(8)},
        ("batch", "time", 2),
        "signal is complex",
    ),
    "a window of the signal": (
        [node("Slice", "x", "s", "e", "a", out="w0"), node("Reshape", "w0", "e", out="w"),
         node("Unsqueeze", "x", "u", out="v"), node("STFT", "v", "h", "w")],
        {"s": ints(0), "e": ints(8), "a": ints(1), "u": ints(2), "h": np.int64(2)},
        ("batch", "time"),
        "the_",
    ),
    "two dimensions": (
        [node("Col2Im", "x", "i", "b")],
        {"i": ints(4, 4), "b": ints(2, 2)},
        ("batch", 4, "time"),
        "the_Col2Im",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    nodes, found, dims, message = REFUSED[name]
    opset = 18 if "Col2Im" in message else 17
    model = model_of(nodes, {"x": dims}, weights=found, opset=opset)
    with pytest.raises(ValueError, match=message):
        fracstride.onnx.load(model)


def test_an_envelope_that_the_graph_works_out() -> None:
    """``conv_transpose(x) / conv_transpose(ones)``, as exports of hand-made inverses have it."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 1, 8)).astype(np.float32)
    window = np.hanning(9)[:8].astype(np.float32) + np.float32(0.1)
    nodes = [
        node("ConvTranspose", "x", "w", out="c", strides=[2]),
        node("Shape", "x", out="s"),
        node("Gather", "s", "two", out="t"),
        node("Concat", "one", "one", "t", out="sizes", axis=0),
        node("ConstantOfShape", "sizes", out="z"),
        node("Add", "z", "number", out="ones"),
        node("ConvTranspose", "ones", "squares", out="e", strides=[2]),
        node("Div", "c", "e", out="d"),
        node("Slice", "d", "start", "end", "axis"),
    ]
    found = {
        "w": weight,
        "squares": (window**2)[None, None],
        "two": ints(2),
        "one": ints(1),
        "number": np.float32(1),
        "start": ints(4),
        "end": ints(-4),
        "axis": ints(2),
    }
    model = model_of(nodes, {"x": ("batch", 6, "time")}, weights=found)
    net = fracstride.onnx.load(model)
    assert "DividedByEnvelope" in str(net)
    for batch, length in [(1, net.least), (2, 3), (1, 50)]:
        x = rng.normal(size=(batch, 6, length)).astype(np.float32)
        assert_close(net(x), run(model, x)[0])


def exported(function: Any, x: Any, *, dynamo: bool) -> Any:
    torch = pytest.importorskip("torch")

    class Of(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return function(torch, x)

    file, last = io.BytesIO(), x.dim() - 1
    given: dict[str, Any] = {"dynamic_axes": {"x": {0: "batch", last: "time"}}, "dynamo": False}
    if dynamo:
        pytest.importorskip("onnxscript")
        time = torch.export.Dim("time", min=2, max=1 << 16)
        shapes = ({0: torch.export.Dim("batch"), last: time},)
        given = {"dynamic_shapes": shapes, "dynamo": True, "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Of(), (x,), file, input_names=["x"], output_names=["y"], opset_version=18, **given
        )
    return load_from_string(file.getvalue())


def real_stft(torch: Any, x: Any) -> Any:
    window = torch.hann_window(12)
    return torch.stft(x, 16, 4, 12, window, return_complex=False)


def same_padding(torch: Any, x: Any) -> Any:
    """Vocos' own inverse."""
    window, frames = torch.hann_window(16), x.shape[2]
    y = torch.fft.irfft(torch.complex(x[:, :9], x[:, 9:]), 16, dim=1) * window[None, :, None]
    given: Any = {"output_size": (1, 4 * frames + 12), "kernel_size": (1, 16), "stride": (1, 4)}
    fold = torch.nn.functional.fold
    squares = window.square().expand(1, frames, -1).transpose(1, 2)
    envelope = fold(squares, **given).squeeze()[6:-6]
    return fold(y, **given)[:, 0, 0, 6:-6] / envelope


EXPORTED: dict[str, tuple[Any, tuple[int, ...], bool]] = {
    "stft by TorchScript": (real_stft, (2, 160), False),
    "stft": (real_stft, (2, 160), True),
    "rfft": (lambda torch, x: torch.view_as_real(torch.fft.rfft(x, dim=1)), (2, 16, 20), True),
    "same padding": (same_padding, (2, 18, 20), True),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exports(name: str) -> None:
    torch = pytest.importorskip("torch")
    function, shape, dynamo = EXPORTED[name]
    model = exported(function, torch.randn(shape), dynamo=dynamo)
    assert all(each.type.tensor_type.elem_type == TensorProto.FLOAT for each in model.graph.input)
    net = fracstride.onnx.load(model)
    for batch, length in [(1, 30), (3, 97)]:
        x = np.random.default_rng(length).normal(size=(batch, *shape[1:-1], length))
        assert_close(net(x.astype(np.float32)), run(model, x.astype(np.float32))[0])
