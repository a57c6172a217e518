"""Packed weights that a module keeps from call to call, and that are never stale.

A tensor's version counter does not see every change: not ``weight.data.mul_(2)``, not what FSDP
gathers, not another process; and inference tensors have none. So the packed form is kept together
with the weight that it was made of, and each call compares the two, byte for byte: a fraction of
what packing costs, and of what computing costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fracstride._load import native
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch import kernels
from fracstride.torch.checks import geometry_of_call

__all__ = ["PackedWeights"]


class PackedWeights:
    """The packed form of the weight that was seen last.

    Copies and pickles are empty: a packed form belongs to one process. Threads may share one.
    """

    __slots__ = ("_packed", "_sizes")

    def __init__(self) -> None:
        # What it was packed for, a copy of the weight, and its packed form.
        self._packed: tuple[Any, Tensor, Any] | None = None
        self._sizes: tuple[int, tuple[Any, ...], AnyGeometry] | None = None

    def geometry(
        self, kernel_size: int, sizes: tuple[Any, ...], make: Callable[..., Any] = geometry_of_call
    ) -> Any:
        """``make(kernel_size, *sizes)``, whose last answer is kept too."""
        last = self._sizes
        if last is not None and last[0] == kernel_size and last[1] == sizes:
            return last[2]
        geometry = make(kernel_size, *sizes)
        self._sizes = kernel_size, sizes, geometry
        return geometry

    def pack(self, weight: Tensor, geometry: AnyGeometry, groups: int) -> Any:
        """As :func:`kernels.pack`; the same object for as long as the weight has the same bytes."""
        if not weight.is_contiguous():
            weight = weight.contiguous()
        s, d, transposed = geometry.stride, geometry.dilation, geometry.is_transposed
        key = (weight.dtype, weight.shape, groups, s, d, transposed)
        last = self._packed  # read once: another thread may replace it
        if last is not None and last[0] == key:
            _, copy, packed = last
            if native.same_bytes(weight.data_ptr(), copy.data_ptr(), weight.nbytes):
                return packed
        copy = weight.detach().clone()
        packed = kernels.pack(copy, geometry, groups)  # of the copy, which is never written to
        self._packed = key, copy, packed
        return packed

    def __reduce__(self) -> tuple[type[PackedWeights], tuple[()]]:
        return type(self), ()
