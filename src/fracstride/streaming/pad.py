"""Padding at the two ends of a signal, as a stream."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

from fracstride.arguments import MAX_SIZE
from fracstride.extension import MODES, STREAMING_MODES, source_frame
from fracstride.streaming.pieces import cut, filled, join, picked
from fracstride.streaming.window import WindowStream

__all__ = ["Pad"]


class Pad(WindowStream):
    """Frames added where the signal begins and where it ends, and nowhere else.

    After ``T >= 1`` frames, samples ``[0, T + min(left, left + right))`` are out: the latency is
    ``-left`` for paddings that are not negative, so a ``Pad`` in front of a layer takes its part
    off the layer's latency. With ``reflect`` nothing comes out for ``T <= left``. An input of no
    frames gives no samples.

    Args:
        left: frames added in front; a negative number takes as many away.
        right: the same at the end.
        mode: ``"zeros"``; ``"reflect"``, mirrored without the edge frame and as often as needed;
            ``"replicate"``, the edge frame.
        value: what ``"zeros"`` adds in place of zeros.

    Raises:
        TypeError: ``left`` or ``right`` is not an int.
        ValueError: an unknown ``mode``, or a ``value`` with a mode that has none.

    >>> import numpy as np
    >>> pad = Pad(2, 1, "reflect")
    >>> [pad.push(np.array([[[t]]])).ravel().tolist() for t in range(1, 5)]
    [[], [], [3, 2, 1, 2, 3], [4]]
    >>> pad.flush().ravel().tolist(), pad.latency
    ([3], -2)
    """

    #: The shortest input that the offline module takes.
    shortest = 1
    keeps_channels = True

    def __init__(self, left: int, right: int, mode: str = "zeros", value: float = 0.0) -> None:
        self._left, self._right = _frames("left", left), _frames("right", right)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {STREAMING_MODES}, got {mode!r}")
        if not MODES[mode].streams:
            raise ValueError(
                f"mode must be one of {STREAMING_MODES} for a stream, got {mode!r}: "
                f"{MODES[mode].obstacle}"
            )
        if mode != "zeros" and value != 0:
            raise ValueError(f"value must be 0 with mode {mode!r}, got {value!r}")
        self._mode, self._value = mode, value
        # Frames that the left edge mirrors, and those that the right edge needs.
        self._mirrored_left = MODES[mode].mirrored(max(0, self._left))
        self._edge = 1 + MODES[mode].mirrored(max(0, self._right)) if mode != "zeros" else 0
        self.latency = -min(self._left, self._left + self._right)
        self.overhang = self._left + self._right
        self.at_once = self._left == 0 <= self._right

    def final_length(self, frames: int) -> int:
        if frames < self.shortest or frames <= self._mirrored_left:
            return 0
        return max(0, frames - self.latency)

    def length_at_end(self, frames: int) -> int:
        return 0 if frames < self.shortest else max(0, frames + self._left + self._right)

    def first_kept(self, frames: int) -> int:
        first = self.final_length(frames) - self._left
        if self._right > 0:
            first = min(first, frames - self._edge)
        return max(0, min(first, frames))

    def compute(self, window: Any, start: int, first: int, stop: int, last: bool) -> Any:
        # The frames of the window, past its ends too, that the samples are.
        first, stop = first - self._left - start, stop - self._left - start
        count = window.shape[-1]
        inner = max(first, 0), min(stop, count)
        parts = []
        if first < 0:
            parts.append(self._outside(window, first, min(stop, 0)))
        if inner[0] < inner[1]:
            parts.append(cut(window[..., : inner[1]], inner[0]))
        if stop > count:
            parts.append(self._outside(window, max(first, count), stop))
        return reduce(join, parts)

    def _outside(self, window: Any, first: int, stop: int) -> Any:
        """Frames before the window or after it."""
        if self._mode == "zeros":
            return filled(window, (*window.shape[:-1], stop - first), self._value)
        count = window.shape[-1]
        return picked(window, [source_frame(t, count, self._mode) or 0 for t in range(first, stop)])

    def __repr__(self) -> str:
        more = f", {self._mode!r}" if self._mode != "zeros" else ""
        more += f", value={self._value}" if self._value != 0 else ""
        return f"Pad({self._left}, {self._right}{more})"


def _frames(name: str, value: object) -> int:
    try:
        frames = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an int, got {value!r}") from None
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if abs(frames) > MAX_SIZE:
        raise ValueError(f"{name} must be at most 2**62 frames, got {value!r}")
    return frames
