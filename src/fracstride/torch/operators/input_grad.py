"""``conv_transpose1d_input_grad`` and ``conv1d_input_grad``: the adjoint of a layer in its input.

It takes the gradient of the output to that of the input. T's is C, the convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor
from torch.autograd import Function

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch import fallback, gpu, kernels
from fracstride.torch.checks import channels_of, check_input_grad
from fracstride.torch.operators.batch import into_batch, into_channels
from fracstride.torch.operators.function import conjugate, save, total
from fracstride.torch.operators.operator import Operator, of_layer
from fracstride.torch.operators.sizes import (
    CONV1D_SIZES,
    SIZES,
    group_channels,
    layer_of_weight,
    sizes_of,
)

__all__ = ["CONV1D", "TRANSPOSED", "input_adjoint"]


def input_adjoint(gy: Tensor, w: Tensor, length: int, geometry: AnyGeometry, groups: int) -> Tensor:
    """``C``: ``(B, C_in, length)`` of ``gy (B, C_out, L_out)``; or the same for a Conv1d."""
    return of_layer(geometry, "_input_grad")(gy, w, length, geometry, groups)


class InputGrad(Function):
    """``C`` with its derivatives."""

    @staticmethod
    def forward(gy: Tensor, w: Tensor, length: int, geometry: AnyGeometry, groups: int) -> Tensor:
        """``C(gy, w)``."""
        input_grad = of_layer(geometry, "_input_grad")
        return input_grad.undifferentiated(gy, w, length, geometry, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep ``gy`` and ``w``."""
        gy, w, ctx.length, ctx.geometry, ctx.groups = inputs
        save(ctx, gy, w)

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """``T(h, w)`` and ``R(h, gy)``."""
        gy, w = ctx.saved_tensors
        need_gy, need_w = ctx.needs_input_grad[:2]
        of, g_gy, g_w = (ctx.geometry, ctx.groups), None, None
        if need_gy:
            g_gy = of_layer(ctx.geometry)(h, conjugate(w), None, *of)
        if need_w:
            g_w = of_layer(ctx.geometry, "_weight_grad")(h, conjugate(gy), *of)
        return g_gy, g_w, None, None, None

    @staticmethod
    def jvp(ctx: Any, dgy: Tensor | None, dw: Tensor | None, *_: Any) -> Any:
        """``C(dgy, w) + C(gy, dw)``."""
        gy, w = ctx.saved_for_forward
        of = ctx.length, ctx.geometry, ctx.groups
        input_grad = of_layer(ctx.geometry, "_input_grad")
        terms = [] if dgy is None else [input_grad(dgy, w, *of)]
        terms += [] if dw is None else [input_grad(gy, dw, *of)]
        return total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`_vmap_rule` says."""
        to = of_layer(operands[-2], "_input_grad")
        return _vmap_rule(to, info.batch_size, in_dims, *operands)


def _vmap_rule(
    to: Callable[..., Tensor],
    n: int,
    dims: tuple[Any, ...],
    gy: Tensor,
    w: Tensor,
    length: int,
    geometry: AnyGeometry,
    groups: int,
) -> tuple[Tensor, int]:
    gy_dim, w_dim = dims[:2]
    if w_dim is not None:
        gy, w = into_channels(gy, gy_dim, n), into_channels(w, w_dim, n, channels=0)
        return to(gy, w, length, geometry, n * groups).unflatten(1, (n, -1)), 1
    return to(into_batch(gy, gy_dim), w, length, geometry, groups).unflatten(0, (n, -1)), 0


def _operands(gy: Tensor, w: Tensor, length: int, *sizes: Any) -> tuple[Any, ...]:
    return gy, w, length, *layer_of_weight(w, sizes)


def _arguments(
    gy: Tensor, w: Tensor, length: int, geometry: AnyGeometry, groups: int
) -> tuple[Any, ...]:
    return gy, w, length, *sizes_of(geometry, w.shape[0], groups)


def _shape(
    gy: Tensor, w: Tensor, length: int, geometry: AnyGeometry, groups: int
) -> tuple[int, int, int]:
    check_input_grad(gy, w, length, geometry, groups)
    return gy.shape[0], channels_of(w, geometry, groups)[0], length


def _channels(gy: Any, w: Any, length: Any, *sizes: Any) -> tuple[int, int, int]:
    return w.shape[0], w.shape[1], group_channels(sizes)


def _flops(grad_output: list[int], weight: list[int], input_length: int, *_: Any, **__: Any) -> int:
    """As T's."""
    return 2 * grad_output[0] * input_length * prod(weight)


def _conv1d_flops(grad_output: list[int], weight: list[int], *_: Any, **__: Any) -> int:
    """As the Conv1d's."""
    return 2 * grad_output[0] * grad_output[2] * prod(weight)


_BOTH: dict[str, Any] = {
    "tensors": 2,
    "operands": _operands,
    "arguments": _arguments,
    "shape": _shape,
    "kernel": kernels.input_grad,
    "fallback": fallback.input_grad,
    "function": InputGrad,
    "vmap_rule": _vmap_rule,
    "channels": _channels,
}
TRANSPOSED = Operator(
    name="conv_transpose1d_input_grad",
    schema=f"Tensor grad_output, Tensor weight, SymInt input_length, {SIZES}",
    triton=lambda *operands: gpu.triton_maps().input_grad(*operands),
    flops=_flops,
    cuts={  # output's gradient, weight; input's gradient
        "whole": ("whole", "whole", "whole"),
        "batch": (0, "whole", 0),
        "columns": (1, 1, "sum"),  # C adds up over output channels
        "rows": ("whole", 0, 1),
        "groups": (1, 0, 1),
    },
    **_BOTH,
)
CONV1D = Operator(
    name="conv1d_input_grad",
    schema=f"Tensor grad_output, Tensor weight, SymInt input_length, {CONV1D_SIZES}",
    flops=_conv1d_flops,
    cuts={
        "whole": ("whole", "whole", "whole"),
        "batch": (0, "whole", 0),
        "columns": ("whole", 1, 1),
        "rows": (1, 0, "sum"),
        "groups": (1, 0, 1),
    },
    **_BOTH,
)
