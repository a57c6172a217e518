"""The kernel that adds up the parts of a sum which several programs have shared."""

from __future__ import annotations

import triton
import triton.language as tl

from fracstride.torch.gpu.indexing import SIZES, wide

__all__ = ["sum_parts"]


@triton.jit(do_not_specialize=[*SIZES, "count"])
def sum_parts(parts, whole, count, splits, ELEMENTS: tl.constexpr, WIDE: tl.constexpr):
    """``whole``, of ``count`` elements: the sum of ``splits`` parts, in order."""
    element = wide(tl.program_id(0), WIDE) * ELEMENTS + tl.arange(0, ELEMENTS)
    known = element < count
    total = tl.zeros((ELEMENTS,), parts.dtype.element_ty)
    for _ in range(splits):
        total += tl.load(parts + element, mask=known, other=0.0)
        parts += count
    tl.store(whole + element, total.to(whole.dtype.element_ty), mask=known)
