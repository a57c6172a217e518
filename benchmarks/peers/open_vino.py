"""OpenVINO's CPU plugin."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from layers import Array, Problem
from openvino import opset13 as op

from peers.candidate import Candidate, fastest


class OpenVino(Candidate):
    """In float32, as a 1-D and as a 2-D layer, input and output bound in place."""

    package = "openvino"

    def __init__(self, problem: Problem, threads: int) -> None:
        self._core, self._arrays = ov.Core(), []  # OpenVINO does not keep the arrays alive
        self._settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16, where the machine has it
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # the process is pinned already
        }
        requests = [self._request(problem, height) for height in ([], [1])]
        self.call = fastest([request.infer for request in requests])
        self._request_used = next(r for r in requests if r.infer == self.call)
        self._shape = problem.layer.output_shape

    def _request(self, problem: Problem, height: list[int]) -> Any:
        n = problem.layer
        x = op.parameter([n.B, n.C_in, *height, n.L], np.float32)
        y = op.add(_convolution(problem, x, height), _constant(problem.bias, 1, -1, *height, 1))
        compiled = self._core.compile_model(ov.Model([y], [x]), "CPU", self._settings)
        request = compiled.create_infer_request()
        given = problem.x.reshape([n.B, n.C_in, *height, n.L])
        out = np.empty([n.B, n.C_out, *height, n.output_shape[2]], np.float32)
        request.set_input_tensor(ov.Tensor(given, shared_memory=True))
        request.set_output_tensor(ov.Tensor(out, shared_memory=True))
        self._arrays += [given, out]
        return request

    def output(self) -> Array:
        """Call once and return the result."""
        self.call()
        return np.array(self._request_used.get_output_tensor().data).reshape(self._shape)


def _constant(values: Array, *shape: int) -> Any:
    return op.constant(values.reshape(shape))


def _convolution(problem: Problem, x: Any, height: list[int]) -> Any:
    n = problem.layer
    filters, *filter_shape, k = n.weight_shape
    by_group = [n.groups, filters // n.groups] if n.groups > 1 else [filters]
    weight = _constant(problem.weight, *by_group, *filter_shape, *height, k)
    stride, padding, dilation, added = (
        [at_rest] * len(height) + [size]
        for size, at_rest in ((n.s, 1), (n.p, 0), (n.dilation, 1), (n.output_padding, 0))
    )
    if not n.transposed:
        function = op.group_convolution if n.groups > 1 else op.convolution
        return function(x, weight, stride, padding, padding, dilation)
    function = op.group_convolution_backprop_data if n.groups > 1 else op.convolution_backprop_data
    return function(x, weight, stride, None, padding, padding, dilation, output_padding=added)
