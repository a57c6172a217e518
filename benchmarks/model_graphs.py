"""Parts of ONNX files, as the libraries that read such files get them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from model_zoo import OnnxModel
from onnx import helper, numpy_helper, utils

HEIGHT = "axis of height"
# For attributes of 1-D layers, what goes before the number of each end of the axis of time.
OF_HEIGHT = {"dilations": 1, "kernel_shape": 1, "output_padding": 0, "pads": 0, "strides": 1}


def part(model: OnnxModel) -> onnx.ModelProto:
    """The part alone, with inputs of one entry and any length."""
    whole = onnx.load(model.file)
    cut = utils.Extractor(whole).extract_model(list(model.inputs), [model.output])
    del cut.graph.input[:]
    cut.graph.input.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in model.inputs.items()
    )
    return cut


def on_images(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which 1-D layers compute 2-D convolutions of images with a height of 1."""
    found = onnx.ModelProto()
    found.CopyFrom(graph)
    weights = {tensor.name: tensor for tensor in found.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    widened = set()
    for node in found.graph.node:
        is_layer = node.op_type in ("Conv", "ConvTranspose") and node.input[1] in weights
        if not is_layer or len(weights[node.input[1]].dims) != 3 + (node.input[1] in widened):
            nodes.append(node)
            continue
        weight = weights[node.input[1]]
        if weight.name not in widened:  # a weight may have several readers
            array = numpy_helper.to_array(weight)
            weight.CopyFrom(numpy_helper.from_array(array[:, :, None], weight.name))
            widened.add(weight.name)
        nodes += _layer_on_images(node)
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    found.graph.initializer.append(numpy_helper.from_array(np.array([2]), HEIGHT))
    return found


def _layer_on_images(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    x, y = node.input[0], node.output[0]
    layer = onnx.NodeProto()
    layer.CopyFrom(node)
    layer.input[0], layer.output[0] = f"{y} of images", f"{y} on images"
    for attribute in layer.attribute:
        if attribute.name in OF_HEIGHT:
            more = OF_HEIGHT[attribute.name]
            numbers = [n for each in attribute.ints for n in (more, each)]
            attribute.CopyFrom(helper.make_attribute(attribute.name, numbers))
    return [
        helper.make_node("Unsqueeze", [x, HEIGHT], [layer.input[0]]),
        layer,
        helper.make_node("Squeeze", [layer.output[0], HEIGHT], [y]),
    ]


def output_of(graph: onnx.ModelProto, *inputs: Any) -> Any:
    """What ONNX Runtime computes in float32."""
    import onnxruntime as ort

    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]
