"""Layers on a GPU: their operands, the calls that are compared, and whether results are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from layers import Layer
from torch import Tensor
from torch.nn import functional as tf

import fracstride
import fracstride.torch as ft
from fracstride.geometry import Geometry
from fracstride.torch import kernels
from fracstride.torch.gpu import maps

KINDS = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "tf32": torch.float32,
    "fp32": torch.float32,
}
# Of the sum |x| |w|: what rounding operands and results to the kind may do, and a little more.
TOLERANCES = {"bf16": 2**-7, "fp16": 2**-10, "tf32": 2**-9, "fp32": 2**-20}
OURS, PEERS = "fracstride", ("torch", "torch benchmark", "torch compiled")
ft.use_triton()  # also in the processes of the check, which import this file


class Problem:
    """A layer's operands on the GPU, random and the same in every run."""

    def __init__(self, layer: Layer, dtype: torch.dtype, mode: str = "zeros") -> None:
        self.layer = layer
        self.geometry = Geometry(
            layer.k, layer.s, layer.p, layer.output_padding, layer.dilation, mode
        )
        torch.manual_seed(0)
        length = self.geometry.output_length(layer.L)
        shapes = (
            (layer.B, layer.C_in, layer.L),
            (layer.C_in, layer.C_out // layer.groups, layer.k),
            (layer.C_out,),
            (layer.B, layer.C_out, length),
        )
        self.x, self.w, self.b, self.gy = (torch.randn(s, device="cuda").to(dtype) for s in shapes)

    def sizes(self) -> tuple[int, int, int, int, int]:
        """The arguments of torch's function after the bias."""
        return tuple(self.layer.sizes.values())


def settings(name: str, kind: str) -> None:
    """Set torch's global switches for a candidate (``torch benchmark``, ...) and a kind."""
    torch.backends.cudnn.benchmark = name in ("torch benchmark", "torch compiled")
    torch.backends.cudnn.allow_tf32 = kind == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"


def check(layer: Layer, kind: str, mode: str) -> dict[str, float | str]:
    """Largest error of each map against float64 on the CPU, divided by the tolerance.

    An exception is returned as text, so that the run goes on with the next layer.
    """
    try:
        return {**errors(layer, kind, mode)}
    except Exception as error:
        return {"call": f"{type(error).__name__}: {error}"[:300]}


def errors(layer: Layer, kind: str, mode: str) -> dict[str, float]:
    """As :func:`check`, but what goes wrong is raised."""
    fracstride.set_num_threads(2)  # of several processes
    settings("torch", kind)
    problem = Problem(layer, KINDS[kind], mode)
    geometry, groups = problem.geometry, layer.groups
    wide = [t.cpu().double() for t in (problem.x, problem.w, problem.b, problem.gy)]
    x, w, b, gy = wide
    ax, aw, ab, agy = (t.abs() for t in wide)
    exact = {
        "T": kernels.forward(x, w, b, geometry, groups),
        "C": kernels.input_grad(gy, w, layer.L, geometry, groups),
        "R": kernels.weight_grad(x, gy, geometry, groups),
    }
    scale = {
        "T": kernels.forward(ax, aw, ab, geometry, groups),
        "C": kernels.input_grad(agy, aw, layer.L, geometry, groups),
        "R": kernels.weight_grad(ax, agy, geometry, groups),
    }
    calls: dict[str, Callable[[], Tensor]] = {
        "T": lambda: maps.forward(problem.x, problem.w, problem.b, geometry, groups),
        "C": lambda: maps.input_grad(problem.gy, problem.w, layer.L, geometry, groups),
        "R": lambda: maps.weight_grad(problem.x, problem.gy, geometry, groups),
    }
    found = {}
    for name, call in calls.items():
        got = call()
        if not torch.equal(got, call()):
            found[name] = float("inf")  # other bits from run to run
            continue
        error = (got.cpu().double() - exact[name]).abs()
        error = torch.where(error == 0, 0, error / (scale[name] * TOLERANCES[kind]))
        found[name] = float(torch.nan_to_num(error, nan=float("inf")).max())
    return found


def candidates(problem: Problem, both: bool) -> dict[str, Callable[[], Any]]:
    """Calls by name; ``both`` with gradients of all three operands."""
    x, w, b, gy, sizes = problem.x, problem.w, problem.b, problem.gy, problem.sizes()
    geometry, groups = problem.geometry, problem.layer.groups
    if both:
        x, w, b = (t.detach().requires_grad_() for t in (x, w, b))

    def with_gradients(forward: Callable[..., Tensor]) -> Callable[[], Any]:
        def call() -> Any:
            y = forward(x, w, b)
            return torch.autograd.grad(y, (x, w, b), gy) if both else y

        return call

    def by_us(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return ft.conv_transpose1d(
            x, w, b, geometry.stride, geometry.padding, geometry.output_padding, groups,
            geometry.dilation, padding_mode=geometry.padding_mode,
        )  # fmt: skip

    def by_torch(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return tf.conv_transpose1d(x, w, b, *sizes)

    torch._dynamo.reset()  # it compiles a function for so many shapes only, then no more
    compiled: Callable[..., Tensor] = torch.compile(by_torch, dynamic=False)
    return {
        OURS: with_gradients(by_us),
        "torch": with_gradients(by_torch),
        "torch benchmark": with_gradients(by_torch),
        "torch compiled": with_gradients(compiled),
    }
