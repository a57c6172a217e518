"""The operator ``conv_transpose1d_weight_grad``: R, the correlation that is T's weight adjoint.

It takes T's input and the gradient of T's output to the gradient of T's weight.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor
from torch.autograd import Function

from fracstride.geometry import Geometry
from fracstride.torch import fallback, gpu, kernels
from fracstride.torch.checks import check_weight_grad, groups_among
from fracstride.torch.operators.batch import into_channels
from fracstride.torch.operators.function import conjugate, save, total
from fracstride.torch.operators.operator import Operator, call
from fracstride.torch.operators.sizes import SIZES, layer_of_input, sizes_of

__all__ = ["OPERATOR", "weight_adjoint"]


def weight_adjoint(x: Tensor, gy: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """``R``: ``(C_in, C_out/g, k)`` of ``x`` and ``gy``."""
    return OPERATOR(x, gy, geometry, groups)


class WeightGrad(Function):
    """``R`` with its derivatives."""

    @staticmethod
    def forward(x: Tensor, gy: Tensor, geometry: Geometry, groups: int) -> Tensor:
        """``R(x, gy)``."""
        return OPERATOR.undifferentiated(x, gy, geometry, groups)

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
            g_x = call("conv_transpose1d_input_grad", conjugate(gy), h, x.shape[2], *of)
        if need_gy:
            g_gy = call("conv_transpose1d", conjugate(x), h, None, *of)
        return g_x, g_gy, None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dgy: Tensor | None, *_: Any) -> Any:
        """``R(dx, gy) + R(x, dgy)``."""
        x, gy = ctx.saved_for_forward
        of = ctx.geometry, ctx.groups
        terms = [] if dx is None else [OPERATOR(dx, gy, *of)]
        terms += [] if dgy is None else [OPERATOR(x, dgy, *of)]
        return total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`_vmap_rule` says."""
        return _vmap_rule(OPERATOR, info.batch_size, in_dims, *operands)


def _vmap_rule(
    to: Callable[..., Tensor],
    n: int,
    dims: tuple[Any, ...],
    x: Tensor,
    gy: Tensor,
    geometry: Geometry,
    groups: int,
) -> tuple[Tensor, int]:
    """The ``n`` weight gradients are those of ``n`` times the groups."""
    x, gy = into_channels(x, dims[0], n), into_channels(gy, dims[1], n)
    return to(x, gy, geometry, n * groups).unflatten(0, (n, -1)), 0


def _operands(x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any) -> tuple[Any, ...]:
    return x, gy, *layer_of_input(x, kernel_size, sizes)


def _arguments(x: Tensor, gy: Tensor, geometry: Geometry, groups: int) -> tuple[Any, ...]:
    return x, gy, geometry.kernel_size, *sizes_of(geometry, x.shape[1], groups)


def _shape(x: Tensor, gy: Tensor, geometry: Geometry, groups: int) -> tuple[int, int, int]:
    check_weight_grad(x, gy, geometry, groups)
    return x.shape[1], gy.shape[1] // groups, geometry.kernel_size


def _channels(x: Any, gy: Any, kernel_size: Any, *sizes: Any) -> tuple[int, int, int]:
    return x.shape[1], gy.shape[1] // groups_among(x.shape[1], sizes[4]), sizes[4]


def _flops(input: list[int], grad_output: list[int], kernel_size: int, *_: Any, **__: Any) -> int:
    """As torch counts: groups are not taken off."""
    return 2 * prod(input) * grad_output[1] * kernel_size


OPERATOR = Operator(
    name="conv_transpose1d_weight_grad",
    schema=f"Tensor input, Tensor grad_output, int kernel_size, {SIZES}",
    tensors=2,
    operands=_operands,
    arguments=_arguments,
    shape=_shape,
    kernel=kernels.weight_grad,
    fallback=fallback.weight_grad,
    triton=lambda *operands: gpu.triton_maps().weight_grad(*operands),
    function=WeightGrad,
    vmap_rule=_vmap_rule,
    flops=_flops,
    channels=_channels,
    cuts={  # input, output's gradient; weight's gradient
        "whole": ("whole", "whole", "whole"),
        "batch": (0, 0, "sum"),  # R adds up over the batch
        "columns": ("whole", 1, 1),
        "rows": (1, "whole", 0),
        "groups": (1, 1, 0),
    },
)
