"""The layer: its parameters, its packed weight, and the bits of the function."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from installed import tf, torch

import fracstride as fs
from fracstride import packed as module
from fracstride.extension import PADDING_MODES
from fracstride.packed import PackedLayer

DTYPES = [
    np.dtype(dtype) for dtype in ("f4", "f8", "f2", ml_dtypes.bfloat16, np.complex64, np.complex128)
]
TORCH_PAD = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


def draw(seed: int, *shape: int, dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def same_bits(got: Any, wanted: Any) -> None:
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    assert got.tobytes() == wanted.tobytes()


def make(**options: Any) -> fs.ConvTranspose1d:
    """4 channels to 6 in 2 groups, 5 taps, stride 3."""
    given = {"stride": 3, "padding": (1, 2), "groups": 2, "rng": 0}
    return fs.ConvTranspose1d(4, 6, 5, **{**given, **options})


# --- the layer is the function ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_the_function(dtype: np.dtype[Any], mode: str, bias: bool) -> None:
    for options in (
        {"stride": 3, "padding": (1, 2), "output_padding": 2, "groups": 2, "dilation": 2},
        {"stride": 2, "padding": "same"},
        {"padding": "causal", "groups": 2},
        {},
    ):
        options = {**options, "padding_mode": mode}
        layer = fs.ConvTranspose1d(4, 6, 5, **options, bias=bias, dtype=dtype, rng=1)
        assert layer.dtype == dtype
        for shape in ((2, 4, 7), (4, 7), (0, 4, 7), (1, 4, 1)):
            x = draw(2, *shape, dtype=dtype)
            wanted = fs.conv_transpose1d(x, layer.weight, layer.bias, **options)
            same_bits(layer(x), wanted)
            again = fs.ConvTranspose1d.from_weights(layer.weight, layer.bias, **options)
            same_bits(again(x), wanted)


def test_positional_arguments_are_those_of_torch() -> None:
    options = (6, 5, 3, 2, 1, 2, False, 3, "reflect")
    layer = fs.ConvTranspose1d(4, *options, rng=0)
    g = layer.geometry
    assert g == fs.Geometry(5, 3, 2, 1, 3, "reflect")
    assert (layer.groups, layer.bias) == (2, None)
    theirs = torch.nn.ConvTranspose1d(4, *options[:-1])
    assert layer.weight.shape == tuple(theirs.weight.shape)
    weights = fs.ConvTranspose1d.from_weights(layer.weight, None, *options[2:6], 3, "reflect")
    assert (weights.geometry, weights.groups) == (g, 2)


def test_output_size() -> None:
    layer = make()
    x = draw(1, 2, 4, 7)
    for size in (20, 21, 22):
        wanted = fs.conv_transpose1d(
            x, layer.weight, layer.bias, 3, (1, 2), groups=2, output_size=size
        )
        assert wanted.shape == (2, 6, size)
        same_bits(layer(x, output_size=size), wanted)
        same_bits(layer(x, (2, 6, size)), wanted)
    same_bits(layer(x), layer(x, 20))
    with pytest.raises(ValueError, match=r"^output_size must be from 20 to 22 .* got 23"):
        layer(x, 23)
    with pytest.raises(ValueError, match=r"^output_size must be None with padding='same'"):
        make(padding="same")(x, 21)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inputs_of_every_kind(dtype: np.dtype[Any]) -> None:
    layer = make(dtype=dtype)
    x = np.rint(4 * draw(1, 2, 4, 7, dtype=dtype).real).astype(dtype)
    wanted = layer(x)
    assert wanted.dtype == dtype
    same_bits(layer(np.asfortranarray(x)), wanted)
    same_bits(layer(x[:, :, ::-1].copy()[:, :, ::-1]), wanted)
    same_bits(layer(x.real.astype(float).astype(int).tolist()), wanted)
    if dtype.kind != "V":
        same_bits(layer(x.astype(dtype.newbyteorder("S"))), wanted)
    read_only = x.copy()
    read_only.flags.writeable = False
    same_bits(layer(read_only), wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inputs_of_another_dtype(dtype: np.dtype[Any]) -> None:
    layer = make(dtype=dtype)
    for other in [*DTYPES, np.dtype(np.int64), np.dtype(bool), np.dtype(object)]:
        if other == dtype:
            continue
        text = f"of the layer, {dtype}, got {other}" if other in DTYPES else f"got dtype {other}"
        with pytest.raises(TypeError, match=rf"^input must .*{text}$"):
            layer(np.ones((2, 4, 7), other))


def test_float64_into_float32_says_what_to_do_with_it() -> None:
    text = "input must have the dtype of the layer, float32, got float64"
    with pytest.raises(TypeError, match=f"^{text}$"):
        make()(np.ones((2, 4, 7)))


@pytest.mark.parametrize(
    ("value", "error", "got"),
    [
        (np.ones((2, 3, 7), np.float32), ValueError, "got shape (2, 3, 7)"),
        (np.ones((7,), np.float32), ValueError, "got shape (7,)"),
        (np.ones((1, 2, 4, 7), np.float32), ValueError, "got shape (1, 2, 4, 7)"),
        (np.ones((2, 4, 0), np.float32), ValueError, "got 0"),
        ([[1j, 2, 3]] * 4, TypeError, "float32"),
        ([["a"]] * 4, TypeError, "nested lists of numbers"),
        ("abc", TypeError, "got dtype <U3"),
        (None, TypeError, ""),
    ],
    ids=range(8),
)
def test_inputs_that_are_refused(value: Any, error: type[Exception], got: str) -> None:
    layer = make()
    with pytest.raises(error, match=rf"^input .*{re.escape(got)}"):
        layer(value)
    x = draw(1, 4, 7)
    same_bits(layer(x), make()(x))


def test_input_too_short_for_the_padding() -> None:
    with pytest.raises(ValueError, match=r"^input length L must be at least 3, got 1"):
        make(padding=(4, 5))(np.ones((4, 1), np.float32))


# --- initial values -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("out_channels", "kernel", "groups"), [(64, 16, 1), (32, 7, 4), (4, 3, 4)])
def test_initial_values(dtype: np.dtype[Any], out_channels: int, kernel: int, groups: int) -> None:
    layer = fs.ConvTranspose1d(2048, out_channels, kernel, groups=groups, dtype=dtype, rng=3)
    assert layer.weight.shape == (2048, out_channels // groups, kernel)
    assert layer.bias is not None
    assert layer.bias.shape == (out_channels,)
    assert (layer.weight.dtype, layer.bias.dtype) == (dtype, dtype)
    bound = (groups / (out_channels * kernel)) ** 0.5
    rounding = 1 + float(ml_dtypes.finfo(dtype).eps)
    parts = [layer.weight]
    if dtype.kind == "c":
        bound /= 2**0.5
        parts = [layer.weight.real, layer.weight.imag]
        correlation = np.corrcoef(*(part.ravel() for part in parts))[0, 1]
        assert abs(correlation) < 0.05
        assert abs(layer.bias.imag).max() > 0
    for values in (*parts, layer.bias.real):
        assert abs(values.astype(np.float64)).max() <= bound * rounding
    for part in parts:
        values = part.astype(np.float64)
        # At least 6144 draws: each bound is at least 5 standard deviations away.
        assert values.max() > 0.99 * bound
        assert values.min() < -0.99 * bound
        assert abs(values.mean()) < 0.05 * bound
        assert abs(values.std() / (bound / 3**0.5) - 1) < 0.05
    biases = [
        fs.ConvTranspose1d(groups, out_channels, kernel, groups=groups, dtype=dtype, rng=i).bias
        for i in range(256)
    ]
    values = np.array(biases).real.astype(np.float64)
    assert 0.95 * bound < values.max() <= bound * rounding
    assert abs(values.std() / (bound / 3**0.5) - 1) < 0.1


def test_seeds() -> None:
    a, b, other = make(rng=7), make(rng=7), make(rng=8)
    same_bits(a.weight, b.weight)
    same_bits(a.bias, b.bias)
    assert (a.weight != other.weight).any()
    assert (a.bias != other.bias).any()
    same_bits(make(rng=np.random.default_rng(7)).weight, a.weight)
    same_bits(make(rng=np.random.SeedSequence(7)).weight, a.weight)


def test_a_generator_is_drawn_from() -> None:
    generator = np.random.default_rng(7)
    first, second = make(rng=generator), make(rng=generator)
    same_bits(first.weight, make(rng=7).weight)
    assert (first.weight != second.weight).all()
    assert generator.random() != np.random.default_rng(7).random()


def test_without_seed_every_layer_is_another() -> None:
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert (make(rng=None).weight != make(rng=None).weight).any()
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_weight_and_bias_are_drawn_apart() -> None:
    layer = fs.ConvTranspose1d(6, 6, 1, groups=6, rng=0)
    assert (layer.weight.ravel() != layer.bias).all()
    same_bits(make(bias=False).weight, make().weight)


# --- constructors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "error", "got"),
    [
        ("in_channels", 0, ValueError, "0"),
        ("in_channels", True, TypeError, "True"),
        ("in_channels", 4.0, TypeError, "4.0"),
        ("in_channels", (4,), TypeError, "(4,)"),
        ("in_channels", 2**62 + 1, ValueError, "4611686018427387905"),
        ("out_channels", -1, ValueError, "-1"),
        ("out_channels", None, TypeError, "None"),
        ("kernel_size", 0, ValueError, "0"),
        ("kernel_size", (3, 3), ValueError, "(3, 3)"),
        ("kernel_size", "3", TypeError, "'3'"),
        ("stride", 0, ValueError, "0"),
        ("stride", True, TypeError, "True"),
        ("padding", -1, ValueError, "-1"),
        ("padding", "full", ValueError, "'full'"),
        ("padding", (1, 2, 3), ValueError, "(1, 2, 3)"),
        ("output_padding", 3, ValueError, "3"),
        ("output_padding", 1.0, TypeError, "1.0"),
        ("groups", 0, ValueError, "0"),
        ("groups", 1.5, TypeError, "1.5"),
        ("dilation", 0, ValueError, "0"),
        ("padding_mode", "edge", ValueError, "'edge'"),
        ("padding_mode", None, TypeError, "None"),
        ("bias", 1, TypeError, "1"),
        ("bias", None, TypeError, "None"),
        ("bias", np.zeros(6), TypeError, ""),
        ("dtype", "int32", TypeError, "'int32'"),
        ("dtype", np.longlong, TypeError, ""),
        ("dtype", "nothing", TypeError, "'nothing'"),
        ("dtype", None, TypeError, "None"),
    ],
)
def test_constructor_arguments(argument: str, value: Any, error: type[Exception], got: str) -> None:
    given = {"in_channels": 4, "out_channels": 6, "kernel_size": 5, "stride": 3, argument: value}
    with pytest.raises(error, match=rf"^{argument} must .*got {re.escape(got)}"):
        fs.ConvTranspose1d(**given)


def test_groups_divide_the_channels() -> None:
    with pytest.raises(ValueError, match=r"^groups must divide in_channels = 4, got 3$"):
        fs.ConvTranspose1d(4, 6, 1, groups=3)
    with pytest.raises(ValueError, match=r"^groups must divide out_channels = 6, got 4$"):
        fs.ConvTranspose1d(4, 6, 1, groups=4)
    with pytest.raises(ValueError, match=r"^groups must divide in_channels = 4, got 3$"):
        fs.ConvTranspose1d.from_weights(np.ones((4, 6, 1)), groups=3)
    with pytest.raises(ValueError, match=r"^groups must divide out_channels = 4, got 3$"):
        fs.ConvTranspose1d.from_conv1d(np.ones((4, 6, 1)), groups=3)


@pytest.mark.parametrize("rng", ["seed", -1, 1.5, object()])
def test_rng_that_is_no_seed(rng: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        make(rng=rng)


@pytest.mark.parametrize("channels", [2**40, 2**59, 2**62])
def test_more_weights_than_there_is_memory(channels: int) -> None:
    for shape in ((channels, 2**20), (2**20, channels), (channels, channels)):
        with pytest.raises((MemoryError, ValueError)):
            fs.ConvTranspose1d(*shape, 8)


def test_numpy_ints_and_bools() -> None:
    layer = fs.ConvTranspose1d(
        np.int64(4), np.int8(6), np.uint8(5), groups=np.int32(2), bias=np.False_, rng=0
    )
    assert repr(layer) == "ConvTranspose1d(4, 6, kernel_size=5, groups=2, bias=False)"
    assert [type(n) for n in (layer.in_channels, layer.out_channels, layer.groups)] == [int] * 3


@pytest.mark.parametrize(
    ("weight", "bias", "error", "subject"),
    [
        (np.ones((4, 3)), None, ValueError, "weight .*got shape (4, 3)"),
        (np.ones((4, 0, 3)), None, ValueError, "weight .*got shape (4, 0, 3)"),
        (np.ones((4, 3, 1), int), None, TypeError, "weight .*got dtype int64"),
        ([[["a"]]], None, TypeError, "weight must be an array"),
        (None, None, TypeError, "weight "),
        (np.ones((4, 3, 2)), np.ones(4), ValueError, "bias .*(3,), got shape (4,)"),
        (np.ones((4, 3, 2)), np.ones((3, 1)), ValueError, "bias .*(3,), got shape (3, 1)"),
        (np.ones((4, 3, 2)), np.ones(3, "f4"), TypeError, "bias .*weight, float64, got float32"),
        (np.ones((4, 3, 2)), [1j] * 3, TypeError, "bias .*float64"),
    ],
    ids=range(9),
)
def test_from_weights_errors(weight: Any, bias: Any, error: type[Exception], subject: str) -> None:
    pattern = "^" + subject.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(error, match=pattern):
        fs.ConvTranspose1d.from_weights(weight, bias)
    if isinstance(weight, np.ndarray) and weight.ndim == 3 and bias is not None:
        weight = weight.transpose(1, 0, 2)
    with pytest.raises(error, match=pattern.replace("weight ", "weight (of a Conv1d )?")):
        fs.ConvTranspose1d.from_conv1d(weight, bias)


def test_from_weights_takes_lists_and_any_byte_order() -> None:
    layer = fs.ConvTranspose1d.from_weights([[[1, 2]]], [3], stride=2)
    assert layer.dtype == np.float64
    assert layer([[1.0, 10.0]]).tolist() == [[4, 5, 13, 23]]
    swapped = fs.ConvTranspose1d.from_weights(np.array([[[1, 2]]], ">f4"), np.array([3], "<f4"))
    assert swapped.dtype.isnative
    assert swapped(np.ones((1, 1), np.float32)).tolist() == [[4, 5]]
    mixed = fs.ConvTranspose1d.from_weights([[[1, 2]]], [3j])
    assert mixed.dtype == np.complex128
    assert mixed([[1.0]]).tolist() == [[1 + 3j, 2 + 3j]]


def test_a_subclass_stays_one() -> None:
    class Mine(fs.ConvTranspose1d):
        pass

    assert type(Mine.from_weights(np.ones((1, 1, 1)))) is Mine
    assert type(Mine.from_conv1d(np.ones((1, 1, 1)))) is Mine
    assert repr(Mine(1, 1, 1)).startswith("Mine(")


# --- from_conv1d --------------------------------------------------------------------------------


def conv1d_by_torch(
    x: Any, w: Any, b: Any, pads: tuple[int, int], groups: int, dilation: int, mode: str
) -> Any:
    padded = tf.pad(torch.from_numpy(x), pads, TORCH_PAD[mode])
    weight, bias = torch.from_numpy(w), None if b is None else torch.from_numpy(b)
    return tf.conv1d(padded, weight, bias, 1, 0, dilation, groups).numpy()


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", [0, 1, 2, "same", "valid"])
def test_from_conv1d_is_the_conv1d_of_torch(mode: str, kernel: int, padding: Any) -> None:
    for dilation in (1, 2, 3):
        if isinstance(padding, int) and padding > dilation * (kernel - 1):
            continue
        for groups, bias in ((1, True), (2, False), (2, True)):
            theirs = torch.nn.Conv1d(
                4, 6, kernel, 1, padding, dilation, groups, bias, mode, dtype=torch.float64
            )
            weight = draw(1, *theirs.weight.shape, dtype=np.float64)
            values = draw(2, 6, dtype=np.float64) if bias else None
            with torch.no_grad():
                theirs.weight.copy_(torch.from_numpy(weight))
                if bias:
                    theirs.bias.copy_(torch.from_numpy(values))
            options = (padding, groups, dilation, mode)
            layer = fs.ConvTranspose1d.from_conv1d(weight, values, *options)
            assert (layer.in_channels, layer.out_channels, layer.groups) == (4, 6, groups)
            for length in (12, 15):
                x = draw(3, 2, 4, length, dtype=np.float64)
                wanted = theirs(torch.from_numpy(x)).detach().numpy()
                got = layer(x)
                assert got.shape == wanted.shape
                np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("padding", [(0, 3), (5, 1), (6, 6), (2,), "causal", [1, 0]])
def test_from_conv1d_with_two_sided_padding(mode: str, padding: Any) -> None:
    pads = (6, 0) if padding == "causal" else (padding[0], padding[-1])
    for groups in (1, 2):
        w = draw(1, 6, 4 // groups, 4, dtype=np.float64)
        b = draw(2, 6, dtype=np.float64)
        layer = fs.ConvTranspose1d.from_conv1d(w, b, padding, groups, 2, mode)
        for length in (8, 13):
            x = draw(3, 2, 4, length, dtype=np.float64)
            wanted = conv1d_by_torch(x, w, b, pads, groups, 2, mode)
            got = layer(x)
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_from_conv1d_keeps_the_dtype(dtype: np.dtype[Any]) -> None:
    w, x = draw(1, 6, 4, 3, dtype=dtype), draw(2, 4, 9, dtype=dtype)
    layer = fs.ConvTranspose1d.from_conv1d(w, padding="same")
    same_bits(layer.weight, np.ascontiguousarray(w.transpose(1, 0, 2)[..., ::-1]))
    assert layer(x).dtype == dtype
    assert layer(x).shape == (6, 9)


@pytest.mark.parametrize(
    ("padding", "shown"), [(5, "(5, 5)"), ((0, 5), "(0, 5)"), ([5, 4], "(5, 4)")]
)
def test_from_conv1d_padding_too_large(padding: Any, shown: str) -> None:
    text = "padding of a Conv1d must be at most dilation*(kernel_size - 1) = 4 on a side"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}, got {re.escape(shown)}$"):
        fs.ConvTranspose1d.from_conv1d(np.ones((1, 1, 3)), padding=padding, dilation=2)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("padding", "full", ValueError),
        ("padding", -1, ValueError),
        ("padding", True, TypeError),
        ("groups", 0, ValueError),
        ("groups", True, TypeError),
        ("dilation", 0, ValueError),
        ("dilation", 1.0, TypeError),
        ("padding_mode", "edge", ValueError),
        ("padding_mode", 1, TypeError),
    ],
)
def test_from_conv1d_arguments(argument: str, value: Any, error: type[Exception]) -> None:
    pattern = rf"^{argument} must .*got {re.escape(repr(value))}"
    with pytest.raises(error, match=pattern):
        fs.ConvTranspose1d.from_conv1d(np.ones((2, 2, 3)), **{argument: value})
    with pytest.raises(error, match=pattern):
        fs.ConvTranspose1d.from_weights(np.ones((2, 2, 3)), **{argument: value})


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_assigned_parameters_are_used(dtype: np.dtype[Any]) -> None:
    layer = make(dtype=dtype)
    x = draw(1, 2, 4, 7, dtype=dtype)
    options = {"stride": 3, "padding": (1, 2), "groups": 2}
    before = layer(x)
    weight, bias = draw(2, 4, 3, 5, dtype=dtype), draw(3, 6, dtype=dtype)
    layer.weight = weight
    after = layer(x)
    assert (after != before).any()
    same_bits(after, fs.conv_transpose1d(x, weight, layer.bias, **options))
    layer.bias = bias
    fresh = fs.ConvTranspose1d.from_weights(weight, bias, **options)
    same_bits(layer(x), fresh(x))
    same_bits(layer.weight, weight)
    same_bits(layer.bias, bias)
    layer.bias = None
    assert layer.bias is None
    same_bits(layer(x), fs.conv_transpose1d(x, weight, **options))
    layer.bias = bias
    same_bits(layer(x), fresh(x))


def test_assignment_rounds_to_the_dtype_of_the_layer() -> None:
    layer = make()
    weight, bias = draw(2, 4, 3, 5, dtype=np.float64), draw(3, 6, dtype=np.float64)
    layer.weight, layer.bias = weight, bias
    same_bits(layer.weight, weight.astype(np.float32))
    same_bits(layer.bias, bias.astype(np.float32))
    layer.weight = np.ones((4, 3, 5), ">f2")
    same_bits(layer.weight, np.ones((4, 3, 5), np.float32))
    layer.bias = [1, 2, 3, 4, 5, 6]
    assert layer.bias.tolist() == [1, 2, 3, 4, 5, 6]
    layer.weight = layer.weight * 2
    same_bits(layer.weight, np.full((4, 3, 5), 2, np.float32))
    wide = make(dtype=np.complex64)
    wide.weight = weight
    same_bits(wide.weight, weight.astype(np.complex64))


def test_numbers_too_large_for_the_layer_become_infinite() -> None:
    layer = make()
    layer.bias = np.full(6, 1e300)
    assert layer.bias.tolist() == [np.inf] * 6
    layer.bias = [1e300] * 6
    assert layer.bias.tolist() == [np.inf] * 6


@pytest.mark.parametrize(
    ("name", "value", "error", "got"),
    [
        ("weight", np.ones((4, 3, 4)), ValueError, "(4, 3, 5), got shape (4, 3, 4)"),
        ("weight", np.ones((3, 4, 5)), ValueError, "(4, 3, 5), got shape (3, 4, 5)"),
        ("weight", np.ones((1, 4, 3, 5)), ValueError, "(4, 3, 5), got shape (1, 4, 3, 5)"),
        ("weight", 0.0, ValueError, "(4, 3, 5), got shape ()"),
        ("weight", np.ones((4, 3, 5), np.complex64), TypeError, "float32, got complex64"),
        ("weight", np.ones((4, 3, 5), np.int32), TypeError, "got dtype int32"),
        ("weight", "abc", TypeError, "got dtype <U3"),
        ("weight", [["a"]], TypeError, "numbers"),
        ("weight", None, TypeError, ""),
        ("bias", np.ones(5), ValueError, "(6,), got shape (5,)"),
        ("bias", np.ones((6, 1)), ValueError, "(6,), got shape (6, 1)"),
        ("bias", 0.0, ValueError, "(6,), got shape ()"),
        ("bias", np.ones(6, np.complex64), TypeError, "float32, got complex64"),
        ("bias", np.ones(6, np.int32), TypeError, "got dtype int32"),
        ("bias", [1j] * 6, TypeError, "float32, got complex128"),
        ("bias", False, ValueError, "(6,), got shape ()"),
    ],
    ids=range(16),
)
def test_assignments_that_are_refused(
    name: str, value: Any, error: type[Exception], got: str
) -> None:
    layer = make()
    x = draw(1, 4, 7)
    before = layer(x)
    with pytest.raises(error, match=rf"^{name} must .*{re.escape(got)}"):
        setattr(layer, name, value)
    same_bits(layer(x), before)
    same_bits(layer.weight, make().weight)
    same_bits(layer.bias, make().bias)


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize(
    "origin",
    [
        make,
        lambda: make(dtype=np.complex64),
        lambda: fs.ConvTranspose1d.from_weights(np.ones((1, 2, 3)), np.ones(2)),
        lambda: fs.ConvTranspose1d.from_conv1d(np.ones((1, 2, 3)), np.ones(1)),
        lambda: pickle.loads(pickle.dumps(make())),
        lambda: pickle.loads(pickle.dumps(make(), protocol=2)),
        lambda: copy.copy(make()),
        lambda: copy.deepcopy(make()),
    ],
    ids=["new", "complex", "weights", "conv1d", "pickle", "pickle2", "copy", "deepcopy"],
)
def test_parameters_are_read_only(name: str, origin: Callable[[], Any]) -> None:
    layer = origin()
    kept = getattr(layer, name).copy()
    array = getattr(layer, name)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        array *= 2
    with pytest.raises(ValueError, match="read-only"):
        exec(f"layer.{name} *= 2", {"layer": layer})
    same_bits(getattr(layer, name), kept)


def test_read_only_after_assignment_too() -> None:
    layer = make()
    layer.weight, layer.bias = np.ones((4, 3, 5), np.float32), np.ones(6, np.float32)
    for array in (layer.weight, layer.bias):
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_arrays_that_came_in_stay_the_callers() -> None:
    weight, bias, x = draw(1, 4, 3, 5), draw(2, 6), draw(3, 4, 7)
    kept = weight.copy(), bias.copy()
    built = fs.ConvTranspose1d.from_weights(weight, bias, groups=2)
    conv = fs.ConvTranspose1d.from_conv1d(weight, bias[:4])
    assigned = fs.ConvTranspose1d(4, 6, 5, groups=2)
    assigned.weight, assigned.bias = weight, bias
    wanted, of_conv = fs.conv_transpose1d(x, *kept, groups=2), conv(x[:3])
    weight[...], bias[...] = 0, 0  # still writable, and the layers no longer refer to them
    same_bits(built(x), wanted)
    same_bits(assigned(x), wanted)
    same_bits(conv(x[:3]), of_conv)
    same_bits(built.weight, kept[0])
    same_bits(built.bias, kept[1])
    fresh = fs.ConvTranspose1d.from_conv1d(kept[0], kept[1][:4])
    same_bits(fresh(x[:3]), of_conv)


def test_an_array_read_earlier_keeps_its_values() -> None:
    layer = make()
    weight, bias = layer.weight, layer.bias
    layer.weight, layer.bias = np.zeros((4, 3, 5)), np.zeros(6)
    same_bits(weight, make().weight)
    same_bits(bias, make().bias)


@pytest.mark.parametrize("name", ["in_channels", "out_channels"])
def test_sizes_cannot_be_assigned(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(make(), name, 2)


def test_attributes() -> None:
    layer = make(padding="same", dilation=2, padding_mode="circular", dtype="float64")
    assert (layer.in_channels, layer.out_channels, layer.groups) == (4, 6, 2)
    assert layer.dtype == np.float64
    assert layer.geometry == fs.Geometry(5, 3, "same", 0, 2, "circular")
    assert layer.weight.shape == (4, 3, 5)
    assert layer.weight.flags.c_contiguous
    assert make(bias=False).bias is None
    assert make().dtype == np.float32
    assert fs.ConvTranspose1d(1, 1, 1, dtype="bfloat16").dtype == ml_dtypes.bfloat16
    assert fs.ConvTranspose1d(1, 1, 1, dtype=">f8").dtype.isnative


# --- packing ------------------------------------------------------------------------------------


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The weights that were packed, in order."""
    weights: list[Any] = []
    pack = module.pack_weight

    def counting(weight: Any, *rest: Any, **more: Any) -> Any:
        weights.append(weight)
        return pack(weight, *rest, **more)

    monkeypatch.setattr(module, "pack_weight", counting)
    return weights


