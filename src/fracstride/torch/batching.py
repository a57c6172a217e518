"""vmap: many inputs are a larger batch, many weights are more groups.

Each rule is given the map that it shall call with the reshaped tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fracstride.geometry import Geometry

__all__ = ["forward", "input_grad", "weight_grad"]

Rule = tuple[Tensor, int]  # a result and its axis of the many
_Map = Callable[..., Tensor]
_Dims = tuple[Any, ...]


def forward(
    to: _Map,
    n: int,
    dims: _Dims,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: Geometry,
    groups: int,
) -> Rule:
    """``T`` of ``n`` of those operands whose ``dims`` are not None."""
    x_dim, w_dim, b_dim = dims[:3]
    if w_dim is not None:
        x, w = _into_channels(x, x_dim, n), _into_channels(w, w_dim, n, channels=0)
        if b is not None:
            b = b.repeat(n) if b_dim is None else b.movedim(b_dim, 0).flatten()
        return to(x, w, b, geometry, n * groups).unflatten(1, (n, -1)), 1
    y = to(_into_batch(x, x_dim), w, None if b_dim is not None else b, geometry, groups)
    y = y[None] if x_dim is None else y.unflatten(0, (n, -1))
    return (y if b is None or b_dim is None else y + b.movedim(b_dim, 0)[:, None, :, None]), 0


def input_grad(
    to: _Map,
    n: int,
    dims: _Dims,
    gy: Tensor,
    w: Tensor,
    length: int,
    geometry: Geometry,
    groups: int,
) -> Rule:
    """``C``, as :func:`forward`."""
    gy_dim, w_dim = dims[:2]
    if w_dim is not None:
        gy, w = _into_channels(gy, gy_dim, n), _into_channels(w, w_dim, n, channels=0)
        return to(gy, w, length, geometry, n * groups).unflatten(1, (n, -1)), 1
    return to(_into_batch(gy, gy_dim), w, length, geometry, groups).unflatten(0, (n, -1)), 0


def weight_grad(
    to: _Map, n: int, dims: _Dims, x: Tensor, gy: Tensor, geometry: Geometry, groups: int
) -> Rule:
    """``R``: the ``n`` weight gradients are those of ``n`` times the groups."""
    x, gy = _into_channels(x, dims[0], n), _into_channels(gy, dims[1], n)
    return to(x, gy, geometry, n * groups).unflatten(0, (n, -1)), 0


def _into_batch(x: Tensor, dim: int | None) -> Tensor:
    """``n`` tensors ``(B, C, L)`` as one ``(n*B, C, L)``."""
    return x if dim is None else x.movedim(dim, 0).flatten(0, 1)


def _into_channels(x: Tensor, dim: int | None, n: int, channels: int = 1) -> Tensor:
    """``n`` tensors as one of ``n`` times the channels, which are axis ``channels`` of each."""
    if dim is None:
        x, dim = x.unsqueeze(channels).expand(*x.shape[:channels], n, *x.shape[channels:]), channels
    return x.movedim(dim, channels).flatten(channels, channels + 1)
