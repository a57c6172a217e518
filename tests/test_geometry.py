"""All rules of sizes, against torch, numpy.pad and brute force over the definition."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import itertools
import pickle
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from installed import tf, torch

from fracstride import geometry as module
from fracstride.arguments import MAX_SIZE, as_size
from fracstride.conv1d_geometry import conv1d_padding, geometry_of_conv1d
from fracstride.extension import PADDING_MODES, source_frame
from fracstride.geometry import Geometry, geometry_of
from fracstride.lengths import conv1d_output_length
from fracstride.part_geometry import frames_of_part, geometry_of_part, samples_of_frames
from fracstride.reach import taps_reaching

NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
moderate = settings(max_examples=150, deadline=None)


@st.composite
def geometries(draw: st.DrawFn, named: bool = True) -> Geometry:
    stride = draw(st.integers(1, 6))
    dilation = draw(st.integers(1, 6))
    pair = st.tuples(st.integers(0, 12), st.integers(0, 12))
    padding = draw(st.one_of(pair, st.sampled_from(["same", "causal"])) if named else pair)
    return Geometry(
        kernel_size=draw(st.integers(1, 7)),
        stride=stride,
        padding=padding,
        output_padding=(
            0 if isinstance(padding, str) else draw(st.integers(0, max(stride, dilation) - 1))
        ),
        dilation=dilation,
        padding_mode=draw(st.sampled_from(PADDING_MODES)),
    )


lengths = st.integers(1, 9)


def length_of(g: Geometry, L: int) -> int:
    """L_out by the contract's formula; draws without any sample are rejected."""
    length = (L - 1) * g.stride - g.padding_left - g.padding_right
    length += g.dilation * (g.kernel_size - 1) + g.total_output_padding + 1
    assume(length > 0)
    return length


def test_doctests() -> None:
    assert doctest.testmod(module).failed == 0


# --- arguments ----------------------------------------------------------------------------------


def test_defaults_and_field_order() -> None:
    assert Geometry(3) == Geometry(3, 1, 0, 0, 1, "zeros")
    g = Geometry(5, 4, (1, 2), 3, 2, "reflect")
    assert (g.kernel_size, g.stride, g.padding, g.output_padding) == (5, 4, (1, 2), 3)
    assert (g.dilation, g.padding_mode) == (2, "reflect")
    assert [f.name for f in dataclasses.fields(g) if f.init] == [
        "kernel_size",
        "stride",
        "padding",
        "output_padding",
        "dilation",
        "padding_mode",
    ]


@pytest.mark.parametrize(
    "one", [3, (3,), [3], np.int64(3), np.uint8(3), (np.int16(3),), np.array(3)]
)
def test_sizes_become_plain_ints(one: object) -> None:
    g = Geometry(one, one, one, 0, one)
    assert g == Geometry(3, 3, 3, 0, 3)
    for name in ("kernel_size", "stride", "output_padding", "dilation"):
        assert type(getattr(g, name)) is int
    assert g.padding == (3, 3)
    assert all(type(p) is int for p in g.padding)
    assert Geometry(3, 5, output_padding=one).output_padding == 3


@pytest.mark.parametrize(
    ("padding", "canonical"),
    [
        (2, (2, 2)),
        ((2,), (2, 2)),
        ([2], (2, 2)),
        ((1, 2), (1, 2)),
        ([np.int8(1), 2], (1, 2)),
        ("valid", (0, 0)),
        ("same", "same"),
        ("causal", "causal"),
        (np.str_("same"), "same"),
    ],
)
def test_padding_has_one_form(padding: object, canonical: object) -> None:
    g = Geometry(3, padding=padding)
    assert g.padding == canonical
    assert type(g.padding) is type(canonical)


def test_padding_mode_becomes_a_plain_str() -> None:
    assert type(Geometry(3, padding_mode=np.str_("reflect")).padding_mode) is str


