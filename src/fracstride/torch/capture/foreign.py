"""Tensors and operators of torch, by arrays and by names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import torch

from fracstride.arrays import Array

__all__ = ["as_array", "as_tensor_of", "call", "resolve"]


@cache
def resolve(name: str) -> Callable[..., Any]:
    """The operator with a name such as ``"aten.group_norm.default"``."""
    found: Any = torch.ops
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def call(name: str, arguments: dict[str, Any]) -> list[torch.Tensor]:
    """The tensors that an operator gives, called with the arguments of a recorded call.

    Dtypes, layouts and devices are strings there, and a complex tensor is a list of its parts.
    """
    func: Any = resolve(name)
    given = {}
    for parameter in func._schema.arguments:
        value = arguments[parameter.name]
        if isinstance(value, str) and "str" not in str(parameter.type):
            value = torch.device(value) if parameter.name == "device" else getattr(torch, value)
        elif isinstance(value, list) and str(parameter.type) == "Tensor":
            value = torch.complex(*value)
        given[parameter.name] = value
    return _tensors_in(func(**given))


def _tensors_in(results: Any) -> list[torch.Tensor]:
    if isinstance(results, torch.Tensor):
        return [results]
    if isinstance(results, (list, tuple)):
        return [tensor for each in results for tensor in _tensors_in(each)]
    return []


def as_array(tensor: torch.Tensor) -> Array:
    """The same memory as an array."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def as_tensor_of(array: Array) -> torch.Tensor:
    """The same memory as a tensor."""
    if array.dtype == np.dtype(ml_dtypes.bfloat16):
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
