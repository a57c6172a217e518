"""The Conv1d: the definition, torch, numpy.pad; its bits; its messages."""

from __future__ import annotations

import itertools
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import (
    DTYPES,
    LAYOUTS,
    Conv1dCase,
    batched,
    check_maps,
    check_on_every_instruction_set,
    conv1d_cases,
    laid_out,
    wide,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from installed import tf, torch
from numpy.lib.stride_tricks import as_strided
from test_against_reference import on_every_isa, same_places
from test_functional import LAYOUTS as PLACES
from test_functional import field, unaligned
from test_invariances import F4, HALF, random_layers, same_bits

import fracstride as fs
from fracstride import reference
from fracstride.arguments import MAX_SIZE
from fracstride.conv1d_geometry import Conv1dGeometry
from fracstride.extension import PADDING_MODES, STREAMING_MODES

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
NUMPY_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def case(
    geometry: Conv1dGeometry, length: int, channels: tuple[int, int] = (3, 5), **more: Any
) -> Conv1dCase:
    defaults: dict[str, Any] = {"batch": 2, "groups": 1, "dtype": F4, "bias": True}
    defaults |= {"layout": "contiguous", "seed": 0}
    names = {"in_channels": channels[0], "out_channels": channels[1], "length": length}
    return Conv1dCase(geometry, **{**defaults, **names, **more})


# --- the definition -----------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@on_every_isa
@given(conv1d_cases())
def test_random_layers(case: Conv1dCase) -> None:
    check_maps(case, fs)


# The layers that each special path of the kernels is there for.
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize(
    ("sizes", "length", "more"),
    [
        pytest.param((1, 9), 40, {}, id="frames that no sample reads"),
        pytest.param((5, 6, 3, 4), 60, {}, id="gcd(s, d) > 1"),
        pytest.param((12, 8, 2), 200, {}, id="unequal tap counts"),
        pytest.param((40, 32), 300, {}, id="more phases than a panel"),
        pytest.param((7, 5, 250, 97), 600, {}, id="phases far apart"),
        pytest.param((3, 1, 700, 700), 50, {}, id="wide shifts"),
        pytest.param((600, 1, 300), 3, {}, id="tiny input, wide padding"),
        pytest.param((600, 2, 300), 2, {}, id="mirrored often"),
        pytest.param((3, 2, (9, 40)), 5, {}, id="more padding than the kernel reaches"),
        pytest.param((3, 2), 3, {"channels": (700, 2)}, id="many runs"),
        pytest.param((3,), 900, {"channels": (4, 40)}, id="several blocks"),
        pytest.param((16, 8), 16, {"channels": (64, 64)}, id="a single sample"),
        pytest.param((7, 1, 3), 300, {"channels": (1, 32)}, id="one input channel"),
        pytest.param((10, 5, 3), 900, {"channels": (1, 64)}, id="one input channel, stride"),
        pytest.param((7, 1, 3), 300, {"channels": (32, 1)}, id="one output channel"),
        pytest.param((12, 2, 5), 500, {"channels": (6, 6), "groups": 6}, id="depthwise, stride 2"),
        pytest.param((5, 1, (7, 4), 3), 150, {"channels": (4, 4), "groups": 4}, id="depthwise"),
        pytest.param((11, 4, 2), 150, {"channels": (4, 4), "groups": 4}, id="depthwise, stride 4"),
        pytest.param((16, 8, 4), 150, {"channels": (4, 8), "groups": 4}, id="channel multiplier"),
        pytest.param((127, 4), 300, {"channels": (1, 1)}, id="one channel, many taps"),
        pytest.param((700, 2, 20), 900, {}, id="more shifts than a run"),
    ],
)
def test_special_paths(
    mode: str, sizes: tuple[Any, ...], length: int, more: dict[str, Any], batch: int, dtype: Any
) -> None:
    sizes = (*sizes, *(1, 0, 1)[len(sizes) - 1 :])
    layer = case(Conv1dGeometry(*sizes, mode), length, dtype=np.dtype(dtype), batch=batch, **more)
    check_on_every_instruction_set(layer, fs)


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5, 11, 12, 13, 15, 16, 17, 31, 47, 48, 49, 97])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("channels", [(5, 7), (17, 32)])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_lengths_around_the_tile(
    samples: int, stride: int, channels: tuple[int, int], dtype: Any
) -> None:
    g = Conv1dGeometry(2 * stride, stride, (stride, 0))
    batch = 1 + channels[0] % 2
    layer = case(g, samples * stride, channels, batch=batch, dtype=np.dtype(dtype))
    check_on_every_instruction_set(layer, fs)


