"""The definition against torch, numpy.pad and explicit sums."""

from __future__ import annotations

import doctest

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from installed import tf, torch
from numpy.typing import NDArray

from fracstride import reference
from fracstride.conv1d_geometry import Conv1dGeometry, conv1d_padding
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry
from fracstride.reference import (
    conv1d,
    conv1d_adjoint,
    conv_transpose1d,
    conv_transpose1d_input_grad,
    conv_transpose1d_weight_grad,
)

Array = NDArray[np.float64]
NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
moderate = settings(max_examples=150, deadline=None)


def close(actual: Array, expected: object) -> None:
    wanted = np.asarray(expected)
    assert (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(actual, wanted, rtol=1e-10, atol=1e-10)


def draws(seed: int, *shapes: tuple[int, ...], dtype: str = "float64") -> list[Array]:
    rng = np.random.default_rng(seed)
    if dtype == "complex128":
        return [rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in shapes]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@st.composite
def cases(
    draw: st.DrawFn, modes: tuple[str, ...] = PADDING_MODES
) -> tuple[Geometry, int, int, tuple[Array, Array, Array]]:
    """A geometry, an input length, groups, and input, weight and bias."""
    stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    padding = draw(
        st.one_of(
            st.integers(0, 6),
            st.tuples(st.integers(0, 12), st.integers(0, 12)),
            st.sampled_from(["same", "causal"]),
        )
    )
    named = isinstance(padding, str)
    g = Geometry(
        kernel_size=draw(st.integers(1, 6)),
        stride=stride,
        padding=padding,
        output_padding=0 if named else draw(st.integers(0, max(stride, dilation) - 1)),
        dilation=dilation,
        padding_mode=draw(st.sampled_from(modes)),
    )
    L = draw(st.integers(1, 7))
    uncropped = (L - 1) * stride + g.span + g.total_output_padding
    assume(uncropped > g.padding_left + g.padding_right)
    groups = draw(st.integers(1, 3))
    batch, c_in, c_out = draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    shapes = (batch, groups * c_in, L), (groups * c_in, c_out, g.kernel_size), (groups * c_out,)
    return g, L, groups, tuple(draws(draw(st.integers(0, 2**32)), *shapes))


def torch_transpose(
    x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None, g: Geometry, groups: int
) -> torch.Tensor:
    """torch's operator; two-sided padding and any output padding are done by hand."""
    full = tf.conv_transpose1d(x, w, b, g.stride, 0, 0, groups, g.dilation)
    rest = b[:, None] if b is not None else torch.zeros(full.shape[1], 1, dtype=full.dtype)
    extra = rest.expand(full.shape[0], full.shape[1], g.total_output_padding)
    full = torch.cat([full, extra], 2)
    return full[..., g.padding_left : full.shape[-1] - g.padding_right]


def test_doctests() -> None:
    assert doctest.testmod(reference).failed == 0


# --- zeros: torch -------------------------------------------------------------------------------


@given(cases(("zeros",)), st.booleans())
@moderate
def test_zeros_is_torch(case: tuple, biased: bool) -> None:
    g, L, groups, (x, w, b) = case
    y = conv_transpose1d(x, w, b if biased else None, g, groups)
    assert y.shape == (x.shape[0], b.size, g.output_length(L))
    bias = torch.tensor(b) if biased else None
    close(y, torch_transpose(torch.tensor(x), torch.tensor(w), bias, g, groups))
    if g.padding_left == g.padding_right and not isinstance(g.padding, str):
        arguments = (g.stride, g.padding_left, g.output_padding, groups, g.dilation)
        close(y, tf.conv_transpose1d(torch.tensor(x), torch.tensor(w), bias, *arguments))


@given(cases(("zeros",)))
@moderate
def test_both_adjoints_of_zeros_are_torchs_gradients(case: tuple) -> None:
    g, L, groups, (x, w, _) = case
    xt, wt = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    y = torch_transpose(xt, wt, None, g, groups)
    (gy,) = draws(0, tuple(y.shape))
    y.backward(torch.tensor(gy))
    close(conv_transpose1d_input_grad(gy, w, L, g, groups), xt.grad)
    close(conv_transpose1d_weight_grad(x, gy, g, groups), wt.grad)


@given(cases(("zeros",)))
@moderate
def test_output_length_takes_the_place_of_output_padding(case: tuple) -> None:
    g, L, groups, (x, w, b) = case
    assume(not isinstance(g.padding, str))
    y = conv_transpose1d(x, w, b, g, groups)
    bare = Geometry(g.kernel_size, g.stride, g.padding, 0, g.dilation)
    np.testing.assert_array_equal(
        conv_transpose1d(x, w, b, bare, groups, output_length=g.output_length(L)), y
    )
    if g.output_length(L) > 1:
        prefix = conv_transpose1d(x, w, b, g, groups, output_length=g.output_length(L) - 1)
        np.testing.assert_array_equal(prefix, y[..., :-1])


# --- extension: numpy.pad -----------------------------------------------------------------------


def pad_transpose_crop(
    x: Array, w: Array, b: Array, g: Geometry, groups: int, frames: int
) -> torch.Tensor:
    """Pad, transpose, crop, as vocoders write it, with at least the frames needed on each side."""
    wide = np.pad(x, ((0, 0), (0, 0), (frames, frames)), mode=NUMPY_MODES[g.padding_mode])
    full = tf.conv_transpose1d(
        torch.tensor(wide), torch.tensor(w), torch.tensor(b), g.stride, 0, 0, groups, g.dilation
    )
    start = frames * g.stride + g.padding_left
    return full[..., start : start + g.output_length(x.shape[-1])]


@given(cases(tuple(NUMPY_MODES)), st.integers(0, 2))
@moderate
def test_extension_is_pad_transpose_crop(case: tuple, more: int) -> None:
    g, _, groups, (x, w, b) = case
    assume(x.size)  # numpy.pad has no view on an empty batch
    frames = max(g.extension_left, g.extension_right) + more
    expected = pad_transpose_crop(x, w, b, g, groups, frames)
    if expected.shape[-1] < g.output_length(x.shape[-1]):  # beyond the last kernel: bias alone
        missing = g.output_length(x.shape[-1]) - expected.shape[-1]
        tail = torch.tensor(b)[:, None].expand(len(x), b.size, missing)
        expected = torch.cat([expected, tail], 2)
    close(conv_transpose1d(x, w, b, g, groups), expected)


def test_replicate_is_bigvgans_upsampler() -> None:
    channels, L = 3, 11
    x, taps = draws(1, (2, channels, L), (12,))
    w = np.broadcast_to(taps, (channels, 1, 12)).copy()
    padded = tf.pad(torch.tensor(x), (5, 5), mode="replicate")
    y = tf.conv_transpose1d(padded, torch.tensor(w), stride=2, groups=channels)[..., 15:-15]
    assert y.shape[-1] == 2 * L
    g = Geometry(12, 2, 5, padding_mode="replicate")
    close(conv_transpose1d(x, w, None, g, channels), y)


@pytest.mark.parametrize("padding", ["same", "causal"])
@pytest.mark.parametrize(("k", "s", "d"), [(4, 2, 1), (7, 3, 2), (16, 4, 1), (2, 5, 1), (9, 1, 4)])
def test_circular_of_length_l_times_s_wraps_the_output(
    padding: str, k: int, s: int, d: int
) -> None:
    L = 3  # shorter than the kernel reaches: mirrored or wrapped more than once
    x, w = draws(2, (2, 2, L), (2, 3, k))
    g = Geometry(k, s, padding, dilation=d, padding_mode="circular")
    expected = np.zeros((2, 3, L * s))
    for t in range(L):
        for m in range(k):
            n = (t * s + m * d - g.padding_left) % (L * s)
            expected[..., n] += x[..., t] @ w[..., m]
    close(conv_transpose1d(x, w, None, g), expected)


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_extension_can_be_far_wider_than_the_input(mode: str) -> None:
    x, w, b = draws(3, (1, 2, 1), (2, 2, 40), (2,))
    for g in (Geometry(40, 1, "same", dilation=9), Geometry(40, 3, 0, 2, 7)):
        g = Geometry(g.kernel_size, g.stride, g.padding, g.output_padding, g.dilation, mode)
        close(conv_transpose1d(x, w, b, g), pad_transpose_crop(x, w, b, g, 1, 400))


@given(cases())
@moderate
def test_taps_are_what_the_reference_sums(case: tuple) -> None:
    g, L, groups, (x, w, b) = case
    expected = np.broadcast_to(b[:, None], (len(x), b.size, g.output_length(L))).copy()
    c_in, c_out = x.shape[1] // groups, b.size // groups
    for n in range(g.output_length(L)):
        for t, m in g.taps(n, L):
            for c in range(b.size):
                rows = slice(c // c_out * c_in, (c // c_out + 1) * c_in)
                expected[:, c, n] += x[:, rows, t] @ w[rows, c % c_out, m]
    close(conv_transpose1d(x, w, b, g, groups), expected)


# --- the triple ---------------------------------------------------------------------------------


@given(cases(), st.sampled_from(["float64", "complex128"]))
@moderate
def test_the_three_maps_are_adjoint(case: tuple, dtype: str) -> None:
    g, L, groups, (x, w, b) = case
    x, w, gy = draws(4, x.shape, w.shape, (len(x), b.size, g.output_length(L)), dtype=dtype)
    gx = conv_transpose1d_input_grad(gy, w, L, g, groups)
    gw = conv_transpose1d_weight_grad(x, gy, g, groups)
    y = conv_transpose1d(x, w, None, g, groups)
    assert (gx.shape, gw.shape, y.shape) == (x.shape, w.shape, gy.shape)
    assert gx.dtype == gw.dtype == y.dtype == dtype
    close(np.array([(x * gx).sum(), (w * gw).sum()]), np.array([(y * gy).sum()] * 2))


def test_bilinear_in_complex_numbers() -> None:
    g = Geometry(3, 2, 1, padding_mode="reflect")
    x, w, gy = draws(5, (1, 2, 4), (2, 3, 3), (1, 3, 7), dtype="complex128")
    for call in (
        lambda a: conv_transpose1d(a * x, w, None, g),
        lambda a: conv_transpose1d(x, a * w, None, g),
        lambda a: conv_transpose1d_input_grad(a * gy, w, 4, g),
        lambda a: conv_transpose1d_input_grad(gy, a * w, 4, g),
        lambda a: conv_transpose1d_weight_grad(a * x, gy, g),
        lambda a: conv_transpose1d_weight_grad(x, a * gy, g),
        lambda a: conv1d_adjoint(a * gy[..., :3], w.swapaxes(0, 1), 7, 2),
        lambda a: conv1d_adjoint(gy[..., :3], a * w.swapaxes(0, 1), 7, 2),
    ):
        close(call(1j), 1j * call(1))
    assert conv_transpose1d(x.real, w, None, g).dtype == np.complex128


@pytest.mark.parametrize(
    "dtype", ["int8", "bool", "float32", ">f4", ml_dtypes.bfloat16, "float16", "complex64"]
)
def test_every_dtype_is_converted(dtype: object) -> None:
    x, w = (np.array(a > 0).astype(dtype) for a in draws(6, (1, 2, 4), (2, 3, 3)))
    wide = np.complex128 if np.iscomplexobj(x) else np.float64
    y = conv_transpose1d(x, w, None, Geometry(3))
    assert y.dtype == wide
    np.testing.assert_array_equal(
        y, conv_transpose1d(x.astype(wide), w.astype(wide), None, Geometry(3))
    )


def test_operands_are_left_alone() -> None:
    operands = draws(7, (1, 2, 4), (2, 3, 3), (3,))
    for operand in operands:
        operand.flags.writeable = False
    x, w, b = operands
    y = conv_transpose1d(x, w, b, Geometry(3))
    conv_transpose1d_input_grad(y, w, 4, Geometry(3))
    conv_transpose1d_weight_grad(x, y, Geometry(3))
    assert not np.shares_memory(conv_transpose1d(x, w, b, Geometry(3)), y)


# --- Conv1d -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@given(
    mode=st.sampled_from(PADDING_MODES),
    padding=st.one_of(st.integers(0, 4), st.sampled_from(["valid", "same"])),
    kernel_size=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    groups=st.integers(1, 2),
    length=st.integers(5, 14),
)
@example("circular", 4, 5, 1, 1, 1, 5)
@example("reflect", "same", 4, 1, 1, 2, 7)
@moderate
def test_conv1d_adjoint_is_torchs_gradient(
    mode: str,
    padding: int | str,
    kernel_size: int,
    stride: int,
    dilation: int,
    groups: int,
    length: int,
) -> None:
    stride = 1 if padding == "same" else stride
    left, right = conv1d_padding(padding, kernel_size, stride, dilation)
    assume(length + left + right > dilation * (kernel_size - 1))
    assume(max(left, right) < length)  # torch mirrors once
    layer = torch.nn.Conv1d(
        2 * groups,
        3 * groups,
        kernel_size,
        stride,
        padding,
        dilation,
        groups,
        bias=False,
        padding_mode=mode,
        dtype=torch.float64,
    )
    x = torch.randn(2, 2 * groups, length, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    (gy,) = draws(8, tuple(y.shape))
    y.backward(torch.tensor(gy))
    w = layer.weight.detach().numpy()
    gx = conv1d_adjoint(gy, w, length, stride, (left, right), groups, dilation, mode)
    close(gx, x.grad)


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize(("length", "padding"), [(1, (3, 9)), (2, (7, 4)), (3, (0, 20))])
def test_conv1d_adjoint_with_wide_padding(mode: str, length: int, padding: tuple[int, int]) -> None:
    w, x, gy = draws(9, (1, 1, 4), (1, 1, length), (1, 1, (length + sum(padding) - 4) // 2 + 1))
    padded = np.pad(x, ((0, 0), (0, 0), padding), mode=NUMPY_MODES[mode])
    y = tf.conv1d(torch.tensor(padded), torch.tensor(w), stride=2).numpy()
    gx = conv1d_adjoint(gy, w, length, 2, padding, padding_mode=mode)
    close(np.array((x * gx).sum()), np.array((y * gy).sum()))


def test_conv1d_adjoint_of_zeros_is_the_transposed_convolution() -> None:
    gy, w = draws(10, (2, 4, 5), (4, 3, 3))
    g = Geometry(3, 2, (2, 1)).with_output_size(5, 9)
    close(conv1d_adjoint(gy, w, 9, 2, (2, 1), groups=2), conv_transpose1d(gy, w, None, g, 2))


def test_conv1d_adjoint_needs_the_length_that_the_conv1d_had() -> None:
    gy, w = draws(11, (1, 1, 5), (1, 1, 3))
    with pytest.raises(ValueError, match="a Conv1d does not make 5 samples of output_length 8"):
        conv1d_adjoint(gy, w, 8)
    with pytest.raises(ValueError, match="length must be at least 3"):
        conv1d_adjoint(gy, w, 2)


# --- Conv1d -------------------------------------------------------------------------------------


@st.composite
def conv1d_cases(draw: st.DrawFn) -> tuple[Conv1dGeometry, int, int, tuple[Array, Array, Array]]:
    """A geometry, an input length, groups, and input, weight and bias."""
    stride = draw(st.integers(1, 5))
    g = Conv1dGeometry(
        kernel_size=draw(st.integers(1, 6)),
        stride=stride,
        padding=draw(
            st.one_of(
                st.tuples(st.integers(0, 12), st.integers(0, 12)),
                st.sampled_from(["causal", "same"] if stride == 1 else ["causal"]),
            )
        ),
        dilation=draw(st.integers(1, 4)),
        padding_mode=draw(st.sampled_from(PADDING_MODES)),
    )
    least = max(1, g.span - g.padding_left - g.padding_right)
    L, groups = draw(st.integers(least, least + 7)), draw(st.integers(1, 3))
    batch, c_in, c_out = draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    shapes = (batch, groups * c_in, L), (groups * c_out, c_in, g.kernel_size), (groups * c_out,)
    return g, L, groups, tuple(draws(draw(st.integers(0, 2**32)), *shapes))


@given(conv1d_cases(), st.booleans())
@moderate
def test_conv1d_is_torchs_of_what_numpy_pads(case: tuple, biased: bool) -> None:
    g, L, groups, (x, w, b) = case
    y = conv1d(x, w, b if biased else None, g, groups)
    assert y.shape == (len(x), len(w), g.output_length(L))
    mode = NUMPY_MODES.get(g.padding_mode, "constant")
    padded = np.pad(x, ((0, 0), (0, 0), (g.padding_left, g.padding_right)), mode=mode)
    bias = torch.tensor(b) if biased else None
    operands = torch.tensor(padded), torch.tensor(w), bias
    close(y, tf.conv1d(*operands, g.stride, 0, g.dilation, groups))


@given(conv1d_cases(), st.sampled_from(["float64", "complex128"]))
@moderate
def test_conv1d_and_its_adjoint(case: tuple, dtype: str) -> None:
    g, L, groups, (x, w, b) = case
    x, w, gy = draws(14, x.shape, w.shape, (len(x), b.size, g.output_length(L)), dtype=dtype)
    pads = (g.padding_left, g.padding_right)
    gx = conv1d_adjoint(gy, w, L, g.stride, pads, groups, g.dilation, g.padding_mode)
    y = conv1d(x, w, None, g, groups)
    close(np.array((y * gy).sum()), np.array((x * gx).sum()))
    if g.padding_mode == "zeros":  # R with input and output in each other's place
        gw = conv_transpose1d_weight_grad(gy, x, g.transposed(L), groups)
        close(np.array((y * gy).sum()), np.array((w * gw).sum()))


@given(conv1d_cases())
@moderate
def test_conv1d_of_a_single_one_is_a_tap(case: tuple) -> None:
    g, L, _, _ = case
    for t in range(L):
        x = np.eye(L)[t][None, None]
        for m in range(g.kernel_size):
            y = conv1d(x, np.eye(g.kernel_size)[m][None, None], None, g)
            there = [g.taps(n, L).count((t, m)) for n in range(g.output_length(L))]
            np.testing.assert_array_equal(y[0, 0], there)


# --- NaN ----------------------------------------------------------------------------------------


@given(cases(), st.data())
@moderate
def test_a_nan_reaches_what_it_is_a_factor_of_and_no_more(case: tuple, data: st.DataObject) -> None:
    g, L, groups, (x, w, b) = case
    assume(x.size)
    length = g.output_length(L)
    (gy,) = draws(12, (len(x), b.size, length))
    products = {(n, t, m) for n in range(length) for t, m in g.taps(n, L)}
    c_in, c_out = x.shape[1] // groups, b.size // groups
    group = data.draw(st.integers(0, groups - 1))
    ins, outs = slice(group * c_in, (group + 1) * c_in), slice(group * c_out, (group + 1) * c_out)
    row, column = group * c_in + c_in - 1, group * c_out + c_out - 1

    bad = data.draw(st.integers(0, L - 1), label="frame")
    spoilt = x.copy()
    spoilt[0, row, bad] = np.nan
    y, gw = np.zeros(gy.shape, bool), np.zeros(w.shape, bool)
    for n, t, m in products:
        if t == bad:
            y[0, outs, n] = True
            gw[row, :, m] = True
    np.testing.assert_array_equal(np.isnan(conv_transpose1d(spoilt, w, b, g, groups)), y)
    np.testing.assert_array_equal(np.isnan(conv_transpose1d_weight_grad(spoilt, gy, g, groups)), gw)

    bad = data.draw(st.integers(0, g.kernel_size - 1), label="tap")
    spoilt = w.copy()
    spoilt[row, -1, bad] = np.nan
    y, gx = np.zeros(gy.shape, bool), np.zeros(x.shape, bool)
    for n, t, m in products:
        if m == bad:
            y[:, column, n] = True
            gx[:, row, t] = True
    np.testing.assert_array_equal(np.isnan(conv_transpose1d(x, spoilt, b, g, groups)), y)
    np.testing.assert_array_equal(
        np.isnan(conv_transpose1d_input_grad(gy, spoilt, L, g, groups)), gx
    )

    bad = data.draw(st.integers(0, length - 1), label="sample")
    spoilt = gy.copy()
    spoilt[0, column, bad] = np.nan
    gx, gw = np.zeros(x.shape, bool), np.zeros(w.shape, bool)
    for n, t, m in products:
        if n == bad:
            gx[0, ins, t] = True
            gw[ins, -1, m] = True
    np.testing.assert_array_equal(
        np.isnan(conv_transpose1d_input_grad(spoilt, w, L, g, groups)), gx
    )
    np.testing.assert_array_equal(np.isnan(conv_transpose1d_weight_grad(x, spoilt, g, groups)), gw)


def test_a_nan_weight_does_not_come_through_frames_that_do_not_exist() -> None:
    x, w = draws(13, (1, 1, 2), (1, 1, 3))
    w[..., 2] = np.nan
    y = conv_transpose1d(x, w, None, Geometry(3))
    np.testing.assert_array_equal(np.isnan(y), [[[False, False, True, True]]])
    torch_y = tf.conv_transpose1d(torch.tensor(x), torch.tensor(w))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(torch_y.numpy()))


@pytest.mark.filterwarnings("error")
def test_infinities_make_no_noise() -> None:
    x = np.array([[[np.inf, -np.inf, 0.0]]])
    y = conv_transpose1d(x, [[[1.0, 1.0]]], None, Geometry(2))
    np.testing.assert_array_equal(y, [[[np.inf, np.nan, -np.inf, 0]]])
    gx = conv_transpose1d_input_grad([[[np.inf, -np.inf, 0, 0]]], [[[1.0, 1.0]]], 3, Geometry(2))
    np.testing.assert_array_equal(gx, [[[np.nan, -np.inf, 0]]])
    gw = conv_transpose1d_weight_grad(x, [[[1.0, 1, 1, 1]]], Geometry(2))
    np.testing.assert_array_equal(gw, [[[np.nan, np.nan]]])
