"""Products and sums of tiles: shared by all kernels."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["add_existing", "add_product", "has_nan"]


@triton.jit
def add_product(acc, a, b, PRECISION: tl.constexpr):
    """``acc + a @ b`` on the tensor cores.

    ``PRECISION`` is ``tf32``, ``ieee``, or ``widened``, where operands become float32 first:
    Triton's interpreter has no product of bfloat16.
    """
    if PRECISION == "widened":
        acc = tl.dot(a.to(tl.float32), b.to(tl.float32), acc, out_dtype=acc.dtype)
    else:
        acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=acc.dtype)
    return acc


@triton.jit
def add_existing(acc, a, b, exists):
    """``acc + a*b``, by elements, where the term exists."""
    return tl.where(exists, acc + a.to(acc.dtype) * b.to(acc.dtype), acc)


@triton.jit
def has_nan(acc):
    """Whether there is a NaN in a tile."""
    return tl.max(tl.max((acc != acc).to(tl.int32), 1), 0) > 0
