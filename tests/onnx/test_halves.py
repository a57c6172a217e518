"""Models in float16 and bfloat16: read as float32, with the weights that they have."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import assert_close, model_of, run

import fracstride.onnx

HALVES = {
    "float16": (np.float16, TensorProto.FLOAT16),
    "bfloat16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16),
}


def drawn(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("opset", [13, 17, 22, 23])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "ints"])
def test_weights(dtype: str, opset: int, raw: bool) -> None:
    kind, _ = HALVES[dtype]
    w = drawn(3, 4, 5).astype(kind)
    nodes = [
        helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "v"], ["y"]),
    ]
    model = model_of(nodes, {"x": ("b", 4, "t")}, weights={"w": w}, opset=opset)
    (weight,) = model.graph.initializer
    if not raw:
        bits = weight.raw_data
        weight.CopyFrom(helper.make_tensor("w", weight.data_type, w.shape, bits, raw=True))
        weight.ClearField("raw_data")
        weight.int32_data.extend(np.frombuffer(bits, np.uint16).tolist())
    x = drawn(1, 4, 20)
    assert_close(fracstride.onnx.load(model)(x), run(model, x)[0])


def whole(elements: int, kind: Any) -> onnx.ModelProto:
    """A model with inputs, weights, constants and casts of this dtype."""

    def constant(name: str, array: Any) -> Any:
        value = numpy_helper.from_array(np.asarray(array).astype(kind), name)
        return helper.make_node("Constant", [], [name], value=value)

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1]),
        constant("slope", drawn(3, 1)),
        helper.make_node("PRelu", ["c", "slope"], ["p"]),
        helper.make_node("Cast", ["p"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Exp", ["f"], ["e"]),
        helper.make_node("CastLike", ["e", "p"], ["h"]),
        constant("half", 0.5),
        helper.make_node("Greater", ["h", "half"], ["is"]),
        helper.make_node("Where", ["is", "h", "half"], ["k"]),
        helper.make_node("Shape", ["b"], ["s"]),
        helper.make_node(
            "ConstantOfShape",
            ["s"],
            ["filled"],
            value=numpy_helper.from_array(np.array([2], kind), "two"),
        ),
        helper.make_node("Unsqueeze", ["filled", "last"], ["column"]),
        helper.make_node("Mul", ["k", "column"], ["y"]),
    ]
    weights = {
        "w": drawn(3, 4, 3).astype(kind),
        "b": drawn(3).astype(kind),
        "last": np.array([1]),
    }
    model = model_of(nodes, {"x": ("b", 4, "t")}, weights=weights, opset=22)
    for info in (model.graph.input[0], model.graph.output[0]):
        info.type.tensor_type.elem_type = elements
    return model


@pytest.mark.parametrize("dtype", HALVES)
def test_whole_models(dtype: str) -> None:
    """The weights are rounded, what is computed is not."""
    kind, elements = HALVES[dtype]
    net = fracstride.onnx.load(whole(elements, kind))
    assert net.dtype == np.float32
    x = drawn(2, 4, 30)
    single = whole(TensorProto.FLOAT, np.float32)
    attributes = [each for n in single.graph.node for each in n.attribute]
    values = [each.t for each in attributes if each.name == "value"]
    for tensor in (*single.graph.initializer, *values):
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            rounded = array.astype(kind).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    assert_close(net(x), run(single, x)[0])
