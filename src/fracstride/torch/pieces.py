"""How streams join, cut, extend and interpolate pieces of a signal that are tensors.

Importing this module registers these functions with those of :mod:`fracstride.streaming`. They keep
the graph of derivatives, and the derivatives are sums in a fixed order on every device: slices,
flips and expansions, no scattering.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from fracstride.arrays import Array
from fracstride.geometry import Geometry
from fracstride.streaming.pieces import (
    cut,
    detached,
    dtype_and_device,
    filled,
    integers_like,
    join,
    picked,
    repeated,
    stacked,
)
from fracstride.streaming.upsample import interpolated, triangle
from fracstride.torch.functional import conv_transpose1d

__all__: list[str] = []


@join.register
def _(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], -1)


@cut.register
def _(piece: Tensor, start: int) -> Tensor:
    return piece[..., start:].clone()  # which its graph goes through


@detached.register
def _(piece: Tensor) -> Tensor:
    return piece.detach()


@dtype_and_device.register
def _(piece: Tensor) -> tuple[Any, ...]:
    return piece.dtype, piece.device


@filled.register
def _(like: Tensor, shape: tuple[int, ...], value: float) -> Tensor:
    return like.new_full(shape, value)


@integers_like.register
def _(piece: Tensor, integers: Array) -> Tensor:
    return torch.from_numpy(integers.copy())


@picked.register
def _(piece: Tensor, frames: Sequence[int]) -> Tensor:
    parts, first = [], 0
    while first < len(frames):
        start, stop, step = frames[first], first + 1, 0
        if stop < len(frames) and abs(frames[stop] - start) <= 1:
            step = frames[stop] - start
            while stop < len(frames) and frames[stop] == frames[stop - 1] + step:
                stop += 1
        count = stop - first
        if step == 1:
            part = piece[..., start : start + count]
        elif step == -1:
            part = piece[..., start - count + 1 : start + 1].flip(-1)
        else:
            part = piece[..., start : start + 1].expand(*piece.shape[:-1], count)
        parts.append(part)
        first = stop
    return torch.cat(parts, -1)


@repeated.register
def _(piece: Tensor, times: int) -> Tensor:
    shape = piece.shape
    wide = piece.unsqueeze(-1).expand(*shape, times).clone(memory_format=torch.contiguous_format)
    return wide.reshape(*shape[:-1], shape[-1] * times)


@stacked.register
def _(first: Tensor, pieces: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    if len(pieces) == 1 and list(rows) == list(range(len(rows))):
        return first
    single = [row for piece in pieces for row in piece.unbind(0)]
    place = {row: i for i, row in enumerate(rows)}
    return torch.stack([single[place[row]] for row in range(len(rows))])


@interpolated.register
def _(window: Tensor, part: Geometry) -> Tensor:
    *lead, frames = window.shape
    weight = _triangle(part.kernel_size, part.stride, window.dtype, window.device)
    with torch.autocast(window.device.type, enabled=False):
        y = conv_transpose1d(
            window.reshape(prod(lead), 1, frames),
            weight,
            None,
            part.stride,
            part.padding,
            part.total_output_padding,
            padding_mode=part.padding_mode,
        )
    return y.reshape(*lead, y.shape[-1])


@lru_cache(maxsize=64)
def _triangle(taps: int, scale: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept for calls with gradients too
        weight = torch.tensor(triangle(taps, scale), dtype=torch.float64)
        return weight.to(device, dtype).reshape(1, 1, taps)