@given(conv1d_cases(dtype=np.dtype(np.float64)))
@settings(max_examples=100, deadline=None)
def test_conv1d_is_torchs_of_what_numpy_pads(case: Conv1dCase) -> None:
    g, x = case.geometry, np.array(case.x, np.float64)
    pads = [(0, 0)] * (x.ndim - 1) + [(g.padding_left, g.padding_right)]
    padded = np.pad(x, pads, mode=NUMPY_MODES[g.padding_mode])  # type: ignore[call-overload]
    x, w, b = (
        None if a is None else torch.tensor(a.astype(float)) for a in (padded, case.w, case.b)
    )
    y = tf.conv1d(x, w, b, g.stride, 0, g.dilation, case.groups).numpy()
    got = fs.conv1d(case.x, case.w, case.b, **case.options)
    assert got.shape == y.shape
    np.testing.assert_allclose(got, y, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize(
    ("k", "s", "padding", "d", "groups"),
    [
        (3, 1, 1, 1, 1),
        (4, 1, "same", 2, 2),
        (7, 3, 5, 1, 1),
        (5, 2, 4, 3, 4),
        (1, 4, "valid", 1, 1),
    ],
)
def test_positional_arguments_are_those_of_torch(
    mode: str, k: int, s: int, padding: Any, d: int, groups: int
) -> None:
    theirs = torch.nn.Conv1d(8, 12, k, s, padding, d, groups, True, mode, dtype=torch.float64)
    w, b = theirs.weight.detach().numpy(), theirs.bias.detach().numpy()
    ours = fs.Conv1d(8, 12, k, s, padding, d, groups, True, mode, dtype=np.float64)
    assert ours.weight.shape == w.shape
    assert ours.geometry == Conv1dGeometry(k, s, padding, d, mode)
    ours.weight, ours.bias = w, b
    x = np.random.default_rng(0).standard_normal((2, 8, 30))
    wanted = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours(x), wanted, rtol=1e-12, atol=1e-12)
    y = fs.Conv1d.from_weights(w, b, s, padding, d, groups, mode)(x)
    np.testing.assert_array_equal(y, ours(x))
    np.testing.assert_array_equal(fs.conv1d(x, w, b, s, padding, d, groups, padding_mode=mode), y)
    if mode == "zeros":
        wanted = tf.conv1d(*map(torch.tensor, (x, w, b)), s, padding, d, groups).numpy()
        np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)


@given(conv1d_cases(dtype=np.dtype(np.float64)))
@settings(max_examples=100, deadline=None)
def test_its_gradients_are_the_functions_that_there_are(case: Conv1dCase) -> None:
    """conv1d_adjoint in the input; R with input and output in each other's place in the weight."""
    g, options = case.geometry, case.options
    y = fs.conv1d(case.x, case.w, **options)
    gx = fs.conv1d_adjoint(case.gy, case.w, case.length, **options)
    size = 1e-12 * (1 + np.linalg.norm(y) * np.linalg.norm(case.gy))
    product = (y * case.gy).sum()
    assert abs(product - (case.x * gx).sum()) <= size
    if g.padding_mode == "zeros":
        back = g.transposed(case.length)
        more = {"stride": g.stride, "padding": back.padding, "dilation": g.dilation}
        more |= {"output_padding": back.output_padding, "groups": case.groups}
        gw = fs.conv_transpose1d_weight_grad(case.gy, case.x, g.kernel_size, **more)
        assert abs(product - (case.w * gw).sum()) <= size


