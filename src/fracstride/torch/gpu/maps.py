"""The three maps on CUDA tensors: sizes and strides go to the Triton kernels.

Where an operand has a dtype, or a layer sizes, that the kernels do not know, torch's own operators
do the work.
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
_Map = Literal["T", "C", "R"]


def forward(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    choice: Choice | None = None,
) -> Tensor:
    """``T``: ``(B, C_out, L_out)``. ``choice`` is for who measures or tests."""
    length = check_forward(x, w, b, geometry, groups)
    if x.dtype in _COMPLEX:
        bias = None if b is None else split_signal(b[None, :, None], groups).reshape(-1)
        parts = split_signal(x, groups), split_weight(w, groups)
        return join_signal(forward(*parts, bias, geometry, groups, choice), groups)
    if x.dtype not in _DTYPES or _huge(geometry):
        return fallback.forward(x, w, b, geometry, groups).contiguous()
    w = w.contiguous()
    y = x.new_empty((x.shape[0], w.shape[1] * groups, length))
    if x.shape[0] == 0:
        return y

    def run(choice: Choice) -> Tensor:
        if choice == "torch":
            with _reproducible():
                return fallback.forward(x, w, b, geometry, groups).contiguous()
        to = _parts(choice, y)
        if Phases.of(geometry).firsts < geometry.stride:  # samples that no tap reaches
            to.zero_()
            if b is not None:
                (y if to is y else to[0]).copy_(b[:, None])
        if isinstance(choice, Direct):
            launch.forward_directly(x, w, b, y, geometry, groups, choice)
        else:
            launch.forward_densely(x, w, b, to, geometry, groups, choice)
        return _sum(to, y)

    channels = w.shape[0] // groups, w.shape[1]
    product = of_forward(geometry, x.shape[0], *channels, length, groups)
    return _run(run, "T", product, geometry, channels, x, choice)


def input_grad(
    gy: Tensor,
    w: Tensor,
    length: int,
    geometry: Geometry,
    groups: int,
    choice: Choice | None = None,
) -> Tensor:
    """``C``: ``(B, C_in, length)``, the extension's sums added to the frames that it copies."""
    check_input_grad(gy, w, length, geometry, groups)
    if gy.dtype in _COMPLEX:
        # C is bilinear, and so conjugates nothing; the transpose of the real matrix would.
        parts = split_signal(gy, groups), split_weight(torch.conj_physical(w), groups)
        return join_signal(input_grad(*parts, length, geometry, groups, choice), groups)
    if gy.dtype not in _DTYPES or _huge(geometry):
        return fallback.input_grad(gy, w, length, geometry, groups).contiguous()
    w = w.contiguous()
    batch, channels = gy.shape[0], w.shape[0]
    gx = gy.new_empty((batch, channels, length))
    if batch == 0:
        return gx
    left, right = geometry.extension_left, geometry.extension_right
    extended = geometry.padding_mode != "zeros" and left + right > 0

    def one(choice: Tile | Direct, edges: Tensor | None, whole: Tensor, **which: bool) -> None:
        if isinstance(choice, Direct):
            launch.input_grad_directly(
                gy, w, edges, whole, length, geometry, groups, choice, **which
            )
            return
        to = _parts(choice, whole)
        launch.input_grad_densely(gy, w, edges, to, length, geometry, groups, choice, **which)
        _sum(to, whole)

    def run(choice: Choice) -> Tensor:
        if choice == "torch":
            with _reproducible():
                return fallback.input_grad(gy, w, length, geometry, groups).contiguous()
        edges = None
        if extended:  # not rounded before they are added
            size = (batch, channels, left + right)
            edges = gy.new_empty(size, dtype=_accumulated(gy.dtype))
            one(choice, None, edges, of_edges=True)
        one(choice, edges, gx)
        return gx

    of_group = channels // groups, w.shape[1]
    product = of_input_grad(geometry, batch, *of_group, length, groups)
    return _run(run, "C", product, geometry, of_group, gx, choice)


