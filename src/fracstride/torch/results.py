"""Tensors for results, which nothing is written to yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fracstride._load import native
from fracstride.arguments import MAX_SIZE

__all__ = ["empty", "new_signal"]

# What Inductor's generated code allocates with, at half of what torch.empty costs.
empty: Callable[[tuple[int, ...], tuple[int, ...], torch.dtype], Tensor] = getattr(
    torch._C._dynamo.guards,
    "_empty_strided_cpu",
    lambda size, stride, dtype: torch.empty_strided(size, stride, dtype=dtype),
)
# A tensor of a DLPack capsule; and DLPack's code and the bits of the dtypes.
_tensor_of: Callable[[Any], Tensor] = torch._C._from_dlpack
_CODES = {
    torch.float32: (2, 32),
    torch.float64: (2, 64),
    torch.float16: (2, 16),
    torch.bfloat16: (4, 16),
}


def new_signal(batch: int, channels: int, length: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised result, contiguous; a large one in memory that is kept when it is freed."""
    by_batch = channels * length
    if batch * by_batch * dtype.itemsize < native.large_output:
        return empty((batch, channels, length), (by_batch, length, 1), dtype)
    if batch * by_batch * dtype.itemsize <= MAX_SIZE:
        try:
            return _tensor_of(native.new_output(batch, channels, length, *_CODES[dtype]))
        except MemoryError:
            native.release_outputs()
    return empty((batch, channels, length), (by_batch, length, 1), dtype)  # or torch's error