@pytest.mark.parametrize("name", ["kernel_size", "stride", "dilation", "output_padding", "padding"])
@pytest.mark.parametrize("bad", [True, (False,), 2.0, np.float32(2), np.True_, None, [[2]], b"2"])
def test_wrong_types(name: str, bad: object) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be a .*int, got "):
        Geometry(**{"kernel_size": 3, name: bad})


def test_the_bool_of_numpy_1_is_no_size() -> None:
    class bool_:  # noqa: N801
        def __index__(self) -> int:
            return 1

    with pytest.raises(TypeError, match=r"^groups must be a positive int, got "):
        as_size("groups", bool_(), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 0}, "stride must be a positive int, got 0"),
        ({"stride": (0,)}, "stride must be a positive int, got 0"),
        ({"stride": -2}, "stride must be a positive int, got -2"),
        ({"kernel_size": 0}, "kernel_size must be a positive int, got 0"),
        ({"dilation": 0}, "dilation must be a positive int, got 0"),
        ({"output_padding": -1}, "output_padding must be a non-negative int, got -1"),
        ({"padding": -1}, "padding must be a non-negative int, got -1"),
        ({"padding": (1, -1)}, "padding must be a non-negative int, got -1"),
        ({"stride": (1, 2)}, "stride must be one int or a tuple of one, got (1, 2)"),
        ({"kernel_size": ()}, "kernel_size must be one int or a tuple of one, got ()"),
        ({"padding": (1, 2, 3)}, "or 'causal', got (1, 2, 3)"),
        ({"padding": ()}, "padding must be an int, (p,), (left, right), 'valid', 'same' or"),
        ({"padding": "full"}, "'valid', 'same' or 'causal', got 'full'"),
        (
            {"padding_mode": "edge"},
            "padding_mode must be one of 'zeros', 'reflect', 'replicate', 'circular', got 'edge'",
        ),
        (
            {"output_padding": 3, "stride": 3, "dilation": 2},
            "output_padding must be less than max(stride, dilation) = 3, got 3",
        ),
        ({"output_padding": 1}, "output_padding must be less than max(stride, dilation) = 1"),
        (
            {"output_padding": 1, "stride": 3, "padding": "same"},
            "output_padding must be 0 with padding='same'",
        ),
        (
            {"output_padding": 1, "stride": 3, "padding": "causal"},
            "output_padding must be 0 with padding='causal', which makes L_out = L*stride by "
            "itself, got 1",
        ),
        ({"stride": 2**62 + 1}, "stride must be at most 2**62, got 4611686018427387905"),
        ({"kernel_size": 2**62 + 1}, "kernel_size must be at most 2**62"),
        ({"padding": (0, 2**63)}, "padding must be at most 2**62"),
        ({"padding": 10**5000}, "padding must be at most 2**62, got an int of 16610 bits"),
        ({"padding": -(10**5000)}, "padding must be a non-negative int, got an int of"),
        (
            {"dilation": 2**61},
            "dilation*(kernel_size - 1) + 1 must be at most 2**62, got 4611686018427387905",
        ),
    ],
)
def test_wrong_values(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Geometry(**{"kernel_size": 3, **arguments})


@pytest.mark.parametrize("bad", [None, 3, ["zeros"], True])
def test_padding_mode_must_be_a_string(bad: object) -> None:
    with pytest.raises(TypeError, match="padding_mode must be one of 'zeros', 'reflect'"):
        Geometry(3, padding_mode=bad)


def test_output_padding_may_reach_the_dilation() -> None:
    assert Geometry(3, stride=1, dilation=4, output_padding=3).output_length(5) == 4 + 8 + 3 + 1


def test_as_size() -> None:
    assert as_size("groups", np.int32(4)) == 4
    assert as_size("n", MAX_SIZE) == MAX_SIZE
    with pytest.raises(ValueError, match=r"^chunk must be an int >= 2, got 1$"):
        as_size("chunk", 1, minimum=2)
    with pytest.raises(TypeError, match=r"^n must be a non-negative int, got \(1,\)$"):
        as_size("n", (1,))


# --- it is a value ------------------------------------------------------------------------------


def test_equality_and_hash() -> None:
    same = [Geometry(3, 2, 1), Geometry((3,), [2], (1, 1)), Geometry(np.int64(3), 2, [1])]
    assert len(set(same)) == 1
    assert len({Geometry(3, padding="same"), Geometry(3, padding=1), Geometry(3)}) == 3
    assert Geometry(3, padding="valid") == Geometry(3)
    assert Geometry(3) != Geometry(3, padding_mode="reflect")
    with pytest.raises(dataclasses.FrozenInstanceError):
        same[0].stride = 3


@given(geometries())
@moderate
def test_copies_are_equal(g: Geometry) -> None:
    for other in (
        pickle.loads(pickle.dumps(g)),
        copy.copy(g),
        copy.deepcopy(g),
        dataclasses.replace(g),
        eval(repr(g)),
    ):
        assert other == g
        assert hash(other) == hash(g)
        assert vars(other) == vars(g)


def test_replace_works_the_sizes_out_again() -> None:
    g = dataclasses.replace(Geometry(4, 2, "same"), stride=4, kernel_size=(3,))
    assert vars(g) == vars(Geometry(3, 4, "same"))
    assert g.total_output_padding == 1
    with pytest.raises(ValueError, match="stride"):
        dataclasses.replace(g, stride=0)


def test_geometry_of_remembers_and_keeps_types_apart() -> None:
    assert geometry_of(4, 2, (1, 1), 0, 1, "zeros") is geometry_of(4, 2, (1, 1), 0, 1, "zeros")
    assert geometry_of((4,), (2,), 1, (0,), 1, "zeros") == Geometry(4, 2, 1)
    assert geometry_of(np.int64(4), [2], [1, 1], 0, 1, "zeros") == Geometry(4, 2, 1)
    geometry_of(1, 1, (1, 1), 0, 1, "zeros")
    geometry_of((1,), (1,), 1, 0, (1,), "zeros")
    good = [1, 1, (1, 1), 0, 1, "zeros"]
    for position in range(5):
        bad_ones = [True, (True,), 1.0, (1.0,), np.float64(1), None]
        if position == 2:
            bad_ones += [(True, 1), (1, 1.0), [1, True]]
        if position == 3:
            bad_ones = [False, (False,), 0.0, None]
        for bad in bad_ones:
            with pytest.raises(TypeError, match="must be a"):
                geometry_of(*good[:position], bad, *good[position + 1 :])
    with pytest.raises(ValueError, match="padding_mode"):
        geometry_of(1, 1, 0, 0, 1, "edge")
    with pytest.raises(TypeError, match="padding_mode"):
        geometry_of(1, 1, 0, 0, 1, ["zeros"])


# --- lengths ------------------------------------------------------------------------------------


@given(geometries(named=False), lengths)
@moderate
def test_output_length_is_torchs(g: Geometry, L: int) -> None:
    length = length_of(g, L)
    assert g.output_length(L) == length
    symmetric = dataclasses.replace(g, padding=min(g.padding))
    y = tf.conv_transpose1d(
        torch.ones(1, 1, L),
        torch.ones(1, 1, g.kernel_size),
        None,
        g.stride,
        symmetric.padding[0],
        g.output_padding,
        1,
        g.dilation,
    )
    assert symmetric.output_length(L) == y.shape[-1]


@given(geometries(named=False), st.integers(1, 40))
@moderate
def test_input_length_is_conv1ds(g: Geometry, L_out: int) -> None:
    padded = torch.ones(1, 1, L_out + g.padding_left + g.padding_right)
    if padded.shape[-1] < g.span:
        with pytest.raises(ValueError, match=f"length must be at least .*, got {L_out}"):
            g.input_length(L_out)
        return
    kernel = torch.ones(1, 1, g.kernel_size)
    L = tf.conv1d(padded, kernel, None, g.stride, 0, g.dilation).shape[-1]
    assert g.input_length(L_out) == L
    assert 0 <= g.output_padding_for(L, L_out) < g.stride
    for other in {max(1, L - 1), L + 1} - {L}:
        with pytest.raises(ValueError, match="must be"):
            g.output_padding_for(other, L_out)


@given(geometries(), lengths, st.sampled_from(["same", "causal"]))
@moderate
def test_same_and_causal_multiply_by_the_stride(g: Geometry, L: int, padding: str) -> None:
    g = dataclasses.replace(g, padding=padding, output_padding=0)
    excess = g.dilation * (g.kernel_size - 1) + 1 - g.stride
    assert g.output_length(L) == L * g.stride
    assert g.input_length(L * g.stride) == L
    assert g.total_output_padding == max(0, -excess)
    assert g.padding_left + g.padding_right == max(0, excess)
    assert g.padding_left == (max(0, excess) // 2 if padding == "same" else 0)
    assert g.output_padding == 0
    if padding == "causal" and g.padding_mode == "zeros":  # frame t and no later one before t*s
        assert all(t <= n // g.stride for n in range(L * g.stride) for t, _ in g.taps(n, L))


def test_output_size_is_a_size_of_torch() -> None:
    assert Geometry(4, stride=3).output_length(7, torch.Size([1, 2, 24])) == 24


@given(geometries(named=False), lengths, st.integers(-3, 8))
@moderate
def test_output_padding_for(g: Geometry, L: int, extra: int) -> None:
    base = length_of(dataclasses.replace(g, output_padding=0), L)
    wanted = base + extra
    assume(wanted > 0)
    if 0 <= extra < g.stride:
        assert g.output_padding_for(L, wanted) == extra
        reached = g.with_output_size(L, (wanted,))
        assert reached == dataclasses.replace(g, output_padding=extra)
        assert reached.output_length(L) == wanted
        for form in (wanted, np.int64(wanted), (wanted,), [wanted], (7, wanted), [7, 7, wanted]):
            assert g.output_length(L, form) == wanted
        assert type(g.output_length(L, np.int64(wanted))) is int
    else:
        possible = (
            f"from {max(1, base)} to {base + g.stride - 1} for input length {L}, got {wanted}"
        )
        for method in (g.output_padding_for, g.with_output_size, g.output_length):
            with pytest.raises(ValueError, match=f"output_size must be {possible}"):
                method(L, wanted)


@pytest.mark.parametrize("padding", ["same", "causal"])
def test_output_size_is_refused_with_named_padding(padding: str) -> None:
    with pytest.raises(ValueError, match=f"output_size must be None with padding='{padding}'"):
        Geometry(4, 2, padding).output_length(3, 6)


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        ((), ValueError, "output_size must be an int, (L_out,) or a full shape, got ()"),
        ((1, 1, 1, 5), ValueError, "output_size must be an int, (L_out,) or a full shape"),
        (0, ValueError, "output_size must be a positive int, got 0"),
        ((1, 1, -5), ValueError, "output_size must be a positive int, got -5"),
        (5.0, TypeError, "output_size must be a positive int, got 5.0"),
        ((1, True), TypeError, "output_size must be a positive int, got True"),
        ("5", TypeError, "output_size must be a positive int, got '5'"),
        (2**62 + 1, ValueError, "output_size must be at most 2**62"),
    ],
)
def test_bad_output_sizes(size: object, error: type[Exception], message: str) -> None:
    for method in (Geometry(3).output_length, Geometry(3).output_padding_for):
        with pytest.raises(error, match=re.escape(message)):
            method(3, size)


def test_too_short_an_input_says_what_would_do() -> None:
    g = Geometry(3, stride=2, padding=(5, 4))
    message = "input length L must be at least 5, got 3: padding (5, 4) crops all of the 7 samples"
    with pytest.raises(ValueError, match=re.escape(message)):
        g.output_length(3)
    with pytest.raises(ValueError, match="at least 5, got 4"):
        g.output_length(4)
    assert g.output_length(5) == 2


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)])
def test_lengths_are_positive_ints(bad: object, error: type[Exception]) -> None:
    g = Geometry(3)
    calls = [
        lambda: g.output_length(bad),
        lambda: g.input_length(bad),
        lambda: g.output_padding_for(bad, 5),
        lambda: g.source(0, bad),
        lambda: g.taps(0, bad),
        lambda: g.frames_reached(bad, 5),
    ]
    for call in calls:
        with pytest.raises(error, match=r"length L(_out)? must be a positive int, got "):
            call()


