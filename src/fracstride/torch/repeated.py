"""A module's call like the one before: the same parameters, sizes, and shape of the input.

Most calls of a trained model are such. All questions that a call may have to ask take several times
as long as a tiny layer; of a repeated one only those are left whose answer may have changed.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch import kernels
from fracstride.torch.dispatch import needs_derivative, plain
from fracstride.torch.profiling import profiling

__all__ = ["Repeated"]


class Repeated:
    """What was found out about a call of plain tensors without derivatives."""

    __slots__ = ("_bias", "_dtype", "_groups", "_run", "_sizes", "frames", "shape")

    def __init__(
        self,
        x: Tensor,
        b: Tensor | None,
        sizes: tuple[Any, ...],
        geometry: AnyGeometry,
        groups: Any,
        y: Tensor,
    ) -> None:
        self.shape, self.frames = x.shape, x.shape[0] * x.shape[2]
        self._dtype = x.dtype
        self._bias = None if b is None else (weakref.ref(b), b.data_ptr(), b.shape, b.dtype)
        self._sizes, self._groups = sizes, groups
        self._run = kernels.forward_of(geometry, y)

    @staticmethod
    def possible(x: Tensor, b: Tensor | None, y: Tensor) -> bool:
        """Whether a call of plain tensors can be repeated by :meth:`output`."""
        whole = b is None or b.is_contiguous()
        return type(x) is Tensor and kernels.reads(x.dtype) and y.numel() > 0 and whole

    def output(
        self,
        x: Tensor,
        w: Tensor,
        b: Tensor | None,
        sizes: tuple[Any, ...],
        groups: Any,
        packed: Any,
    ) -> Tensor | None:
        """The layer's output, or None if this is another call.

        ``x`` is a tensor of torch's own class, of the first call's shape, and ``packed`` is the
        packed ``w``.
        """
        if (
            x.dtype is not self._dtype
            or sizes != self._sizes
            or groups != self._groups
            or not self._has(b)
        ):
            return None
        if not plain(x) or needs_derivative(x, w, b) or profiling():
            return None
        return self._run(x, packed, b)

    def _has(self, b: Tensor | None) -> bool:
        known = self._bias
        if b is None or known is None:
            return b is None and known is None
        bias, address, shape, dtype = known
        same = bias() is b and b.data_ptr() == address
        return same and b.shape == shape and b.dtype is dtype and b.is_contiguous()
