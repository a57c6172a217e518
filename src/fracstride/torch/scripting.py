"""What ``torch.jit.script`` compiles in place of this library's functions.

TorchScript compiles Python's source. It takes neither the keyword-only arguments of our function
nor what our layer does before it calls a kernel. So each names a twin that is written for the
compiler, out of torch's operators. A scripted model has torch's operators only, and loads where
this library is not installed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, TypeVar

import torch
from torch import Tensor

from fracstride.torch.extension import extend

if TYPE_CHECKING:
    from collections.abc import Sequence as BroadcastingList1  # to TorchScript: one int, or a list

__all__ = ["conv1d", "conv_transpose1d", "scripted_as", "source_in_scripts"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def scripted_as(twin: Callable[..., Any]) -> Callable[[_Function], _Function]:
    """Decorates a function: scripts that call it call ``twin``."""

    def decorate(function: _Function) -> _Function:
        function.__prepare_scriptable__ = lambda: twin  # type: ignore[attr-defined]
        return function

    return decorate


def source_in_scripts(twin: Callable[..., Any]) -> Callable[[_Function], _Function]:
    """Decorates a method: scripts compile the source of ``twin``, with the method's globals.

    ``inspect`` shows the source of a function's ``__wrapped__`` as its own, and that is what
    torch compiles. (A module's ``__prepare_scriptable__`` would do too, but torch puts what it
    returns into the model that was given to ``torch.jit.script``, in place of the layer.)
    """

    def decorate(method: _Function) -> _Function:
        method.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
        method.__wrapped__ = twin  # type: ignore[attr-defined]
        return method

    return decorate


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Optional[BroadcastingList1[int]] = None,  # noqa: UP045
    padding: int | list[int] | tuple[int] | tuple[int, int] | str = 0,
    output_padding: Optional[BroadcastingList1[int]] = None,  # noqa: UP045
    groups: int = 1,
    dilation: Optional[BroadcastingList1[int]] = None,  # noqa: UP045
    padding_mode: str = "zeros",
    output_size: Optional[BroadcastingList1[int]] = None,  # noqa: UP045
) -> Tensor:
    """:func:`fracstride.torch.conv_transpose1d` for TorchScript, of any length from 1 on.

    ``(B, C_out, L_out)`` of an input ``(B, C_in, L)``, or both without ``B``. Sizes that do not
    fit raise ``torch.jit.Error``. Twin of :class:`fracstride.Geometry` and of
    :func:`fracstride.torch.fallback.forward`, since TorchScript calls no Python.

    >>> @torch.jit.script
    ... def up(x: Tensor, w: Tensor) -> Tensor:
    ...     return conv_transpose1d(x, w, padding=(1, 0), padding_mode="circular")
    >>> up(torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 1, 2))
    tensor([[3., 5., 4.]])
    """
    for size in (stride, dilation, output_padding):
        if size is not None and len(size) != 1:
            raise ValueError("stride, dilation and output_padding must be one int each")
    # Defaults are here: with an int for a list, TorchScript fails to print the signature.
    s = 1 if stride is None else stride[0]
    d = 1 if dilation is None else dilation[0]
    a = 0 if output_padding is None else output_padding[0]
    x = input if input.dim() == 3 else input.unsqueeze(0)
    length = x.size(2)
    if length < 1:
        raise RuntimeError("input must have at least one frame")
    span = d * (weight.size(2) - 1) + 1
    left, right = 0, 0
    if isinstance(padding, str):
        if padding == "same" or padding == "causal":
            if output_size is not None:
                raise ValueError("output_size must be None with padding 'same' or 'causal'")
            left = max(0, span - s) // 2 if padding == "same" else 0
            right = max(0, span - s) - left
            a = max(0, s - span)
        elif padding != "valid":
            raise ValueError("padding must be 'valid', 'same' or 'causal' if it is a str")
    elif isinstance(padding, int):
        left, right = padding, padding
    elif torch.jit.isinstance(padding, tuple[int, int]):
        left, right = padding  # type: ignore[misc]
    elif torch.jit.isinstance(padding, tuple[int]):
        left, right = padding[0], padding[0]
    elif torch.jit.isinstance(padding, list[int]):
        if len(padding) != 1 and len(padding) != 2:
            raise ValueError("padding must be one int or two")
        left, right = padding[0], padding[-1]
    if left < 0 or right < 0:
        raise ValueError("padding must be non-negative, got " + str(left) + ", " + str(right))
    if s < 1 or d < 1 or a < 0:
        raise ValueError("stride and dilation must be positive, output_padding non-negative")
    if output_size is not None:
        if len(output_size) != 1 and len(output_size) != input.dim():
            raise ValueError("output_size must be one size, or as many as the input has")
        a = output_size[-1] - ((length - 1) * s - left - right + span)
        if a < 0 or a >= s:
            raise ValueError("output_size is out of reach")
    if length * s - s + span + a - left - right < 1:
        raise RuntimeError("padding crops all of the samples")
    if padding_mode != "zeros":
        # Twin of Geometry's extension_left and extension_right.
        before, after = max(0, (span - 1 - left) // s), max(0, (span - 1 - right + a) // s)
        x = extend(x, before, after, padding_mode)
        left, right = left + before * s, right + after * s
    both = min(left, right)
    y = torch.conv_transpose1d(x, weight, bias, [s], [both], [a], groups, [d])
    if left != right:
        y = y[:, :, left - both : y.size(2) - (right - both)]
    return y if input.dim() == 3 else y.squeeze(0)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Optional[BroadcastingList1[int]] = None,  # noqa: UP045
    padding: int | list[int] | tuple[int] | tuple[int, int] | str = 0,
    dilation: Optional[BroadcastingList1[int]] = None,  # noqa: UP045
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """:func:`fracstride.torch.conv1d` for TorchScript.

    Sizes that do not fit raise ``torch.jit.Error``. Twin of :class:`fracstride.Conv1dGeometry` and
    of :func:`fracstride.torch.fallback.forward`.

    >>> @torch.jit.script
    ... def back(x: Tensor, w: Tensor) -> Tensor:
    ...     return conv1d(x, w, padding="causal", padding_mode="circular")
    >>> back(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.ones(1, 1, 2))
    tensor([[5., 3., 5., 7.]])
    """
    for size in (stride, dilation):
        if size is not None and len(size) != 1:
            raise ValueError("stride and dilation must be one int each")
    s = 1 if stride is None else stride[0]
    d = 1 if dilation is None else dilation[0]
    if s < 1 or d < 1:
        raise ValueError("stride and dilation must be positive")
    x = input if input.dim() == 3 else input.unsqueeze(0)
    if x.size(2) < 1:
        raise RuntimeError("input must have at least one frame")
    total = d * (weight.size(2) - 1)
    left, right = 0, 0
    if isinstance(padding, str):
        if padding == "causal":
            left = total
        elif padding == "same":
            if s != 1:
                raise ValueError("stride must be 1 with padding 'same'")
            left = total // 2
            right = total - left
        elif padding != "valid":
            raise ValueError("padding must be 'valid', 'same' or 'causal' if it is a str")
    elif isinstance(padding, int):
        left, right = padding, padding
    elif torch.jit.isinstance(padding, tuple[int, int]):
        left, right = padding  # type: ignore[misc]
    elif torch.jit.isinstance(padding, tuple[int]):
        left, right = padding[0], padding[0]
    elif torch.jit.isinstance(padding, list[int]):
        if len(padding) != 1 and len(padding) != 2:
            raise ValueError("padding must be one int or two")
        left, right = padding[0], padding[-1]
    if left < 0 or right < 0:
        raise ValueError("padding must be non-negative, got " + str(left) + ", " + str(right))
    if padding_mode != "zeros":
        x = extend(x, left, right, padding_mode)
        left, right = 0, 0
    elif left != right:
        x = torch.constant_pad_nd(x, [left, right])
        left, right = 0, 0
    y = torch.conv1d(x, weight, bias, [s], [left], [d], groups)
    return y if input.dim() == 3 else y.squeeze(0)
