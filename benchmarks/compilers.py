"""Peers that compile a model ahead of its first run: Inductor, OpenVINO, XLA.

A layer can be written in several forms: as it is, as a 2-D layer with a height of 1, or as an
ordinary convolution. Each peer tries its forms on the layer, and the fastest one is measured. Only
forms that a user could write are tried; none leaves out work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter
from typing import Any

import jax
import numpy as np
import openvino as ov
import torch
from jax import lax
from layers import Array, Layer, Problem, torch_sizes
from openvino import opset13 as op
from peers import Candidate
from torch import Tensor, nn
from torch.nn import functional as tf

TRIALS = 5


def fastest(forms: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """The form with the shortest time, of a few calls each."""
    if len(forms) == 1:
        return forms[0]

    def best_time(form: Callable[[], Any]) -> float:
        form()
        times = []
        for _ in range(TRIALS):
            start = perf_counter()
            form()
            times.append(perf_counter() - start)
        return min(times)

    return min(forms, key=best_time)


class Inductor(Candidate):
    """torch.compile, with weights frozen into the graph so that they are packed beforehand.

    oneDNN's packed weights are for images only, hence the second form.
    """

    name, package = "frozen", "torch"

    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        torch._dynamo.reset()
        torch._inductor.config.freezing = True
        with self.running():
            self.call = fastest([partial(*self._form(problem, flat)) for flat in (True, False)])

    def running(self) -> AbstractContextManager[Any]:
        """Without gradients: freezing needs that, and does not take inference tensors."""
        return torch.no_grad()

    def _form(self, problem: Problem, flat: bool) -> tuple[Any, Tensor]:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                weight = torch.from_numpy(problem.weight)
                self.weight = nn.Parameter(weight if flat else weight.unsqueeze(2))
                self.bias = nn.Parameter(torch.from_numpy(problem.bias))

            def forward(self, x: Tensor) -> Tensor:
                if flat:
                    return tf.conv_transpose1d(x, self.weight, self.bias, *sizes)
                s, p, a, g, d = sizes
                x = x[:, :, None]
                y = tf.conv_transpose2d(
                    x, self.weight, self.bias, (1, s), (0, p), (0, a), g, (1, d)
                )
                return y[:, :, 0]

        sizes = torch_sizes(problem.layer)
        return torch.compile(Net().eval(), fullgraph=True), torch.from_numpy(problem.x)


class OpenVino(Candidate):
    """OpenVINO's CPU plugin in float32, input and output bound in place."""

    name, package = "OpenVINO", "openvino"

    def __init__(self, problem: Problem, threads: int) -> None:
        self._core, self._arrays = ov.Core(), []  # OpenVINO does not keep the arrays alive
        self._settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16, where the machine has it
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # the process is pinned already
        }
        requests = [self._request(problem, flat) for flat in (True, False)]
        self.call = fastest([request.infer for request in requests])
        self._request_used = next(r for r in requests if r.infer == self.call)
        self._shape = problem.layer.output_shape

    def _request(self, problem: Problem, flat: bool) -> Any:
        n = problem.layer
        height = [] if flat else [1]
        x = op.parameter([n.B, n.C_in, *height, n.L], np.float32)
        shape = (n.C_in, n.C_out // n.groups, *height, n.k)
        strides, dilations, begin, added = (
            [v] if flat else [one, v]
            for v, one in ((n.s, 1), (n.dilation, 1), (n.p, 0), (n.output_padding, 0))
        )
        common = dict(output_padding=added)
        if n.groups == 1:
            weight = op.constant(problem.weight.reshape(shape))
            y = op.convolution_backprop_data(
                x, weight, strides, None, begin, begin, dilations, **common
            )
        else:
            by_group = (n.groups, n.C_in // n.groups, *shape[1:])
            weight = op.constant(problem.weight.reshape(by_group))
            y = op.group_convolution_backprop_data(
                x, weight, strides, None, begin, begin, dilations, **common
            )
        y = op.add(y, op.constant(problem.bias.reshape(1, n.C_out, *height, 1)))
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


class Jax(Candidate):
    """XLA: its own dilated convolution, and the phases composed by hand."""

    name, package = "XLA", "jax"

    def __init__(self, problem: Problem, threads: int) -> None:
        # XLA's pool has as many threads as the process has cores to run on.
        x, w, b = (jax.device_put(a) for a in (problem.x, problem.weight, problem.bias))
        forms = [jax.jit(partial(_dilated, problem.layer, w, b))]
        if problem.layer.dilation == 1:
            forms.append(jax.jit(partial(_phases, problem.layer, w, b)))

        def call(form: Any) -> Any:
            return form(x).block_until_ready()

        self.call = fastest([partial(call, form) for form in forms])


def _swapped(n: Layer, w: Any) -> Any:
    """The weight as an ordinary convolution has it: (C_out, C_in/g, k), taps flipped."""
    by_group = w.reshape(n.groups, n.C_in // n.groups, n.C_out // n.groups, n.k)
    swapped = by_group.transpose(0, 2, 1, 3)[..., ::-1]
    return swapped.reshape(n.C_out, n.C_in // n.groups, n.k)


def _dilated(n: Layer, w: Any, b: Any, x: Any) -> Any:
    reach = n.dilation * (n.k - 1) - n.p
    y = lax.conv_general_dilated(
        x,
        _swapped(n, w),
        window_strides=(1,),
        padding=[(reach, reach + n.output_padding)],
        lhs_dilation=(n.s,),
        rhs_dilation=(n.dilation,),
        feature_group_count=n.groups,
        dimension_numbers=("NCH", "OIH", "NCH"),
    )
    return y + b[:, None]


def _phases(n: Layer, w: Any, b: Any, x: Any) -> Any:
    """``s`` interleaved convolutions as one of ``s`` times the channels."""
    shifts = -(-n.k // n.s)
    w = jax.numpy.pad(w, ((0, 0), (0, 0), (0, shifts * n.s - n.k)))
    rows = w.reshape(n.C_in, n.C_out // n.groups, shifts, n.s).transpose(0, 1, 3, 2)
    rows = rows.reshape(n.C_in, n.C_out // n.groups * n.s, shifts)
    wide = Layer("", n.C_in, n.C_out * n.s, shifts, groups=n.groups)
    y = _dilated(wide, rows, jax.numpy.zeros(n.C_out * n.s, x.dtype), x)
    y = y.reshape(n.B, n.C_out, n.s, -1).transpose(0, 1, 3, 2).reshape(n.B, n.C_out, -1)
    length = n.output_shape[2]
    y = jax.numpy.pad(y, ((0, 0), (0, 0), (0, max(0, n.p + length - y.shape[2]))))
    return y[:, :, n.p : n.p + length] + b[:, None]


COMPILERS: tuple[type[Candidate], ...] = (Inductor, OpenVino, Jax)
