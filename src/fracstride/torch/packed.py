"""Packed weights that a module keeps from call to call, and how it notices that the weight changed.

A tensor's version counter does not see every change: not ``weight.data.mul_(2)``, not what FSDP
gathers, not another process; and inference tensors have none. So the packed form is kept together
with a copy of the weight that it was made of, and a call compares the two, byte for byte. For one
frame that would cost more than computing. In eval mode, therefore, a weight that has been compared
once is not compared again for as long as it is the same tensor at the same address and version, and
has the same values wherever its *fingerprint* looks: in every part of the weight, and where it is
largest, smallest and nearest to zero (``native/fingerprint.hpp``). What this does not see is an
edit of few values that passes the version counter by.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import has_torch_function_variadic

from fracstride._load import native
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch import kernels
from fracstride.torch.checks import geometry_of_call
from fracstride.torch.repeated import Repeated

__all__ = ["PackedWeights"]


class PackedWeights:
    """The packed form of the weight that was seen last.

    Copies and pickles are empty: a packed form belongs to one process. Threads may share one.
    """

    __slots__ = ("_packed", "_repeated", "_seen", "_sizes")

    def __init__(self) -> None:
        # What it was packed for, a copy of the weight, the copy's fingerprint, the packed form.
        self._packed: tuple[Any, Tensor, Any, Any] | None = None
        # The tensor that was compared with the copy last, its address and version; what it is
        # packed for, its fingerprint, the packed form.
        self._seen: tuple[Any, int, int, Any, Any, Any] | None = None
        self._sizes: tuple[int, tuple[Any, ...], AnyGeometry] | None = None
        self._repeated: Repeated | None = None

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

    def doubt(self) -> None:
        """Compare the whole weight at the next call: a module in training mode says so each time.

        (Also before calls with gradients, which do not ask for packed weights: what these change
        need not show in the version counter.)
        """
        self._seen = None

    def pack(self, weight: Tensor, geometry: AnyGeometry, groups: int, frames: int = 1) -> Any:
        """As :func:`kernels.pack`; the same object until a change of the weight is noticed.

        ``frames`` is how many the weight is about to be used for: the more, the closer the look.
        """
        s, d, transposed = geometry.stride, geometry.dilation, geometry.is_transposed
        key = weight.dtype, weight.shape, groups, s, d, transposed
        seen = self._seen  # read once: another thread may replace it
        if seen is not None and seen[3] == key and _is_unchanged(seen, weight, frames):
            return seen[5]
        return self._compare(weight, geometry, groups, key)

    def remember(
        self,
        x: Tensor,
        b: Tensor | None,
        sizes: tuple[Any, ...],
        geometry: AnyGeometry,
        groups: Any,
        y: Tensor,
    ) -> None:
        """A call of plain tensors without derivatives, for :meth:`again`."""
        if Repeated.possible(x, b, y):
            self._repeated = Repeated(x, b, sizes, geometry, groups, y)

    def again(
        self, x: Tensor, w: Tensor, b: Tensor | None, sizes: tuple[Any, ...], groups: Any
    ) -> Tensor | None:
        """The output of a call that repeats the last one; None if it may be another."""
        repeated, seen = self._repeated, self._seen
        if repeated is None or seen is None:
            return None
        if type(x) is not Tensor or has_torch_function_variadic(x, w, b):
            return None
        if (
            x.shape != repeated.shape
            or w.shape != seen[3][1]
            or not _is_unchanged(seen, w, repeated.frames)
        ):
            return None
        return repeated.output(x, w, b, sizes, groups, seen[5])

    def _compare(self, weight: Tensor, geometry: AnyGeometry, groups: int, key: Any) -> Any:
        """:meth:`pack` by comparing every byte."""
        # Inference tensors have no version, and are compared at each call.
        version = None if weight.is_inference() else weight._version
        if not weight.data_ptr():
            kernels.missing(weight)
        compared = weight if weight.is_contiguous() else weight.contiguous()
        last = self._packed  # read once, too
        if last is None or last[0] != key or not _same_bytes(compared, last[1]):
            copy = compared.detach().clone()
            # Of the copy, which is never written to.
            last = key, copy, _fingerprint(copy), kernels.pack(copy, geometry, groups)
            self._packed = last
        _, _, fingerprint, packed = last
        if version is not None and compared is weight:
            address = weight.data_ptr()
            self._seen = weakref.ref(weight), address, version, key, fingerprint, packed
        return packed

    def __reduce__(self) -> tuple[type[PackedWeights], tuple[()]]:
        return type(self), ()


def _is_unchanged(seen: tuple[Any, int, int, Any, Any, Any], weight: Tensor, frames: int) -> bool:
    """Whether this is the tensor that was seen, with the values where its fingerprint looks."""
    tensor, address, version, _, fingerprint, _ = seen
    same = tensor() is weight and weight.data_ptr() == address and weight._version == version
    return same and weight.is_contiguous() and fingerprint.matches(address, frames)


def _same_bytes(a: Tensor, b: Tensor) -> bool:
    """Whether two contiguous tensors of the same shape and dtype do."""
    return native.same_bytes(a.data_ptr(), b.data_ptr(), a.nbytes)


def _fingerprint(weight: Tensor) -> Any:
    """Of a contiguous weight."""
    parts = torch.view_as_real(weight).flatten(-2) if weight.is_complex() else weight
    return kernels.fingerprint(parts)
