"""The extension of an input, by an index that is computed where the tensor is."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["extend", "source_frames"]


def extend(x: Tensor, left: int, right: int, padding_mode: str) -> Tensor:
    """``x (B, C, L)`` with so many frames more at its ends, ``(B, C, left + L + right)``.

    For every ``L >= 1``, also where more frames are needed than there are. ``L`` may be a symbol of
    a graph: nothing is decided by it, so that one graph is right for all lengths. (TorchScript
    compiles this function and the next.)

    >>> extend(torch.tensor([[[1, 2, 3]]]), 4, 1, "reflect")
    tensor([[[1, 2, 3, 2, 1, 2, 3, 2]]])
    """
    length = x.shape[2]
    before = source_frames(-left, 0, length, padding_mode, x.device)
    after = source_frames(length, length + right, length, padding_mode, x.device)
    return torch.cat([x.index_select(2, before), x, x.index_select(2, after)], 2)


def source_frames(
    start: int, stop: int, length: int, padding_mode: str, device: torch.device
) -> Tensor:
    """The frames in ``[0, length)`` that frames ``[start, stop)`` are copies of, as an index.

    Twin of :func:`fracstride.extension.source_frame`, for the modes that have an extension.

    >>> source_frames(-2, 6, 4, "circular", torch.device("cpu"))
    tensor([2, 3, 0, 1, 2, 3, 0, 1])
    """
    frames = torch.arange(start, stop, device=device)
    # A tensor, since exporters know no remainder by a symbol, and no larger of a symbol and 1.
    count = torch.full((1,), length, dtype=torch.int64, device=device)
    if padding_mode == "replicate":
        return frames.clamp(min=0).minimum(count - 1)
    if padding_mode == "circular":
        return frames.remainder(count)
    if padding_mode != "reflect":
        raise ValueError("padding_mode must be zeros, reflect, replicate or circular")
    period = (2 * count - 2).clamp(min=1)  # there and back, neither end twice
    frames = frames.remainder(period)
    return torch.minimum(frames, period - frames)
