"""The sizes of a Conv1d, against torch, numpy.pad and brute force over the definition."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from installed import tf, torch

from fracstride import conv1d_geometry as module
from fracstride.conv1d_geometry import Conv1dGeometry, conv1d_geometry_of, geometry_of_conv1d
from fracstride.extension import PADDING_MODES, STREAMING_MODES
from fracstride.geometry import Geometry
from fracstride.part_geometry import (
    frames_needed,
    frames_of_part,
    geometry_of_part,
    samples_of_frames,
)

NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
moderate = settings(max_examples=150, deadline=None)
lengths = st.integers(1, 20)


@st.composite
def geometries(draw: st.DrawFn, modes: tuple[str, ...] = PADDING_MODES) -> Conv1dGeometry:
    stride = draw(st.integers(1, 6))
    names = ["causal", "same"] if stride == 1 else ["causal"]
    pair = st.tuples(st.integers(0, 12), st.integers(0, 12))
    return Conv1dGeometry(
        kernel_size=draw(st.integers(1, 7)),
        stride=stride,
        padding=draw(st.one_of(pair, st.sampled_from(names))),
        dilation=draw(st.integers(1, 6)),
        padding_mode=draw(st.sampled_from(modes)),
    )


def defined_length(g: Conv1dGeometry, L: int) -> int:
    """The samples whose taps all lie on the padded input, one by one."""
    t = 0
    while t * g.stride + g.span <= L + g.padding_left + g.padding_right:
        t += 1
    return t


def defined_taps(g: Conv1dGeometry, t: int, L: int) -> list[tuple[int, int]]:
    """The terms of sample t: a row of the padded input's frames, made by numpy.pad."""
    frames = np.arange(L)
    pads = (g.padding_left, g.padding_right)
    if g.padding_mode == "zeros":
        padded = np.pad(frames, pads, constant_values=-1)
    else:
        padded = np.pad(frames, pads, mode=NUMPY_MODES[g.padding_mode])
    first = t * g.stride
    row = [int(padded[first + m * g.dilation]) for m in range(g.kernel_size)]
    return [(frame, m) for m, frame in enumerate(row) if frame >= 0]


def test_doctests() -> None:
    assert doctest.testmod(module).failed == 0


# --- arguments ----------------------------------------------------------------------------------


def test_defaults_and_field_order() -> None:
    assert Conv1dGeometry(3) == Conv1dGeometry(3, 1, 0, 1, "zeros")
    g = Conv1dGeometry(5, 4, (1, 2), 2, "reflect")
    assert (g.kernel_size, g.stride, g.padding, g.dilation) == (5, 4, (1, 2), 2)
    assert (g.padding_mode, g.is_transposed, g.rate) == ("reflect", False, Fraction(1, 4))
    assert [f.name for f in dataclasses.fields(g) if f.init] == [
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "padding_mode",
    ]


@pytest.mark.parametrize(
    "one", [3, (3,), [3], np.int64(3), np.uint8(3), (np.int16(3),), np.array(3)]
)
def test_sizes_become_plain_ints(one: object) -> None:
    g = Conv1dGeometry(one, one, one, one)
    assert g == Conv1dGeometry(3, 3, 3, 3)
    for name in ("kernel_size", "stride", "dilation"):
        assert type(getattr(g, name)) is int
    assert g.padding == (3, 3)
    assert all(type(p) is int for p in g.padding)


@pytest.mark.parametrize(
    ("padding", "canonical", "pads"),
    [
        (2, (2, 2), (2, 2)),
        ((2,), (2, 2), (2, 2)),
        ([np.int8(1), 2], (1, 2), (1, 2)),
        ((9, 0), (9, 0), (9, 0)),
        ("valid", (0, 0), (0, 0)),
        ("same", "same", (4, 5)),
        ("causal", "causal", (9, 0)),
        (np.str_("same"), "same", (4, 5)),
    ],
)
def test_padding_has_one_form(padding: object, canonical: object, pads: tuple[int, int]) -> None:
    g = Conv1dGeometry(4, padding=padding, dilation=3, padding_mode=np.str_("reflect"))
    assert g.padding == canonical
    assert type(g.padding) is type(canonical)
    assert (g.padding_left, g.padding_right) == pads
    assert (g.mirrored_left, g.mirrored_right) == pads
    assert type(g.padding_mode) is str


