"""Helpers that hold a stream, and its rows, against the offline layer or composition."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st
from test_invariances import same_bits

from fracstride.geometry import Geometry
from fracstride.streaming import Stream
from fracstride.streaming.testing import assert_streams_exactly


def scheduled(g: Geometry, frames: int) -> int:
    """How many samples must have come out after so many frames, by the contract."""
    if frames == 0 or (g.padding_mode == "reflect" and frames <= g.extension_left):
        return 0
    length = (frames - 1) * g.stride - g.padding_left - g.padding_right
    length += g.dilation * (g.kernel_size - 1) + g.total_output_padding + 1
    return max(0, min(frames * g.stride - g.padding_left, length))


def pieces_of(x: Any, cuts: Sequence[int]) -> list[Any]:
    """``x`` cut at the frames ``cuts``, in any order; equal cuts give chunks of no frames."""
    edges = [0, *sorted(min(c, x.shape[-1]) for c in cuts), x.shape[-1]]
    return [x[..., a:b] for a, b in pairwise(edges)]


def through_a_file(state: dict[str, Any]) -> Any:
    """A state, saved by numpy.savez and loaded again."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    return np.load(file)


def check_stream(
    make: Callable[[], Stream],
    offline: Callable[[Any], Any],
    x: Any,
    cuts: Sequence[int],
    schedule: Callable[[int], int] | None = None,
) -> None:
    """Hold a stream against ``offline(x)``, with ``x`` cut at some frames.

    The state goes on to a new stream. After all that, the stream is as new.
    """
    stream = make()
    sizes = [chunk.shape[-1] for chunk in pieces_of(x, cuts)]
    assert_streams_exactly(stream, offline, x, chunks=[sizes], due=schedule, another=make())
    lead = stream.finish(x).shape[:-1]
    assert stream.push(x[..., :0]).shape[-1] == 0
    nothing = stream.flush()
    assert isinstance(nothing, np.ndarray)
    assert nothing.shape == (*lead, 0)


#: What rows do together: an operation, the mask of its rows, and the frames of its chunk.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("push", "push", "push", "push all", "push all"),
                *("flush", "finish", "reset", "move", "flush all", "finish all"),
            )
        ),
        st.lists(st.booleans(), min_size=3, max_size=3),
        st.integers(0, 9),
    ),
    min_size=5,
    max_size=16,
)


@dataclass
class Row:
    """One row of a stream: the frames that went in, the samples that came out."""

    frames: list[Any] = field(default_factory=list)
    samples: list[Any] = field(default_factory=list)

    def compare(self, offline: Callable[[Any], Any], ended: bool) -> None:
        """The samples are the first ones of the offline output, or all once the row has ended."""
        heard = sum(y.shape[-1] for y in self.samples)
        expected = None
        if sum(x.shape[-1] for x in self.frames):
            with contextlib.suppress(ValueError):  # too short
                expected = offline(np.concatenate(self.frames, -1)[None])[0]
        if expected is None:
            assert heard == 0
            return
        if heard:
            same_bits(np.concatenate(self.samples, -1), expected[:, :heard])
        if ended:
            assert heard == expected.shape[-1]


def check_rows(
    make: Callable[[int], Stream],
    offline: Callable[[Any], Any],
    channels: int,
    dtype: Any,
    steps: Sequence[tuple[str, Sequence[bool], int]],
    schedule: Callable[[int], int],
) -> None:
    """Three rows that begin and end on their own, each compared with ``offline`` of its frames.

    ``make(rows)`` makes a stream. After each push, every row has as many samples as the schedule
    gives for its frames. Input that belongs to no row is NaN.
    """
    rng = np.random.default_rng(0)
    stream, rows = make(3), [Row() for _ in range(3)]
    for what, mask, count in steps:
        with_chunk = what.startswith(("push", "finish"))
        chunk = rng.standard_normal((3, channels, count if with_chunk else 0)).astype(dtype)
        active = np.array(mask if not what.endswith("all") else [True] * 3)
        chunk[~active] = np.nan
        if what == "move":
            state = through_a_file(stream.state())
            stream = make(3)
            stream.restore(state)
            assert stream.lengths.sum() == 0
            continue
        if what == "reset":
            stream.reset(rows=active)
            for row in np.flatnonzero(active):
                rows[row].compare(offline, ended=False)
                rows[row] = Row()
            continue
        if what == "push":
            y = stream.push(chunk.copy(), active=active)
        elif what == "push all":
            y = stream.push(chunk.copy())
        elif what == "finish":
            y = stream.finish(chunk.copy(), rows=active)
        elif what == "finish all":
            y = stream.finish(chunk.copy())
        else:
            y = stream.flush(rows=active) if what == "flush" else stream.flush()
        lengths = stream.lengths
        assert lengths.dtype == np.int64
        if not y.shape[-1]:  # the shape of the batch may be unknown
            lengths = np.zeros(3, np.int64)
        assert not lengths[~active].any()
        assert y.shape[-1] == lengths.max() or (stream.latency == 0 and not active.any())
        for row in np.flatnonzero(active):
            rows[row].frames.append(chunk[row])
            if lengths[row]:
                rows[row].samples.append(y[row, :, : lengths[row]])
        for row in range(3):
            if active[row] and not what.startswith("push"):
                rows[row].compare(offline, ended=True)
                rows[row] = Row()
            frames = sum(x.shape[-1] for x in rows[row].frames)
            assert sum(y.shape[-1] for y in rows[row].samples) == schedule(frames)
    for row in rows:
        row.compare(offline, ended=False)
    y = stream.flush()
    for i, row in enumerate(rows):
        if y.shape[-1]:
            row.samples.append(y[i, :, : stream.lengths[i]])
        row.compare(offline, ended=True)
    assert stream.flush().shape[-1] == 0
