"""The stream of one torch layer: a ``ConvTranspose1d`` or a ``Conv1d``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fracstride.arguments import as_size
from fracstride.arrays import Array
from fracstride.extension import source_frame
from fracstride.geometry import Geometry
from fracstride.streaming.pieces import picked
from fracstride.streaming.stream import check_streams, shown_shape
from fracstride.streaming.window import GeometryStream
from fracstride.torch import pieces as _pieces  # noqa: F401 - what is done with tensors
from fracstride.torch.functional import CONV1D, TRANSPOSED, Layer, apply
from fracstride.torch.module_geometry import geometry_of_module
from fracstride.torch.packed import PackedWeights

__all__ = ["ModuleStream"]


class ModuleStream(GeometryStream):
    """A ``ConvTranspose1d`` or a ``Conv1d`` fed chunk by chunk.

    Chunks that do not fit raise RuntimeError for a shape, dtype or device, TypeError for what is no
    tensor; the stream stays as it was. See :func:`fracstride.torch.stream`.
    """

    def __init__(self, module: Any, batch_size: int | None = 1) -> None:
        self._module = module
        self._packed_weights = PackedWeights()
        geometry = geometry_of_module(module)
        check_streams(geometry)
        self.batch_size = None if batch_size is None else as_size("batch_size", batch_size, 1)
        self.independent_rows = batch_size is not None
        self.in_channels, self.out_channels = module.in_channels, module.out_channels
        batch = () if self.batch_size is None else (self.batch_size,)
        self.lead: tuple[int, ...] = (*batch, module.in_channels)
        self._parameters: tuple[Tensor, Tensor | None] | None = None  # during a push
        super().__init__(geometry)

    def advance(self, chunk: Any, last: bool) -> Any:
        return self._with_parameters(super().advance, chunk, last)

    def advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        result: tuple[Any, Array] = self._with_parameters(super().advance_rows, chunk, frames, ends)
        return result

    def _with_parameters(self, function: Callable[..., Any], *args: Any) -> Any:
        """A push in which the parameters are read once."""
        module = self._module
        if module.training:
            self._packed_weights.doubt()
        self._parameters = self._weight(), module.bias
        try:
            return function(*args)
        finally:
            self._parameters = None

    def _weight(self) -> Tensor:
        """The module's weight as it is now."""
        module = self._module
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, (WeightNorm, SpectralNorm)):  # they make the weight
                hook(module, ())
        weight: Tensor = module.weight
        return weight

    def compute(self, window: Tensor, start: int, first: int, stop: int, last: bool) -> Tensor:
        g = self._geometry
        if isinstance(g, Geometry):
            part = self.part(window, start, first, stop, last)
            sizes = part.stride, part.padding, part.output_padding, part.dilation, part.padding_mode
            return self._layer(window, sizes, TRANSPOSED)
        samples, frames = stop - first, window.shape[-1]
        # Positions before the window that the first sample reads, and after it that the last does;
        # negative where frames are skipped.
        left = g.crop_of_part(start, first)
        right = (samples - 1) * g.stride + g.span - left - frames
        if g.padding_mode != "zeros" and (left > 0 or right > 0):  # an end of the signal
            read = range(-left, frames + right)
            sources = [source_frame(t, frames, g.padding_mode) or 0 for t in read]
            window, left, right = picked(window, sources), 0, 0
        some, padding = window, (max(0, left), max(0, right))
        if left < 0 or right < 0:
            some = window[..., max(0, -left) : max(0, frames - max(0, -right))]
        if some.shape[-1] == 0:  # nothing but padding is read: with a frame after it, which is not
            some, padding = window[..., :1], (left + frames + right, 0)
        return self._layer(some, (g.stride, padding, g.dilation, "zeros"), CONV1D)[..., :samples]

    def _layer(self, window: Tensor, sizes: tuple[Any, ...], layer: Layer) -> Tensor:
        assert self._parameters is not None
        weight, bias = self._parameters
        groups, packed = self._module.groups, self._packed_weights
        return apply(window, weight, bias, sizes, groups, None, packed, layer)

    def no_samples(self, chunk: Tensor) -> Tensor:
        dtype = chunk.dtype
        if self._autocast():
            dtype = torch.get_autocast_dtype(self._module.weight.device.type)
        return chunk.new_empty((*chunk.shape[:-2], self._module.out_channels, 0), dtype=dtype)

    def no_frames(self) -> Tensor:
        return self._weight().new_empty((*self.lead, 0))

    def remember(self, chunk: Any) -> None:
        """Nothing: the layer says what a chunk is."""

    def _autocast(self) -> bool:
        return torch.is_autocast_enabled(self._module.weight.device.type)

    def check_chunk(self, chunk: Any) -> None:
        weight = self._module.weight if self._parameters is None else self._parameters[0]
        if not isinstance(chunk, Tensor):
            raise TypeError(f"chunk must be a tensor, got {type(chunk).__name__}")
        if chunk.shape[:-1] != self.lead or chunk.dim() == 0:
            raise RuntimeError(
                f"chunk must have the shape {shown_shape(self.lead)}, "
                f"got shape {tuple(chunk.shape)}"
            )
        before = weight if self._carried is None else self._carried
        if not chunk.dtype == weight.dtype == before.dtype and not self._autocast():
            name, dtype = "weight's", weight.dtype
            if chunk.dtype == dtype:
                name, dtype = "earlier chunks'", before.dtype
            raise RuntimeError(f"chunk must have the {name} dtype {dtype}, got {chunk.dtype}")
        if chunk.device != weight.device:
            raise RuntimeError(f"chunk must be on the weight's {weight.device}, got {chunk.device}")

    def check_frames(self, frames: Any) -> None:
        dtype = self._weight().dtype
        if not isinstance(frames, Tensor) or (frames.dtype != dtype and not self._autocast()):
            raise ValueError(f"state frames must be a tensor of {dtype}, got {_kind_of(frames)}")

    def own_copy(self, frames: Tensor) -> Tensor:
        return frames.to(self._weight().device, copy=True)

    def __repr__(self) -> str:
        return f"stream({self._module!r}, batch_size={self.batch_size})"


def _kind_of(frames: Any) -> str:
    """The dtype of a tensor, else the type, for messages."""
    return str(frames.dtype) if isinstance(frames, Tensor) else type(frames).__name__
