"""Halos against the definition: which frames each rank's samples are sums of, sample by sample."""

from __future__ import annotations

import doctest
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry
from fracstride.reference import conv1d, conv_transpose1d
from fracstride.torch.distributed import halo as module
from fracstride.torch.distributed.exchange import add_gradient
from fracstride.torch.distributed.halo import Halo, Part, Piece, halo_of, messages, shard_bounds

moderate = settings(max_examples=300, deadline=None)


@st.composite
def geometries(draw: st.DrawFn) -> AnyGeometry:
    k, stride, dilation = (draw(st.integers(1, most)) for most in (7, 6, 6))
    pair = st.tuples(st.integers(0, 12), st.integers(0, 12))
    mode = draw(st.sampled_from(PADDING_MODES))
    if draw(st.booleans()):
        names = ["same", "causal"] if stride == 1 else ["causal"]
        padding = draw(st.one_of(pair, st.sampled_from(names)))
        return Conv1dGeometry(k, stride, padding, dilation, mode)
    padding = draw(st.one_of(pair, st.sampled_from(["same", "causal"])))
    a = 0 if isinstance(padding, str) else draw(st.integers(0, max(stride, dilation) - 1))
    return Geometry(k, stride, padding, a, dilation, mode)


def owner(L: int, ranks: int, t: int) -> int:
    return next(r for r in range(ranks) for a, b in [shard_bounds(L, ranks, r)] if a <= t < b)


def needed(g: AnyGeometry, L: int, ranks: int) -> dict[tuple[int, int], set[int]]:
    """The frames that a rank needs and another has, from the taps of each sample."""
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    for rank in range(ranks):
        for n in range(*shard_bounds(g.output_length(L), ranks, rank)):
            for t, _ in g.taps(n, L):
                if owner(L, ranks, t) != rank:
                    found[owner(L, ranks, t), rank].add(t)
    return found


def test_doctests() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(("length", "ranks"), [(10, 4), (9, 4), (3, 4), (4, 2), (1, 1), (5, 3)])
def test_shards_are_torchs_chunks(length: int, ranks: int) -> None:
    bounds = [shard_bounds(length, ranks, r) for r in range(ranks)]
    chunks = torch.arange(length).chunk(ranks)
    assert [list(range(*b)) for b in bounds[: len(chunks)]] == [c.tolist() for c in chunks]
    assert all(b == (length, length) for b in bounds[len(chunks) :])


def exchange(g: AnyGeometry, x: np.ndarray, ranks: int, rank: int, part: Part) -> np.ndarray:
    """The input of a part, assembled from the plans of all ranks."""
    L = x.shape[1]
    mine = halo_of(g, L, ranks, rank)
    buffers = {}
    for other, count in mine.receives:
        theirs: Halo = halo_of(g, L, ranks, other)
        shard = x[:, slice(*shard_bounds(L, ranks, other))]
        message = np.concatenate([shard[:, a:b] for a, b in dict(theirs.sends)[rank]], 1)
        assert message.shape[1] == count
        buffers[other] = message
    buffers[rank] = x[:, slice(*shard_bounds(L, ranks, rank))]
    parts = []
    for piece in part.pieces:
        if piece.owner is None:
            parts.append(np.zeros((x.shape[0], piece.count)))
        elif piece.indices is not None:
            assert len(piece.indices) == piece.count
            parts.append(buffers[piece.owner][:, list(piece.indices)])
        else:
            parts.append(buffers[piece.owner][:, piece.start : piece.start + piece.count])
    return np.concatenate(parts, 1)


@moderate
@given(geometries(), st.integers(1, 20), st.integers(1, 5))
def test_no_frame_too_many_and_none_too_few(g: AnyGeometry, L: int, ranks: int) -> None:
    assume(g.length_at_end(L) > 0)
    want = needed(g, L, ranks)
    assert messages(g, L, ranks) == {ends: len(frames) for ends, frames in want.items()}
    for rank in range(ranks):
        a, _ = shard_bounds(L, ranks, rank)
        sent = {
            (rank, other): {a + t for first, stop in intervals for t in range(first, stop)}
            for other, intervals in halo_of(g, L, ranks, rank).sends
        }
        assert sent == {ends: frames for ends, frames in want.items() if ends[0] == rank}


