"""The operators ``conv_transpose1d`` and ``conv1d``: a layer's output, of an input and a weight.

The maps are bilinear, so the derivatives of each are itself and its two adjoints. Reverse mode
conjugates the operand that stays, as torch's autograd does; forward mode does not. The geometry
among the operands says which of the two layers is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor
from torch.autograd import Function

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.geometry import Geometry
from fracstride.torch import fallback, gpu, kernels
from fracstride.torch.checks import channels_of, check_forward, output_length
from fracstride.torch.dispatch import needs_derivative, plain
from fracstride.torch.operators.batch import into_batch, into_channels
from fracstride.torch.operators.bias_grad import bias_adjoint
from fracstride.torch.operators.function import conjugate, save, total
from fracstride.torch.operators.operator import Operator, of_layer
from fracstride.torch.operators.sizes import (
    CONV1D_SIZES,
    SIZES,
    group_channels,
    layer_of_weight,
    sizes_of,
)
from fracstride.torch.packed import PackedWeights
from fracstride.torch.profiling import profiling

__all__ = ["CONV1D", "TRANSPOSED", "transposed"]


def transposed(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    packed_weights: PackedWeights | None = None,
) -> Tensor:
    """``T``: ``(B, C_out, L_out)`` of ``x (B, C_in, L)``."""
    if packed_weights is not None and plain(x, w, b) and not needs_derivative(x, w, b):
        return TRANSPOSED.run(x, w, b, geometry, groups, packed_weights.pack)
    return TRANSPOSED(x, w, b, geometry, groups)


class Forward(Function):
    """A layer with its derivatives; they are named as those of the transposed one."""

    @staticmethod
    def forward(
        x: Tensor, w: Tensor, b: Tensor | None, geometry: AnyGeometry, groups: int
    ) -> Tensor:
        """``T(x, w)``."""
        return of_layer(geometry).undifferentiated(x, w, b, geometry, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep ``x`` and ``w``."""
        x, w, _, ctx.geometry, ctx.groups = inputs
        save(ctx, x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """``C(g, w)``, ``R(x, g)``, and the sum over batch and time."""
        return _backward(ctx, g)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dw: Tensor | None, db: Tensor | None, *_: Any) -> Any:
        """``T(dx, w) + T(x, dw) + db``."""
        x, w = ctx.saved_for_forward
        of, forward = (ctx.geometry, ctx.groups), of_layer(ctx.geometry)
        terms = [] if dx is None else [forward(dx, w, None, *of)]
        terms += [] if dw is None else [forward(x, dw, None, *of)]
        if db is not None:  # as wide as the output, whose length it does not know by itself
            length = output_length(ctx.geometry, x.shape[2])
            terms.append(db[None, :, None].expand(x.shape[0], -1, length))
        return total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`_vmap_rule` says."""
        return _vmap_rule(of_layer(operands[-2]), info.batch_size, in_dims, *operands)


class PlainForward(Function):
    """:class:`Forward` of plain tensors without tangents, at a lower cost per call."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, geometry: AnyGeometry, groups: int
    ) -> Tensor:
        """Keep ``x`` and ``w``."""
        ctx.save_for_backward(x, w)
        ctx.geometry, ctx.groups = geometry, groups
        if profiling():
            return of_layer(geometry).run(x, w, b, geometry, groups)
        return kernels.forward(x, w, b, geometry, groups)  # at once: tiny calls notice

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
    gx = gw = None
    if needs[0]:
        input_grad = of_layer(geometry, "_input_grad")
        gx = input_grad(g, conjugate(w), x.shape[2], geometry, groups)
    if needs[1]:
        gw = of_layer(geometry, "_weight_grad")(conjugate(x), g, geometry, groups)
    gb = bias_adjoint(g) if needs[2] else None
    return gx, gw, gb, None, None


def _vmap_rule(
    to: Callable[..., Tensor],
    n: int,
    dims: tuple[Any, ...],
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: AnyGeometry,
    groups: int,
) -> tuple[Tensor, int]:
    x_dim, w_dim, b_dim = dims[:3]
    if w_dim is not None:
        x, w = into_channels(x, x_dim, n), into_channels(w, w_dim, n, channels=0)
        if b is not None:
            b = b.repeat(n) if b_dim is None else b.movedim(b_dim, 0).flatten()
        return to(x, w, b, geometry, n * groups).unflatten(1, (n, -1)), 1
    y = to(into_batch(x, x_dim), w, None if b_dim is not None else b, geometry, groups)
    y = y[None] if x_dim is None else y.unflatten(0, (n, -1))
    return (y if b is None or b_dim is None else y + b.movedim(b_dim, 0)[:, None, :, None]), 0


def _operands(x: Tensor, w: Tensor, b: Tensor | None, *sizes: Any) -> tuple[Any, ...]:
    return x, w, b, *layer_of_weight(w, sizes)


def _arguments(
    x: Tensor, w: Tensor, b: Tensor | None, geometry: AnyGeometry, groups: int
) -> tuple[Any, ...]:
    return x, w, b, *sizes_of(geometry, w.shape[0], groups)


def _shape(
    x: Tensor, w: Tensor, b: Tensor | None, geometry: AnyGeometry, groups: int
) -> tuple[int, int, int]:
    length = check_forward(x, w, b, geometry, groups)
    return x.shape[0], channels_of(w, geometry, groups)[1], length


def _channels(x: Any, w: Any, b: Any, *sizes: Any) -> tuple[int, int, int]:
    return w.shape[0], w.shape[1], group_channels(sizes)


def _flops(input: list[int], weight: list[int], *_: Any, **__: Any) -> int:
    """Two for each product of a frame; extended frames and bias left out, as torch has it."""
    batch, _channels, length = input
    return 2 * batch * length * prod(weight)


def _conv1d_flops(
    input: list[int], weight: list[int], *_: Any, out_shape: list[int], **__: Any
) -> int:
    """Two for each product of an output position, as torch has it."""
    return 2 * input[0] * out_shape[2] * prod(weight)


_BOTH: dict[str, Any] = {
    "tensors": 3,
    "operands": _operands,
    "arguments": _arguments,
    "shape": _shape,
    "kernel": kernels.forward,
    "fallback": fallback.forward,
    "function": Forward,
    "reverse_only": PlainForward,
    "vmap_rule": _vmap_rule,
    "channels": _channels,
    "autocast": True,
}
TRANSPOSED = Operator(
    name="conv_transpose1d",
    schema=f"Tensor input, Tensor weight, Tensor? bias, {SIZES}",
    triton=lambda *operands: gpu.triton_maps().forward(*operands),
    flops=_flops,
    cuts={  # input, weight, bias; output
        "whole": ("whole", "whole", "whole", "whole"),
        "batch": (0, "whole", "whole", 0),
        "columns": ("whole", 1, 0, 1),
        "rows": (1, 0, "sum", "sum"),
        "groups": (1, 0, 0, 1),
    },
    **_BOTH,
)
CONV1D = Operator(
    name="conv1d",
    schema=f"Tensor input, Tensor weight, Tensor? bias, {CONV1D_SIZES}",
    flops=_conv1d_flops,
    cuts={
        "whole": ("whole", "whole", "whole", "whole"),
        "batch": (0, "whole", "whole", 0),
        "columns": (1, 1, "sum", "sum"),
        "rows": ("whole", 0, 0, 1),
        "groups": (1, 0, 0, 1),
    },
    **_BOTH,
)
