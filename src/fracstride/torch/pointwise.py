"""Streams of torch modules that are elementwise, gates included."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fracstride.streaming.pointwise import Pointwise
from fracstride.torch import pieces as _pieces  # noqa: F401 - what is done with tensors
from fracstride.torch.module_kinds import (
    check_eval,
    parts_only_in_eval,
    runs_forward_of,
)
from fracstride.torch.vectors import ROUNDED_BY_PLACE, map_whole_vectors

__all__ = ["SAME_CHANNELS", "ModulePointwise", "channels_after", "check_gate", "no_numbers"]


SAME_CHANNELS = -1  # as many channels as come in, however many these are


class ModulePointwise(Pointwise):
    """An elementwise module; see :func:`fracstride.torch.stream`.

    Channels are None where they are not known. ``whole`` is the module that this one is a part of:
    its parameters say what no samples are, where this one has none. Modules inside that are
    elementwise in eval mode only refuse a push while they are in training mode.
    """

    def __init__(
        self,
        module: nn.Module,
        in_channels: int | None,
        out_channels: int | None,
        batched: bool,
        whole: nn.Module,
    ) -> None:
        self._only_in_eval = parts_only_in_eval(module)
        self.check_ready()
        keeps = out_channels in (SAME_CHANNELS, in_channels) and out_channels is not None
        super().__init__(
            module, in_channels=in_channels, out_channels=None if keeps else out_channels
        )
        self.keeps_channels = keeps
        self.module, self._batched, self._whole = module, batched, whole
        self._rounded_by_place = runs_forward_of(module, ROUNDED_BY_PLACE)
        self._halves_channels = runs_forward_of(module, (nn.GLU,))
        self._writes = any(getattr(part, "inplace", False) for part in module.modules())
        self.function = self._of_chunk

    def _of_chunk(self, chunk: Tensor) -> Any:
        # Some functions round otherwise where a tensor's values lie far apart.
        module, chunk = self.module, chunk.contiguous()
        if self._writes:  # what it would overwrite is the caller's, or another branch's
            chunk = chunk.clone()
        if self._rounded_by_place:
            return map_whole_vectors(module, chunk)
        if self._halves_channels:
            return _gated(chunk)
        if chunk.dim() == 2 and isinstance(module, (nn.BatchNorm1d, nn.PReLU)):
            return module(chunk[None])[0]  # two axes would be batch and channels
        return module(chunk)

    def check_ready(self) -> None:
        check_eval(self._only_in_eval)

    def check_chunk(self, chunk: Any) -> None:
        if not isinstance(chunk, Tensor):
            raise TypeError(f"chunk must be a tensor, got {type(chunk).__name__}")
        try:
            super().check_chunk(chunk)
        except ValueError as error:
            raise RuntimeError(str(error)) from None

    def check_result(self, given: Any, shape: Any, kind: type) -> None:
        if self.keeps_channels or self.out_channels is not None:
            super().check_result(given, shape, kind)
        else:
            _check_kept(given, shape, kind)

    def output_kind(self) -> Any:
        known = super().output_kind()
        return no_numbers(self.module, self._whole) if known is None else known

    def empty_output(self) -> Any:
        nothing = super().empty_output()
        return nothing if self._batched else nothing.reshape(self.out_channels or 0, 0)

    def __repr__(self) -> str:
        return f"stream({self.module!r})"


def no_numbers(*modules: nn.Module) -> Tensor:
    """An empty tensor of the dtype and device of the first parameter; else of torch's default."""
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point() or tensor.is_complex():
                return tensor.detach().new_empty(0)
    return torch.empty(0)


def channels_after(module: nn.Module, channels: int, batch_size: int | None) -> int:
    """The channels that a module makes of so many, found with a chunk of no frames.

    ``ValueError`` if it changes the batch or the frames.
    """
    given = (channels, 0) if batch_size is None else (batch_size, channels, 0)
    with torch.no_grad():
        result = module(no_numbers(module).new_empty(given))
    shape = getattr(result, "shape", None)
    _check_kept(given, shape, type(result))
    return int(result.shape[-2])


def _check_kept(given: Any, shape: Any, kind: type) -> None:
    """Raise ValueError unless a result has the batch and the frames of a chunk."""
    if shape is None or (*shape[:-2], *shape[-1:]) != (*given[:-2], *given[-1:]):
        made = kind.__name__ if shape is None else tuple(shape)
        raise ValueError(
            "an elementwise module must keep the batch and the frames: "
            f"it made {made} of a chunk of shape {tuple(given)}"
        )


def _gated(chunk: Tensor) -> Tensor:
    if chunk.shape[-2] % 2:
        raise RuntimeError(
            f"chunk must have an even number of channels for a GLU, got {chunk.shape[-2]}"
        )
    signal, gate = chunk.chunk(2, -2)
    gated: Tensor = signal * map_whole_vectors(torch.sigmoid, gate)
    return gated


def check_gate(module: nn.GLU, batch_size: int | None) -> None:
    """Raise ValueError unless a GLU halves the channels."""
    dims = 2 if batch_size is None else 3
    dim = module.dim + dims if module.dim < 0 else module.dim
    if dim != dims - 2:
        axis = "time" if dim == dims - 1 else "the batch" if dim == 0 else "nothing"
        raise ValueError(
            f"dim must be {dims - 2} or -2, the axis of channels, got {module.dim}, that of {axis}"
        )
