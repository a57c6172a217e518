"""Comparing pieces of a signal bit for bit, arrays and tensors alike; for tests of streams."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from fracstride.arrays import Array

__all__ = ["bits", "bytes_of", "checked_state", "compare", "copied", "saved", "scribble"]


def copied(piece: Any) -> Any:
    """A copy of an array, or of a tensor without its graph."""
    return piece.detach().clone() if hasattr(piece, "detach") else np.array(piece)


def scribble(piece: Any) -> None:
    """Fill an array or a tensor with other numbers, where it can be written to."""
    if isinstance(piece, np.ndarray):
        writable = piece.flags.writeable
    else:
        piece = piece.detach()
        writable = piece.is_contiguous() and not piece.is_inference()
    if writable:
        piece[...] = 77


def checked_state(how: str, state: dict[str, Any]) -> dict[str, Any]:
    """The state, if it holds arrays or tensors alone; else AssertionError."""
    for key, value in state.items():
        if not isinstance(value, np.ndarray) and not hasattr(value, "detach"):
            raise AssertionError(f"{how}: state() must hold arrays or tensors, got {key}={value!r}")
    return state


def bytes_of(state: Mapping[str, Any]) -> dict[str, bytes]:
    """The bytes of everything in a state."""
    return {key: bits(value).tobytes() for key, value in state.items()}


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """A state of arrays as a file keeps it; a copy of one of tensors."""
    if not all(isinstance(value, np.ndarray) for value in state.values()):
        return {key: copied(value) for key, value in state.items()}
    file = io.BytesIO()
    np.savez(file, **state)  # (load refuses what had to be pickled)
    file.seek(0)
    with np.load(file) as saved:
        return dict(saved)


def bits(piece: Any) -> Array:
    """The bytes of an array or tensor, with an axis more: those of each number."""
    shape = (*piece.shape, piece.dtype.itemsize)
    if hasattr(piece, "detach"):
        torch = sys.modules["torch"]
        piece = piece.detach().cpu().contiguous()
        piece = torch.view_as_real(piece) if piece.is_complex() else piece
        # In one row: a tensor of one column may be contiguous and have any stride there.
        return np.asarray(piece.reshape(-1).view(torch.uint8).numpy()).reshape(shape)
    return np.ascontiguousarray(piece).reshape(-1).view(np.uint8).reshape(shape)


def compare(how: str, piece: Any, expected: Any, first: int, row: int) -> None:
    """Samples that came out, against those expected, from sample ``first`` and row ``row`` on."""
    for what in ("dtype", "shape"):
        got, wanted = getattr(piece, what), getattr(expected, what)
        if got != wanted:
            raise AssertionError(f"{how}: the samples have {what} {got}, but offline {wanted}")
    of_piece, of_expected = bits(piece), bits(expected)
    if np.array_equal(of_piece, of_expected):
        return
    both_nan = (piece != piece) & (expected != expected)
    both_nan = np.asarray(both_nan.cpu() if hasattr(both_nan, "cpu") else both_nan)
    wrong = np.argwhere((of_piece != of_expected).any(-1) & ~both_nan)
    if not len(wrong):
        return
    at = tuple(wrong[wrong[:, -1].argmin()].tolist())  # the earliest
    batch = f"row {row + at[0]}, " if len(at) == 3 else ""
    raise AssertionError(
        f"{how}: sample {first + at[-1]} of {batch}channel {at[-2]} is {piece[at].item()!r}, but "
        f"offline makes {expected[at].item()!r}"
    )