@pytest.mark.parametrize("name", ["kernel_size", "stride", "dilation", "padding"])
@pytest.mark.parametrize("bad", [True, (False,), 2.0, np.float32(2), np.True_, None, [[2]], b"2"])
def test_wrong_types(name: str, bad: object) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be a .*int, got "):
        Conv1dGeometry(**{"kernel_size": 3, name: bad})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 0}, "stride must be a positive int, got 0"),
        ({"stride": (1, 2)}, "stride must be one int or a tuple of one, got (1, 2)"),
        ({"kernel_size": 0}, "kernel_size must be a positive int, got 0"),
        ({"dilation": -1}, "dilation must be a positive int, got -1"),
        ({"padding": -1}, "padding must be a non-negative int, got -1"),
        ({"padding": (1, 2, 3)}, "or 'causal', got (1, 2, 3)"),
        ({"padding": "full"}, "'valid', 'same' or 'causal', got 'full'"),
        ({"padding": "same", "stride": 2}, "stride must be 1 for a Conv1d with padding='same'"),
        ({"padding_mode": "edge"}, "padding_mode must be one of 'zeros', 'reflect', 'replicate'"),
        ({"stride": 2**62 + 1}, "stride must be at most 2**62, got 4611686018427387905"),
        ({"padding": (0, 2**63)}, "padding must be at most 2**62"),
        ({"dilation": 2**61}, "dilation*(kernel_size - 1) + 1 must be at most 2**62"),
    ],
)
def test_wrong_values(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Conv1dGeometry(**{"kernel_size": 3, **arguments})


# --- it is a value ------------------------------------------------------------------------------


@given(geometries())
@moderate
def test_copies_are_equal(g: Conv1dGeometry) -> None:
    for other in (
        pickle.loads(pickle.dumps(g)),
        copy.copy(g),
        copy.deepcopy(g),
        dataclasses.replace(g),
        eval(repr(g)),
        conv1d_geometry_of(g.kernel_size, g.stride, g.padding, g.dilation, g.padding_mode),
    ):
        assert other == g
        assert hash(other) == hash(g)
        assert vars(other) == vars(g)
    assert g != Geometry(g.kernel_size, 1, 0, 0, g.dilation, g.padding_mode)
    with pytest.raises(dataclasses.FrozenInstanceError):
        g.stride = 3


def test_the_maker_remembers_and_keeps_types_apart() -> None:
    good = [1, 1, (1, 1), 1, "zeros"]
    assert conv1d_geometry_of(*good) is conv1d_geometry_of(*good)
    assert conv1d_geometry_of((4,), [2], [1, 1], np.int64(1), "zeros") == Conv1dGeometry(4, 2, 1)
    for position in range(4):
        for bad in (True, (True,), 1.0, (1.0,), np.float64(1), None):
            with pytest.raises(TypeError, match="must be a"):
                conv1d_geometry_of(*good[:position], bad, *good[position + 1 :])
    with pytest.raises(ValueError, match="padding_mode"):
        conv1d_geometry_of(1, 1, 0, 1, "edge")
    with pytest.raises(TypeError, match="padding_mode"):
        conv1d_geometry_of(1, 1, 0, 1, ["zeros"])


# --- lengths and taps ---------------------------------------------------------------------------


@given(geometries(), lengths)
@moderate
def test_lengths_and_taps_are_the_definition(g: Conv1dGeometry, L: int) -> None:
    length = defined_length(g, L)
    assert g.length_at_end(L) == length
    assert g.length_at_end(0) == 0
    if not length:
        least = g.span - g.padding_left - g.padding_right
        with pytest.raises(
            ValueError, match=rf"^input length L must be at least {least} .*got {L}"
        ):
            g.output_length(L)
        return
    assert g.output_length(L) == g.output_length(np.int64(L)) == length
    assert type(g.output_length(np.int64(L))) is int
    for t in range(length):
        assert g.taps(t, L) == defined_taps(g, t, L)
    assert g.taps(np.int64(0), np.int32(L)) == g.taps(0, L)
    with pytest.raises(ValueError, match=f"sample n must be less than L_out = {length}, got"):
        g.taps(length, L)
    with pytest.raises(ValueError, match="sample n must be a non-negative int, got -1"):
        g.taps(-1, L)


@given(geometries(), lengths)
@moderate
def test_output_length_is_torchs(g: Conv1dGeometry, L: int) -> None:
    padded = torch.ones(1, 1, L + g.padding_left + g.padding_right)
    if padded.shape[-1] >= g.span:
        y = tf.conv1d(padded, torch.ones(1, 1, g.kernel_size), None, g.stride, 0, g.dilation)
        assert g.output_length(L) == y.shape[-1]


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)])
def test_lengths_are_positive_ints(bad: object, error: type[Exception]) -> None:
    g = Conv1dGeometry(3)
    calls = (
        lambda: g.output_length(bad),
        lambda: g.source(0, bad),
        lambda: g.taps(0, bad),
        lambda: g.transposed(bad),
    )
    for call in calls:
        with pytest.raises(error, match="input length L must be a positive int, got "):
            call()


