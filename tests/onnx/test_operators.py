"""Each operator of ONNX that is read, against ONNX Runtime on random sizes and opsets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import defs, helper
from onnx_models import assert_close, model_of, run

import fracstride.onnx

Made = tuple[list[Any], dict[str, Any]]
Make = Callable[[np.random.Generator, int, int], Made]  # of channels and opset
SIGNAL = {"x": ("batch", 4, "time")}
NEWEST = min(25, defs.onnx_opset_version())


def node(kind: str, *names: str, out: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, names, [out], name=f"{kind} {out}", **attributes)


def weights(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


def ints(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def function(kind: str, **attributes: Any) -> Make:
    return lambda rng, opset, c: ([node(kind, "x", **attributes)], {})


def positive(kind: str) -> Make:
    return lambda rng, opset, c: ([node("Exp", "x", out="e"), node(kind, "e")], {})


def of_two(kind: str) -> Make:
    def make(rng: np.random.Generator, opset: int, c: int) -> Made:
        other = (1, 1, 1) if rng.random() < 0.3 else (c, 1)
        names = ["x", "w"] if rng.random() < 0.5 else ["w", "x"]
        return [node(kind, *names)], {"w": np.abs(weights(rng, *other)) + 0.5}

    return make


def of_several(kind: str) -> Make:
    def make(rng: np.random.Generator, opset: int, c: int) -> Made:
        names = ["x", "t", "w", "x", "t"][: int(rng.integers(1, 6))]
        return [node("Tanh", "x", out="t"), node(kind, *names)], {"w": weights(rng, c, 1)}

    return make


def compared(kind: str) -> Make:
    """A comparison as numbers; values are equal often."""

    def make(rng: np.random.Generator, opset: int, c: int) -> Made:
        found = {"w": np.round(weights(rng, c, 1)), "one": np.float32(1), "zero": np.float32(0)}
        names = ["n", "w"] if rng.random() < 0.5 else ["w", "n"]
        nodes = [
            node("Mul", "x", "one", out="m"),
            node("Clip", "m", "zero", "one", out="n"),
            node(kind, *names, out="p"),
            node("Cast", "p", to=1),
        ]
        return nodes, found

    return make


def choice(rng: np.random.Generator, opset: int, c: int) -> Made:
    """Of two signals or constants, by what several comparisons give."""
    found = {"low": np.float32(-0.5), "high": weights(rng, c, 1), "w": weights(rng, c, 1)}
    one, other = (str(rng.choice(["x", "e", "w", "low"])) for _ in range(2))
    nodes = [
        node("Exp", "x", out="e"),
        node("Greater", "x", "low", out="p"),
        node("Less", "x", "high", out="q"),
        node(str(rng.choice(["And", "Or"])), "p", "q", out="r"),
        node("Not", "r", out="n"),
        node("Where", "n", one, other),
    ]
    return nodes, found


def bend(rng: np.random.Generator, opset: int, c: int) -> Made:
    """A leaky ReLU, or a PReLU, as a choice; a convolution reads it."""
    slope = np.float32(0.1) if rng.random() < 0.5 else weights(rng, c, 1)
    factors = ["s", "x"] if rng.random() < 0.5 else ["x", "s"]
    nodes = [
        node("Greater", "x", "zero", out="p"),
        node("Mul", *factors, out="m"),
        node("Where", "p", "x", "m", out="b"),
        node("Conv", "b", "w"),
    ]
    return nodes, {"zero": np.float32(0), "s": slope, "w": weights(rng, 3, c, 2)}


def by_channel(rng: np.random.Generator, opset: int, c: int) -> Made:
    nodes = [
        node("Transpose", "x", out="t", perm=[0, 2, 1]),
        node("Where", "p", "t", "w"),
    ]
    return nodes, {"p": rng.random(c) < 0.5, "w": weights(rng, c)}


def of_signals(kind: str) -> Make:
    return lambda rng, opset, c: ([node("Tanh", "x", out="t"), node(kind, "x", "t")], {})


def conv(rng: np.random.Generator, opset: int, c: int) -> Made:
    k, d, s, g = (int(n) for n in (rng.integers(1, 6), *rng.integers(1, 4, 2), rng.choice([1, 2])))
    attributes = {"strides": [s], "dilations": [d], "pads": list(map(int, rng.integers(0, 9, 2)))}
    found = {"w": weights(rng, 6, c // g, k)}
    names = ["x", "w"]
    if rng.random() < 0.5:
        found["b"], names = weights(rng, 6), ["x", "w", "b"]
    return [node("Conv", *names, group=g, **attributes)], found


def conv_transpose(rng: np.random.Generator, opset: int, c: int) -> Made:
    k, d, s, g = (int(n) for n in (rng.integers(2, 9), *rng.integers(1, 4, 2), rng.choice([1, 2])))
    added = int(rng.integers(0, max(s, d)))
    left, right = map(int, rng.integers(0, 2, 2))
    attributes = {"strides": [s], "dilations": [d], "pads": [left, right], "group": g}
    found = {"w": weights(rng, c, 6 // g, k), "b": weights(rng, 6)}
    return [node("ConvTranspose", "x", "w", "b", output_padding=[added], **attributes)], found


def lstm(rng: np.random.Generator, opset: int, c: int) -> Made:
    units, both = int(rng.integers(2, 9)), int(rng.integers(1, 3))
    found = {
        "w": weights(rng, both, 4 * units, c),
        "r": weights(rng, both, 4 * units, units) / 2,
        "b": weights(rng, both, 8 * units),
        "sizes": ints(0, 0, -1),
    }
    nodes = [
        node("Transpose", "x", out="t", perm=[2, 0, 1]),
        helper.make_node(
            "LSTM",
            ["t", "w", "r", "b"],
            ["h"],
            hidden_size=units,
            direction="bidirectional" if both == 2 else str(rng.choice(["forward", "reverse"])),
        ),
        node("Transpose", "h", out="u", perm=[0, 2, 1, 3]),
        node("Reshape", "u", "sizes", out="v"),
        node("Transpose", "v", perm=[1, 2, 0]),
    ]
    return nodes, found


def linear(rng: np.random.Generator, opset: int, c: int) -> Made:
    found = {"w": weights(rng, c, 5), "b": weights(rng, 5)}
    nodes = [
        node("Transpose", "x", out="t", perm=[0, 2, 1]),
        node("MatMul", "t", "w", out="m"),
        node("Add", "m", "b"),
    ]
    return nodes, found


def layer_norm(rng: np.random.Generator, opset: int, c: int) -> Made:
    found = {"s": weights(rng, c), "b": weights(rng, c)}
    nodes = [
        node("Transpose", "x", out="t", perm=[0, 2, 1]),
        node("LayerNormalization", "t", "s", "b", epsilon=1e-4),
    ]
    return nodes, found


def batch_norm(rng: np.random.Generator, opset: int, c: int) -> Made:
    found = {name: weights(rng, c) for name in "sbm"}
    found["v"] = np.abs(weights(rng, c)) + 0.1
    return [node("BatchNormalization", "x", "s", "b", "m", "v", epsilon=1e-3)], found


def reduction(kind: str, first: int) -> Make:
    """Over some axes of channels, which are ints of the node before an opset."""

    def make(rng: np.random.Generator, opset: int, c: int) -> Made:
        axes = [[1], [2], [1, 2], [-2, 1]][int(rng.integers(0, 4))]
        perm = [0, *map(int, rng.permutation([1, 2])), 3]
        keep = int(rng.integers(0, 2))
        attributes = {"keepdims": keep} if opset >= first else {"keepdims": keep, "axes": axes}
        names = ["t", "axes"] if opset >= first else ["t"]
        nodes = [
            node("Reshape", "x", "sizes", out="r"),
            node("Transpose", "r", out="t", perm=perm),
            node(kind, *names, **attributes),
        ]
        return nodes, {"sizes": ints(0, 2, c // 2, -1), "axes": ints(*axes)}

    return make


def product_before(rng: np.random.Generator, opset: int, c: int) -> Made:
    shape = (5, c) if rng.random() < 0.5 else (1, 5, c)
    return [node("MatMul", "w", "x")], {"w": weights(rng, *shape)}


def einsum(rng: np.random.Generator, opset: int, c: int) -> Made:
    """A matrix and the signal, in either order, with the letters of each in any order."""
    signal = "".join(rng.permutation(list("bct")))
    matrix, result = ("".join(rng.permutation(list(each))) for each in ("oc", "obt"))
    perm = ["bct".index(letter) for letter in signal]
    pairs = [(signal, "t"), (matrix, "w")][:: int(rng.choice([1, -1]))]
    equation = f"{pairs[0][0]}, {pairs[1][0]} -> {result}"
    nodes = [
        node("Transpose", "x", out="t", perm=perm),
        node("Einsum", *(name for _, name in pairs), equation=equation),
    ]
    return nodes, {"w": weights(rng, *((5, c) if matrix == "oc" else (c, 5)))}


def rms_norm(rng: np.random.Generator, opset: int, c: int) -> Made:
    nodes = [
        node("Transpose", "x", out="t", perm=[0, 2, 1]),
        node("RMSNormalization", "t", "s", epsilon=1e-4),
    ]
    return nodes, {"s": weights(rng, c)}


def pad(mode: str) -> Make:
    def make(rng: np.random.Generator, opset: int, c: int) -> Made:
        left, right = map(int, rng.integers(0, 5, 2))
        if mode == "constant":
            number = np.float32(rng.integers(0, 2) * 0.5)
            found = {"pads": ints(0, 0, left, 0, 0, right), "n": number}
            return [node("Pad", "x", "pads", "n")], found
        return [node("Pad", "x", "pads", mode=mode)], {"pads": ints(0, 0, left, 0, 0, right)}

    return make


def cut(rng: np.random.Generator, opset: int, c: int) -> Made:
    start, end = int(rng.integers(0, 4)), -int(rng.integers(1, 4))
    found = {"s": ints(1, start), "e": ints(c, end), "a": ints(1, 2)}
    return [node("Slice", "x", "s", "e", "a")], found


def flip(rng: np.random.Generator, opset: int, c: int) -> Made:
    found = {"s": ints(-1), "e": ints(-(2**63)), "a": ints(1), "t": ints(-1)}
    return [node("Slice", "x", "s", "e", "a", "t")], found


def gather(rng: np.random.Generator, opset: int, c: int) -> Made:
    some = rng.integers(-c, c, 3).astype(np.int64)
    return [node("Gather", "x", "i", axis=1)], {"i": some}


def select(rng: np.random.Generator, opset: int, c: int) -> Made:
    return [node("Gather", "x", "i", axis=1)], {"i": np.array(2, np.int64)}


def join(rng: np.random.Generator, opset: int, c: int) -> Made:
    nodes = [
        helper.make_node("Split", ["x"], ["p", "q"], axis=1, **_halves(opset)),
        node("Tanh", "p", out="t"),
        node("Concat", "q", "t", "x", axis=1),
    ]
    return nodes, {}


def _halves(opset: int) -> dict[str, int]:
    return {"num_outputs": 2} if opset >= 18 else {}


def squeeze(rng: np.random.Generator, opset: int, c: int) -> Made:
    if opset >= 13:
        nodes = [node("Unsqueeze", "x", "a", out="u"), node("Squeeze", "u", "a")]
        return nodes, {"a": ints(1)}
    return [node("Unsqueeze", "x", axes=[1], out="u"), node("Squeeze", "u", axes=[1])], {}


def shuffle(rng: np.random.Generator, opset: int, c: int) -> Made:
    """Channels in groups that change places, by sizes that the graph works out."""
    nodes = [
        node("Shape", "x", out="s"),
        node("Gather", "s", "zero", out="b"),
        node("Gather", "s", "two", out="t"),
        node("Concat", "b", "halves", "t", out="sizes", axis=0),
        node("Reshape", "x", "sizes", out="r"),
        node("Transpose", "r", out="p", perm=[0, 2, 1, 3]),
        node("Reshape", "p", "s"),
    ]
    found = {"zero": ints(0), "two": ints(2), "halves": ints(2, c // 2)}
    return nodes, found


def to_a_multiple(rng: np.random.Generator, opset: int, c: int) -> Made:
    """Zeros behind the signal until its length is a multiple of 4: arithmetic on sizes."""
    nodes = [
        node("Shape", "x", out="s"),
        node("Gather", "s", "two", out="t"),
        node("Neg", "t", out="n"),
        node("Mod", "n", "four", out="m"),
        node("Concat", "zeros", "m", out="pads", axis=0),
        node("Pad", "x", "pads"),
    ]
    found = {"two": ints(2), "four": ints(4), "zeros": ints(0, 0, 0, 0, 0)}
    return nodes, found


def power(rng: np.random.Generator, opset: int, c: int) -> Made:
    return [node("Pow", "x", "n")], {"n": np.array(2, np.int64 if opset > 11 else np.float32)}


def bounded(rng: np.random.Generator, opset: int, c: int) -> Made:
    nodes = [node("Max", "x", "l", out="m"), node("Min", "h", "m")]
    return nodes, {"l": np.float32(-0.5), "h": weights(rng, c, 1)}


def clip(rng: np.random.Generator, opset: int, c: int) -> Made:
    low, high = np.float32(-0.5), np.float32(0.7)
    names = [("x", "l", "h"), ("x", "l"), ("x", "", "h")][int(rng.integers(0, 3))]
    return [node("Clip", *names)], {"l": low, "h": high}


def resize(mode: str) -> Make:
    def make(rng: np.random.Generator, opset: int, c: int) -> Made:
        scale = np.array([1, 1, rng.integers(2, 6)], np.float32)
        way = "asymmetric" if mode == "nearest" else "half_pixel"
        attributes = {"coordinate_transformation_mode": way, "nearest_mode": "floor"}
        return [node("Resize", "x", "", "s", mode=mode, **attributes)], {"s": scale}

    return make


def if_by_size(rng: np.random.Generator, opset: int, c: int) -> Made:
    """A branch that the number of channels decides about, as torch's exporter writes squeeze."""

    def branch(kind: str) -> Any:
        out = helper.make_tensor_value_info("inside", 1, None)
        return helper.make_graph([helper.make_node(kind, ["x"], ["inside"])], kind, [], [out])

    nodes = [
        node("Shape", "x", out="s"),
        node("Gather", "s", "one", out="n"),
        node("Equal", "n", "c", out="is"),
        node("If", "is", then_branch=branch("Tanh"), else_branch=branch("Neg")),
    ]
    return nodes, {"one": np.array(1, np.int64), "c": np.array(c, np.int64)}