@pytest.mark.usefixtures("isa")
@on_every_isa
@given(
    st.sampled_from([F4, BFLOAT16]).flatmap(lambda dtype: conv1d_cases(dtype=dtype)),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.sampled_from(["x", "w"]),
    st.integers(0, 2**31),
)
def test_nan_and_inf_go_where_the_definition_says(
    case: Conv1dCase, value: float, operand: str, place: int
) -> None:
    assume(case.x.size)
    arrays = {name: np.array(getattr(case, name)) for name in ("x", "w")}
    arrays[operand].reshape(-1)[place % arrays[operand].size] = value
    x, w = (laid_out(arrays[name], case.layout) for name in ("x", "w"))
    exact = reference.conv1d(
        batched(wide(arrays["x"])), wide(arrays["w"]), None, case.geometry, case.groups
    )
    same_places(fs.conv1d(x, w, **case.options), exact if case.batch is not None else exact[0])


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_sizes_that_only_integers_can_hold(mode: str) -> None:
    # Strides, dilations and paddings far longer than any signal: no array may be as long.
    for huge in (2**40, 2**60):
        for geometry, length in (
            (Conv1dGeometry(2, 1, (huge, 0), huge, mode), 3),
            (Conv1dGeometry(2, 1, (0, huge), huge, mode), 1),
            (Conv1dGeometry(1, huge, (huge, huge), 1, mode), 5),
            (Conv1dGeometry(1, huge, 0, 1, mode), 1),
            (Conv1dGeometry(3, huge, (huge, huge), huge, mode), 1),
            (Conv1dGeometry(3, huge - 1, (huge, huge - 3), huge // 2, mode), 7),
        ):
            check_maps(case(geometry, length), fs)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 2])
def test_long_sums_are_cut_into_runs(channels: int, stride: int) -> None:
    # A sum of equal products is the worst case: every rounding has the same sign.
    k = 16384
    w = np.full((channels, channels, k), 0.1, np.float32)
    x = np.full((channels, k), 0.1, np.float32)
    exact = channels * k * float(np.float32(0.1)) ** 2
    y = fs.conv1d(x, w, stride=stride)
    assert abs(y.astype(float) - exact).max() <= 8 * np.finfo(np.float32).eps * exact


# --- bits ---------------------------------------------------------------------------------------


# Layers large enough for several threads, blocks and panels; every kind of kernel.
LAYERS: dict[str, tuple[dict[str, Any], int, int, int, int]] = {
    "dense": (dict(kernel_size=16, stride=8, padding=4), 64, 96, 1, 1200),
    "stride 1": (dict(kernel_size=7, dilation=3, padding=9), 64, 64, 1, 700),
    "unequal taps": (dict(kernel_size=11, stride=5, padding=3), 48, 64, 1, 1000),
    "grouped": (dict(kernel_size=8, stride=4, padding=2), 64, 64, 8, 1600),
    "depthwise": (dict(kernel_size=7, padding=3), 64, 64, 64, 900),
    "depthwise, stride 2": (dict(kernel_size=12, stride=2, padding=5), 64, 64, 64, 1800),
    "dilated": (dict(kernel_size=5, stride=2, padding=2, dilation=3), 40, 48, 1, 1000),
    "one input": (dict(kernel_size=10, stride=5, padding=3), 1, 128, 1, 8000),
    "one output": (dict(kernel_size=7, padding=3), 64, 1, 1, 3000),
    "many runs": (dict(kernel_size=4, stride=2, padding=1), 1100, 40, 1, 120),
    "one tap": (dict(kernel_size=1), 200, 100, 1, 300),
    "frames skipped": (dict(kernel_size=2, stride=5, padding=(9, 0)), 70, 80, 1, 900),
}


