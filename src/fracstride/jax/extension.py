"""The extension of an input and its adjoint, on JAX's arrays: what is static is an index."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from fracstride.extension import source_frame

__all__ = ["extend", "fold"]


def extend(x: Any, left: int, right: int, padding_mode: str) -> Any:
    """``x (B, C, L)`` with so many frames more at its ends, for every ``L >= 1``.

    >>> extend(jnp.array([[[1, 2, 3]]]), 4, 1, "reflect").tolist()
    [[[1, 2, 3, 2, 1, 2, 3, 2]]]
    """
    before, after = _sources(x.shape[2], left, right, padding_mode)
    return jnp.concatenate([x[:, :, before], x, x[:, :, after]], 2)


def fold(extended: Any, left: int, length: int, padding_mode: str) -> Any:
    """The adjoint: frames before and after the ``length`` from ``left`` on, added to their sources.

    One after the other in rising order, as :func:`fracstride.folding.fold` adds them to arrays that
    can be written to.

    >>> fold(jnp.array([[[1, 10, 2, 3, 20]]]), 2, 2, "replicate").tolist()
    [[[13, 23]]]
    """
    right = extended.shape[2] - left - length
    before, after = _sources(length, left, right, padding_mode)
    inside = extended[:, :, left : left + length]
    inside = inside.at[:, :, before].add(extended[:, :, :left])
    return inside.at[:, :, after].add(extended[:, :, left + length :])


def _sources(length: int, left: int, right: int, padding_mode: str) -> tuple[Any, Any]:
    """The frames that those before and after a signal are copies of."""
    frames = [*range(-left, 0), *range(length, length + right)]
    sources = np.array([source_frame(t, length, padding_mode) for t in frames], np.int32)
    return sources[:left], sources[left:]