def test_weights_are_packed_once(packed: list[Any]) -> None:
    layer = make()
    for length in (7, 1, 20):
        layer(draw(1, 2, 4, length))
        layer(draw(1, 4, length), output_size=3 * length + 1)
    assert len(packed) == 1
    layer.bias = np.zeros(6)
    layer.bias = None
    assert layer.weight is not None
    layer(draw(1, 4, 7))
    assert len(packed) == 1
    with pytest.raises(ValueError, match="weight"):
        layer.weight = np.zeros(3)
    with pytest.raises(ValueError, match="input"):
        layer(draw(1, 3, 7))
    layer(draw(1, 4, 7))
    assert len(packed) == 1
    layer.weight = np.zeros((4, 3, 5))
    layer.weight = np.ones((4, 3, 5))
    layer(draw(1, 4, 7))
    layer(draw(1, 4, 7))
    assert len(packed) == 2
    same_bits(packed[1], np.ones((4, 3, 5), np.float32))


def test_copies_pack_for_themselves(packed: list[Any]) -> None:
    layer = make()
    layer(draw(1, 4, 7))
    other = pickle.loads(pickle.dumps(layer))
    other(draw(1, 4, 7))
    other(draw(1, 4, 7))
    assert len(packed) == 2


# --- copies -------------------------------------------------------------------------------------