def operands(name: str, mode: str, batch: int = 3, dtype: Any = F4) -> tuple[Any, ...]:
    sizes, in_channels, out_channels, groups, length = LAYERS[name]
    rng = np.random.default_rng(7)
    geometry = Conv1dGeometry(**sizes, padding_mode=mode)
    x = rng.standard_normal((batch, in_channels, length))
    w = rng.standard_normal((out_channels, in_channels // groups, geometry.kernel_size))
    b = rng.standard_normal(out_channels)
    options = {**sizes, "groups": groups, "padding_mode": mode}
    del options["kernel_size"]
    return *(a.astype(dtype) for a in (x, w, b)), geometry, options


large_layers = pytest.mark.parametrize("name", LAYERS)
every_mode = pytest.mark.parametrize("mode", PADDING_MODES)
single_and_bfloat16 = pytest.mark.parametrize("dtype", [F4, BFLOAT16], ids=str)


@pytest.mark.usefixtures("isa")
@every_mode
@large_layers
@single_and_bfloat16
def test_threads_runs_and_position_in_the_batch(name: str, mode: str, dtype: Any) -> None:
    x, w, b, _, options = operands(name, mode, dtype=dtype)
    fs.set_num_threads(1)
    alone = fs.conv1d(x, w, b, **options)
    for threads in (1, 2, 7):
        fs.set_num_threads(threads)
        same_bits(fs.conv1d(x, w, b, **options), alone)
    for i in range(len(x)):
        same_bits(fs.conv1d(x[i], w, b, **options), alone[i])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("mode", STREAMING_MODES)
@large_layers
@single_and_bfloat16
def test_prefix(name: str, mode: str, dtype: Any) -> None:
    x, w, b, geometry, options = operands(name, mode, 1, dtype)
    whole = fs.conv1d(x, w, b, **options)
    for length in (1, 2, 5, 16, 17, 50, 64, 100, x.shape[-1] - 1):
        if final := geometry.final_length(length):
            y = fs.conv1d(x[..., :length], w, b, **options)
            same_bits(y[..., :final], whole[..., :final])


@pytest.mark.usefixtures("isa")
@large_layers
@pytest.mark.parametrize("length", [30, 31, 47, None])
def test_weight_packed_for_one_call(name: str, length: int | None) -> None:
    # The function packs the weight for one call, perhaps panel by panel; the layer packs it for all
    # calls; for a batch the function packs it as a whole.
    x, w, b, _, options = operands(name, "zeros", batch=1)
    x = x[..., :length]
    y = fs.conv1d(x, w, b, **options)
    same_bits(fs.Conv1d.from_weights(w, b, **options)(x), y)
    same_bits(fs.conv1d(np.concatenate([x] * 4), w, b, **options)[3:], y)


@pytest.mark.usefixtures("isa")
@random_layers
@given(conv1d_cases(), st.sampled_from(LAYOUTS))
def test_function_layer_layout_and_out(case: Conv1dCase, layout: str) -> None:
    plain = [laid_out(np.array(a), "contiguous").astype(case.dtype) for a in (case.x, case.w)]
    y = fs.conv1d(*plain, case.b, **case.options)
    x, w = (laid_out(a, layout) for a in plain)
    same_bits(fs.conv1d(x, w, case.b, **case.options), y)
    layer = fs.Conv1d.from_weights(w, case.b, **case.options)
    same_bits(layer(x), y)
    same_bits(layer(case.x), y)
    out = laid_out(np.full(y.shape, 9, y.dtype), layout)
    assert fs.conv1d(case.x, case.w, case.b, **case.options, out=out) is out
    same_bits(out.astype(y.dtype), y)
    out[...] = 9
    assert layer(case.x, out=out) is out
    same_bits(out.astype(y.dtype), y)


@pytest.mark.usefixtures("isa")
@random_layers
@given(conv1d_cases())
def test_stride_1_has_the_bits_of_the_transposed_layer(case: Conv1dCase) -> None:
    g = case.geometry
    assume(g.stride == 1 and max(g.padding_left, g.padding_right) < g.span)
    options = case.options
    del options["stride"]
    transposed = fs.ConvTranspose1d.from_conv1d(case.w, case.b, **options)
    same_bits(fs.conv1d(case.x, case.w, case.b, **options), transposed(case.x))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["stride 1", "depthwise", "one output", "one tap"])
def test_large_layers_of_stride_1_too(name: str, dtype: Any, mode: str) -> None:
    x, w, b, _, options = operands(name, mode, 2, dtype)
    transposed = fs.ConvTranspose1d.from_conv1d(w, b, **options)
    layer = fs.Conv1d.from_weights(w, b, **options)
    for length in (1, 15, 16, 33, 64, x.shape[-1]):
        try:
            y = layer(x[..., :length])
        except ValueError:
            continue
        same_bits(transposed(x[..., :length]), y)


@pytest.mark.usefixtures("isa")
@random_layers
@given(
    conv1d_cases(),
    st.sampled_from(LAYOUTS),
    st.sampled_from([None, 0.1, 0.0, -0.5, 3]),
    st.booleans(),
    st.booleans(),
)
def test_what_surrounds_a_layer(
    case: Conv1dCase, layout: str, slope: float | None, add: bool, special: bool
) -> None:
    # A leaky ReLU before and a sum after the layer, fused or as separate operations.
    if case.dtype.kind == "c":
        slope = None
    x, w = np.array(case.x), np.array(case.w)
    if special and x.size:
        values = [np.nan, np.inf, -0.0, -np.inf]
        if case.seed % 2:
            x.reshape(-1)[:: 7 + case.seed % 5] = values[case.seed // 2 % 4]
        else:
            w.reshape(-1)[case.seed % w.size] = np.nan
    layer = fs.Conv1d.from_weights(w, case.b, **case.options)
    with np.errstate(all="ignore"):
        bent = x if slope is None else np.where(x > 0, x, x * x.dtype.type(slope))
        y = layer(bent.astype(x.dtype))
        residual = np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype) if add else None
        want = y if residual is None else (residual + y).astype(y.dtype)
    more = None if residual is None else laid_out(residual, layout)
    out = laid_out(np.full(y.shape, 9, y.dtype), layout)
    got = layer(laid_out(x, layout), negative_slope=slope, residual=more)
    layer(laid_out(x, layout), negative_slope=slope, residual=more, out=out)
    nan, zero = np.isnan(want.astype(np.complex128)), y.dtype.type(0)
    for result in (got, out.astype(y.dtype)):
        np.testing.assert_array_equal(np.isnan(result.astype(np.complex128)), nan)
        same_bits(np.where(nan, zero, result), np.where(nan, zero, want))


@pytest.mark.usefixtures("isa")
@large_layers
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("dtype", [F4, *HALF], ids=str)
def test_what_surrounds_a_large_layer(name: str, mode: str, dtype: Any) -> None:
    x, w, b, _, options = operands(name, mode, 2, dtype)
    layer = fs.Conv1d.from_weights(w, b, **options)
    y = layer(np.where(x > 0, x, x * dtype.type(0.1)))
    residual = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    for threads in (1, 3):
        fs.set_num_threads(threads)
        same_bits(layer(x, negative_slope=0.1, residual=residual), residual + y)


@pytest.mark.usefixtures("isa")
@random_layers
@given(
    st.sampled_from([F4, BFLOAT16]).flatmap(lambda dtype: conv1d_cases(dtype=dtype)),
    st.integers(1, 400),
    st.sampled_from([0.0, -0.0, np.nan]),
)
def test_what_surrounds_a_signal(case: Conv1dCase, more: int, other: float) -> None:
    # The same frames inside a longer signal, with a NaN or signed zeros behind them, and with NaN
    # among the weights: samples that only see the shared frames keep their bits.
    g = case.geometry
    final = g.final_length(case.length)
    assume(case.x.size and g.padding_mode in ("zeros", "replicate") and final)
    x = np.array(case.x, case.dtype)
    tail = np.full((*x.shape[:-1], more), other, x.dtype)
    for w in (case.w, np.where(np.abs(case.w) > 1, case.w.dtype.type(np.nan), case.w)):
        short = fs.conv1d(x, w, None, **case.options)
        long = fs.conv1d(np.concatenate([x, tail], -1), w, None, **case.options)
        long, short = long[..., :final], short[..., :final]
        nan, zero = np.isnan(short.astype(np.float64)), x.dtype.type(0)
        np.testing.assert_array_equal(np.isnan(long.astype(np.float64)), nan)
        same_bits(np.where(nan, zero, long), np.where(nan, zero, short))


@pytest.mark.usefixtures("isa")
@every_mode
@pytest.mark.parametrize("stride", [1, 2, 3, 8])
@single_and_bfloat16
def test_depthwise_in_any_layout(stride: int, mode: str, dtype: Any) -> None:
    # A kernel of its own may read contiguous inputs only.
    rng = np.random.default_rng(0)
    for k, d in itertools.product((1, 3, 7, 12), (1, 3)):
        w, b = rng.standard_normal((6, 1, k)).astype(dtype), rng.standard_normal(6).astype(dtype)
        options = {"stride": stride, "padding": (3, 40), "groups": 6, "dilation": d}
        for length in (1, 15, 16, 63, 200, 700):
            x = rng.standard_normal((2, 6, length)).astype(dtype)
            y = fs.conv1d(x, w, b, **options, padding_mode=mode)
            same_bits(fs.conv1d(laid_out(x, "strided"), w, b, **options, padding_mode=mode), y)
            same_bits(
                fs.conv1d(x[:, 2:3], w[:1], b[:1], **{**options, "groups": 1}),
                fs.conv1d(x[:, [2] * 6], w[[0] * 6], b[[0] * 6], **options)[:, :1],
            )


@pytest.mark.usefixtures("isa")
@single_and_bfloat16
def test_underflow_leaves_the_same_zero_everywhere(dtype: Any) -> None:
    # Products that underflow to -0: whether an absent term is added must not show.
    w = np.full((3, 4, 6), -1e-30, dtype)
    x = np.full((4, 200), 1e-30, dtype)
    for padding, stride in itertools.product(range(8), (1, 2)):
        y = fs.conv1d(x, w, stride=stride, padding=padding)
        assert not np.signbit(y.astype(np.float32)).any()


# --- operands of every kind ---------------------------------------------------------------------


X, W, B = (
    np.random.default_rng(i).standard_normal(s) for i, s in enumerate([(2, 4, 9), (6, 2, 3), (6,)])
)
LAYER: dict[str, Any] = {"stride": 2, "groups": 2, "padding": 1}  # 5 samples


def call(**changes: Any) -> Any:
    return fs.conv1d(**{"input": X, "weight": W, "bias": B, **LAYER, **changes})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_operands_lie_anywhere(place: Any, dtype: Any) -> None:
    plain = {"input": X.astype(dtype), "weight": W.astype(dtype), "bias": B.astype(dtype)}
    y = call(**plain)
    same_bits(call(**{name: place(array) for name, array in plain.items()}), y)
    for array in (place(np.zeros_like(y)), unaligned(y), field(y)):
        assert call(**plain, out=array) is array
        same_bits(np.ascontiguousarray(array).astype(dtype), y)
    one = as_strided(np.zeros(1, dtype), y.shape, (0, 0, 0))  # the last value written stays
    call(**plain, out=one)
    layer = fs.Conv1d.from_weights(place(plain["weight"]), place(plain["bias"]), **LAYER)
    same_bits(layer(place(plain["input"])), y)


def test_numbers_ranks_and_empty_batches() -> None:
    same_bits(fs.conv1d([[1, 2, 3]], [[[1, 1]]]), np.array([[3.0, 5.0]]))
    same_bits(fs.conv1d(np.ones((1, 3), np.float32), [[[1, 1]]], [1]), np.full((1, 2), 3, F4))
    assert fs.conv1d([[1, 2]], [[[1j]]]).dtype == np.complex128
    for mode in PADDING_MODES:
        y = call(padding_mode=mode)
        for i in range(2):
            same_bits(call(input=X[i], padding_mode=mode), y[i])
        assert call(input=X[:0], padding_mode=mode).shape == (0, 6, 5)
        out = np.empty((0, 6, 5))
        assert call(input=X[:0], padding_mode=mode, out=out) is out
    for dtype in DTYPES:
        layer = fs.Conv1d(4, 6, 3, 2, 1, groups=2, dtype=dtype)
        assert layer(X[:0].astype(dtype)).shape == (0, 6, 5)
        assert layer(X[0].astype(dtype)).shape == (6, 5)


# --- errors -------------------------------------------------------------------------------------


def refuses(error: type[Exception], subject: str, got: str, **changes: Any) -> None:
    """The message begins with the argument and shows its value. Nothing is written."""
    pattern = rf"^{subject} (must|of) .*{re.escape(got)}"
    out = np.full((2, 6, 5), 7.0)
    with pytest.raises(error, match=pattern):
        call(**{"out": out, **changes})
    assert (out == 7).all()
    if "out" not in changes:
        with pytest.raises(error, match=pattern):
            call(**changes)


@pytest.mark.parametrize("argument", ["stride", "dilation", "groups"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (2**62 + 1, ValueError),
        (True, TypeError),
        (2.0, TypeError),
        ("2", TypeError),
        (None, TypeError),
    ],
)
def test_positive_sizes(argument: str, value: Any, error: type[Exception]) -> None:
    shown = str(value) if isinstance(value, int) else repr(value)
    refuses(error, argument, f"got {shown}", **{argument: value})


@pytest.mark.parametrize(
    ("error", "subject", "got", "changes"),
    [
        (ValueError, "padding", "got -1", {"padding": (1, -1)}),
        (ValueError, "padding", "got 'full'", {"padding": "full"}),
        (ValueError, "stride", "with padding='same', got 2", {"padding": "same"}),
        (TypeError, "padding", "got 1.0", {"padding": 1.0}),
        (ValueError, "padding_mode", "got 'edge'", {"padding_mode": "edge"}),
        (TypeError, "padding_mode", "got None", {"padding_mode": None}),
        (ValueError, "weight", "(C_out, C_in/groups, k) .*", {"weight": W[0]}),
        (ValueError, "weight", "got shape (6, 2, 0)", {"weight": W[..., :0]}),
        (ValueError, "groups", "divide out_channels = 6, got 4", {"groups": 4}),
        (ValueError, "input", "6 channels as the weight has, got shape", {"groups": 3}),
        (ValueError, "input", "4 channels as the weight has", {"input": X[:, :3]}),
        (ValueError, "input", "got shape (9,)", {"input": X[0, 0]}),
        (ValueError, "input length L", "got 0", {"input": X[..., :0]}),
        (ValueError, "bias", "(6,), got shape (5,)", {"bias": B[:5]}),
        (TypeError, "weight", "input, float64, got float32", {"weight": W.astype("f4")}),
        (TypeError, "bias", "got dtype int64", {"bias": np.ones(6, np.int64)}),
        (TypeError, "input", "", {"input": None}),
        (ValueError, "out", "(2, 6, 5), got (2, 6, 4)", {"out": np.zeros((2, 6, 4))}),
        (TypeError, "out", "float64, got float32", {"out": np.zeros((2, 6, 5), "f4")}),
        (TypeError, "out", "got list", {"out": []}),
    ],
    ids=range(20),
)
def test_what_does_not_fit(
    error: type[Exception], subject: str, got: str, changes: dict[str, Any]
) -> None:
    refuses(error, subject, got.removesuffix(" .*"), **changes)


def test_too_short_an_input_says_what_would_do() -> None:
    text = "input length L must be at least 3 for a kernel that spans 5 with padding (1, 1), got 2"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        call(input=X[..., :2], dilation=2)
    with pytest.raises(ValueError, match="at least 5 for a kernel that spans 5"):
        fs.Conv1d(4, 6, 5)(np.ones((4, 4), np.float32))


def test_out_does_not_overlap_an_operand() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 9))
    w = np.random.default_rng(1).standard_normal((4, 4, 3))
    for out in (x, x[:, ::-1], x[::-1]):
        with pytest.raises(ValueError, match="out must not overlap an operand"):
            fs.conv1d(x, w, padding=1, out=out)
    b = np.zeros(100)
    out = b[10 : 10 + 28].reshape(1, 4, 7)
    with pytest.raises(ValueError, match="out must not overlap an operand"):
        fs.conv1d(x[:1], w, b[9:13], out=out)
    layer = fs.Conv1d.from_weights(w, padding=1)
    for more in ({}, {"residual": x.copy()}):
        with pytest.raises(ValueError, match="out must not overlap an operand"):
            layer(x, out=x, **more)
    y = np.ones_like(x)
    with pytest.raises(ValueError, match="out must not overlap an operand"):
        layer(x, residual=y, out=y)
    locked = np.zeros_like(x)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        layer(x, out=locked)


def test_sizes_beyond_the_largest() -> None:
    refuses(ValueError, ".*length.*", f"at most 2**62, got {MAX_SIZE + 9}", padding=(MAX_SIZE, 0))
    refuses(ValueError, "padding", "at most 2**62", padding=2**62 + 1)
    refuses(ValueError, "dilation.*", f"2**62, got {MAX_SIZE + 3}", dilation=2**61 + 1)


HUGE = 2**55  # as a number of values: more than a 64-bit machine has addresses for


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("padding", [(HUGE, 0), (0, HUGE), HUGE, 2**60, (2**61, 2**60)])
def test_more_memory_than_there_is(mode: str, padding: Any) -> None:
    for dtype in DTYPES:
        x, w = X.astype(dtype), W.astype(dtype)
        with pytest.raises((MemoryError, ValueError)):
            fs.conv1d(x, w, padding=padding, groups=2, padding_mode=mode)
    one = np.full(1, 7.0)
    padding = (HUGE, 0)
    out = as_strided(one, (2, 6, HUGE + 7), (0, 0, 0))
    with pytest.raises((MemoryError, ValueError)):
        call(stride=1, padding=padding, padding_mode=mode, out=out)
    assert one == 7
