"""OpenVINO's CPU plugin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from model_preparation import exported
from model_zoo import Array, Model

from model_peers.runner import Runner, fastest

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVino(Runner):
    """The exported graph with 1-D and with 2-D layers, of which the faster counts.

    For a length seen before, the graph is reshaped to it. Input and output are in float32; with
    the hint for bfloat16, OpenVINO chooses what it computes so.
    """

    def __init__(self, folder: Path, model: Model, dtype: str) -> None:
        super().__init__(folder, model, dtype)
        self._graphs, self._core = exported(folder), ov.Core()
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if dtype == "bfloat16" and "BF16" not in capabilities:
            raise ValueError("it offers no bfloat16 on this processor")

    def set_up(self, threads: int, inputs: Sequence[Array], new_lengths: bool) -> None:
        """Compile each form, and keep the faster one."""
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.dtype],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # the process is pinned
        }
        requests = {}
        for name, path in self._graphs.items():
            graph = self._core.read_model(path)
            if not new_lengths:
                pairs = zip(graph.inputs, inputs, strict=True)
                graph.reshape({name: list(x.shape) for name, x in pairs})
            requests[name] = self._core.compile_model(graph, "CPU", settings).create_infer_request()
        given = self.given(inputs)
        self.form = fastest({name: partial(_run, r, given) for name, r in requests.items()})
        self._request = requests[self.form]

    def given(self, inputs: Sequence[Array]) -> Any:
        """Tensors on the arrays' memory, which live as long as the arrays: both are kept."""
        return [ov.Tensor(x, shared_memory=True) for x in inputs], inputs

    def call(self, given: Any) -> Any:
        """Run the model once."""
        return _run(self._request, given)

    def result(self, output: Any) -> Array:
        """The output is written again by the next call."""
        return np.array(output.data)


def _run(request: Any, given: Any) -> Any:
    for place, tensor in enumerate(given[0]):
        request.set_input_tensor(place, tensor)
    request.infer()
    return request.get_output_tensor()
