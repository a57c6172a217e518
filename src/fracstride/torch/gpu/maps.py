"""The three maps on CUDA tensors.

They check their arguments, choose a kernel, and hand the tensors to :mod:`launch`. Operands of a
dtype, and layers of sizes, that no kernel knows go to torch's own operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import torch
import triton
from torch import Tensor

from fracstride.geometry import Geometry
from fracstride.torch import fallback
from fracstride.torch.checks import check_forward, check_input_grad, check_weight_grad
from fracstride.torch.complex_tensors import (
    join_signal,
    join_weight_grad,
    split_signal,
    split_weight,
)
from fracstride.torch.gpu import launch
from fracstride.torch.gpu.capture import capturing, typical
from fracstride.torch.gpu.choices import Choice, Problem, by_model, choose
from fracstride.torch.gpu.shapes import (
    Phases,
    Product,
    of_forward,
    of_input_grad,
    of_weight_grad,
)
from fracstride.torch.gpu.tiles import Direct, Machine, Tile, parts_of

__all__ = ["forward", "input_grad", "weight_grad"]

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COMPLEX = (torch.complex64, torch.complex128)


def forward(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    choice: Choice | None = None,
) -> Tensor:
    """The transposed convolution T, ``(B, C_out, L_out)``.

    A ``choice`` of kernel is for tests and measurements; without one, :func:`choose` decides.
    """
    length = check_forward(x, w, b, geometry, groups)
    if x.dtype in _COMPLEX:
        bias = None if b is None else split_signal(b[None, :, None], groups).reshape(-1)
        parts = split_signal(x, groups), split_weight(w, groups)
        return join_signal(forward(*parts, bias, geometry, groups, choice), groups)

    def by_torch() -> Tensor:
        return fallback.forward(x, w, b, geometry, groups).contiguous()

    if x.dtype not in _DTYPES or _exceeds_kernels(geometry):
        return by_torch()
    w = w.contiguous()
    y = x.new_empty((x.shape[0], w.shape[1] * groups, length))
    if x.shape[0] == 0:
        return y

    def by_kernel(choice: Tile | Direct) -> Tensor:
        parts = _empty_parts(choice, y)
        if Phases.of(geometry).firsts < geometry.stride:  # no tap reaches some samples
            parts.zero_()
            if b is not None:
                (y if parts is y else parts[0]).copy_(b[:, None])
        if isinstance(choice, Direct):
            launch.forward_directly(x, w, b, y, geometry, groups, choice)
        else:
            launch.forward_densely(x, w, b, parts, geometry, groups, choice)
        return _sum_of_parts(parts, y)

    channels = w.shape[0] // groups, w.shape[1]
    product = of_forward(geometry, x.shape[0], *channels, length, groups)
    return _compute("T", product, geometry, channels, x, choice, by_kernel, by_torch)


def input_grad(
    gy: Tensor,
    w: Tensor,
    length: int,
    geometry: Geometry,
    groups: int,
    choice: Choice | None = None,
) -> Tensor:
    """The input's gradient C, ``(B, C_in, length)``; ``choice`` as in :func:`forward`.

    The sums of extended frames are added to those of the frames that they copy.
    """
    check_input_grad(gy, w, length, geometry, groups)
    if gy.dtype in _COMPLEX:
        # C is bilinear, and so conjugates nothing; the transpose of the real matrix would.
        parts = split_signal(gy, groups), split_weight(torch.conj_physical(w), groups)
        return join_signal(input_grad(*parts, length, geometry, groups, choice), groups)

    def by_torch() -> Tensor:
        return fallback.input_grad(gy, w, length, geometry, groups).contiguous()

    if gy.dtype not in _DTYPES or _exceeds_kernels(geometry):
        return by_torch()
    w = w.contiguous()
    gx = gy.new_empty((gy.shape[0], w.shape[0], length))
    if gy.shape[0] == 0:
        return gx

    def by_kernel(choice: Tile | Direct) -> Tensor:
        parts = _empty_parts(choice, gx)
        if isinstance(choice, Direct):
            launch.input_grad_directly(gy, w, gx, geometry, groups, choice)
        else:
            launch.input_grad_densely(gy, w, parts, geometry, groups, choice)
        return _sum_of_parts(parts, gx)

    channels = w.shape[0] // groups, w.shape[1]
    product = of_input_grad(geometry, gy.shape[0], *channels, length, groups)
    return _compute("C", product, geometry, channels, gx, choice, by_kernel, by_torch)


def weight_grad(
    x: Tensor, gy: Tensor, geometry: Geometry, groups: int, choice: Choice | None = None
) -> Tensor:
    """The weight's gradient R, ``(C_in, C_out/g, k)``; ``choice`` as in :func:`forward`.

    The shapes and the GPU decide in which order it is summed.
    """
    check_weight_grad(x, gy, geometry, groups)
    if x.dtype in _COMPLEX:
        parts = split_signal(x, groups), split_signal(gy, groups)
        return join_weight_grad(weight_grad(*parts, geometry, groups, choice), groups)

    def by_torch() -> Tensor:
        return fallback.weight_grad(x, gy, geometry, groups).contiguous()

    if x.dtype not in _DTYPES or _exceeds_kernels(geometry):
        return by_torch()
    channels = x.shape[1] // groups, gy.shape[1] // groups
    gw = x.new_empty((x.shape[1], channels[1], geometry.kernel_size))
    product = of_weight_grad(geometry, x.shape[0], *channels, x.shape[2], gy.shape[2], groups)
    if product.terms == 0:
        return gw.zero_()

    def by_kernel(choice: Tile | Direct) -> Tensor:
        if isinstance(choice, Direct):
            taps = min(16, triton.next_power_of_2(geometry.kernel_size))
            tile = Tile(1, taps, max(16, choice.elements // taps), choice.warps)
            tile = replace(tile, parts=parts_of(tile, _typical(product), Machine.of(x.device)))
            parts = _empty_parts(tile, gw)
            launch.weight_grad_directly(x, gy, parts, geometry, groups, tile, product.terms)
        else:
            parts = _empty_parts(choice, gw)
            launch.weight_grad_densely(x, gy, parts, geometry, groups, choice, product.terms)
        return _sum_of_parts(parts, gw)

    return _compute("R", product, geometry, channels, x, choice, by_kernel, by_torch)


def _exceeds_kernels(g: Geometry) -> bool:
    """Whether a geometry's own numbers are beyond those of the kernels, which have 32 bits."""
    return max(g.stride, g.span, g.padding_left, g.padding_right) >= 2**30