def test_sizes_beyond_2_to_the_62_raise() -> None:
    huge = 2**62
    assert Conv1dGeometry(1).output_length(huge) == huge
    assert Conv1dGeometry(huge).output_length(huge) == 1
    assert Conv1dGeometry(1, huge).output_length(huge) == 1
    assert Conv1dGeometry(2, huge - 1, dilation=huge - 1, padding=(0, huge - 1)).taps(0, 1) == [
        (0, 0)
    ]
    for g, L in ((Conv1dGeometry(1, padding=(0, 1)), huge), (Conv1dGeometry(1, 1, huge), 1)):
        with pytest.raises(ValueError, match=re.escape("must be at most 2**62, got ")):
            g.output_length(L)
    with pytest.raises(ValueError, match="input length L must be at most"):
        Conv1dGeometry(1).output_length(huge + 1)
    # Taps are listed without walking through those on zeros.
    assert Conv1dGeometry(2**40, padding=(2**39, 2**39 + 1)).taps(3, 2) == [
        (0, 2**39 - 3),
        (1, 2**39 - 2),
    ]


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_source_is_that_of_the_other_geometry(mode: str) -> None:
    g, other = Conv1dGeometry(3, padding_mode=mode), Geometry(3, padding_mode=mode)
    frames = range(-7, 12)
    assert [g.source(t, 4) for t in frames] == [other.source(t, 4) for t in frames]
    with pytest.raises(TypeError):
        g.source(0.5, 4)


# --- what streams and derivatives ask ------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(geometries(STREAMING_MODES), st.integers(0, 14))
def test_final_length_by_definition(g: Conv1dGeometry, frames: int) -> None:
    """A sample is final if an input that ends now, and every longer one, gives it the same terms.

    A frame that does not exist yet may hold anything: with zeros a term that is absent now comes.
    """
    if frames == 0:
        assert g.final_length(0) == g.first_kept(0) == 0
        return
    # Beyond these, lengths differ in where frames on the right are mirrored, and in that alone.
    longer = [frames + i for i in range(2 * (g.span + g.padding_left + g.padding_right) + 2)]
    final = 0
    while all(
        final < g.length_at_end(L) and g.taps(final, L) == g.taps(final, longer[0]) for L in longer
    ):
        final += 1
    assert g.final_length(frames) == final
    assert final <= g.length_at_end(frames)
    # The frames kept are enough for every sample to come, and no more than these and the edge.
    kept = g.first_kept(frames)
    after = [(n, L) for L in longer[:40] for n in range(final, g.length_at_end(L))]
    needed = {t for n, L in after for t, _ in g.taps(n, L) if t < frames}
    assert all(t >= kept for t in needed)
    assert kept <= g.first_kept(frames + 1)
    begins = final * g.stride >= g.padding_left  # no sample to come reads a frame on the left
    if begins and not g.padding_right:
        assert kept == min(needed, default=frames)
    elif begins and needed:
        assert kept >= max(0, min(*needed, frames - 1 - g.mirrored_right))


@given(geometries(STREAMING_MODES))
@moderate
def test_latency_is_the_least_whole_number(g: Conv1dGeometry) -> None:
    begun = range(g.mirrored_left + 1 if g.mirrored_left else 0, 80)
    trails = [T * g.rate - g.final_length(T) for T in begun]
    assert type(g.latency) is int
    assert max(trails) <= g.latency
    assert g.latency == 0 or max(trails) > g.latency - 1


