"""Sizes of the kernels' products against :class:`fracstride.geometry.Geometry`."""

from __future__ import annotations

from itertools import product

import pytest

from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry
from fracstride.torch.gpu.shapes import Phases, reached, summed

SIZES = [*product((1, 2, 3, 4, 7, 8), (1, 2, 3, 5), (0, 1, 4, (3, 0)), (1, 2, 3, 6))]


def geometries(mode: str) -> list[tuple[Geometry, int, int]]:
    """Geometries with an input length and its output length."""
    found = []
    for (k, s, p, d), L in product(SIZES, (1, 2, 5)):
        geometry = Geometry(k, s, p, max(s, d) - 1, d, mode)
        length = geometry.length_at_end(L)
        if length:
            found.append((geometry, L, length))
    return found


def test_phases_are_those_of_the_taps() -> None:
    """Taps of a sample are ``step`` apart, their frames ``shift``; classes say how many."""
    for geometry, L, length in geometries("circular"):
        phases = Phases.of(geometry)
        taps_of = {
            first + place: taps for first, many, taps in phases.classes for place in range(many)
        }
        assert sum(taps_of.values()) == geometry.kernel_size
        first_frame, frames = reached(geometry, length)
        s, d, left = geometry.stride, geometry.dilation, geometry.padding_left
        for n in range(length):
            taps = [m for _, m in geometry.taps(n, L)]
            if not taps:
                continue
            assert taps == [taps[0] + j * phases.step for j in range(taps_of[taps[0]])]
            frame = (n + left - taps[0] * d) // s
            assert first_frame <= frame < first_frame + frames
            assert phases.shift * s == phases.step * d


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_frames_that_are_summed_are_those_that_reach_a_sample(mode: str) -> None:
    for geometry, L, length in geometries(mode):
        first, count = summed(geometry, L, length)
        runs = geometry.frames_reached(L, length)
        if runs:
            assert first <= runs[0][0]
            assert first + count >= runs[-1][1]
        if length >= geometry.dilation:  # no gaps
            assert ((first, first + count),) == runs or (count == 0 and not runs)