def test_sizes_beyond_2_to_the_62_raise() -> None:
    huge = 2**62
    assert Geometry(1).output_length(huge) == huge
    assert Geometry(huge).output_length(1) == huge
    assert Geometry(2, dilation=huge - 5, padding=(huge - 5, 0)).output_length(5) == 5
    for g, L in (
        (Geometry(2), huge),
        (Geometry(1, 2), 2**61 + 1),
        (Geometry(huge), 2),
        (Geometry(huge, padding=huge), 2),
        (Geometry(1, huge, "same"), 2),
        (Geometry(1, huge), huge),
    ):
        with pytest.raises(ValueError, match=re.escape("must be at most 2**62, got ")):
            g.output_length(L)
    with pytest.raises(ValueError, match="input length L must be at most"):
        Geometry(1).output_length(huge + 1)
    with pytest.raises(ValueError, match="the length with its padding must be at most"):
        Geometry(1, padding=1).input_length(huge)
    wide = Geometry(2, huge - 1, dilation=huge - 1, padding_mode="circular")
    assert wide.taps(0, 1) == [(0, 0), (0, 1)]
    assert wide.frames_reached(1, 2) == ((-1, 1),)
    assert Geometry(3, padding_mode="circular").source(10**30 + 1, 10) == 1
    assert Geometry(2**40, 2**40 - 1).taps(0, 2) == [(0, 0)]
    assert Geometry(2**40).taps(2**39, 2) == [(1, 2**39 - 1), (0, 2**39)]
    assert Geometry(2**40).frames_reached(3, 5) == ((0, 3),)


