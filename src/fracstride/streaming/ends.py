"""Where the branches of a sum end together, and where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import Any

import numpy as np

from fracstride.arguments import MAX_SIZE
from fracstride.arrays import Array
from fracstride.streaming.pieces import integers_like
from fracstride.streaming.schedule import Scheduled
from fracstride.streaming.staircase import Staircase

__all__ = ["FrameCount", "check_branches_end", "end_alike", "frames_of", "never_together"]

#: Numbers of frames that a search looks at, at most.
_TRIES = 2048


def end_alike(branches: Sequence[Scheduled]) -> bool:
    """Whether it is plain that branches make the same number of samples of every input.

    (But for inputs that one of them refuses.)
    """
    ends = {branch.staircase_at_end() for branch in branches}
    return None not in ends and len(ends) == 1


def never_together(ends: Sequence[Staircase]) -> bool:
    """Whether staircases of one rate give the same number for no number of frames.

    False, too, where that is not found out in reasonable time.

    >>> fours = Staircase.of(1, 0, 4).then(Staircase.of(4, 0))
    >>> never_together([Staircase.of(1, 0), fours]), never_together([Staircase.of(1, 1), fours])
    (False, True)
    """
    x, stop = 0, lcm(*(end.period for end in ends))
    for _ in range(_TRIES):
        lengths = [end(x) for end in ends]
        if min(lengths) == max(lengths):
            return False
        if x > stop:
            return True
        # No number of frames before the first one with which all have as many is one.
        x = max(end.least(max(lengths)) for end in ends)
    return False


def check_branches_end(frames: int, branches: Sequence[Scheduled]) -> None:
    """Raise ValueError if branches make samples of so many frames, but not as many."""
    lengths = [branch.length_at_end(frames) for branch in branches]
    if 0 not in lengths and min(lengths) != max(lengths):
        shown = f"{', '.join(map(str, lengths[:-1]))} and {lengths[-1]}"
        raise ValueError(
            f"the signal cannot end after {frames} frames, of which the branches of a Sum make "
            f"{shown} samples"
        )


def frames_of(chunk: Any) -> int:
    """The frames of a chunk, or 0 of None; of what is no chunk, whatever it has."""
    return 0 if chunk is None else (np.shape(chunk) or (0,))[-1]


class FrameCount:
    """The frames of each row so far, for a composition that cannot end after every number of them.

    Args:
        composition: what is asked where it can end.
    """

    def __init__(self, composition: Scheduled) -> None:
        self._composition = composition
        self.received: int | Array = 0  # one number for all rows, or one for each

    def after(self, frames: Any, ends: Any) -> int | Array:
        """The count after so many frames more, for :attr:`received`.

        ``frames`` and ``ends`` are as in ``advance_rows``, or an int and a bool for all rows.
        ValueError if a row ends where the composition cannot.
        """
        if ends is False:
            after: int | Array = self.received + frames
            return after
        total = np.asarray(self.received + frames)
        for count in np.unique(total[np.broadcast_to(ends, total.shape)]).tolist():
            try:
                self._composition.check_end(count)
            except ValueError as error:
                raise ValueError(f"{error}. {self._ends_near(count)}") from None
        return np.where(ends, 0, total)

    def _ends_near(self, frames: int) -> str:
        """The nearest numbers of frames after which the composition can end."""
        before = range(frames - 1, max(0, frames - _TRIES), -1)
        found = [
            next(filter(self._fits, some), None)
            for some in (before, range(frames + 1, frames + _TRIES))
        ]
        known = [str(count) for count in found if count is not None]
        if not known:
            return f"None of the lengths within {_TRIES} frames of it fits"
        return f"The nearest lengths that fit: {' and '.join(known)}"

    def _fits(self, frames: int) -> bool:
        try:
            self._composition.check_end(frames)
        except ValueError:
            return False
        return self._composition.length_at_end(frames) > 0

    def saved(self, like: Any) -> Any:
        """The count for a state; ``like`` is a piece of the signal, or None."""
        counts = np.atleast_1d(self.received)
        return counts.copy() if like is None else integers_like(like, counts)

    @staticmethod
    def loaded(saved: Any) -> int | Array:
        """The count of a state, for :attr:`received`; ValueError if it is none."""
        counts = np.asarray(saved.tolist() if hasattr(saved, "tolist") else saved)
        fits = counts.dtype.kind in "iu" and counts.ndim == 1 and len(counts)
        if not fits or any(not 0 <= int(count) <= MAX_SIZE for count in counts):
            raise ValueError(
                "state received must be integers from 0 to 2**62, one for each row, "
                f"got {counts.dtype} of shape {counts.shape}: {counts}"
            )
        return counts.astype(np.int64) if len(counts) > 1 else int(counts[0])
