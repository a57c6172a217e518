"""Whether a network gives what the module gives."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["difference", "peak"]

#: Largest difference, as a part of the largest number in the expected result.
_TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
    torch.complex64: 1e-4,
    torch.complex128: 1e-9,
}
#: What is called zero, as a part of the largest number that the result has for any values.
_FLOOR = 1e-3


def peak(tensor: Tensor) -> float:
    """The largest finite absolute value."""
    if tensor.dtype not in _TOLERANCE or not tensor.numel():
        return 0.0
    finite = tensor.abs()[torch.isfinite(tensor.abs())]
    return float(finite.max()) if finite.numel() else 0.0


def difference(expected: Tensor, result: Tensor, usual: float = 0.0) -> str:
    """Where a result is not what it should be, in words; empty if it is.

    Args:
        expected, result: to be compared.
        usual: the peak for other values, so that a result near zero has a scale.
    """
    if expected.shape != result.shape:
        return f"shape {tuple(result.shape)} in place of {tuple(expected.shape)}"
    if expected.dtype != result.dtype:
        return f"dtype {result.dtype} in place of {expected.dtype}"
    if expected.dtype not in _TOLERANCE:
        different = int((expected != result).sum())
        return f"{different} of {expected.numel()} numbers are others" if different else ""
    if not expected.numel():
        return ""
    for what, test in ("NaN", torch.isnan), ("infinite", torch.isinf):
        if not torch.equal(test(expected), test(result)):
            return f"other numbers are {what}"
    good = torch.isfinite(expected)
    infinite = torch.isinf(expected)
    if not torch.equal(expected[infinite], result[infinite]):
        return "other numbers are infinite"
    if not bool(good.any()):
        return ""
    largest = float((expected[good].to(_wide(expected)) - result[good]).abs().max())
    scale = max(peak(expected), _FLOOR * usual)
    if largest > _TOLERANCE[expected.dtype] * scale:
        return f"a difference of {largest:.2g}, where the largest number is {peak(expected):.2g}"
    return ""


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.complex128 if tensor.is_complex() else torch.float64
