"""``conv_transpose1d`` and ``conv1d`` on tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.compiler import disable, is_compiling
from torch.overrides import handle_torch_function, has_torch_function_variadic

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch import fallback, kernels, scripting
from fracstride.torch.checks import (
    check_forward,
    conv1d_geometry_of_call,
    geometry_of_call,
    groups_of_call,
    wanted_length,
    with_wanted_length,
)
from fracstride.torch.dispatch import exporting, needs_derivative, plain
from fracstride.torch.dtensor_calls import cut_along_time, dtensors, is_dtensor, ready
from fracstride.torch.graph import batched, conv1d_in_a_graph, in_a_graph
from fracstride.torch.operators import forward
from fracstride.torch.operators.operator import Operator
from fracstride.torch.packed import PackedWeights
from fracstride.torch.profiling import profiling

__all__ = ["conv1d", "conv_transpose1d"]


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


@scripting.scripted_as(scripting.conv1d)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> Tensor:
    """``torch.nn.functional.conv1d``, with what it lacks.

    ``y[b, c, t] = bias[c] + sum of xe[b, i, t*stride + m*dilation - left] * weight[c, i, m]`` over
    all ``i, m``. ``xe`` is the input, extended by the padding as ``padding_mode`` says, however
    short it is. On the CPU the numbers are those of :func:`fracstride.conv1d`, bit for bit;
    elsewhere they are those of torch's own operators. Differentiable in all three tensors, to any
    order.

    Args:
        input: ``(B, C_in, L)`` or ``(C_in, L)``, any strides; ``L >= 1`` frames, ``B >= 0``.
        weight: ``(C_out, C_in/groups, k)``, of the input's dtype and device.
        bias: ``(C_out,)`` or None.
        stride: frames from one sample to the next.
        padding: frames added: an int, ``(left, right)``, ``"valid"`` (none), ``"same"`` (stride 1
            only; ``dilation*(k - 1)`` in all, the odd one on the right as in torch) or ``"causal"``
            (``dilation*(k - 1)`` on the left).
        dilation: frames from one tap to the next.
        groups: divides ``C_out``; ``C_in`` is ``groups`` times ``weight.shape[1]``.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Returns:
        ``(B, C_out, L_out)``, or ``(C_out, L_out)`` for an input without batch, contiguous.

    Raises:
        RuntimeError: a size, shape, dtype or device that does not fit, as in torch.
        ValueError: an unknown ``padding_mode``.
        TypeError: an argument of a wrong type.

    >>> import torch
    >>> x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    >>> conv1d(x, torch.ones(1, 1, 2), stride=2)
    tensor([[3., 7.]])
    >>> conv1d(x, torch.ones(1, 1, 2), padding="causal", padding_mode="circular")
    tensor([[5., 3., 5., 7.]])
    """
    sizes = stride, padding, dilation, padding_mode
    return apply(input, weight, bias, sizes, groups, None, None, CONV1D)


class Layer(NamedTuple):
    """What tells the calls of the two layers apart."""

    operator: Operator
    #: ``geometry(kernel_size, *sizes)``.
    geometry: Callable[..., Any]
    #: For messages: the weight's axes, and the channels that the groups divide.
    weight_shape: str
    divided: str
    #: The call, given to the tensors' own ``__torch_function__``.
    overridden: Callable[..., Tensor]
    #: The call as a part of a graph.
    in_a_graph: Callable[..., Tensor]
    #: ``elsewhere(*operands)``: of tensors that the kernels cannot simply read.
    elsewhere: Callable[..., Tensor]


def _overridden(
    x: Tensor, w: Tensor, b: Tensor | None, sizes: tuple[Any, ...], groups: Any, output_size: Any
) -> Tensor:
    stride, padding, output_padding, dilation, padding_mode = sizes
    arguments = x, w, b, stride, padding, output_padding, groups, dilation
    modes = {"padding_mode": padding_mode, "output_size": output_size}
    result: Tensor = handle_torch_function(conv_transpose1d, (x, w, b), *arguments, **modes)
    return result


def _conv1d_overridden(
    x: Tensor, w: Tensor, b: Tensor | None, sizes: tuple[Any, ...], groups: Any, _: None
) -> Tensor:
    stride, padding, dilation, mode = sizes
    arguments = x, w, b, stride, padding, dilation, groups
    result: Tensor = handle_torch_function(conv1d, (x, w, b), *arguments, padding_mode=mode)
    return result


def _conv1d_elsewhere(
    x: Tensor, w: Tensor, b: Tensor | None, geometry: AnyGeometry, groups: int
) -> Tensor:
    """Torch's own operator on a device that is no CPU; ours where there is an extension to fold."""
    if x.device.type == "cpu" or geometry.padding_mode != "zeros":
        return forward.CONV1D(x, w, b, geometry, groups)
    check_forward(x, w, b, geometry, groups)
    return fallback.forward(x, w, b, geometry, groups)