@given(geometries(), lengths)
@moderate
def test_crop_of_part(g: Conv1dGeometry, L: int) -> None:
    """What a part calls its taps is what the whole calls them."""
    for n in range(g.length_at_end(L)):
        for first_frame in range(L):
            crop = g.crop_of_part(first_frame, n)
            frames = [n * g.stride - g.padding_left + m * g.dilation for m in range(g.kernel_size)]
            assert [first_frame + m * g.dilation - crop for m in range(g.kernel_size)] == frames


@given(geometries(("zeros",)), lengths)
@moderate
def test_transposed_is_the_adjoint(g: Conv1dGeometry, L: int) -> None:
    length = g.length_at_end(L)
    if not length:
        return
    back = g.transposed(L)
    assert back.output_length(length) == L
    assert back.is_transposed
    assert back.rate == g.stride
    ours = {(n, t, m) for n in range(length) for t, m in g.taps(n, L)}
    assert ours == {(n, t, m) for t in range(L) for n, m in back.taps(t, length)}


@given(geometries(), lengths)
@moderate
def test_stride_1_is_the_other_geometry(g: Conv1dGeometry, L: int) -> None:
    g = dataclasses.replace(g, stride=1)
    most = g.span - 1
    if max(g.padding_left, g.padding_right) > most:
        return
    same = geometry_of_conv1d(g.kernel_size, g.padding, g.dilation, g.padding_mode)
    assert same.rate == g.rate
    assert same.latency == g.latency
    assert same.length_at_end(L) == g.length_at_end(L)
    for n in range(g.length_at_end(L)):
        flipped = [(t, g.kernel_size - 1 - m) for t, m in same.taps(n, L)]
        assert flipped[::-1] == g.taps(n, L)
    if g.padding_mode != "circular":
        assert same.final_length(L) == g.final_length(L)
        assert same.first_kept(L) >= g.first_kept(L)


# --- parts of a signal --------------------------------------------------------------------------


def read(g: Conv1dGeometry, t: int) -> set[int]:
    """The frames, of all integers, that sample t has a tap of."""
    return {t * g.stride + m * g.dilation - g.padding_left for m in range(g.kernel_size)}


@given(geometries(), lengths, st.integers(0, 20), st.integers(1, 12))
@moderate
def test_frames_of_part(g: Conv1dGeometry, L: int, first: int, samples: int) -> None:
    length = defined_length(g, L)
    assume(length)
    first = min(first, length - 1)
    samples = min(samples, length - first)
    frames = set().union(*(read(g, t) for t in range(first, first + samples)))
    start, stop = frames_of_part(g, L, first, samples)
    assert start < stop
    if g.padding_mode == "zeros":
        if any(0 <= t < L for t in range(min(frames), max(frames) + 1)):
            assert 0 <= start < stop <= L
        frames &= set(range(L))
    assert frames <= set(range(start, stop))
    part = geometry_of_part(g, start, stop - start, first, samples, "zeros")
    made = part.output_length(stop - start)
    assert made == samples or (made == samples + 1 and g.stride == 1 and not frames)
    for t in range(samples):
        taps = [(frame + start, m) for frame, m in part.taps(t, stop - start)]
        want = [(t0, m) for m, t0 in enumerate(sorted(read(g, first + t))) if t0 in frames]
        assert taps == want


@given(
    geometries(), st.integers(0, 9), st.integers(0, 12), st.integers(-20, 40), st.integers(0, 30)
)
@moderate
def test_frames_needed(g: Conv1dGeometry, first: int, samples: int, start: int, count: int) -> None:
    within = range(start, start + count)
    want = {frame for t in range(first, first + samples) for frame in read(g, t)} & set(within)
    found = frames_needed(g, first, first + samples, (start, start + count))
    assert [frame for a, b in found for frame in range(a, b)] == sorted(want)
    assert all(a < b for a, b in found)
    assert all(found[i][1] < found[i + 1][0] for i in range(len(found) - 1))


@given(geometries(), st.integers(-5, 20), st.integers(0, 30))
@moderate
def test_samples_of_frames(g: Conv1dGeometry, first: int, count: int) -> None:
    start, stop = samples_of_frames(g, first, first + count)
    for t in range(-60, 60):
        inside = read(g, t) <= set(range(first, first + count))
        assert inside == (start <= t < stop)
