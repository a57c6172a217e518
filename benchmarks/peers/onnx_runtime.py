"""ONNX Runtime's CPU provider."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import onnxruntime as ort
from layers import Array, Problem
from onnx import TensorProto, helper, numpy_helper

from peers.candidate import Candidate


class OnnxRuntime(Candidate):
    """A graph of one node: weights that it can pack ahead, input and output bound in place.

    Its threads spin between calls, as they do by default. ``force_spinning_stop`` would leave the
    cores to the next candidate, but each call would take ten microseconds and more to wake the
    threads. Here the next candidate starts only after the spinning is over (:func:`timing.settle`).
    """

    package = "onnxruntime"

    def __init__(self, problem: Problem, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        session = ort.InferenceSession(
            _one_node(problem).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._x = ort.OrtValue.ortvalue_from_numpy(problem.x)
        self._y = ort.OrtValue.ortvalue_from_shape_and_type(problem.layer.output_shape, np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", self._x)
        binding.bind_ortvalue_output("y", self._y)
        self.call = partial(session.run_with_iobinding, binding)

    def output(self) -> Array:
        """Call once and return the result."""
        self.call()
        return np.asarray(self._y.numpy())


def _one_node(problem: Problem) -> onnx.ModelProto:
    n = problem.layer
    added = {"output_padding": [n.output_padding]} if n.transposed else {}
    node = helper.make_node(
        "ConvTranspose" if n.transposed else "Conv",
        ["x", "weight", "bias"],
        ["y"],
        kernel_shape=[n.k],
        strides=[n.s],
        pads=[n.p, n.p],
        group=n.groups,
        dilations=[n.dilation],
        **added,
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, problem.x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, n.output_shape)],
        [
            numpy_helper.from_array(problem.weight, "weight"),
            numpy_helper.from_array(problem.bias, "bias"),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]  # old enough for every version of ONNX Runtime in use
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)
