"""Tensors and operators of torch, by arrays and by names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import torch

from fracstride.arrays import Array

__all__ = ["as_array", "as_tensor_of", "resolve"]


@cache
def resolve(name: str) -> Callable[..., Any]:
    """The operator with a name such as ``"aten.group_norm.default"``."""
    found: Any = torch.ops
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


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
