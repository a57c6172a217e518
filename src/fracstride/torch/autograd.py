"""The derivatives: each of the three maps is bilinear, and its derivatives are the other two.

Reverse mode conjugates the operand that stays, as torch's autograd does; forward mode does not.
:func:`transposed`, :func:`input_adjoint` and :func:`weight_adjoint` are the maps ``T``, ``C`` and
``R`` with derivatives of any order, which they take the shortest way to: ordinary CPU tensors go to
the kernels at once, ``torch.func`` transforms through the Functions' own rules, and everything else
(compilers, subclasses, modes, other devices) through the operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from fracstride.geometry import Geometry
from fracstride.torch import batching, kernels, operators
from fracstride.torch.checks import output_length
from fracstride.torch.dispatch import forward_mode_possible, needs_derivative, plain, transforming
from fracstride.torch.packed import PackedWeights
from fracstride.torch.profiling import profiling, recorded

__all__ = [
    "Forward",
    "InputGrad",
    "WeightGrad",
    "apply_here",
    "bias_adjoint",
    "input_adjoint",
    "transposed",
    "transposed_here",
    "weight_adjoint",
]

_BelowAutograd: Any = torch._C._AutoDispatchBelowAutograd


def transposed(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    kept: PackedWeights | None = None,
) -> Tensor:
    """``T``: ``(B, C_out, L_out)`` of ``x (B, C_in, L)``; ``kept`` is for packed weights."""
    if plain(x, w, b):
        if needs_derivative(x, w, b):
            return transposed_here(x, w, b, geometry, groups)
        return _forward(x, w, b, geometry, groups, None if kept is None else kept.pack)
    if transforming():
        return _apply(Forward, x, w, b, geometry, groups)
    return operators.forward(x, w, b, geometry, groups)


def transposed_here(
    x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int
) -> Tensor:
    """:func:`transposed` of plain tensors, somebody of whom needs a derivative."""
    kind = Forward if forward_mode_possible() else PlainForward
    return apply_here(kind, x, w, b, geometry, groups)


def input_adjoint(gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int) -> Tensor:
    """``C``: ``(B, C_in, length)`` of ``gy (B, C_out, L_out)``."""
    if plain(gy, w, None):
        if needs_derivative(gy, w, None):
            return apply_here(InputGrad, gy, w, length, geometry, groups)
        return _input_grad(gy, w, length, geometry, groups)
    if transforming():
        return _apply(InputGrad, gy, w, length, geometry, groups)
    return operators.input_grad(gy, w, length, geometry, groups)


def weight_adjoint(x: Tensor, gy: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """``R``: ``(C_in, C_out/g, k)`` of ``x`` and ``gy``."""
    if plain(x, gy, None):
        if needs_derivative(x, gy, None):
            return apply_here(WeightGrad, x, gy, geometry, groups)
        return _weight_grad(x, gy, geometry, groups)
    if transforming():
        return _apply(WeightGrad, x, gy, geometry, groups)
    return operators.weight_grad(x, gy, geometry, groups)


def bias_adjoint(gy: Tensor) -> Tensor:
    """The sum ``(C_out,)`` of ``gy`` over batch and time."""
    if not plain(gy, gy, None):
        return gy.sum((0, 2))
    if needs_derivative(gy, gy, None):
        return apply_here(BiasGrad, gy)
    return kernels.bias_grad(gy)


def _forward(x: Tensor, w: Tensor, b: Tensor | None, *rest: Any) -> Tensor:
    if profiling():
        return _tensor(recorded("conv_transpose1d", kernels.forward, x, w, b, *rest))
    return kernels.forward(x, w, b, *rest)


def _input_grad(gy: Tensor, w: Tensor, *rest: Any) -> Tensor:
    if profiling():
        return _tensor(recorded("conv_transpose1d_input_grad", kernels.input_grad, gy, w, *rest))
    return kernels.input_grad(gy, w, *rest)


def _weight_grad(x: Tensor, gy: Tensor, *rest: Any) -> Tensor:
    if profiling():
        return _tensor(recorded("conv_transpose1d_weight_grad", kernels.weight_grad, x, gy, *rest))
    return kernels.weight_grad(x, gy, *rest)


def _tensor(result: Any) -> Tensor:
    checked: Tensor = result
    return checked


class Forward(Function):
    """``T`` with its derivatives."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int) -> Tensor:
        """Below autograd."""
        if plain(x, w, b):
            return _forward(x, w, b, geometry, groups)
        with _below():
            return operators.forward(x, w, b, geometry, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep ``x`` and ``w``."""
        x, w, _, ctx.geometry, ctx.groups = inputs
        _save(ctx, x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """``C(g, w)``, ``R(x, g)``, and the sum over batch and time."""
        return _backward(ctx, g)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dw: Tensor | None, db: Tensor | None, *_: Any) -> Any:
        """``T(dx, w) + T(x, dw) + db``."""
        x, w = ctx.saved_for_forward
        of = ctx.geometry, ctx.groups
        terms = [] if dx is None else [transposed(dx, w, None, *of)]
        terms += [] if dw is None else [transposed(x, dw, None, *of)]
        if db is not None:  # as wide as the output, whose length it does not know by itself
            length = output_length(ctx.geometry, x.shape[2])
            terms.append(db[None, :, None].expand(x.shape[0], -1, length))
        return _total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`batching.forward` says."""
        return batching.forward(transposed, info.batch_size, in_dims, *operands)


class PlainForward(Function):
    """:class:`Forward` of plain tensors without tangents, at a lower cost per call."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int
    ) -> Tensor:
        """Keep ``x`` and ``w``."""
        ctx.save_for_backward(x, w)
        ctx.geometry, ctx.groups = geometry, groups
        return _forward(x, w, b, geometry, groups)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """As of :class:`Forward`."""
        return _backward(ctx, g)


def _backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    x, w = ctx.saved_tensors
    geometry, groups = ctx.geometry, ctx.groups
    needs = ctx.needs_input_grad
    at_once = plain(x, w, g) and not needs_derivative(x, w, g) and not x.is_complex()
    if at_once and not profiling():
        return *kernels.backward(x, w, g, geometry, groups, needs), None, None
    gx = input_adjoint(g, _conj(w), x.shape[2], geometry, groups) if needs[0] else None
    gw = weight_adjoint(_conj(x), g, geometry, groups) if needs[1] else None
    gb = bias_adjoint(g) if needs[2] else None
    return gx, gw, gb, None, None


class BiasGrad(Function):
    """The sum over batch and time, of plain tensors."""

    @staticmethod
    def forward(gy: Tensor) -> Tensor:
        """Below autograd."""
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


class InputGrad(Function):
    """``C`` with its derivatives."""

    @staticmethod
    def forward(gy: Tensor, w: Tensor, length: int, geometry: Geometry, groups: int) -> Tensor:
        """Below autograd."""
        if plain(gy, w, None):
            return _input_grad(gy, w, length, geometry, groups)
        with _below():
            return operators.input_grad(gy, w, length, geometry, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep ``gy`` and ``w``."""
        gy, w, ctx.length, ctx.geometry, ctx.groups = inputs
        _save(ctx, gy, w)

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """``T(h, w)`` and ``R(h, gy)``."""
        gy, w = ctx.saved_tensors
        need_gy, need_w = ctx.needs_input_grad[:2]
        of = ctx.geometry, ctx.groups
        g_gy = transposed(h, _conj(w), None, *of) if need_gy else None
        g_w = weight_adjoint(h, _conj(gy), *of) if need_w else None
        return g_gy, g_w, None, None, None

    @staticmethod
    def jvp(ctx: Any, dgy: Tensor | None, dw: Tensor | None, *_: Any) -> Any:
        """``C(dgy, w) + C(gy, dw)``."""
        gy, w = ctx.saved_for_forward
        of = ctx.length, ctx.geometry, ctx.groups
        terms = [] if dgy is None else [input_adjoint(dgy, w, *of)]
        terms += [] if dw is None else [input_adjoint(gy, dw, *of)]
        return _total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`batching.input_grad` says."""
        return batching.input_grad(input_adjoint, info.batch_size, in_dims, *operands)


class WeightGrad(Function):
    """``R`` with its derivatives."""

    @staticmethod
    def forward(x: Tensor, gy: Tensor, geometry: Geometry, groups: int) -> Tensor:
        """Below autograd."""
        if plain(x, gy, None):
            return _weight_grad(x, gy, geometry, groups)
        with _below():
            return operators.weight_grad(x, gy, geometry, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep ``x`` and ``gy``."""
        x, gy, ctx.geometry, ctx.groups = inputs
        _save(ctx, x, gy)

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """``C(gy, h)`` and ``T(x, h)``."""
        x, gy = ctx.saved_tensors
        need_x, need_gy = ctx.needs_input_grad[:2]
        of = ctx.geometry, ctx.groups
        g_x = input_adjoint(_conj(gy), h, x.shape[2], *of) if need_x else None
        g_gy = transposed(_conj(x), h, None, *of) if need_gy else None
        return g_x, g_gy, None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dgy: Tensor | None, *_: Any) -> Any:
        """``R(dx, gy) + R(x, dgy)``."""
        x, gy = ctx.saved_for_forward
        of = ctx.geometry, ctx.groups
        terms = [] if dx is None else [weight_adjoint(dx, gy, *of)]
        terms += [] if dgy is None else [weight_adjoint(x, dgy, *of)]
        return _total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`batching.weight_grad` says."""
        return batching.weight_grad(weight_adjoint, info.batch_size, in_dims, *operands)


def _apply(function: Any, *operands: Any) -> Tensor:
    result: Tensor = function.apply(*operands)
    return result


def apply_here(function: Any, *operands: Any) -> Tensor:
    """``function.apply`` where no ``torch.func`` transform waits, at a fraction of its cost.

    It is the method of Function's base, without what Function does around it for transforms.
    """
    result: Tensor = super(Function, function).apply(*operands)
    return result


def _save(ctx: Any, *tensors: Tensor) -> None:
    ctx.save_for_backward(*tensors)
    # Kept a second time, past the hooks on saved tensors, only where somebody can use it.
    if forward_mode_possible():
        ctx.save_for_forward(*tensors)


@contextmanager
def _below() -> Iterator[None]:
    """Below the autograd that called; torch.func's other levels go on recording."""
    with _BelowAutograd():
        if not torch._C._are_functorch_transforms_active():
            yield
        else:
            with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
                yield


def _conj(tensor: Tensor) -> Tensor:
    return tensor.conj() if tensor.is_complex() else tensor


def _total(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
