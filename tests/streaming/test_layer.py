"""A layer's stream: its bits, its schedule, its memory, its messages."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, Case, cases, laid_out, wide
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from streams import check_stream, pieces_of, scheduled, through_a_file
from test_invariances import LAYERS, operands, random_layers, same_bits

import fracstride as fs
from fracstride.extension import STREAMING_MODES

CUTS = st.lists(st.integers(0, 300), max_size=12)


def layer_of(case: Case) -> fs.ConvTranspose1d:
    return fs.ConvTranspose1d.from_weights(case.w, case.b, **case.options)


@pytest.mark.usefixtures("isa")
@random_layers
@given(cases(), st.sampled_from(STREAMING_MODES), CUTS)
def test_any_chunks(case: Case, mode: str, cuts: list[int]) -> None:
    g = case.geometry
    layer = fs.ConvTranspose1d.from_weights(
        case.w, case.b, **{**case.options, "padding_mode": mode}
    )
    assume(case.batch != 0)
    check_stream(
        lambda: layer.stream(case.batch),
        layer,
        case.x.astype(case.dtype),
        cuts,
        lambda frames: scheduled(layer.geometry, frames),
    )
    assert layer.stream().latency == layer.geometry.latency
    e = g.span - g.stride
    a = g.total_output_padding
    assert layer.geometry.latency == g.padding_left + max(0, g.padding_right - a - e)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_geometry_of_streams(case: Case) -> None:
    """A sample is final, by definition, if every longer input gives it the same terms."""
    g = case.geometry
    assume(g.padding_mode != "circular")
    frames = min(case.length, 12)
    longer = [frames + i for i in (*range(8), 40)]
    lengths = [L * g.stride + g.overhang for L in longer]
    final = 0
    while final < min(lengths) and all(
        g.taps(final, L) == g.taps(final, longer[0]) for L in longer[1:]
    ):
        final += 1
    assert g.final_length(frames) <= final
    # The next frame's first tap lands on sample T*s - p_l, if there is one of that number.
    if frames * g.stride >= g.padding_left and (
        g.padding_mode != "reflect" or frames > 2 * g.extension_left + g.extension_right
    ):
        assert g.final_length(frames) == final
    assert g.final_length(frames) == scheduled(g, frames)
    # The kept frames are enough, and each of them is needed.
    kept = g.first_kept(frames)
    assert g.crop_of_part(kept, g.final_length(frames)) >= 0
    after = [
        (n, L)
        for L in longer
        for n in range(g.final_length(frames), max(0, L * g.stride + g.overhang))
    ]
    needed = {t for n, L in after for t, _ in g.taps(n, L)}
    assert all(t >= kept for t in needed)
    assert kept <= g.first_kept(frames + 1)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("mode", STREAMING_MODES)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("size", [1, 7, 33])
def test_real_sizes(name: str, mode: str, size: int) -> None:
    x, w, b, _, geometry, options = operands(name, mode, batch=2)
    layer = fs.ConvTranspose1d.from_weights(w, b, **options)
    for threads in (1, 2):
        fs.set_num_threads(threads)
        check_stream(
            lambda: layer.stream(2),
            layer,
            x[..., : 20 * size],
            range(0, 20 * size, size),
            lambda frames: scheduled(geometry, frames),
        )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", STREAMING_MODES)
@pytest.mark.parametrize("before", [0, 1, 3, 100])
def test_long_chunks(dtype: Any, mode: str, before: int) -> None:
    # Long chunks are read in place, except where they join the frames that the stream keeps.
    rng = np.random.default_rng(1)
    for sizes in (
        dict(stride=2, padding=5),
        dict(stride=3, padding=(9, 20)),
        dict(stride=13, padding=0),
        dict(dilation=3, padding=17),
    ):
        w = rng.standard_normal((3, 2, 12)).astype(dtype)
        layer = fs.ConvTranspose1d.from_weights(w, **sizes, padding_mode=mode)
        x = rng.standard_normal((2, 3, before + 1600)).astype(dtype)
        cuts = [before, before + 1200, before + 1201, before + 1202]
        g = layer.geometry
        for chunks in (cuts, [before], [before, before + 1599]):
            check_stream(
                lambda layer=layer: layer.stream(2),
                layer,
                x,
                chunks,
                lambda frames, g=g: scheduled(g, frames),
            )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_leaky_relu(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((6, 4, 9)).astype(dtype)
    layer = fs.ConvTranspose1d.from_weights(w, stride=3, padding="same")
    if np.dtype(dtype).kind == "c":
        with pytest.raises(TypeError, match="negative_slope must be None"):
            layer.stream(negative_slope=0.1)
        return
    x = rng.standard_normal((1, 6, 900)).astype(dtype)
    for cuts in ([2, 3, 50], [1]):
        check_stream(
            lambda: layer.stream(negative_slope=0.1),
            lambda x: layer(x, negative_slope=0.1),
            x,
            cuts,
        )


@pytest.mark.usefixtures("isa")
def test_weights_that_are_not_finite() -> None:
    # A frame that does not exist adds no term, not 0 * NaN, in every chunk.
    rng = np.random.default_rng(0)
    for mode in STREAMING_MODES:
        for k, s, p in ((9, 2, 3), (5, 1, 2), (4, 4, 0), (16, 4, 6)):
            w = rng.standard_normal((3, 4, k)).astype(np.float32)
            w[1, 2, k // 2] = np.nan
            w[2, 0, 0] = np.inf
            layer = fs.ConvTranspose1d.from_weights(w, None, s, p, padding_mode=mode)
            x = rng.standard_normal((1, 3, 40)).astype(np.float32)
            y = layer(x)
            stream = layer.stream()
            got = [stream.push(c) for c in pieces_of(x, [1, 2, 9, 30])] + [stream.flush()]
            np.testing.assert_array_equal(np.concatenate(got, -1), y)


@given(cases(), CUTS, st.sampled_from(["contiguous", "transposed", "reversed", "strided"]))
@settings(max_examples=100, deadline=None)
def test_out_and_layouts(case: Case, cuts: list[int], layout: str) -> None:
    assume(case.geometry.padding_mode != "circular" and case.batch != 0)
    layer = layer_of(case)
    stream, other = layer.stream(case.batch), layer.stream(case.batch)
    for i, chunk in enumerate(pieces_of(case.x.astype(case.dtype), cuts)):
        expected = other.push(chunk)
        assert stream.output_length(chunk.shape[-1]) == expected.shape[-1]
        out = laid_out(np.full_like(expected, 9), layout)
        assert stream.push(laid_out(chunk, layout) if i % 2 else chunk, out=out) is out
        same_bits(np.array(out), expected)
    expected = other.flush()
    assert stream.output_length(0, last=True) == expected.shape[-1]
    out = laid_out(np.full_like(expected, 9), layout)
    assert stream.flush(out=out) is out
    same_bits(np.array(out), expected)


CAUSAL = (
    dict(kernel_size=16, stride=8, padding=0),
    dict(kernel_size=9, stride=4, padding="causal"),
    dict(kernel_size=7, dilation=3, padding="causal"),
    dict(kernel_size=7, dilation=3, padding="causal", padding_mode="replicate"),
    dict(kernel_size=2, stride=4, padding="causal"),
    dict(kernel_size=4, stride=4, padding=0, padding_mode="reflect"),
)


@pytest.mark.usefixtures("isa")
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CAUSAL),
    st.sampled_from(DTYPES),
    st.lists(
        st.tuples(
            st.integers(0, 9), st.lists(st.booleans(), min_size=4, max_size=4), st.integers(0, 5)
        ),
        max_size=15,
    ),
    st.booleans(),
)
def test_rows_join_and_leave(sizes: dict[str, Any], dtype: Any, steps: Any, nan: bool) -> None:
    """Each row against a stream of its own, which is pushed, flushed, reset and saved alike."""
    rng = np.random.default_rng(3)
    k, s, padding, d, mode = (
        sizes.get(name, default)
        for name, default in (
            ("kernel_size", 0),
            ("stride", 1),
            ("padding", 0),
            ("dilation", 1),
            ("padding_mode", "zeros"),
        )
    )
    w = rng.standard_normal((2, 3, k)).astype(dtype)
    if nan:
        w[0, 0, -1] = np.nan
    layer = fs.ConvTranspose1d.from_weights(w, None, s, padding, dilation=d, padding_mode=mode)
    stream, alone = layer.stream(4), [layer.stream() for _ in range(4)]
    assert stream.independent_rows
    for frames, mask, what in steps:
        x = rng.standard_normal((4, 2, frames)).astype(dtype)
        active = np.array(mask)
        if what == 0:
            stream.reset(rows=active)
            for row in np.flatnonzero(active):
                alone[row].reset()
            continue
        if what == 1:
            state = through_a_file(stream.state())
            stream = layer.stream(4)
            stream.restore(state)
        everybody = what == 2
        if what == 3:
            y = stream.flush(rows=active)
            expected = [alone[row].flush() if on else None for row, on in enumerate(mask)]
        elif what == 4:
            y = stream.finish(x, rows=active)
            expected = [
                alone[row].finish(x[row : row + 1]) if on else None for row, on in enumerate(mask)
            ]
        else:
            y = stream.push(x, active=None if everybody else active)
            expected = [
                alone[row].push(x[row : row + 1]) if on or everybody else None
                for row, on in enumerate(mask)
            ]
        for row, one in enumerate(expected):
            if one is not None and one.shape[-1]:
                np.testing.assert_array_equal(wide(y[row : row + 1]), wide(one))
            else:  # it has nothing to say
                assert not np.asarray(y[row], np.complex128).any()


def test_a_row_that_has_not_begun_carries_nothing() -> None:
    layer = fs.ConvTranspose1d(2, 2, 5, padding="causal", rng=0)
    stream = layer.stream(2)
    stream.push(np.full((2, 2, 3), np.nan, np.float32))
    stream.reset(rows=[False, True])
    stream.push(np.ones((2, 2, 1), np.float32), active=[False, True])
    state = stream.state()
    assert state["received"].tolist() == [3, 1]
    assert state["frames"][1].tolist() == [[0, 0, 1], [0, 0, 1]]
    stream.reset(rows=[True, False])
    assert stream.state()["frames"].tolist() == [[[0], [0]], [[1], [1]]]


def test_two_streams_of_one_layer_in_two_threads() -> None:
    layer = fs.ConvTranspose1d(64, 48, 16, stride=8, padding=4, rng=0)
    signals = np.random.default_rng(0).standard_normal((2, 1, 64, 400)).astype(np.float32)
    got: list[Any] = [None, None]

    def run(i: int) -> None:
        stream = layer.stream()
        pieces = [stream.push(signals[i][..., t : t + 3]) for t in range(0, 400, 3)]
        got[i] = np.concatenate([*pieces, stream.flush()], -1)

    for _ in range(5):
        layer.weight = layer.weight  # the thread that comes first packs it again
        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(2):
            same_bits(got[i], layer(signals[i]))


def test_a_million_pushes() -> None:
    resource = pytest.importorskip("resource")
    unit = 1 if sys.platform == "darwin" else 1024

    def most_memory() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    layer = fs.ConvTranspose1d(2, 1, 4, stride=2, padding=1, rng=0)
    stream, chunk = layer.stream(), np.ones((1, 2, 1), np.float32)
    for _ in range(10_000):
        y = stream.push(chunk)
    before, state = most_memory(), stream.state()
    for _ in range(1_000_000):
        y = stream.push(chunk)
    assert most_memory() - before < 1_000_000  # a byte per push
    assert stream.state()["frames"].shape == state["frames"].shape == (1, 2, 1)
    assert stream.state()["received"].tolist() == [1_010_000]
    same_bits(y, layer(np.ones((1, 2, 20), np.float32))[..., 11:13])


def test_the_weight_is_the_layers() -> None:
    layer = fs.ConvTranspose1d.from_weights(np.ones((1, 1, 2)), stride=2)
    stream = layer.stream(None)
    assert stream.push([[1.0]]).tolist() == [[1, 1]]
    layer.weight = 2 * layer.weight
    assert stream.push([[1.0]]).tolist() == [[2, 2]]


def test_messages() -> None:
    layer = fs.ConvTranspose1d(3, 4, 7, stride=2, padding=2, rng=0)
    x = np.ones((2, 3, 5), np.float32)
    with pytest.raises(ValueError, match=r"padding_mode must be .* got 'circular'"):
        fs.ConvTranspose1d(1, 1, 1, padding_mode="circular").stream()
    with pytest.raises(ValueError, match="batch_size must be a positive int, got 0"):
        layer.stream(0)
    with pytest.raises(TypeError, match=r"batch_size must be a positive int, got 1\.5"):
        layer.stream(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="negative_slope must be a number"):
        layer.stream(negative_slope="0.1")  # type: ignore[arg-type]
    stream = layer.stream(2)
    first = stream.push(x)
    state = stream.state()

    def refused(error: type[Exception], match: str, call: Any) -> None:
        with pytest.raises(error, match=match):
            call()
        after = stream.state()
        assert after.keys() == state.keys()
        for key in state:
            np.testing.assert_array_equal(after[key], state[key])

    shape = (
        r"chunk must have the shape \(batch_size, in_channels, frames\) = \(2, 3, T\), got shape"
    )
    refused(ValueError, shape + r" \(1, 3, 5\)", lambda: stream.push(x[:1]))
    refused(ValueError, shape + r" \(3, 5\)", lambda: stream.push(x[0]))
    refused(ValueError, shape + r" \(\)", lambda: stream.push(1.0))
    refused(
        TypeError,
        "chunk must have the dtype of the layer, float32, got float64",
        lambda: stream.push(x.astype(float)),
    )
    refused(TypeError, "chunk must be an array, got None", lambda: stream.push(None))
    refused(
        ValueError, r"out must have the shape \(2, 4, 10\), got", lambda: stream.push(x, out=first)
    )
    out = np.zeros((2, 4, 10), np.float32)
    refused(TypeError, "out must have the dtype", lambda: stream.push(x, out=out.astype(float)))
    refused(TypeError, "out must be a NumPy array", lambda: stream.push(x, out=[]))
    both = np.empty(2 * 4 * 10, np.float32)
    overlap = both.reshape(2, 4, 10)
    refused(
        ValueError, "out must not overlap", lambda: stream.push(overlap[:, :3, :5], out=overlap)
    )
    for mask in ([True], [1, 0], np.ones((2, 1), bool)):
        refused(
            ValueError,
            "active must be a mask of 2 bools",
            lambda mask=mask: stream.push(x, active=mask),
        )
        refused(
            ValueError, "rows must be a mask of 2 bools", lambda mask=mask: stream.reset(rows=mask)
        )
    refused(ValueError, "frames must be a non-negative int", lambda: stream.output_length(-1))
    refused(TypeError, "state must be what a stream's state", lambda: stream.restore([]))
    refused(ValueError, "state must have the keys", lambda: stream.restore({"frames": 1}))
    for wrong in (
        {"received": np.array([5.0, 5.0])},
        {"received": np.array([5])},
        {"received": np.array([-5, -5])},
        {"received": np.array([2**63, 2**63], np.uint64)},
        {"received": np.array([1, 1])},
        {"frames": state["frames"][..., 1:]},
        {"frames": state["frames"].astype(float)},
    ):
        refused(
            ValueError,
            "state (received|frames) must be",
            lambda wrong=wrong: stream.restore({**state, **wrong}),
        )
    causal = fs.ConvTranspose1d(3, 4, 7, stride=2, padding="causal", rng=0).stream(2)
    with pytest.raises(ValueError, match="has no batch"):
        fs.ConvTranspose1d(3, 4, 7, padding="causal").stream(None).reset(rows=[True])
    assert repr(causal).endswith(".stream(batch_size=2)")
    same_bits(np.concatenate([first, stream.finish(x)], -1), layer(np.concatenate([x, x], -1)))