def _empty_parts(choice: Tile | Direct, whole: Tensor) -> Tensor:
    """Memory for the parts of a sum; the result's own, if there is one part."""
    if isinstance(choice, Direct) or choice.parts == 1:
        return whole
    dtype = torch.float64 if whole.dtype == torch.float64 else torch.float32
    return whole.new_empty((choice.parts, *whole.shape), dtype=dtype)


def _sum_of_parts(parts: Tensor, whole: Tensor) -> Tensor:
    """The result, once its parts are added up."""
    if parts is not whole:
        launch.sum_parts(parts, whole)
    return whole


def _compute(
    map: Literal["T", "C", "R"],
    product: Product,
    geometry: Geometry,
    channels: tuple[int, int],
    signal: Tensor,
    choice: Choice | None,
    by_kernel: Callable[[Tile | Direct], Tensor],
    by_torch: Callable[[], Tensor],
) -> Tensor:
    """Compute a map on the device of ``signal`` by the kernel chosen, or choose one first."""

    def compute(choice: Choice) -> Tensor:
        if choice != "torch":
            return by_kernel(choice)
        with _deterministic_cudnn():
            return by_torch()

    with _current_device(signal.device):
        if choice is None:
            kind, size = launch.kind_of(signal.dtype), signal.element_size()
            problem = Problem.of(map, _typical(product), geometry, channels, kind, size)
            machine = Machine.of(signal.device)
            measure = None
            if not _is_recorded(signal.device):
                measure = lambda choice: _seconds(lambda: compute(choice))  # noqa: E731
            choice = choose(problem, machine, measure)
            if choice == "torch" and capturing():
                # How cuDNN works is settled when the graph runs, by whoever runs it.
                choice = by_model(problem, machine)
        return compute(choice)


def _typical(product: Product) -> Product:
    """The product with numbers to decide by in place of symbols."""
    return Product(product.rows, typical(product.columns), typical(product.terms), product.groups)


def _seconds(call: Callable[[], Any]) -> float:
    """Median time of a call, infinite where it cannot be compiled or does not fit."""
    try:
        return float(triton.testing.do_bench(call, warmup=10, rep=40, return_mode="median"))
    except (triton.runtime.errors.OutOfResources, triton.CompilationError, torch.OutOfMemoryError):
        return float("inf")


def _is_recorded(device: torch.device) -> bool:
    """Whether calls go into a compiler's graph or one of CUDA's, and are not carried out."""
    return capturing() or (device.type == "cuda" and torch.cuda.is_current_stream_capturing())


def _current_device(device: torch.device) -> AbstractContextManager[Any]:
    """Make a GPU the current one, where kernels start, for as long as the context lasts."""
    if device.type != "cuda" or capturing():
        return nullcontext()
    return torch.cuda.device(device)


@contextmanager
def _deterministic_cudnn() -> Iterator[None]:
    """Let cuDNN use only algorithms whose bits do not change from run to run."""
    backend = torch.backends.cudnn
    before = backend.benchmark, backend.deterministic
    backend.benchmark, backend.deterministic = False, True
    try:
        yield
    finally:
        backend.benchmark, backend.deterministic = before
