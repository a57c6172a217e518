"""What a layer's stream knows of its rows: the invariant of ``CarriedFrames``, after any steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fracstride as fs
from fracstride import Geometry
from fracstride.streaming.carried import CarriedFrames
from fracstride.streaming.rows import plan_rows, settled_after

GEOMETRIES = (
    Geometry(4, stride=2, padding=1),
    Geometry(7, padding=3, padding_mode="reflect"),
    Geometry(5, dilation=3, padding=(0, 12), padding_mode="replicate"),
    Geometry(2, stride=4, padding=(9, 0)),
    Geometry(1),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["extend", "rows", "end", "clear", "clear rows", "replace"]),
        st.integers(0, 9),
        st.lists(st.booleans(), min_size=3, max_size=3),
    ),
    max_size=12,
)


def check_invariant(carried: CarriedFrames, signals: list[Any]) -> None:
    """The docstring's statements, where each row has received the frames of its signal."""
    g, counts = carried.geometry, [signal.shape[-1] for signal in signals]
    assert carried.received == max(counts)
    if len(set(counts)) == 1:
        assert carried.counts is None
    else:
        assert carried.counts is not None
        assert carried.counts.tolist() == counts
    assert carried.row_counts().tolist() == counts
    assert carried.done == g.final_length(max(counts))
    needed = [count - g.first_kept(count) for count in counts]
    assert carried.kept == max(needed)
    frames = carried.frames()
    assert frames.shape == (carried.rows, carried.channels, carried.kept)
    for row, (signal, need) in enumerate(zip(signals, needed, strict=True)):
        np.testing.assert_array_equal(
            frames[row, :, carried.kept - need :], signal[:, signal.shape[-1] - need :]
        )
    for more in (0, 1, 7) if carried.steady else ():
        assert carried.counts is None
        assert g.final_length(max(counts) + more) == carried.done + more * g.stride
        assert carried.kept_after(max(counts) + more) == carried.kept
    if carried.counts is None:
        for more in (0, 1, 7):
            total = max(counts) + more
            due = g.final_length(total) - carried.done
            assert carried.length_after(more, last=False) == due
            rest = max(0, g.length_at_end(total) - carried.done)
            assert carried.length_after(more, last=True) == rest


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(GEOMETRIES), STEPS)
def test_invariant(g: Geometry, steps: list[tuple[str, int, list[bool]]]) -> None:
    carried, rng = CarriedFrames(g, 3, 2, np.dtype(np.float32)), np.random.default_rng(0)
    signals = [np.empty((2, 0), np.float32)] * 3
    check_invariant(carried, signals)
    for what, frames, some in steps:
        source, mask = rng.standard_normal((3, 2, frames), np.float32), np.array(some)
        none = np.empty((2, 0), np.float32)
        if what == "extend" and carried.counts is None:
            samples = carried.length_after(frames, last=False)
            carried.extend(source, carried.kept_after(carried.received + frames), samples)
            signals = [np.concatenate(both, -1) for both in zip(signals, source, strict=True)]
        elif what in ("rows", "end"):
            ends = mask & (what == "end")
            plan = plan_rows(g, settled_after(g), carried.row_counts(), frames * mask, ends)
            carried.extend_rows(source, plan)
            for row in np.flatnonzero(mask):
                signals[row] = np.concatenate([signals[row], source[row]], -1)
            signals = [none if end else s for s, end in zip(signals, ends, strict=True)]
        elif what == "clear":
            carried.clear()
            signals = [none] * 3
        elif what == "clear rows":
            carried.clear_rows(mask)
            signals = [none if on else s for s, on in zip(signals, mask, strict=True)]
        elif what == "replace":
            other = CarriedFrames(g, 3, 2, np.dtype(np.float32))
            other.replace(carried.copied_frames(), carried.row_counts())
            carried = other
        check_invariant(carried, signals)


def test_a_copy_has_zeros_where_a_row_needs_no_frame() -> None:
    g = Geometry(5, padding="causal")
    carried = CarriedFrames(g, 2, 1, np.dtype(np.float32))
    carried.extend(np.full((2, 1, 3), np.nan, np.float32), 3, 3)
    carried.clear_rows(np.array([False, True]))
    assert np.isnan(carried.copied_frames()[0]).all()
    assert not carried.copied_frames()[1].any()


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate"])
def test_a_stream_of_many_pushes_becomes_steady(mode: str) -> None:
    layer = fs.ConvTranspose1d(2, 2, 7, 2, 3, padding_mode=mode, rng=0)
    stream, x = layer.stream(), np.ones((1, 2, 1), np.float32)
    steady = []
    for _ in range(20):
        stream.push(x)
        steady.append(stream._carried.steady)
    assert steady == sorted(steady)
    assert steady[-1]
    assert steady.index(True) + 1 <= settled_after(layer.geometry) + 1
