"""Streams of the Conv1d, of any stride: bits, schedules, rows, states, residuals."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from cases import Conv1dCase, conv1d_cases
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from streams import STEPS, check_rows, check_stream, pieces_of, through_a_file
from test_invariances import random_layers, same_bits

import fracstride as fs
from fracstride.extension import STREAMING_MODES
from fracstride.streaming import Chain, Identity, Pointwise, Sum

CUTS = st.lists(st.integers(0, 300), max_size=12)


def layer_of(case: Conv1dCase, mode: str) -> fs.Conv1d:
    return fs.Conv1d.from_weights(case.w, case.b, **{**case.options, "padding_mode": mode})


def due(g: Any, frames: int) -> int:
    """How many samples must be out after so many frames: those whose last tap is on one of them."""
    if frames == 0 or (g.padding_mode == "reflect" and frames <= g.padding_left):
        return 0
    samples = 0
    while samples * g.stride + g.dilation * (g.kernel_size - 1) - g.padding_left < frames:
        samples += 1
    return samples


@pytest.mark.usefixtures("isa")
@random_layers
@given(conv1d_cases(), st.sampled_from(STREAMING_MODES), CUTS)
def test_any_chunks(case: Conv1dCase, mode: str, cuts: list[int]) -> None:
    layer = layer_of(case, mode)
    g = layer.geometry
    assume(case.batch != 0)
    check_stream(
        lambda: layer.stream(case.batch),
        layer,
        case.x.astype(case.dtype),
        cuts,
        lambda frames: due(g, frames),
    )
    stream = layer.stream()
    assert (stream.rate, stream.latency) == (Fraction(1, g.stride), g.latency)
    assert stream.stride == (1 if g.stride == 1 else None)
    assert (stream.overhang is None) == (g.stride > 1)
    assert g.latency == max(0, ceil(Fraction(g.span - 1 - g.padding_left, g.stride)))
    for frames in (0, 1, 7, 100):
        assert stream.output_length(frames) == due(g, frames)


@settings(max_examples=300, deadline=None)
@given(conv1d_cases(), st.sampled_from(STREAMING_MODES))
def test_geometry_of_streams(case: Conv1dCase, mode: str) -> None:
    """A sample is final, by definition, if every longer input gives it the same terms."""
    g = layer_of(case, mode).geometry
    frames = min(case.length, 40)
    longer = [frames + i for i in (*range(8), 40)]
    final = 0
    while final < g.length_at_end(frames) and all(
        g.taps(final, L) == g.taps(final, longer[0]) for L in longer[1:]
    ):
        final += 1
    assert g.final_length(frames) <= final
    if frames > g.mirrored_left + g.mirrored_right:
        assert g.final_length(frames) == final
    kept = g.first_kept(frames)
    after = [(n, L) for L in longer for n in range(g.final_length(frames), g.length_at_end(L))]
    assert all(t >= kept for n, L in after for t, _ in g.taps(n, L))
    assert kept <= g.first_kept(frames + 1)


@pytest.mark.usefixtures("isa")
@random_layers
@given(conv1d_cases(), st.sampled_from(STREAMING_MODES), STEPS)
def test_rows_on_their_own(case: Conv1dCase, mode: str, steps: Any) -> None:
    layer = layer_of(case, mode)
    check_rows(
        layer.stream, layer, case.in_channels, case.dtype, steps, lambda n: due(layer.geometry, n)
    )


def test_rows_of_one_phase_share_a_call() -> None:
    layer = fs.Conv1d(2, 2, 5, stride=3, rng=0)
    stream, x = layer.stream(4), np.random.default_rng(0).standard_normal((4, 2, 40)).astype("f4")
    calls = []
    samples = stream._samples  # type: ignore[attr-defined]
    stream._samples = lambda *args: calls.append(args) or samples(*args)  # type: ignore
    for i, more in enumerate((30, 33, 31, 39)):  # 0, 0, 1 and 0 beyond a multiple of 3
        stream.push(x[..., :more], active=np.arange(4) == i)
    calls.clear()
    stream.push(x[..., :6])
    assert sorted(len(args[0]) for args in calls) == [1, 3]


@settings(max_examples=60, deadline=None)
@given(conv1d_cases(), st.sampled_from(STREAMING_MODES))
def test_a_state_at_every_point(case: Conv1dCase, mode: str) -> None:
    layer = layer_of(case, mode)
    assume(case.batch != 0)
    x = case.x.astype(case.dtype)[..., :40]
    if layer.geometry.length_at_end(x.shape[-1]) == 0:
        return
    expected, stream = layer(x), layer.stream(case.batch)
    out = 0
    for t in range(x.shape[-1] + 1):
        other = layer.stream(case.batch)
        other.restore(through_a_file(stream.state()))
        # No more is carried than the kernel spans, and the frames that one sample takes; while the
        # left edge waits for the frames that it mirrors, these.
        g, carried = layer.geometry, stream.state()["frames"].shape[-1]
        assert carried <= (t if t <= g.mirrored_left else g.span + g.stride + g.mirrored_right)
        same_bits(other.finish(x[..., t:]), expected[..., out:])
        if t < x.shape[-1]:
            out += stream.push(x[..., t : t + 1]).shape[-1]


@pytest.mark.usefixtures("isa")
@random_layers
@given(conv1d_cases(), st.sampled_from(STREAMING_MODES), CUTS, st.booleans(), st.booleans())
def test_negative_slopes_residuals_and_out(
    case: Conv1dCase, mode: str, cuts: list[int], slope: bool, turned: bool
) -> None:
    """A layer in a sum adds the other branch in the kernel."""
    layer = layer_of(case, mode)
    assume(case.batch != 0)
    other = fs.Conv1d.from_weights(
        case.w[..., ::-1], None, **{**case.options, "padding_mode": "replicate"}
    )
    alpha = 0.25 if slope and case.dtype.kind != "c" else None

    def make() -> Sum:
        branches = layer.stream(case.batch, negative_slope=alpha), other.stream(case.batch)
        return Sum(*(branches[::-1] if turned else branches))

    def offline(x: Any) -> Any:
        a, b = layer(x, negative_slope=alpha), other(x)
        return b + a if turned else a + b

    x = case.x.astype(case.dtype)
    check_stream(make, offline, x, cuts, lambda frames: due(layer.geometry, frames))
    stream = layer.stream(case.batch)
    for chunk in pieces_of(x, cuts):
        state, length = stream.state(), stream.output_length(chunk.shape[-1])
        given = stream.push(chunk)
        stream.restore(state)
        out = np.empty(given.shape[::-1], case.dtype).T
        assert given.shape[-1] == length
        assert stream.push(chunk, out=out) is out
        same_bits(out, given)


def test_no_sample_takes_the_frames_between() -> None:
    """A stride beyond the kernel skips frames; they are not carried, and NaN does not matter."""
    layer = fs.Conv1d(1, 1, 2, stride=7, padding=(3, 2), rng=0)
    stream, x = layer.stream(), np.random.default_rng(0).standard_normal((1, 1, 60)).astype("f4")
    x[..., [t for t in range(60) if (t + 3) % 7 > 1]] = np.nan
    pieces = [stream.push(x[..., t : t + 1]) for t in range(60)]
    y = np.concatenate([*pieces, stream.flush()], -1)
    same_bits(y, layer(x))
    assert not np.isnan(y).any()
    bare = fs.Conv1d(1, 1, 2, stride=7, rng=0).stream()
    for t in range(40):
        bare.push(x[..., t : t + 1])
        assert bare.state()["frames"].shape[-1] == ((t + 1) % 7 == 1)


def test_a_stride_of_one_is_the_transposed_layer() -> None:
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((4, 3, 5)).astype("f4"), rng.standard_normal(4).astype("f4")
    x = rng.standard_normal((2, 3, 30)).astype("f4")
    for padding in (0, 2, "same", "causal"):
        one = fs.Conv1d.from_weights(w, b, padding=padding).stream(2)
        two = fs.ConvTranspose1d.from_conv1d(w, b, padding).stream(2)
        for name in ("rate", "stride", "latency", "overhang", "at_once"):
            assert getattr(one, name) == getattr(two, name)
        for t in range(30):
            same_bits(one.push(x[..., t : t + 1]), two.push(x[..., t : t + 1]))
        same_bits(one.flush(), two.flush())


@pytest.mark.parametrize("strides", [(2, 4, 5, 8), (2, 2, 3), (8, 5, 4, 2)])
@pytest.mark.parametrize("causal", [False, True])
def test_an_encoder(strides: tuple[int, ...], causal: bool) -> None:
    """EnCodec's strides; a residual block, then a convolution of twice the stride."""
    layers: list[Any] = []
    for i, s in enumerate(strides):
        padding = "causal" if causal else (s // 2, s - s // 2)
        inner = fs.Conv1d(3, 3, 3, padding="causal" if causal else 1, rng=i)
        down = fs.Conv1d(3, 3, 2 * s, stride=s, padding=padding, rng=100 + i)
        layers.append((inner, down))

    def make() -> Chain:
        parts: list[Any] = []
        for inner, down in layers:
            parts += [Sum(Identity(), Chain(Pointwise(np.tanh), inner.stream(2))), down.stream(2)]
        return Chain(*parts)

    def offline(x: Any) -> Any:
        for inner, down in layers:
            x = down(x + inner(np.tanh(x)))
        return x

    total = int(np.prod(strides))
    stream = make()
    assert (stream.rate, stream.stride) == (Fraction(1, total), None)
    assert stream.may_end_uneven is False
    if causal:
        assert stream.latency == 0  # the first of every `total` frames makes a sample
    x = np.random.default_rng(0).standard_normal((2, 3, 3 * total + 7)).astype("f4")
    check_stream(make, offline, x, [1, 5, total, total + 1, 2 * total + 3])
