"""``conv_transpose1d_weight_grad`` and ``conv1d_weight_grad``: a layer's adjoint in its weight.

It takes the input and the gradient of the output to the gradient of the weight. T's is R, the
correlation.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor
from torch.autograd import Function

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch import fallback, gpu, kernels
from fracstride.torch.checks import check_weight_grad, groups_among
from fracstride.torch.operators.batch import into_channels
from fracstride.torch.operators.function import conjugate, save, total
from fracstride.torch.operators.operator import Operator, of_layer
from fracstride.torch.operators.sizes import (
    CONV1D_SIZES,
    SIZES,
    group_channels,
    layer_of_signal,
    sizes_of,
)

__all__ = ["CONV1D", "TRANSPOSED", "weight_adjoint"]


def weight_adjoint(x: Tensor, gy: Tensor, geometry: AnyGeometry, groups: int) -> Tensor:
    """``R``: ``(C_in, C_out/g, k)`` of ``x`` and ``gy``; or the same for a Conv1d."""
    return of_layer(geometry, "_weight_grad")(x, gy, geometry, groups)


class WeightGrad(Function):
    """``R`` with its derivatives."""

    @staticmethod
    def forward(x: Tensor, gy: Tensor, geometry: AnyGeometry, groups: int) -> Tensor:
        """``R(x, gy)``."""
        return of_layer(geometry, "_weight_grad").undifferentiated(x, gy, geometry, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep ``x`` and ``gy``."""
        x, gy, ctx.geometry, ctx.groups = inputs
        save(ctx, x, gy)

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """``C(gy, h)`` and ``T(x, h)``."""
        x, gy = ctx.saved_tensors
        need_x, need_gy = ctx.needs_input_grad[:2]
        of = ctx.geometry, ctx.groups
        g_x = g_gy = None
        if need_x:
            input_grad = of_layer(ctx.geometry, "_input_grad")
            g_x = input_grad(conjugate(gy), h, x.shape[2], *of)
        if need_gy:
            g_gy = of_layer(ctx.geometry)(conjugate(x), h, None, *of)
        return g_x, g_gy, None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dgy: Tensor | None, *_: Any) -> Any:
        """``R(dx, gy) + R(x, dgy)``."""
        x, gy = ctx.saved_for_forward
        of, weight_grad = (ctx.geometry, ctx.groups), of_layer(ctx.geometry, "_weight_grad")
        terms = [] if dx is None else [weight_grad(dx, gy, *of)]
        terms += [] if dgy is None else [weight_grad(x, dgy, *of)]
        return total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`_vmap_rule` says."""
        to = of_layer(operands[-2], "_weight_grad")
        return _vmap_rule(to, info.batch_size, in_dims, *operands)


def _vmap_rule(
    to: Callable[..., Tensor],
    n: int,
    dims: tuple[Any, ...],
    x: Tensor,
    gy: Tensor,
    geometry: AnyGeometry,
    groups: int,
) -> tuple[Tensor, int]:
    """The ``n`` weight gradients are those of ``n`` times the groups."""
    x, gy = into_channels(x, dims[0], n), into_channels(gy, dims[1], n)
    return to(x, gy, geometry, n * groups).unflatten(0, (n, -1)), 0


def _operands(x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any) -> tuple[Any, ...]:
    return x, gy, *layer_of_signal("input", x, kernel_size, sizes)


def _conv1d_operands(x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any) -> tuple[Any, ...]:
    return x, gy, *layer_of_signal("grad_output", gy, kernel_size, sizes)


def _arguments(x: Tensor, gy: Tensor, geometry: AnyGeometry, groups: int) -> tuple[Any, ...]:
    first = x if geometry.is_transposed else gy
    return x, gy, geometry.kernel_size, *sizes_of(geometry, first.shape[1], groups)


def _shape(x: Tensor, gy: Tensor, geometry: AnyGeometry, groups: int) -> tuple[int, int, int]:
    check_weight_grad(x, gy, geometry, groups)
    first, second = (x, gy) if geometry.is_transposed else (gy, x)
    return first.shape[1], second.shape[1] // groups, geometry.kernel_size


def _channels(x: Any, gy: Any, kernel_size: Any, *sizes: Any) -> tuple[int, int, int]:
    per_group = group_channels(sizes)
    return x.shape[1], gy.shape[1] // groups_among(x.shape[1], per_group), per_group


def _conv1d_channels(x: Any, gy: Any, *rest: Any) -> tuple[int, int, int]:
    return _channels(gy, x, *rest)


def _flops(input: list[int], grad_output: list[int], kernel_size: int, *_: Any, **__: Any) -> int:
    """As torch counts: groups are not taken off."""
    return 2 * prod(input) * grad_output[1] * kernel_size


def _conv1d_flops(input: list[int], grad_output: list[int], *rest: Any, **named: Any) -> int:
    return _flops(grad_output, input, *rest, **named)


_BOTH: dict[str, Any] = {
    "tensors": 2,
    "arguments": _arguments,
    "shape": _shape,
    "kernel": kernels.weight_grad,
    "fallback": fallback.weight_grad,
    "function": WeightGrad,
    "vmap_rule": _vmap_rule,
}
TRANSPOSED = Operator(
    name="conv_transpose1d_weight_grad",
    schema=f"Tensor input, Tensor grad_output, int kernel_size, {SIZES}",
    operands=_operands,
    triton=lambda *operands: gpu.triton_maps().weight_grad(*operands),
    flops=_flops,
    channels=_channels,
    cuts={  # input, output's gradient; weight's gradient
        "whole": ("whole", "whole", "whole"),
        "batch": (0, 0, "sum"),  # R adds up over the batch
        "columns": ("whole", 1, 1),
        "rows": (1, "whole", 0),
        "groups": (1, 1, 0),
    },
    **_BOTH,
)
CONV1D = Operator(
    name="conv1d_weight_grad",
    schema=f"Tensor input, Tensor grad_output, int kernel_size, {CONV1D_SIZES}",
    operands=_conv1d_operands,
    flops=_conv1d_flops,
    channels=_conv1d_channels,
    cuts={
        "whole": ("whole", "whole", "whole"),
        "batch": (0, 0, "sum"),
        "columns": (1, "whole", 1),
        "rows": ("whole", 1, 0),
        "groups": (1, 1, 0),
    },
    **_BOTH,
)
