"""ONNX models for tests, and ONNX Runtime's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Dims = Sequence[Any]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Dims],
    outputs: Sequence[str] = ("y",),
    weights: dict[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model whose inputs have these dimensions: ints, or names of those that may differ."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(w), n) for n, w in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(model: onnx.ModelProto, *inputs: Any) -> list[Any]:
    """ONNX Runtime's results, or those of onnx's reference where it lacks an operator so new."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    given = dict(zip([each.name for each in model.graph.input], inputs, strict=True))
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        results: list[Any] = ReferenceEvaluator(model).run(None, given)
        return results
    found: list[Any] = session.run(None, given)
    return found


def assert_close(found: Any, wanted: Any, relative: float = 2e-5) -> None:
    """Within rounding of the peak."""
    found = np.asarray(found)
    assert found.shape == wanted.shape
    if wanted.size:
        peak = max(float(np.abs(wanted).max()), 1e-3)
        assert np.abs(found - wanted).max() <= relative * peak
