"""A ``Conv1d`` of stride 1 as the transposed convolution that it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fracstride._load import native
from fracstride.conv1d_geometry import AnyGeometry, geometry_of_conv1d
from fracstride.geometry import Geometry, geometry_of
from fracstride.torch.dispatch import plain
from fracstride.torch.packed import PackedWeights

__all__ = ["TurnedWeights", "geometry_of_module"]


class TurnedWeights(PackedWeights):
    """A Conv1d's weight as the transposed convolution's that it is, kept from call to call."""

    __slots__ = ("_packed_turned", "_turned")

    def __init__(self) -> None:
        super().__init__()
        # Each is replaced as a whole: another thread sees the one before or the one after.
        self._turned: tuple[Tensor, Tensor] | None = None  # copy of the weight, turned weight
        self._packed_turned: tuple[Tensor, Any] | None = None  # turned weight, its packed form

    def transposed(self, weight: Tensor, groups: int) -> Tensor:
        """Taps flipped, channels swapped by group; differentiable where that is asked for."""
        differentiable = torch.is_grad_enabled() and weight.requires_grad
        if differentiable or not plain(weight, weight) or not weight.is_contiguous():
            return _turned(weight, groups)
        last = self._turned
        if last is not None:
            source, turned = last
            alike = source.shape == weight.shape and source.dtype == weight.dtype
            if alike and native.same_bytes(weight.data_ptr(), source.data_ptr(), weight.nbytes):
                return turned
        with torch.inference_mode(False):  # kept for calls with gradients too
            source = weight.detach().clone()
            turned = _turned(source, groups).contiguous()
        self._turned = source, turned
        return turned

    def pack(  # noqa: D102
        self, weight: Tensor, geometry: AnyGeometry, groups: int, frames: int = 1
    ) -> Any:
        last = self._packed_turned
        if last is not None and last[0] is weight:  # never written to; the stride is always 1
            return last[1]
        packed = super().pack(weight, geometry, groups, frames)
        turned = self._turned
        if turned is not None and turned[1] is weight:
            self._packed_turned = weight, packed
        return packed


def _turned(weight: Tensor, groups: int) -> Tensor:
    out, per_group, k = weight.shape
    by_group = weight.reshape(groups, out // groups, per_group, k)
    return by_group.transpose(1, 2).flip(-1).reshape(groups * per_group, out // groups, k)


def geometry_of_module(module: Any) -> Geometry:
    """Of a ``ConvTranspose1d``, or of what a ``Conv1d`` is: ``ValueError`` if that is none."""
    if isinstance(module, nn.Conv1d):
        if module.stride != (1,):
            raise ValueError(f"stride must be 1, got {module.stride[0]}")
        padding: Any = module.padding
        return geometry_of_conv1d(module.kernel_size, padding, module.dilation, module.padding_mode)
    return geometry_of(
        module.kernel_size,
        module.stride,
        module.padding,
        module.output_padding,
        module.dilation,
        module.padding_mode,
    )