# --- frames and taps ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("L", [1, 2, 3, 5])
@pytest.mark.parametrize("wide", [0, 1, 3, 17])
def test_source_is_numpy_pad(mode: str, L: int, wide: int) -> None:
    g = Geometry(3, padding_mode=mode)
    expected = np.pad(np.arange(L), (wide, wide + 1), mode=NUMPY_MODES[mode])
    assert [g.source(t, L) for t in range(-wide, L + wide + 1)] == expected.tolist()
    assert [source_frame(t, L, mode) for t in range(-wide, L + wide + 1)] == expected.tolist()


def test_source_of_zeros() -> None:
    frames = [Geometry(3).source(t, 2) for t in range(-2, 4)]
    assert frames == [None, None, 0, 1, None, None]
    assert Geometry(3).source(np.int64(1), np.int64(2)) == 1
    with pytest.raises(TypeError):
        Geometry(3).source(0.5, 2)


def all_products(g: Geometry, length: int) -> list[tuple[int, int, int]]:
    """(n, m, t) for every t*s + m*d == n + p_l with n in [0, length), by rising n, then m."""
    return [
        (n, m, (n + g.padding_left - m * g.dilation) // g.stride)
        for n in range(length)
        for m in range(g.kernel_size)
        if (n + g.padding_left - m * g.dilation) % g.stride == 0
    ]


@given(geometries(), lengths)
@moderate
def test_taps_are_the_definition(g: Geometry, L: int) -> None:
    length = length_of(g, L)
    products = all_products(g, length)
    for n in range(length):
        expected = [(g.source(t, L), m) for sample, m, t in products if sample == n]
        assert g.taps(n, L) == [(t, m) for t, m in expected if t is not None]
    assert g.taps(np.int64(0), np.int32(L)) == g.taps(0, L)
    for n in (length, length + 7):
        with pytest.raises(ValueError, match=f"sample n must be less than L_out = {length}, got"):
            g.taps(n, L)
    with pytest.raises(ValueError, match="sample n must be a non-negative int, got -1"):
        g.taps(-1, L)


@given(geometries(), lengths)
@moderate
def test_extensions_bound_the_frames(g: Geometry, L: int) -> None:
    reach = g.dilation * (g.kernel_size - 1)
    assert g.span == reach + 1
    assert g.extension_left == max(0, (reach - g.padding_left) // g.stride)
    right = (reach - g.padding_right + g.total_output_padding) // g.stride
    assert g.extension_right == max(0, right)
    frames = [t for _, _, t in all_products(g, length_of(g, L))]
    assert all(-g.extension_left <= t < L + g.extension_right for t in frames)


@given(geometries(), lengths)
@moderate
def test_extensions_reach_as_far_as_frames_reached(g: Geometry, L: int) -> None:
    length = length_of(g, L)
    if g.padding_mode == "zeros":
        g = dataclasses.replace(g, padding_mode="replicate")
    runs = g.frames_reached(L, length)
    if not runs:
        return
    reached = max(0, -runs[0][0]), max(0, runs[-1][1] - L)
    assert g.extension_left >= reached[0]
    assert g.extension_right >= reached[1]
    if length >= g.dilation:  # else all of the output may lie between two taps of the last frame
        assert (g.extension_left, g.extension_right) == reached


def test_extensions_are_reached() -> None:
    g = Geometry(12, 2, 5, padding_mode="replicate")
    frames = [t for _, _, t in all_products(g, g.output_length(20))]
    assert (min(frames), max(frames)) == (-3, 22)
    assert (g.extension_left, g.extension_right) == (3, 3)


@given(geometries(), lengths, st.integers(0, 15), st.booleans(), st.integers(0, 12))
@moderate
def test_frames_reached(g: Geometry, L: int, length: int, own: bool, first: int) -> None:
    if own:
        length = length_of(g, L)
    frames = {t for n, _, t in all_products(g, length) if n >= first}
    if g.padding_mode == "zeros":
        frames &= set(range(L))
    runs = g.frames_reached(L, length, first)
    assert {t for start, stop in runs for t in range(start, stop)} == frames
    assert all(start < stop for start, stop in runs)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(runs))
    assert g.frames_reached(np.int64(L), length, np.int64(first)) is runs


@given(geometries(), lengths, st.integers(0, 15))
@moderate
def test_edges(g: Geometry, L: int, length: int) -> None:
    """The frames reached outside the input, in intervals that keep to one side of it."""
    edges = g.edges(L, length)
    assert list(edges) == sorted(edges)
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    assert all(start < stop and (stop <= 0 or start >= L) for start, stop in runs)
    reached = {t for start, stop in g.frames_reached(L, length) for t in range(start, stop)}
    assert {t for start, stop in runs for t in range(start, stop)} == reached - set(range(L))


@given(geometries(), lengths, st.integers(0, 40), st.integers(1, 9))
@moderate
def test_frames_of_part(g: Geometry, L: int, first: int, samples: int) -> None:
    length = length_of(g, L)
    first = min(first, length - 1)
    samples = min(samples, length - first)
    reached = {t for n, _, t in all_products(g, first + samples) if n >= first}
    start, stop = frames_of_part(g, L, first, samples)
    if g.padding_mode == "zeros":
        reached &= set(range(L))
        assert 0 <= start < stop <= L
    assert reached <= set(range(start, stop))
    part = geometry_of_part(g, start, stop - start, first, samples, "zeros")
    assert part.output_length(stop - start) == samples
    if g.padding_mode == "zeros":
        for n in range(samples):
            taps = [(t + start, m) for t, m in part.taps(n, stop - start)]
            assert taps == g.taps(first + n, L)


@given(geometries(), st.integers(-5, 20), st.integers(0, 8))
@moderate
def test_samples_of_frames(g: Geometry, first: int, count: int) -> None:
    start, stop = samples_of_frames(g, first, first + count)

    def frames(n: int) -> set[int]:
        pairs = taps_reaching(n + g.padding_left, g.kernel_size, g.stride, g.dilation)
        return {t for t, _ in pairs}

    for n in range(start, stop):
        assert frames(n) <= set(range(first, first + count))
    assert first - 1 in frames(start - 1)
    assert first + count in frames(stop)


def test_frames_reached_with_gaps() -> None:
    g = Geometry(3, stride=1, dilation=10, padding=(20, 0), padding_mode="circular")
    assert g.frames_reached(4, 2) == ((0, 2), (10, 12), (20, 22))
    assert dataclasses.replace(g, padding_mode="zeros").frames_reached(11, 2) == ((0, 2), (10, 11))
    assert g.frames_reached(4, 0) == ()
    many = Geometry(5000, dilation=10, padding_mode="circular").frames_reached(4, 2)
    assert len(many) == 5000


# --- Conv1d -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("padding", "k", "d", "expected"),
    [
        (2, 5, 1, (2, 2)),
        ((2,), 5, 1, (2, 2)),
        ([1, 2], 5, 1, (1, 2)),
        ("valid", 5, 1, (0, 0)),
        ("same", 5, 1, (2, 2)),
        ("same", 4, 1, (1, 2)),
        ("same", 4, 3, (4, 5)),
        ("same", (4,), (3,), (4, 5)),
        ("causal", 4, 3, (9, 0)),
        ("causal", 1, 3, (0, 0)),
    ],
)
def test_conv1d_padding(padding: object, k: int, d: int, expected: tuple[int, int]) -> None:
    assert conv1d_padding(padding, k, 1, d) == expected


