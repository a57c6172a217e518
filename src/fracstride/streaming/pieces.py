"""What streams that take arrays and tensors alike do with pieces of a signal.

Each function has one form for arrays here and one for tensors in ``fracstride.torch``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from fracstride.arrays import Array, as_dtype

__all__ = [
    "cut",
    "detached",
    "dtype_and_device",
    "filled",
    "integers_like",
    "join",
    "loaded",
    "picked",
    "repeated",
    "stacked",
]

_NOT = "a piece of a signal must be an array"


@singledispatch
def join(first: Any, second: Any) -> Any:
    """Two pieces of a signal, one after the other in time."""
    raise TypeError(f"{_NOT}, got {type(first).__name__}")


@join.register
def _(first: np.ndarray, second: Array) -> Array:
    joined: Array = np.concatenate([first, second], -1)
    return joined


@singledispatch
def cut(piece: Any, start: int) -> Any:
    """A piece from ``start`` on, which keeps no more memory than its own alive."""
    raise TypeError(f"{_NOT}, got {type(piece).__name__}")


@cut.register
def _(piece: np.ndarray, start: int) -> Array:
    copy: Array = piece[..., start:].copy()
    return copy


@singledispatch
def integers_like(piece: Any, integers: Array) -> Any:
    """Integers as a state holds them together with such a piece: as an array, or as a tensor."""
    raise TypeError(f"{_NOT}, got {type(piece).__name__}")


@integers_like.register
def _(piece: np.ndarray, integers: Array) -> Array:
    copy: Array = integers.copy()
    return copy


@singledispatch
def detached(piece: Any) -> Any:
    """The piece without the graph that it is part of; arrays are part of none."""
    return piece


@singledispatch
def dtype_and_device(piece: Any) -> tuple[Any, ...]:
    """The dtype, and of a tensor the device: what all chunks of one signal have in common."""
    raise TypeError(f"chunk must be an array, got {type(piece).__name__}")


@dtype_and_device.register
def _(piece: np.ndarray) -> tuple[Any, ...]:
    return (piece.dtype,)


@singledispatch
def filled(like: Any, shape: tuple[int, ...], value: float) -> Any:
    """A new piece of this shape, all of one value, of the kind of ``like``."""
    raise TypeError(f"{_NOT}, got {type(like).__name__}")


@filled.register
def _(like: np.ndarray, shape: tuple[int, ...], value: float) -> Array:
    return np.full(shape, value, like.dtype)


@singledispatch
def picked(piece: Any, frames: Sequence[int]) -> Any:
    """A new piece of these frames, in this order."""
    raise TypeError(f"{_NOT}, got {type(piece).__name__}")


@picked.register
def _(piece: np.ndarray, frames: Sequence[int]) -> Array:
    return np.take(piece, np.asarray(frames, np.intp), -1)


@singledispatch
def repeated(piece: Any, times: int) -> Any:
    """A new piece in which each frame stands so many times."""
    raise TypeError(f"{_NOT}, got {type(piece).__name__}")


@repeated.register
def _(piece: np.ndarray, times: int) -> Array:
    return np.repeat(piece, times, -1)


@singledispatch
def stacked(first: Any, pieces: Sequence[Any], rows: Sequence[int]) -> Any:
    """Batches as one batch: row ``i`` of ``pieces``, end to end, becomes row ``rows[i]``.

    ``first`` is the first of the pieces.
    """
    raise TypeError(f"{_NOT}, got {type(first).__name__}")


@stacked.register
def _(first: np.ndarray, pieces: Sequence[Array], rows: Sequence[int]) -> Array:
    batch = np.concatenate(pieces, 0)
    result = np.empty_like(batch)
    result[list(rows)] = batch
    return result


def loaded(piece: Any) -> Any:
    """An array of bfloat16 that ``numpy.load`` knew as one of two bytes each, as it was."""
    if isinstance(piece, np.ndarray) and piece.dtype.kind in "OSUM":
        raise ValueError(f"state must hold arrays of numbers, got dtype {piece.dtype}")
    if isinstance(piece, np.ndarray) and piece.dtype == np.dtype("V2"):
        return piece.view(as_dtype("bfloat16"))
    return piece
