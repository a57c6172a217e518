"""Elementwise functions of torch, computed so that a value's bits do not depend on its place.

On CPUs torch computes most of a tensor by vectors. The values left over at the end of each thread's
share are computed by another function, which rounds differently where exponentials are involved:
the same number has two sigmoids, one in the middle of a tensor and one at its end. Here a tensor is
made so long, by zeros at its end, that every thread gets whole vectors and nothing is left over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ROUNDED_BY_PLACE", "map_whole_vectors"]

#: Modules of torch whose bits depend on a value's place.
ROUNDED_BY_PLACE: tuple[type[nn.Module], ...] = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.LogSigmoid,
    nn.Mish,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
)
_VECTORS = 64  # numbers in two registers, at most
_SHARE = 32768  # numbers for which torch takes another thread


def map_whole_vectors(function: Callable[[Tensor], Any], x: Tensor) -> Any:
    """``function(x)`` of an elementwise function, every value as one in the middle of a tensor.

    >>> x = torch.linspace(-5, 5, 101)
    >>> y = map_whole_vectors(torch.sigmoid, x)
    >>> torch.equal(y[50:], map_whole_vectors(torch.sigmoid, x[50:]))
    True
    """
    count = x.numel()
    if count == 0 or x.device.type != "cpu":
        return function(x)
    length = _length(count)
    if length == count:
        return function(x.contiguous())
    flat = torch.cat([x.reshape(-1), x.new_zeros(length - count)])
    return function(flat)[:count].reshape(x.shape)


def _length(count: int) -> int:
    """At least as many numbers, of which every thread gets whole vectors."""
    threads, length = torch.get_num_threads(), count
    while True:
        step = _VECTORS * max(1, min(threads, -(-length // _SHARE)))
        if length % step == 0:
            return length
        length += -length % step