OPERATORS: dict[str, tuple[int, Make]] = {
    # name: the first opset, and how it is made
    **{
        kind: (11, function(kind))
        for kind in ("Abs", "Cos", "Erf", "Exp", "Neg", "Relu", "Sigmoid", "Sin", "Tanh")
    },
    **{kind: (11, positive(kind)) for kind in ("Log", "Reciprocal", "Sqrt")},
    "Softplus": (11, function("Softplus")),
    "LeakyRelu": (11, function("LeakyRelu", alpha=0.2)),
    "LeakyRelu of default": (11, function("LeakyRelu")),
    "Elu": (11, function("Elu", alpha=0.7)),
    "Selu": (11, function("Selu")),
    "Celu": (12, function("Celu", alpha=0.7)),
    "HardSigmoid": (11, function("HardSigmoid", alpha=0.3)),
    "HardSwish": (14, function("HardSwish")),
    "Mish": (18, function("Mish")),
    "Shrink soft": (11, function("Shrink", lambd=0.4, bias=0.4)),
    "Shrink hard": (11, function("Shrink", lambd=0.4)),
    "Softsign": (11, function("Softsign")),
    "Swish": (24, function("Swish", alpha=1.3)),
    "ThresholdedRelu": (11, function("ThresholdedRelu", alpha=0.3)),
    "Gelu": (20, function("Gelu")),
    "Gelu tanh": (20, function("Gelu", approximate="tanh")),
    "Identity": (11, function("Identity")),
    "Dropout": (11, function("Dropout")),
    **{kind: (13, of_two(kind)) for kind in ("Add", "Sub", "Mul", "Div")},
    **{f"{kind} of signals": (13, of_signals(kind)) for kind in ("Add", "Sub", "Mul")},
    "PRelu": (11, lambda rng, opset, c: ([node("PRelu", "x", "w")], {"w": weights(rng, c, 1)})),
    "Pow": (12, power),
    "Clip": (12, clip),
    **{kind: (13, of_several(kind)) for kind in ("Sum", "Mean")},
    **{f"{kind} of several": (13, of_several(kind)) for kind in ("Max", "Min")},
    **{kind: (13, compared(kind)) for kind in ("Equal", "Greater", "Less")},
    **{kind: (16, compared(kind)) for kind in ("GreaterOrEqual", "LessOrEqual")},
    "Where": (16, choice),
    "Where, a leaky ReLU": (16, bend),
    "Where by channel": (16, by_channel),
    "Max, Min": (13, bounded),
    "Conv": (11, conv),
    "ConvTranspose": (11, conv_transpose),
    "LSTM": (11, lstm),
    "MatMul": (13, linear),
    "LayerNormalization": (17, layer_norm),
    "BatchNormalization": (11, batch_norm),
    "MatMul from the left": (13, product_before),
    "Einsum": (12, einsum),
    "RMSNormalization": (23, rms_norm),
    "ReduceMean": (13, reduction("ReduceMean", 18)),
    "ReduceSum": (13, reduction("ReduceSum", 13)),
    **{f"Pad {mode}": (11, pad(mode)) for mode in ("constant", "reflect", "edge")},
    "Pad wrap": (19, pad("wrap")),
    "Slice": (11, cut),
    "Slice backwards": (11, flip),
    "Gather": (11, gather),
    "Gather one": (11, select),
    "Split, Concat": (13, join),
    "Squeeze, Unsqueeze": (11, squeeze),
    "Reshape": (13, shuffle),
    "Pad to a multiple": (11, to_a_multiple),
    "If": (13, if_by_size),
    "Resize nearest": (13, resize("nearest")),
    "Resize linear": (13, resize("linear")),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("seed", range(3))
def test_operators(name: str, seed: int) -> None:
    first, make = OPERATORS[name]
    rng = np.random.default_rng(seed)
    opset = int(rng.integers(first, NEWEST + 1))
    nodes, found = make(rng, opset, 4)
    model = model_of(nodes, SIGNAL, weights=found, opset=opset)
    net = fracstride.onnx.load(model)
    for length in (net.least, net.least + 1, 30, int(rng.integers(40, 200))):
        for batch in (1, 3):
            x = weights(rng, batch, 4, length)
            assert_close(net(x), run(model, x)[0])
