"""Folding: what falls on frames of an extension, added to the frames that they copy.

The adjoint of extending a signal, for arrays and for tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fracstride.extension import source_frame

__all__ = ["fold"]


def fold(
    target: Any,
    extended: Any,
    first_frame: int,
    padding_mode: str,
    flip: Callable[[Any, int], Any] = np.flip,
) -> None:
    """Add frames ``first_frame ...`` of an extended signal to the frames that they copy.

    In rising order for each frame of the target, whatever is added together. Of arrays, or of
    tensors with a ``flip`` of theirs.
    """
    length, count = target.shape[-1], extended.shape[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        done = 0
        while done < count:
            # Neighbours are copies of neighbours, rising or falling, up to where the mode turns.
            start = source_frame(first_frame + done, length, padding_mode)
            if start is None:
                raise ValueError("zeros have nothing to fold")
            after = source_frame(first_frame + done + 1, length, padding_mode)
            if after == start + 1:
                piece = extended[..., done : done + length - start]
                target[..., start : start + piece.shape[-1]] += piece
            elif after == start - 1:
                piece = extended[..., done : done + start + 1]
                target[..., start - piece.shape[-1] + 1 : start + 1] += flip(piece, -1)
            else:
                piece = extended[..., done : done + 1]
                target[..., start] += piece[..., 0]
            done += piece.shape[-1]
