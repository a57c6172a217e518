"""``conv_transpose1d`` on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.compiler import disable, is_compiling
from torch.overrides import handle_torch_function, has_torch_function_variadic

from fracstride.torch import kernels, scripting
from fracstride.torch.checks import (
    geometry_of_call,
    groups_of_call,
    wanted_length,
    with_wanted_length,
)
from fracstride.torch.dispatch import exporting, needs_derivative, plain
from fracstride.torch.dtensor_calls import cut_along_time, dtensors, is_dtensor
from fracstride.torch.graph import batched, in_a_graph
from fracstride.torch.operators.forward import OPERATOR
from fracstride.torch.packed import PackedWeights
from fracstride.torch.profiling import profiling

__all__ = ["conv_transpose1d"]


@scripting.scripted_as(scripting.conv_transpose1d)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    padding_mode: str = "zeros",
    output_size: int | Sequence[int] | None = None,
) -> Tensor:
    """``torch.nn.functional.conv_transpose1d``, with what it lacks.

    ``y[b, c, n] = bias[c] + sum of xe[b, i, t] * weight[i, c, m]`` over all ``i, t, m`` with
    ``t*stride + m*dilation == n + padding_left``. ``xe`` is the input, *extended* past its ends as
    ``padding_mode`` says. On the CPU the numbers are those of :func:`fracstride.conv_transpose1d`,
    bit for bit; elsewhere they are those of torch's own operators. Differentiable in all three
    tensors, to any order.

    Args:
        input: ``(B, C_in, L)`` or ``(C_in, L)``, any strides; ``L >= 1`` frames, ``B >= 0``.
        weight: ``(C_in, C_out/groups, k)``, of the input's dtype and device.
        bias: ``(C_out,)`` or None.
        stride: samples from one frame to the next.
        padding: samples cropped: an int, ``(left, right)``, ``"valid"`` (none), or ``"same"`` or
            ``"causal"`` for ``L_out = L*stride`` (``causal``: nothing is cropped on the left).
        output_padding: samples added on the right, less than ``max(stride, dilation)``.
        groups: divides ``C_in``; ``C_out`` is ``groups`` times ``weight.shape[1]``.
        dilation: samples from one tap to the next.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        output_size: the wanted ``L_out``, in place of ``output_padding``.

    Returns:
        ``(B, C_out, L_out)``, or ``(C_out, L_out)`` for an input without batch, contiguous.

    Raises:
        RuntimeError: a size, shape, dtype or device that does not fit, as in torch.
        ValueError: an unknown ``padding_mode``, an ``output_size`` out of reach.
        TypeError: an argument of a wrong type.

    >>> import torch
    >>> x = torch.tensor([[1.0, 2.0, 3.0]])
    >>> conv_transpose1d(x, torch.ones(1, 1, 2), stride=2)
    tensor([[1., 1., 2., 2., 3., 3.]])
    >>> conv_transpose1d(x, torch.ones(1, 1, 2), padding=(1, 0), padding_mode="circular")
    tensor([[3., 5., 4.]])
    """
    sizes = stride, padding, output_padding, dilation, padding_mode
    return apply(input, weight, bias, sizes, groups, output_size, None)


def apply(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: tuple[Any, Any, Any, Any, Any],
    groups: Any,
    output_size: Any,
    packed_weights: PackedWeights | None,
) -> Tensor:
    """:func:`conv_transpose1d` for a caller who keeps packed weights from call to call.

    ``sizes`` are stride, padding, output padding, dilation and padding mode. The comments name the
    kinds of calls, in the order in which they are told apart, and the code that computes each.
    """
    # Tensors of a class that overrides torch's functions: that class.
    if has_torch_function_variadic(input, weight, bias):
        return _overridden(input, weight, bias, sizes, groups, output_size)
    if packed_weights is None or type(input) is not Tensor:  # a module's own are parameters
        _check_tensors(input, weight, bias)
    # torch.compile and torch.export: a node of their graph.
    if is_compiling():
        return _compiled(input, weight, bias, sizes, groups, output_size, packed_weights)
    is_plain = plain(input, weight, bias)
    # torch.jit.trace, and the ONNX exporter that is built on it: torch's own operators.
    if not is_plain and exporting():
        return in_a_graph(input, weight, bias, sizes, groups, output_size)
    # An input without a batch: a batch of one.
    if input.dim() != 3:
        rows, wanted = batched(input, output_size)
        return apply(rows, weight, bias, sizes, groups, wanted, packed_weights).squeeze(0)
    shape = weight.shape
    if len(shape) != 3:
        raise RuntimeError(
            f"weight must have the shape (C_in, C_out/groups, k), got shape {tuple(shape)}"
        )
    k = shape[2]
    geometry = (
        geometry_of_call(k, *sizes) if packed_weights is None else packed_weights.geometry(k, sizes)
    )
    groups = groups_of_call(groups, shape[0])
    if output_size is not None:
        wanted = wanted_length(output_size, 3)
        geometry = with_wanted_length(geometry, input.shape[2], wanted)
    if is_plain:
        # Plain tensors that need derivatives: the operator's Function.
        if needs_derivative(input, weight, bias):
            return OPERATOR.differentiable(input, weight, bias, geometry, groups)
        # Plain tensors: the kernel, where the profiler sees it if there is one.
        pack = None if packed_weights is None else packed_weights.pack
        if profiling():
            return OPERATOR.run(input, weight, bias, geometry, groups, pack)
        return kernels.forward(input, weight, bias, geometry, groups, pack)
    # DTensors, which are spread over processes: fracstride.torch.distributed.
    if is_dtensor(input, weight, bias):
        result: Tensor = dtensors().conv_transpose1d(
            input, weight, bias, geometry, groups, packed_weights
        )
        return result
    _refuse_quantized(input, weight)
    # Other devices, other subclasses, modes, transforms, autocast.
    return OPERATOR(input, weight, bias, geometry, groups)


def _compiled(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    sizes: tuple[Any, ...],
    groups: Any,
    output_size: Any,
    packed_weights: PackedWeights | None,
) -> Tensor:
    """A node of a graph; outside it if the ranks have to exchange frames, which a graph cannot."""
    if is_dtensor(x) and cut_along_time(x):
        outside_graphs: Any = disable(apply)
        result: Tensor = outside_graphs(x, w, b, sizes, groups, output_size, packed_weights)
        return result
    return in_a_graph(x, w, b, sizes, groups, output_size)


def _refuse_quantized(x: Tensor, w: Tensor) -> None:
    if x.is_quantized or w.is_quantized:
        raise RuntimeError(
            "conv_transpose1d of fracstride does not compute quantized tensors. Call "
            "fracstride.torch.restore(model) before torch.ao.quantization: quantize first, "
            "accelerate afterwards"
        )


def _overridden(
    x: Tensor, w: Tensor, b: Tensor | None, sizes: tuple[Any, ...], groups: Any, output_size: Any
) -> Tensor:
    """The call, given to the tensors' own ``__torch_function__``."""
    stride, padding, output_padding, dilation, padding_mode = sizes
    result: Tensor = handle_torch_function(
        conv_transpose1d,
        (x, w, b),
        x,
        w,
        b,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        padding_mode=padding_mode,
        output_size=output_size,
    )
    return result


def _check_tensors(input: Any, weight: Any, bias: Any) -> None:
    if isinstance(input, Tensor) and isinstance(weight, Tensor):
        if bias is None or isinstance(bias, Tensor):
            return
        raise TypeError(f"bias must be a tensor or None, got {type(bias).__name__}")
    name, value = ("weight", weight) if isinstance(input, Tensor) else ("input", input)
    raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
