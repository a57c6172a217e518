"""``conv_transpose1d`` on tensors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from fracstride.geometry import Geometry, geometry_of
from fracstride.torch import fallback, kernels, scripting
from fracstride.torch import ops as _ops  # noqa: F401 - registers the operators
from fracstride.torch.autograd import transposed, transposed_here
from fracstride.torch.checks import geometry_of_call, groups_of_call
from fracstride.torch.packed import PackedWeights
from fracstride.torch.state import exporting, needs_derivative, plain

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
    bit for bit; on an NVIDIA GPU they have the same bits from run to run; elsewhere they are
    torch's. Differentiable in all three tensors, to any order.

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
    kept: PackedWeights | None,
) -> Tensor:
    """:func:`conv_transpose1d` for a caller who keeps packed weights from call to call.

    ``sizes`` are stride, padding, output padding, dilation and padding mode.
    """
    if has_torch_function_variadic(input, weight, bias):
        return _overridden(input, weight, bias, sizes, groups, output_size)
    if kept is None or type(input) is not Tensor:  # a module's own are parameters
        _check_tensors(input, weight, bias)
    if torch.compiler.is_compiling():
        if _distributed(input) and _cut_along_time(input):
            from fracstride.torch.distributed import time

            result: Tensor = time.eagerly(apply)(
                input, weight, bias, sizes, groups, output_size, kept
            )
            return result
        return _in_a_graph(input, weight, bias, sizes, groups, output_size)
    undisturbed = plain(input, weight, bias)
    if not undisturbed and exporting():
        return _in_a_graph(input, weight, bias, sizes, groups, output_size)
    if input.dim() != 3:
        batched = _batched(input)
        return apply(batched, weight, bias, sizes, groups, output_size, kept).squeeze(0)
    shape = weight.shape
    if len(shape) != 3:
        raise RuntimeError(
            f"weight must have the shape (C_in, C_out/groups, k), got shape {tuple(shape)}"
        )
    k = shape[2]
    geometry = geometry_of_call(k, *sizes) if kept is None else kept.geometry(k, sizes)
    groups = groups_of_call(groups, shape[0])
    if output_size is not None:
        geometry = geometry.with_output_size(input.shape[2], output_size)
    if undisturbed:
        if needs_derivative(input, weight, bias):
            return transposed_here(input, weight, bias, geometry, groups)
        pack = None if kept is None else kept.pack
        return kernels.forward(input, weight, bias, geometry, groups, pack)
    if _distributed(input, weight, bias):
        return _of_shards(input, weight, bias, geometry, groups, kept)
    if input.is_quantized or weight.is_quantized:
        raise RuntimeError(
            "conv_transpose1d of fracstride does not compute quantized tensors. Call "
            "fracstride.torch.restore(model) before torch.ao.quantization: quantize first, "
            "accelerate afterwards"
        )
    return transposed(input, weight, bias, geometry, groups)


def _distributed(*tensors: Any) -> bool:
    """Whether one of them is a DTensor; nobody has one who has not imported its module."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and any(isinstance(t, module.DTensor) for t in tensors)


def _cut_along_time(x: Any) -> bool:
    return any(p.is_shard(x.dim() - 1) for p in x.placements)


def _of_shards(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
    kept: PackedWeights | None,
) -> Tensor:
    """Cut along time, by halos; cut otherwise, by DTensor with the rules that the import makes."""
    from fracstride.torch.distributed import time

    cut = time.time_cut(x)
    if cut is None:
        if isinstance(x, time.DTensor):
            w = time.on_mesh(x.device_mesh, "weight", w)
            b = None if b is None else time.on_mesh(x.device_mesh, "bias", b)
        return transposed(x, w, b, geometry, groups)
    return time.conv_transpose1d(cast(Any, x), w, b, geometry, groups, cut, kept)


def _in_a_graph(
    x: Tensor, w: Tensor, b: Tensor | None, sizes: tuple[Any, ...], groups: Any, output_size: Any
) -> Tensor:
    """One operator for a compiler; torch's own for exporters, who know no others."""
    if x.dim() != 3:
        return _in_a_graph(_batched(x), w, b, sizes, groups, output_size).squeeze(0)
    if w.dim() != 3:
        raise RuntimeError(f"weight must have three dimensions, got shape {tuple(w.shape)}")
    k = _constant(w.shape[2])
    stride, left, right, a, dilation, mode, offset = _numbers(k, *map(_constant, sizes))
    if output_size is not None:
        wanted = output_size if isinstance(output_size, int) else output_size[-1]
        if isinstance(sizes[1], str) and sizes[1] != "valid":
            raise ValueError(f"output_size must be None with padding={sizes[1]!r}")
        smallest = x.shape[2] * stride + offset - a
        if wanted < smallest or wanted >= smallest + stride:
            raise ValueError("output_size is out of reach")
        a = _constant(wanted - smallest)  # one of stride numbers, whatever the lengths
    if exporting():
        geometry = _geometry(k, stride, (left, right), a, dilation, mode)
        return fallback.forward(x, w, b, geometry, groups)
    channels = _constant(w.shape[0])
    group_channels = channels // groups_of_call(groups, channels)
    result: Tensor = torch.ops.fracstride.conv_transpose1d(
        x, w, b, stride, left, right, a, group_channels, dilation, mode
    )
    return result


def _constant(size: Any) -> Any:
    """An int that was a symbol of the graph as a number; anything else as it is."""
    if type(size) not in (int, torch.SymInt):
        return size
    return len(range(size)) if size >= 0 else -len(range(-size))


def _numbers(k: int, *sizes: Any) -> tuple[int, int, int, int, int, str, int]:
    """Sizes in one form, and ``L_out - L*stride``, as constants of the graph."""
    g = geometry_of_call(k, *sizes)
    return (
        g.stride,
        g.padding_left,
        g.padding_right,
        g.total_output_padding,
        g.dilation,
        g.padding_mode,
        g.overhang,
    )


def _geometry(*sizes: Any) -> Geometry:
    return geometry_of(*sizes)


# What torch.compiler.assume_constant_result does, which imports the whole compiler to do it.
_numbers._dynamo_marked_constant = True  # type: ignore[attr-defined]
_geometry._dynamo_marked_constant = True  # type: ignore[attr-defined]


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


def _batched(input: Tensor) -> Tensor:
    if input.dim() != 2:
        raise RuntimeError(
            "input must have the shape (batch, channels, length) or (channels, length), "
            f"got shape {tuple(input.shape)}"
        )
    return input.unsqueeze(0)


def _check_tensors(input: Any, weight: Any, bias: Any) -> None:
    if isinstance(input, Tensor) and isinstance(weight, Tensor):
        if bias is None or isinstance(bias, Tensor):
            return
        raise TypeError(f"bias must be a tensor or None, got {type(bias).__name__}")
    name, value = ("weight", weight) if isinstance(input, Tensor) else ("input", input)
    raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