def test_conv1d_padding_errors() -> None:
    with pytest.raises(
        ValueError, match="stride must be 1 for a Conv1d with padding='same', got 2"
    ):
        conv1d_padding("same", 3, stride=2)
    with pytest.raises(ValueError, match="or 'causal', got 'full'"):
        conv1d_padding("full", 3)
    with pytest.raises(TypeError, match="padding must be a non-negative int, got True"):
        conv1d_padding(True, 3)
    with pytest.raises(ValueError, match="at most 2"):
        conv1d_padding("causal", 3, 1, 2**62)
    assert conv1d_padding("causal", 3, 4) == (2, 0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@given(
    st.integers(1, 30),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.one_of(st.integers(0, 5), st.sampled_from(["same", "valid"])),
)
@moderate
def test_conv1d_output_length_is_torchs(
    length: int, k: int, s: int, d: int, padding: object
) -> None:
    s = 1 if padding == "same" else s
    left, right = conv1d_padding(padding, k, s, d)
    if length + left + right <= d * (k - 1):
        with pytest.raises(ValueError, match="length must be at least"):
            conv1d_output_length(length, k, s, (left, right), d)
        return
    y = tf.conv1d(torch.ones(1, 1, length), torch.ones(1, 1, k), None, s, padding, d)
    assert conv1d_output_length(length, k, s, (left, right), d) == y.shape[-1]


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 15), st.integers(0, 15), lengths)
@moderate
def test_conv1d_geometry_has_the_taps_of_a_conv1d(
    k: int, d: int, left: int, right: int, L: int
) -> None:
    most = d * (k - 1)
    if max(left, right) > most:
        with pytest.raises(
            ValueError, match=re.escape(f"(kernel_size - 1) = {most} on a side, got")
        ):
            geometry_of_conv1d(k, (left, right), d)
        return
    g = geometry_of_conv1d(k, (left, right), d, "circular")
    length = L + left + right - most
    if length < 1:
        with pytest.raises(ValueError, match="input length L must be at least"):
            g.output_length(L)
        return
    assert g.output_length(L) == length
    for n in range(length):
        assert g.taps(n, L) == [((n + (k - 1 - m) * d - left) % L, m) for m in range(k)]
