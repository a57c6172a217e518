"""The sum over batch and time that a bias's gradient is: no operator, since torch has it too."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function

from fracstride.torch import kernels
from fracstride.torch.dispatch import needs_derivative, plain
from fracstride.torch.operators.function import apply_here

__all__ = ["bias_adjoint"]


def bias_adjoint(gy: Tensor) -> Tensor:
    """The sum ``(C_out,)`` of ``gy`` over batch and time."""
    if not plain(gy, gy):
        return gy.sum((0, 2))
    if needs_derivative(gy, gy):
        return apply_here(BiasGrad, gy)
    return kernels.bias_grad(gy)


class BiasGrad(Function):
    """The sum over batch and time, of plain tensors."""

    @staticmethod
    def forward(gy: Tensor) -> Tensor:
        """The sum."""
        return kernels.bias_grad(gy)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the shape."""
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> Tensor:
        """The same number for every sample."""
        return h[None, :, None].expand(ctx.shape)

    @staticmethod
    def jvp(ctx: Any, dgy: Tensor) -> Tensor:
        """The sum of the tangent."""
        return bias_adjoint(dgy)