def weight_grad(
    x: Tensor, gy: Tensor, geometry: Geometry, groups: int, choice: Choice | None = None
) -> Tensor:
    """``R``: ``(C_in, C_out/g, k)``, summed in an order that the shapes and the GPU decide."""
    check_weight_grad(x, gy, geometry, groups)
    if x.dtype in _COMPLEX:
        parts = split_signal(x, groups), split_signal(gy, groups)
        return join_weight_grad(weight_grad(*parts, geometry, groups, choice), groups)
    if x.dtype not in _DTYPES or _huge(geometry):
        return fallback.weight_grad(x, gy, geometry, groups).contiguous()
    in_channels, out_channels = x.shape[1] // groups, gy.shape[1] // groups
    gw = x.new_empty((x.shape[1], out_channels, geometry.kernel_size))
    length, out_length = x.shape[2], gy.shape[2]
    product = of_weight_grad(
        geometry, x.shape[0], in_channels, out_channels, length, out_length, groups
    )
    if product.terms == 0:
        return gw.zero_()

    def run(choice: Choice) -> Tensor:
        if choice == "torch":
            with _reproducible():
                return fallback.weight_grad(x, gy, geometry, groups).contiguous()
        if isinstance(choice, Direct):
            taps = min(16, triton.next_power_of_2(geometry.kernel_size))
            tile = Tile(1, taps, max(16, choice.elements // taps), choice.warps)
            tile = replace(tile, parts=parts_of(tile, _typical(product), Machine.of(x.device)))
            to = _parts(tile, gw)
            launch.weight_grad_directly(x, gy, to, geometry, groups, tile, product.terms)
        else:
            to = _parts(choice, gw)
            launch.weight_grad_densely(x, gy, to, geometry, groups, choice, product.terms)
        return _sum(to, gw)

    return _run(run, "R", product, geometry, (in_channels, out_channels), x, choice)


def _huge(g: Geometry) -> bool:
    """Whether its own numbers are beyond those of the kernels."""
    return max(g.stride, g.span, g.padding_left, g.padding_right) >= 2**30


def _parts(choice: Choice, whole: Tensor) -> Tensor:
    """Where the parts of a sum go: the tensor itself, if there is one part."""
    if not isinstance(choice, Tile) or choice.parts == 1:
        return whole
    return whole.new_empty((choice.parts, *whole.shape), dtype=_accumulated(whole.dtype))


def _sum(parts: Tensor, whole: Tensor) -> Tensor:
    if parts is not whole:
        launch.sum_parts(parts, whole)
    return whole


def _run(
    run: Callable[[Choice], Tensor],
    of: _Map,
    product: Product,
    geometry: Geometry,
    channels: tuple[int, int],
    signal: Tensor,
    choice: Choice | None,
) -> Tensor:
    """Choose, if nobody has, and run on the tensors' own device."""
    with _on(signal.device):
        if choice is None:
            problem = Problem.of(
                of,
                _typical(product),
                geometry,
                channels,
                launch.kind_of(signal.dtype),
                signal.element_size(),
            )
            machine, recording = Machine.of(signal.device), _recording(signal.device)
            measure = None if recording else lambda choice: _seconds(lambda: run(choice))
            choice = choose(problem, machine, measure)
            if choice == "torch" and capturing():
                # How cuDNN works is settled when the graph runs, by whoever runs it.
                choice = by_model(problem, machine)
        return run(choice)


def _typical(product: Product) -> Product:
    return Product(product.rows, typical(product.columns), typical(product.terms), product.groups)


def _seconds(call: Callable[[], Any]) -> float:
    """Median time of a call, infinite where it cannot be compiled or does not fit."""
    try:
        return float(triton.testing.do_bench(call, warmup=10, rep=40, return_mode="median"))
    except (triton.runtime.errors.OutOfResources, triton.CompilationError, torch.OutOfMemoryError):
        return float("inf")


def _recording(device: torch.device) -> bool:
    """Whether calls are written down, in a compiler's graph or one of CUDA's, not carried out."""
    return capturing() or (device.type == "cuda" and torch.cuda.is_current_stream_capturing())


def _on(device: torch.device) -> AbstractContextManager[Any]:
    if device.type != "cuda" or capturing():
        return nullcontext()
    return torch.cuda.device(device)


@contextmanager
def _reproducible() -> Iterator[None]:
    """CuDNN by algorithms whose bits do not change from run to run."""
    backend = torch.backends.cudnn
    before = backend.benchmark, backend.deterministic
    backend.benchmark, backend.deterministic = False, True
    try:
        yield
    finally:
        backend.benchmark, backend.deterministic = before


def _accumulated(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
