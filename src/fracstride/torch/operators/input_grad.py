"""The operator ``conv_transpose1d_input_grad``: C, the convolution that is T's input adjoint.

It takes the gradient of T's output to that of T's input.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor
from torch.autograd import Function

from fracstride.geometry import Geometry
from fracstride.torch import fallback, gpu, kernels
from fracstride.torch.checks import check_input_grad
from fracstride.torch.operators.batch import into_batch, into_channels
from fracstride.torch.operators.function import conjugate, save, total
from fracstride.torch.operators.operator import Operator, call
from fracstride.torch.operators.sizes import SIZES, layer_of_weight, sizes_of

__all__ = ["OPERATOR", "input_adjoint"]


def input_adjoint(gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int) -> Tensor:
    """``C``: ``(B, C_in, length)`` of ``gy (B, C_out, L_out)``."""
    return OPERATOR(gy, w, length, geometry, groups)


class InputGrad(Function):
    """``C`` with its derivatives."""

    @staticmethod
    def forward(gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int) -> Tensor:
        """``C(gy, w)``."""
        return OPERATOR.undifferentiated(gy, w, length, geometry, groups)

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
        of = ctx.geometry, ctx.groups
        g_gy = call("conv_transpose1d", h, conjugate(w), None, *of) if need_gy else None
        g_w = call("conv_transpose1d_weight_grad", h, conjugate(gy), *of) if need_w else None
        return g_gy, g_w, None, None, None

    @staticmethod
    def jvp(ctx: Any, dgy: Tensor | None, dw: Tensor | None, *_: Any) -> Any:
        """``C(dgy, w) + C(gy, dw)``."""
        gy, w = ctx.saved_for_forward
        of = ctx.length, ctx.geometry, ctx.groups
        terms = [] if dgy is None else [OPERATOR(dgy, w, *of)]
        terms += [] if dw is None else [OPERATOR(gy, dw, *of)]
        return total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`_vmap_rule` says."""
        return _vmap_rule(OPERATOR, info.batch_size, in_dims, *operands)


def _vmap_rule(
    to: Callable[..., Tensor],
    n: int,
    dims: tuple[Any, ...],
    gy: Tensor,
    w: Tensor,
    length: int,
    geometry: Geometry,
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
    gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int
) -> tuple[Any, ...]:
    return gy, w, length, *sizes_of(geometry, w.shape[0], groups)


def _shape(
    gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int
) -> tuple[int, int, int]:
    check_input_grad(gy, w, length, geometry, groups)
    return gy.shape[0], w.shape[0], length


def _channels(gy: Any, w: Any, length: Any, *sizes: Any) -> tuple[int, int, int]:
    return w.shape[0], w.shape[1], sizes[4]


def _flops(grad_output: list[int], weight: list[int], input_length: int, *_: Any, **__: Any) -> int:
    """As T's."""
    return 2 * grad_output[0] * input_length * prod(weight)


OPERATOR = Operator(
    name="conv_transpose1d_input_grad",
    schema=f"Tensor grad_output, Tensor weight, SymInt input_length, {SIZES}",
    tensors=2,
    operands=_operands,
    arguments=_arguments,
    shape=_shape,
    kernel=kernels.input_grad,
    fallback=fallback.input_grad,
    triton=lambda *operands: gpu.triton_maps().input_grad(*operands),
    function=InputGrad,
    vmap_rule=_vmap_rule,
    flops=_flops,
    channels=_channels,
    cuts={  # output's gradient, weight; input's gradient
        "whole": ("whole", "whole", "whole"),
        "batch": (0, "whole", 0),
        "columns": (1, 1, "sum"),  # C adds up over output channels
        "rows": ("whole", 0, 1),
        "groups": (1, 0, 1),
    },
)