COPIES = {
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "pickle2": lambda layer: pickle.loads(pickle.dumps(layer, protocol=2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("called", [False, True])
def test_copies(how: str, dtype: np.dtype[Any], called: bool) -> None:
    for bias in (True, False):
        layer = make(dtype=dtype, bias=bias, padding="same", padding_mode="reflect")
        x = draw(1, 2, 4, 7, dtype=dtype)
        wanted = copy.deepcopy(layer)(x)
        if called:
            layer(x)
        twin = COPIES[how](layer)
        assert type(twin) is fs.ConvTranspose1d
        assert (twin.geometry, twin.groups, twin.dtype) == (layer.geometry, 2, dtype)
        assert repr(twin) == repr(layer)
        same_bits(twin.weight, layer.weight)
        same_bits(twin(x), wanted)
        twin.weight, twin.bias = np.ones((4, 3, 5)), np.ones(6)
        assert (twin(x) != wanted).any()
        same_bits(layer(x), wanted)
        same_bits(layer.weight, make(dtype=dtype).weight)


# --- threads ------------------------------------------------------------------------------------


def test_calls_from_many_threads() -> None:
    layer = make(padding="same")
    inputs = [draw(i, 2, 4, 50 + i) for i in range(8)]
    wanted = [copy.deepcopy(layer)(x).tobytes() for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            layer.weight = layer.weight  # so that all of them pack
            got = list(pool.map(lambda x: layer(x).tobytes(), inputs))
            assert got == wanted


def test_calls_while_the_weight_is_assigned() -> None:
    layer = make()
    x = draw(1, 4, 7)
    weights = [draw(i, 4, 3, 5) for i in (2, 3)]
    wanted = set()
    for weight in weights:
        layer.weight = weight
        wanted.add(layer(x).tobytes())
    assert len(wanted) == 2
    stop = threading.Event()

    def call() -> set[bytes]:
        got = set()
        while not stop.is_set():
            got.add(layer(x).tobytes())
        return got

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        try:
            for i in range(400):
                layer.weight = weights[i % 2]
                assert layer(x).tobytes() in wanted
        finally:
            stop.set()
    for result in calls:
        assert result.result() <= wanted
    final = fs.ConvTranspose1d.from_weights(weights[1], layer.bias, 3, (1, 2), groups=2)
    same_bits(layer(x), final(x))


@pytest.mark.parametrize("before", [True, False])
def test_a_weight_assigned_during_a_call_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """The weight assigned last is in use, whenever a concurrent call stores its packed form."""
    x, weight = draw(1, 4, 7), draw(2, 4, 3, 5)
    assigning: list[threading.Thread] = []

    def assign(layer: Any) -> None:
        if not assigning:
            assigning.append(threading.Thread(target=setattr, args=(layer, "weight", weight)))
            assigning[0].start()
            assigning[0].join(timeout=1)  # a call that holds a lock goes on

    class Interrupted(PackedLayer):
        calling = False

        def __setattr__(self, name: str, value: Any) -> None:
            if self.calling and before:
                assign(self)
            super().__setattr__(name, value)
            if self.calling and not before:
                assign(self)

    plain = make()
    layer = Interrupted(plain.geometry, plain.groups, plain.weight, plain.bias)
    pack = module.pack_weight
    if not before:
        monkeypatch.setattr(module, "pack_weight", lambda *a: (assign(layer), pack(*a))[1])
    vars(layer)["calling"] = True
    first = layer.output(x)
    vars(layer)["calling"] = False
    for thread in assigning:
        thread.join()
    new = fs.ConvTranspose1d.from_weights(weight, layer.bias, 3, (1, 2), groups=2)
    assert first.tobytes() in {make()(x).tobytes(), new(x).tobytes()}
    if assigning:
        same_bits(layer.weight, weight)
        same_bits(layer.output(x), new(x))


# --- repr ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (fs.ConvTranspose1d(1, 2, 3), "1, 2, kernel_size=3"),
        (
            fs.ConvTranspose1d(4, 6, (5,), 3, 1, 2, 2, False, 2, "circular", dtype="f8"),
            "4, 6, kernel_size=5, stride=3, padding=(1, 1), output_padding=2, groups=2, "
            "bias=False, dilation=2, padding_mode='circular', dtype=float64",
        ),
        (fs.ConvTranspose1d(1, 2, 3, padding=(0, 1)), "1, 2, kernel_size=3, padding=(0, 1)"),
        (fs.ConvTranspose1d(1, 2, 3, padding="same"), "1, 2, kernel_size=3, padding='same'"),
        (fs.ConvTranspose1d(1, 2, 3, padding="valid"), "1, 2, kernel_size=3"),
        (fs.ConvTranspose1d(1, 2, 3, dtype="bfloat16"), "1, 2, kernel_size=3, dtype=bfloat16"),
        (
            fs.ConvTranspose1d.from_conv1d(np.ones((2, 1, 3)), padding="causal"),
            "1, 2, kernel_size=3, padding=(0, 2), bias=False, dtype=float64",
        ),
    ],
    ids=range(7),
)
def test_repr(layer: fs.ConvTranspose1d, shown: str) -> None:
    assert repr(layer) == f"ConvTranspose1d({shown})"


def test_repr_without_dtype_is_an_expression() -> None:
    layer = make(padding="causal", padding_mode="replicate", dilation=2)
    twin = eval(repr(layer), {"ConvTranspose1d": fs.ConvTranspose1d})
    assert (twin.geometry, twin.groups) == (layer.geometry, layer.groups)
    assert repr(twin) == repr(layer)


# --- what surrounds the layer -------------------------------------------------------------------


def test_surroundings_have_to_fit() -> None:
    layer, x = make(), np.ones((2, 4, 7), np.float32)
    y = layer(x)
    for wrong in (y[:1], y[..., 1:], y[0], 1.0):
        with pytest.raises(ValueError, match="residual"):
            layer(x, residual=np.asarray(wrong, np.float32))
    with pytest.raises(TypeError, match="residual"):
        layer(x, residual=y + 0j)
    for slope in ("0.1", True, [0.1], 1j, np.complex64(1)):
        with pytest.raises(TypeError, match="negative_slope"):
            layer(x, negative_slope=slope)  # type: ignore[arg-type]
    for slope in (np.inf, -np.inf, np.nan, 1e39, 10**400):
        with pytest.raises(ValueError, match="negative_slope"):
            layer(x, negative_slope=slope)
    complex_layer = fs.ConvTranspose1d(4, 6, 5, dtype=np.complex64)
    with pytest.raises(TypeError, match="negative_slope"):
        complex_layer(x.astype(np.complex64), negative_slope=0.1)
    out = np.zeros_like(y)
    assert layer(x, negative_slope=0.1, residual=y, out=out) is out
    np.testing.assert_array_equal(out, layer(x, negative_slope=0.1, residual=y))
    assert layer(x, out=out[::-1]) is not out  # a view, reversed
    np.testing.assert_array_equal(out[::-1], y)
    for wrong in (out[0], out.astype(np.float64)):
        with pytest.raises((ValueError, TypeError), match="out"):
            layer(x, out=wrong)
    with pytest.raises(ValueError, match="out must not overlap"):
        layer(x, residual=out, out=out)
    half = fs.ConvTranspose1d(4, 6, 5, 3, dtype=np.float16, rng=0)
    xh = x.astype(np.float16)
    yh = half(xh)
    into = np.zeros_like(yh)
    assert half(xh, residual=yh, out=into) is into
    np.testing.assert_array_equal(into, yh + yh)
    assert layer(x[:0], negative_slope=0.1, residual=y[:0]).shape == (0, *y.shape[1:])
    np.testing.assert_array_equal(layer(x, residual=y.tolist()), y + y)
