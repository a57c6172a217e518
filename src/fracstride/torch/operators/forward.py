"""The operator ``conv_transpose1d``: T, the transposed convolution of an input by a weight.

T is bilinear, so its derivatives are T itself and its two adjoints C and R. Reverse mode conjugates
the operand that stays, as torch's autograd does; forward mode does not.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor
from torch.autograd import Function

from fracstride.geometry import Geometry
from fracstride.torch import fallback, gpu, kernels
from fracstride.torch.checks import check_forward, output_length
from fracstride.torch.dispatch import needs_derivative, plain
from fracstride.torch.operators.batch import into_batch, into_channels
from fracstride.torch.operators.bias_grad import bias_adjoint
from fracstride.torch.operators.function import conjugate, save, total
from fracstride.torch.operators.operator import Operator, call
from fracstride.torch.operators.sizes import SIZES, layer_of_weight, sizes_of
from fracstride.torch.packed import PackedWeights
from fracstride.torch.profiling import profiling

__all__ = ["OPERATOR", "transposed"]


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
        return OPERATOR.run(x, w, b, geometry, groups, packed_weights.pack)
    return OPERATOR(x, w, b, geometry, groups)


class Forward(Function):
    """``T`` with its derivatives."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int) -> Tensor:
        """``T(x, w)``."""
        return OPERATOR.undifferentiated(x, w, b, geometry, groups)

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
        of = ctx.geometry, ctx.groups
        terms = [] if dx is None else [OPERATOR(dx, w, None, *of)]
        terms += [] if dw is None else [OPERATOR(x, dw, None, *of)]
        if db is not None:  # as wide as the output, whose length it does not know by itself
            length = output_length(ctx.geometry, x.shape[2])
            terms.append(db[None, :, None].expand(x.shape[0], -1, length))
        return total(terms)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Tensor, int]:
        """As :func:`_vmap_rule` says."""
        return _vmap_rule(OPERATOR, info.batch_size, in_dims, *operands)


class PlainForward(Function):
    """:class:`Forward` of plain tensors without tangents, at a lower cost per call."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int
    ) -> Tensor:
        """Keep ``x`` and ``w``."""
        ctx.save_for_backward(x, w)
        ctx.geometry, ctx.groups = geometry, groups
        if profiling():
            return OPERATOR.run(x, w, b, geometry, groups)
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
        of = x.shape[2], geometry, groups
        gx = call("conv_transpose1d_input_grad", g, conjugate(w), *of)
    if needs[1]:
        gw = call("conv_transpose1d_weight_grad", conjugate(x), g, geometry, groups)
    gb = bias_adjoint(g) if needs[2] else None
    return gx, gw, gb, None, None


def _vmap_rule(
    to: Callable[..., Tensor],
    n: int,
    dims: tuple[Any, ...],
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
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
    x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int
) -> tuple[Any, ...]:
    return x, w, b, *sizes_of(geometry, w.shape[0], groups)


def _shape(
    x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry, groups: int
) -> tuple[int, int, int]:
    length = check_forward(x, w, b, geometry, groups)
    return x.shape[0], w.shape[1] * groups, length


def _channels(x: Any, w: Any, b: Any, *sizes: Any) -> tuple[int, int, int]:
    return w.shape[0], w.shape[1], sizes[4]


def _flops(input: list[int], weight: list[int], *_: Any, **__: Any) -> int:
    """Two for each product of a frame; extended frames and bias left out, as torch has it."""
    batch, _channels, length = input
    return 2 * batch * length * prod(weight)


OPERATOR = Operator(
    name="conv_transpose1d",
    schema=f"Tensor input, Tensor weight, Tensor? bias, {SIZES}",
    tensors=3,
    operands=_operands,
    arguments=_arguments,
    shape=_shape,
    kernel=kernels.forward,
    fallback=fallback.forward,
    triton=lambda *operands: gpu.triton_maps().forward(*operands),
    function=Forward,
    reverse_only=PlainForward,
    vmap_rule=_vmap_rule,
    flops=_flops,
    channels=_channels,
    cuts={  # input, weight, bias; output
        "whole": ("whole", "whole", "whole", "whole"),
        "batch": (0, "whole", "whole", 0),
        "columns": ("whole", 1, 0, 1),
        "rows": (1, 0, "sum", "sum"),
        "groups": (1, 0, 0, 1),
    },
    autocast=True,
)
