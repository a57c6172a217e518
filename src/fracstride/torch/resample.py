"""Streams of torch modules that pad or interpolate: ``ReflectionPad1d``, ``Upsample``, ..."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fracstride.arguments import as_size
from fracstride.extension import MODES
from fracstride.streaming.pad import Pad
from fracstride.streaming.stream import Stream, shown_shape
from fracstride.streaming.upsample import Upsample
from fracstride.streaming.window import WindowStream
from fracstride.torch import pieces as _pieces  # noqa: F401 - what is done with tensors
from fracstride.torch.module_kinds import Classification, Kind, upsampling_of
from fracstride.torch.pointwise import no_numbers

__all__ = ["resampling_stream"]


def resampling_stream(
    module: Any,
    found: Classification,
    batch_size: int | None,
    channels: int | None,
    whole: nn.Module,
) -> Stream:
    """The stream of a module that pads or interpolates, as ``found`` says.

    ``channels``: of the signal, where they are known. ``whole``: the module that it is a part of.
    ``ValueError`` says why one cannot stream.
    """
    if found.kind is Kind.PAD and not MODES[found.padding_mode].streams:
        raise ValueError(MODES[found.padding_mode].obstacle)
    if found.kind is Kind.UPSAMPLE:
        return ModuleUpsample(module)._fit(batch_size, channels, whole)
    return ModulePad(module, found.padding_mode)._fit(batch_size, channels, whole)


class _OnTensors(WindowStream):
    """A window stream of tensors, with the rows and, where they are known, the channels given."""

    def _fit(self, batch_size: int | None, channels: int | None, whole: nn.Module) -> Stream:
        self._whole = whole
        self.batch_size = None if batch_size is None else as_size("batch_size", batch_size, 1)
        self.independent_rows = batch_size is not None
        self.in_channels = self.out_channels = channels
        if channels is not None:
            self.lead = (channels,) if batch_size is None else (batch_size, channels)
        return self

    def check_chunk(self, chunk: Any) -> None:
        if not isinstance(chunk, Tensor):
            raise TypeError(f"chunk must be a tensor, got {type(chunk).__name__}")
        batch = () if self.batch_size is None else (self.batch_size,)
        shape = tuple(chunk.shape)
        lead = (*batch, *shape[-2:-1]) if self.in_channels is None else (*batch, self.in_channels)
        if len(shape) < 2 or shape[:-1] != lead:
            wanted = shown_shape((*batch, self.in_channels))
            raise RuntimeError(f"chunk must have the shape {wanted}, got shape {shape}")
        try:
            super().check_chunk(chunk)
        except ValueError as error:
            raise RuntimeError(str(error)) from None

    def check_frames(self, frames: Any) -> None:
        if not isinstance(frames, Tensor):
            raise ValueError(f"state frames must be a tensor, got {type(frames).__name__}")

    def output_kind(self) -> Tensor:
        known: Tensor | None = super().output_kind()
        return no_numbers(self._whole) if known is None else known

    def empty_output(self) -> Tensor:
        batch = () if self.batch_size is None else (self.batch_size,)
        return self.output_kind().reshape(*batch, self.out_channels or 0, 0)


class ModulePad(_OnTensors, Pad):
    """A pad, which refuses the inputs that torch's module finds too short."""

    def __init__(self, module: Any, mode: str) -> None:
        left, right = module.padding
        # torch's own limits, which are not those of Pad (test_pads_are_torchs).
        super().__init__(left, right, mode, getattr(module, "value", 0.0))
        if mode == "zeros":
            self.shortest = max(1, -min(left, 0) - min(right, 0))
        else:
            most = MODES[mode].mirrored(max(left, right, 0))
            self.shortest = max(1, most + 1, 1 - left - right)


class ModuleUpsample(_OnTensors, Upsample):
    """An ``nn.Upsample`` by a whole number."""

    def __init__(self, module: Any) -> None:
        super().__init__(*upsampling_of(module))
