"""What the rules for ``vmap`` share: many inputs are a larger batch, many weights more groups."""

from __future__ import annotations

from torch import Tensor

__all__ = ["into_batch", "into_channels"]


def into_batch(x: Tensor, dim: int | None) -> Tensor:
    """``n`` tensors ``(B, C, L)`` as one ``(n*B, C, L)``."""
    return x if dim is None else x.movedim(dim, 0).flatten(0, 1)


def into_channels(x: Tensor, dim: int | None, n: int, channels: int = 1) -> Tensor:
    """``n`` tensors as one of ``n`` times the channels, which are axis ``channels`` of each."""
    if dim is None:
        x, dim = x.unsqueeze(channels).expand(*x.shape[:channels], n, *x.shape[channels:]), channels
    return x.movedim(dim, channels).flatten(channels, channels + 1)
