"""Calls that go past torch's dispatcher, which would record them, in ``torch.profiler``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["profiling", "recorded"]

_TORCHS: Any = torch._C
#: Whether a profiler is on: 30 ns where none is.
profiling: Callable[[], bool] = _TORCHS._autograd._profiler_enabled


def recorded(name: str, function: Callable[..., Any], *operands: Any) -> Any:
    """``function(*operands)`` as a call of ``torch.ops.fracstride.<name>`` with their shapes.

    >>> with torch.profiler.profile(record_shapes=True) as profile:
    ...     zeros = recorded("conv_transpose1d", torch.zeros_like, torch.ones(2, 3, 4))
    >>> events = profile.key_averages(group_by_input_shape=True)
    >>> [e.input_shapes for e in events if e.key == "fracstride::conv_transpose1d"]
    [[[2, 3, 4]]]
    """
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    with _TORCHS._profiler._RecordFunctionFast(f"fracstride::{name}", tensors):
        return function(*operands)
