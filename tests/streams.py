"""Any stream, held against the layer or composition that it streams."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from test_invariances import same_bits

from fracstride.geometry import Geometry
from fracstride.streaming import Stream


def scheduled(g: Geometry, frames: int) -> int:
    """The samples that have to be out after so many frames, by the contract's own words."""
    if frames == 0 or (g.padding_mode == "reflect" and frames <= g.extension_left):
        return 0
    length = (frames - 1) * g.stride - g.padding_left - g.padding_right
    length += g.dilation * (g.kernel_size - 1) + g.total_output_padding + 1
    return max(0, min(frames * g.stride - g.padding_left, length))


def pieces_of(x: Any, cuts: Sequence[int]) -> list[Any]:
    """``x`` cut at some frames, in any order; equal ones make chunks of no frames."""
    edges = [0, *sorted(min(c, x.shape[-1]) for c in cuts), x.shape[-1]]
    return [x[..., a:b] for a, b in pairwise(edges)]


def through_a_file(state: dict[str, Any]) -> Any:
    """A state as numpy.savez keeps it."""
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
    move_at: int | None = None,
    finish: bool = False,
) -> None:
    """Push ``x``, cut into chunks, and compare every bit with ``offline(x)``.

    After each push, as many samples must be out as the schedule says. Before chunk ``move_at`` the
    state goes on to a new stream, through a file. ``finish``: the last chunk comes with the flush.
    """
    stream, outputs, frames = make(), [], 0
    try:
        expected = offline(x)
    except ValueError:  # too short
        expected = None
    if schedule is None:

        def schedule(frames: int) -> int:
            return max(0, frames * stream.stride - stream.latency)

    chunks = pieces_of(x, cuts)
    for i, chunk in enumerate(chunks):
        if i == move_at:
            state = through_a_file(stream.state())
            stream.push(x)  # whatever the old one does now
            stream = make()
            stream.restore(state)
        frames += chunk.shape[-1]
        given = np.array(chunk)
        if finish and i == len(chunks) - 1:
            outputs.append(stream.finish(given))
        else:
            outputs.append(stream.push(given))
            assert sum(y.shape[-1] for y in outputs) == schedule(frames)
        given[...] = 77  # the caller's memory is the caller's
    if not finish:
        outputs.append(stream.flush())
    assert all(isinstance(y, np.ndarray) for y in outputs)
    outputs = [y for y in outputs if y.shape[-1]]
    if expected is None:
        assert not outputs
    else:
        same_bits(np.concatenate(outputs, -1), expected)
    # As new: the same once more, in one piece.
    again = stream.finish(x)
    if expected is None:
        assert again.shape[-1] == 0
    else:
        same_bits(again, expected)
        assert stream.push(x[..., :0]).shape[-1] == 0
        assert stream.flush().shape == (*expected.shape[:-1], 0)