TRANSPOSED = Layer(
    operator=forward.TRANSPOSED,
    geometry=geometry_of_call,
    weight_shape="(C_in, C_out/groups, k)",
    divided="in_channels",
    overridden=_overridden,
    in_a_graph=in_a_graph,
    elsewhere=forward.TRANSPOSED,
)
CONV1D = Layer(
    operator=forward.CONV1D,
    geometry=conv1d_geometry_of_call,
    weight_shape="(C_out, C_in/groups, k)",
    divided="out_channels",
    overridden=_conv1d_overridden,
    in_a_graph=conv1d_in_a_graph,
    elsewhere=_conv1d_elsewhere,
)


def apply(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: tuple[Any, ...],
    groups: Any,
    output_size: Any,
    packed_weights: PackedWeights | None,
    layer: Layer = TRANSPOSED,
) -> Tensor:
    """The function of a layer, for a caller who keeps packed weights from call to call.

    ``sizes`` are stride, padding, output padding (which a Conv1d has not), dilation and padding
    mode. The comments name the kinds of calls, in the order in which they are told apart, and the
    code that computes each.
    """
    # Tensors of a class that overrides torch's functions: that class.
    if has_torch_function_variadic(input, weight, bias):
        return layer.overridden(input, weight, bias, sizes, groups, output_size)
    if packed_weights is None or type(input) is not Tensor:  # a module's own are parameters
        _check_tensors(input, weight, bias)
    # torch.compile and torch.export: a node of their graph.
    if is_compiling():
        return _compiled(input, weight, bias, sizes, groups, output_size, packed_weights, layer)
    is_plain = plain(input, weight, bias)
    # torch.jit.trace, and the ONNX exporter that is built on it: torch's own operators.
    if not is_plain and exporting():
        return layer.in_a_graph(input, weight, bias, sizes, groups, output_size)
    # An input without a batch: a batch of one.
    if input.dim() != 3:
        rows, wanted = batched(input, output_size)
        y = apply(rows, weight, bias, sizes, groups, wanted, packed_weights, layer)
        return y.squeeze(0)
    shape = weight.shape
    if len(shape) != 3:
        raise RuntimeError(
            f"weight must have the shape {layer.weight_shape}, got shape {tuple(shape)}"
        )
    k = shape[2]
    if packed_weights is None:
        geometry = layer.geometry(k, *sizes)
    else:
        geometry = packed_weights.geometry(k, sizes, layer.geometry)
    groups = groups_of_call(groups, shape[0], layer.divided)
    if output_size is not None:
        wanted = wanted_length(output_size, 3)
        geometry = with_wanted_length(geometry, input.shape[2], wanted)
    if is_plain:
        # Plain tensors that need derivatives: the operator's Function.
        if needs_derivative(input, weight, bias):
            return layer.operator.differentiable(input, weight, bias, geometry, groups)
        # Plain tensors: the kernel, where the profiler sees it if there is one.
        pack = None if packed_weights is None else packed_weights.pack
        if profiling():
            return layer.operator.run(input, weight, bias, geometry, groups, pack)
        y = kernels.forward(input, weight, bias, geometry, groups, pack)
        if packed_weights is not None and output_size is None:
            packed_weights.remember(input, bias, sizes, geometry, groups, y)
        return y
    # DTensors, which are spread over processes: fracstride.torch.distributed.
    if is_dtensor(input, weight, bias):
        result: Tensor = dtensors().apply(input, weight, bias, geometry, groups, packed_weights)
        return result
    _refuse_quantized(layer, input, weight)
    # Other devices, other subclasses, modes, transforms, autocast.
    return layer.elsewhere(input, weight, bias, geometry, groups)


def _compiled(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    sizes: tuple[Any, ...],
    groups: Any,
    output_size: Any,
    packed_weights: PackedWeights | None,
    layer: Layer,
) -> Tensor:
    """A node of a graph; outside it if the ranks have to exchange frames, which a graph cannot."""
    if is_dtensor(x, w, b):
        ready()
    if is_dtensor(x) and cut_along_time(x):
        outside_graphs: Any = disable(apply)
        result: Tensor = outside_graphs(x, w, b, sizes, groups, output_size, packed_weights, layer)
        return result
    return layer.in_a_graph(x, w, b, sizes, groups, output_size)


def _refuse_quantized(layer: Layer, x: Tensor, w: Tensor) -> None:
    if x.is_quantized or w.is_quantized:
        raise RuntimeError(
            f"{layer.operator.name} of fracstride does not compute quantized tensors. Call "
            "fracstride.torch.restore(model) before torch.ao.quantization: quantize first, "
            "accelerate afterwards"
        )


def _check_tensors(input: Any, weight: Any, bias: Any) -> None:
    if isinstance(input, Tensor) and isinstance(weight, Tensor):
        if bias is None or isinstance(bias, Tensor):
            return
        raise TypeError(f"bias must be a tensor or None, got {type(bias).__name__}")
    name, value = ("weight", weight) if isinstance(input, Tensor) else ("input", input)
    raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