@moderate
@given(geometries(), st.integers(1, 20), st.integers(1, 5), st.integers(0, 99))
def test_each_rank_makes_its_samples(g: AnyGeometry, L: int, ranks: int, seed: int) -> None:
    assume(g.length_at_end(L) > 0)
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((2, L)), rng.standard_normal((2, 1, g.kernel_size))

    def layer(x: np.ndarray, g: AnyGeometry) -> np.ndarray:
        if isinstance(g, Conv1dGeometry):
            return conv1d(x[None], w.transpose(1, 0, 2), None, g, 1)[0]
        return conv_transpose1d(x[None], w, None, g, 1)[0]

    whole = layer(x, g)
    for rank in range(ranks):
        first, stop = shard_bounds(whole.shape[1], ranks, rank)
        halo = halo_of(g, L, ranks, rank)
        if halo.whole is None:
            assert first == stop
            assert not halo.parts
            continue
        assert (halo.whole.first, halo.whole.samples) == (0, stop - first)
        for part in (halo.whole, *halo.parts):
            got = layer(exchange(g, x, ranks, rank, part), part.geometry)[:, : part.samples]
            want = whole[:, first + part.first : first + part.first + part.samples]
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
            assert part.own == all(piece.owner in (rank, None) for piece in part.pieces)
        covered = [n for p in halo.parts for n in range(p.first, p.first + p.samples)]
        assert covered == list(range(stop - first))
        a, b = shard_bounds(L, ranks, rank)
        waiting = sum(p.samples for p in halo.parts if not p.own)
        if isinstance(g, Conv1dGeometry):
            assert waiting <= sum(reads_past(g, n, a, b, L) for n in range(first, stop))
            continue
        foreign = sum(
            any(not a <= t < b for t, _ in g.taps(n, L)) or g.padding_mode != "zeros"
            for n in range(first, stop)
        )
        assert waiting <= foreign + 2 * g.stride * (foreign > 0) + g.span * (b - a < g.span)


def reads_past(g: Conv1dGeometry, n: int, a: int, b: int, L: int) -> bool:
    """Whether sample n has a tap outside the frames ``[a, b)`` that may be of another rank."""
    at_ends = (a == 0, b == L) if g.padding_mode == "zeros" else (False, False)
    taps = [n * g.stride + m * g.dilation - g.padding_left for m in range(g.kernel_size)]
    return any((t < a and not at_ends[0]) or (t >= b and not at_ends[1]) for t in taps)


@given(st.integers(1, 6), st.integers(0, 9), st.integers(0, 12), st.booleans())
def test_the_formulas_in_the_docs(stride: int, more: int, left: int, transposed: bool) -> None:
    """docs/scaling.md: seams at the same time, and no gaps."""
    k = stride + more
    if transposed:
        left = min(left, k - 1)
        g: AnyGeometry = Geometry(k, stride, (left, max(0, k - stride - left)))
        L, want = 2 * 40, ((k - 1 - left) // stride, -(-left // stride))
        assume(g.length_at_end(L) == L * stride)
    else:
        g, L = Conv1dGeometry(k, stride, (left, max(0, k - stride - left))), 2 * 40 * stride
        want = left, max(0, k - stride - left)
        assume(g.length_at_end(L) == 2 * 40)
    found = messages(g, L, 2)
    assert (found.get((0, 1), 0), found.get((1, 0), 0)) == want


def test_a_thousand_ranks_are_planned_at_once() -> None:
    for g, frames in (
        (Geometry(16, 8, 4), 1),
        (Conv1dGeometry(16, 8, 4), 4),
        (Conv1dGeometry(5, 2, 4, 2), 2),  # two of four
    ):
        between = messages(g, 1024 * 96, 1024)
        assert len(between) == 2 * 1023
        assert set(between.values()) == {frames}
        assert halo_of(g, 1024 * 96, 1024, 500).receives == ((499, frames), (501, frames))


@settings(deadline=None)
@given(st.lists(st.integers(-3, 3), max_size=20), st.integers(0, 2**31))
def test_gradients_of_copies_are_added_in_their_order(steps: list[int], seed: int) -> None:
    """Folding gives the bits of adding frame by frame, without indexing on the device."""
    indices = [10]
    for step in steps:
        indices.append(min(max(indices[-1] + step, 0), 20))
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(2, 3, len(indices), generator=generator)
    want = torch.randn(2, 3, 21, generator=generator)
    got = want.clone()
    for at, index in enumerate(indices):
        want[:, :, index] += g[:, :, at]
    with NoIndices():
        add_gradient(got, Piece(0, 0, len(indices), tuple(indices)), g)
    assert torch.equal(got, want)


class NoIndices(TorchDispatchMode):
    """Raises on operators that torch lists as not deterministic on a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        assert "index" not in func.name()
        assert "scatter" not in func.name()
        return func(*args, **(kwargs or {}))
