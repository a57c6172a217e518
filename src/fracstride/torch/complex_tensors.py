"""Complex tensors as real ones: :mod:`fracstride.complex_numbers` with torch's operations."""

from __future__ import annotations

import torch
from torch import Tensor

from fracstride import complex_numbers

__all__ = ["join_signal", "join_weight_grad", "split_signal", "split_weight"]


def split_signal(x: Tensor, groups: int) -> Tensor:
    """``(B, C, L)`` as ``(B, 2*C, L)``: by group, first the real parts, then the imaginary."""
    parts: Tensor = complex_numbers.split_signal(x, groups, torch.cat)
    return parts


def join_signal(parts: Tensor, groups: int) -> Tensor:
    """The inverse of :func:`split_signal`."""
    joined: Tensor = complex_numbers.join_signal(parts, groups, torch.complex)
    return joined


def split_weight(weight: Tensor, groups: int) -> Tensor:
    """``(C_in, C_out/g, k)`` as a real matrix, ``(2*C_in, 2*C_out/g, k)``."""
    matrix: Tensor = complex_numbers.split_weight(weight, groups, torch.cat)
    return matrix


def join_weight_grad(parts: Tensor, groups: int) -> Tensor:
    """The bilinear ``R(x, gy)`` from the real one of the split signals."""
    joined: Tensor = complex_numbers.join_weight_grad(parts, groups, torch.complex)
    return joined
