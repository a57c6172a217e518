"""Tells torch everything about the operators in the list. Importing this module does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.utils.flop_counter import register_flop_formula

from fracstride.torch import gpu
from fracstride.torch.dispatch import needs_derivative
from fracstride.torch.gpu.capture import see_through
from fracstride.torch.operators import forward, input_grad, weight_grad
from fracstride.torch.operators.function import BelowAutograd, apply_here
from fracstride.torch.operators.operator import Operator, add

__all__ = ["OPERATORS", "register"]

OPERATORS = (
    forward.TRANSPOSED,
    input_grad.TRANSPOSED,
    weight_grad.TRANSPOSED,
    forward.CONV1D,
    input_grad.CONV1D,
    weight_grad.CONV1D,
)

_AUTOCAST = ("CPU", "CUDA", "XPU", "MPS", "HPU", "MTIA", "PrivateUse1")
_library = torch.library.Library("fracstride", "DEF")


def register(operator: Operator) -> None:
    """Define ``torch.ops.fracstride.<name>``, and say how it is computed in each situation."""
    name, full_name = operator.name, f"fracstride::{operator.name}"
    _library.define(f"{name}({operator.schema}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, _cpu(operator), "CPU")
    _library.impl(name, _anywhere(operator), "CompositeExplicitAutograd")
    _library.impl(name, _autograd(operator), "Autograd")
    torch.library.register_fake(full_name, _fake(operator), lib=_library)
    torch.library.register_vmap(full_name, _vmap(operator), lib=_library)
    if operator.triton is not None:
        on_cuda = _cuda(operator, operator.triton)
        _library.impl(name, on_cuda, "CUDA")
        see_through(full_name, on_cuda, gpu.available, _library)
    register_flop_formula(getattr(torch.ops.fracstride, name))(operator.flops)
    for device in _AUTOCAST if operator.autocast else ():
        if hasattr(torch._C.DispatchKey, f"Autocast{device}"):
            _library.impl(name, _autocast(operator, device), f"Autocast{device}")
    add(operator)


def _cpu(operator: Operator) -> Callable[..., Tensor]:
    def run(*arguments: Any) -> Tensor:
        return operator.kernel(*operator.operands(*arguments))

    return run


def _anywhere(operator: Operator) -> Callable[..., Tensor]:
    """On every device, by torch's own operators."""

    def run(*arguments: Any) -> Tensor:
        operands = operator.operands(*arguments)
        operator.shape(*operands)  # raises if they do not fit
        return operator.fallback(*operands).contiguous()

    return run


def _cuda(operator: Operator, triton: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """By Triton where that is asked for and possible."""
    anywhere = _anywhere(operator)

    def run(*arguments: Any) -> Tensor:
        if not gpu.available(arguments[0].device):
            return anywhere(*arguments)
        return triton(*operator.operands(*arguments))

    return run


def _fake(operator: Operator) -> Callable[..., Tensor]:
    """An empty result for tensors without numbers."""

    def run(*arguments: Any) -> Tensor:
        shape = operator.shape(*operator.operands(*arguments))
        result: Tensor = arguments[0].new_empty(shape)
        return result

    return run


def _autograd(operator: Operator) -> Callable[..., Tensor]:
    def run(*arguments: Any) -> Tensor:
        if not needs_derivative(*arguments[: operator.tensors]):
            with BelowAutograd():
                return operator.of_arguments(*arguments)
        operands = operator.operands(*arguments)
        if not torch._C._are_functorch_transforms_active():
            return apply_here(operator.function, *operands)
        # Within torch.func.grad this is the autograd of one level already.
        with enable_single_level_autograd_function():
            return apply_here(operator.function, *operands)

    return run


def _vmap(operator: Operator) -> Callable[..., tuple[Tensor, int]]:
    def run(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Tensor, int]:
        pairs = zip(arguments, in_dims, strict=True)
        one = [a if dim is None else a.movedim(dim, 0)[0] for a, dim in pairs]
        *own, geometry, groups = operator.operands(*one)
        operands = (*arguments[: len(own)], geometry, groups)
        return operator.vmap_rule(operator.dispatch, info.batch_size, in_dims, *operands)

    return run


def _autocast(operator: Operator, device: str) -> Callable[..., Tensor]:
    """In the dtype of autocast, as torch's own transposed convolutions are."""
    key = getattr(torch._C.DispatchKey, f"Autocast{device}")
    without = torch._C.DispatchKeySet(key)
    exclude: Any = torch._C._ExcludeDispatchKeyGuard
    device_type = "cpu" if device == "CPU" else device.lower()

    def cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        if tensor is None or not tensor.is_floating_point() or tensor.dtype == torch.float64:
            return tensor
        return tensor.to(dtype)

    def run(*arguments: Any) -> Tensor:
        dtype = torch.get_autocast_dtype(
            torch._C._get_privateuse1_backend_name() if device == "PrivateUse1" else device_type
        )
        tensors = [cast(tensor, dtype) for tensor in arguments[: operator.tensors]]
        with exclude(without):
            return operator.of_arguments(*tensors, *arguments[operator.tensors :])

    return run


for _operator in OPERATORS:
    register(_operator)
