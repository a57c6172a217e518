"""The layer Conv1d: initial values, parameters, copies, repr. (Its outputs: test_conv1d.py.)"""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import DTYPES
from test_layer import COPIES, draw, packed, same_bits

import fracstride as fs
from fracstride.extension import PADDING_MODES

__all__ = ["packed"]  # a fixture


def make(**options: Any) -> fs.Conv1d:
    """4 channels to 6 in 2 groups, 5 taps, stride 3."""
    given = {"stride": 3, "padding": (1, 2), "groups": 2, "rng": 0}
    return fs.Conv1d(4, 6, 5, **{**given, **options})


# --- the layer is the function ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_the_function(dtype: np.dtype[Any], mode: str, bias: bool) -> None:
    for options in (
        {"stride": 3, "padding": (1, 20), "groups": 2, "dilation": 2},
        {"padding": "same"},
        {"stride": 2, "padding": "causal", "groups": 2},
        {"padding": (0, 4)},
    ):
        options = {**options, "padding_mode": mode}
        layer = fs.Conv1d(4, 6, 5, **options, bias=bias, dtype=dtype, rng=1)
        assert layer.dtype == dtype
        for shape in ((2, 4, 27), (4, 27), (0, 4, 7), (1, 4, 1)):
            x = draw(2, *shape, dtype=dtype)
            wanted = fs.conv1d(x, layer.weight, layer.bias, **options)
            same_bits(layer(x), wanted)
            again = fs.Conv1d.from_weights(layer.weight, layer.bias, **options)
            same_bits(again(x), wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inputs_of_every_kind(dtype: np.dtype[Any]) -> None:
    layer = make(dtype=dtype)
    x = np.rint(4 * draw(1, 2, 4, 17, dtype=dtype).real).astype(dtype)
    wanted = layer(x)
    assert wanted.dtype == dtype
    same_bits(layer(np.asfortranarray(x)), wanted)
    same_bits(layer(x[:, :, ::-1].copy()[:, :, ::-1]), wanted)
    same_bits(layer(x.real.astype(float).astype(int).tolist()), wanted)
    if dtype.kind != "V":
        same_bits(layer(x.astype(dtype.newbyteorder("S"))), wanted)
    other = np.complex64 if dtype.kind != "c" else np.float32
    with pytest.raises(TypeError, match=rf"^input must have the dtype of the layer, {dtype}, got"):
        layer(x.real.astype(other))


@pytest.mark.parametrize(
    ("value", "error", "got"),
    [
        (np.ones((2, 3, 7), np.float32), ValueError, "got shape (2, 3, 7)"),
        (np.ones((7,), np.float32), ValueError, "got shape (7,)"),
        (np.ones((2, 4, 0), np.float32), ValueError, "got 0"),
        (np.ones((2, 4, 1), np.float32), ValueError, "at least 2 for a kernel that spans 5"),
        ([[1j, 2, 3]] * 4, TypeError, "float32"),
        ([["a"]] * 4, TypeError, "nested lists of numbers"),
        (None, TypeError, ""),
    ],
    ids=range(7),
)
def test_inputs_that_are_refused(value: Any, error: type[Exception], got: str) -> None:
    layer = make()
    with pytest.raises(error, match=rf"^input .*{re.escape(got)}"):
        layer(value)
    x = draw(1, 4, 7)
    same_bits(layer(x), make()(x))


def test_surroundings_have_to_fit() -> None:
    layer, x = make(), np.ones((2, 4, 17), np.float32)
    y = layer(x)
    for wrong in (y[:1], y[..., 1:], y[0], 1.0):
        with pytest.raises(ValueError, match="residual"):
            layer(x, residual=np.asarray(wrong, np.float32))
    with pytest.raises(TypeError, match="residual"):
        layer(x, residual=y + 0j)
    for slope in ("0.1", True, [0.1], 1j):
        with pytest.raises(TypeError, match="negative_slope"):
            layer(x, negative_slope=slope)  # type: ignore[arg-type]
    for slope in (np.inf, np.nan, 1e39):
        with pytest.raises(ValueError, match="negative_slope"):
            layer(x, negative_slope=slope)
    with pytest.raises(TypeError, match="negative_slope"):
        make(dtype=np.complex64)(x.astype(np.complex64), negative_slope=0.1)
    for wrong in (y[0], y.astype(np.float64)):
        with pytest.raises((ValueError, TypeError), match="out"):
            layer(x, out=wrong)
    with pytest.raises(TypeError):
        layer(x, 5)  # type: ignore[misc]  # there is no output_size
    np.testing.assert_array_equal(layer(x, residual=y.tolist()), y + y)


# --- initial values -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("in_channels", "kernel", "groups"), [(64, 16, 1), (32, 7, 4), (4, 3, 4)])
def test_initial_values(dtype: np.dtype[Any], in_channels: int, kernel: int, groups: int) -> None:
    layer = fs.Conv1d(in_channels, 2048, kernel, groups=groups, dtype=dtype, rng=3)
    assert layer.weight.shape == (2048, in_channels // groups, kernel)
    assert layer.bias is not None
    assert layer.bias.shape == (2048,)
    assert (layer.weight.dtype, layer.bias.dtype) == (dtype, dtype)
    bound = (groups / (in_channels * kernel)) ** 0.5
    rounding = 1 + float(ml_dtypes.finfo(dtype).eps)
    parts = [layer.weight, layer.bias]
    if dtype.kind == "c":
        bound /= 2**0.5
        parts = [part for whole in parts for part in (whole.real, whole.imag)]
    for part in parts:
        values = part.astype(np.float64).ravel()
        assert abs(values).max() <= bound * rounding
        # At least 2048 draws: each bound is at least 4 standard deviations away.
        assert values.max() > 0.98 * bound
        assert values.min() < -0.98 * bound
        assert abs(values.mean()) < 0.06 * bound
        assert abs(values.std() / (bound / 3**0.5) - 1) < 0.06


def test_seeds() -> None:
    a, b, other = make(rng=7), make(rng=7), make(rng=8)
    same_bits(a.weight, b.weight)
    same_bits(a.bias, b.bias)
    assert (a.weight != other.weight).any()
    same_bits(make(rng=np.random.default_rng(7)).weight, a.weight)
    assert (make(rng=None).weight != make(rng=None).weight).any()
    same_bits(make(bias=False).weight, make().weight)
    with pytest.raises(TypeError, match=r"^rng must be a seed .* got 'seed'"):
        make(rng="seed")


# --- constructors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "error", "got"),
    [
        ("in_channels", 0, ValueError, "0"),
        ("in_channels", True, TypeError, "True"),
        ("in_channels", 2**62 + 1, ValueError, "4611686018427387905"),
        ("out_channels", -1, ValueError, "-1"),
        ("out_channels", None, TypeError, "None"),
        ("kernel_size", 0, ValueError, "0"),
        ("kernel_size", (3, 3), ValueError, "(3, 3)"),
        ("stride", 0, ValueError, "0"),
        ("padding", -1, ValueError, "-1"),
        ("padding", "full", ValueError, "'full'"),
        ("groups", 1.5, TypeError, "1.5"),
        ("dilation", 0, ValueError, "0"),
        ("padding_mode", "edge", ValueError, "'edge'"),
        ("bias", 1, TypeError, "1"),
        ("dtype", "int32", TypeError, "'int32'"),
        ("dtype", None, TypeError, "None"),
    ],
)
def test_constructor_arguments(argument: str, value: Any, error: type[Exception], got: str) -> None:
    given = {"in_channels": 4, "out_channels": 6, "kernel_size": 5, "stride": 3, argument: value}
    with pytest.raises(error, match=rf"^{argument} must .*got {re.escape(got)}"):
        fs.Conv1d(**given)


def test_groups_divide_the_channels() -> None:
    with pytest.raises(ValueError, match=r"^groups must divide in_channels = 4, got 3$"):
        fs.Conv1d(4, 6, 1, groups=3)
    with pytest.raises(ValueError, match=r"^groups must divide out_channels = 6, got 4$"):
        fs.Conv1d(4, 6, 1, groups=4)
    with pytest.raises(ValueError, match=r"^groups must divide out_channels = 4, got 3$"):
        fs.Conv1d.from_weights(np.ones((4, 6, 1)), groups=3)
    with pytest.raises(ValueError, match=r"^stride must be 1 .*padding='same', got 2$"):
        fs.Conv1d(4, 6, 3, 2, "same")


@pytest.mark.parametrize("channels", [2**40, 2**59, 2**62])
def test_more_weights_than_there_is_memory(channels: int) -> None:
    for shape in ((channels, 2**20), (2**20, channels), (channels, channels)):
        with pytest.raises((MemoryError, ValueError)):
            fs.Conv1d(*shape, 8)


@pytest.mark.parametrize(
    ("weight", "bias", "error", "subject"),
    [
        (np.ones((4, 3)), None, ValueError, "weight of a Conv1d .*got shape (4, 3)"),
        (np.ones((4, 0, 3)), None, ValueError, "weight of a Conv1d .*got shape (4, 0, 3)"),
        (np.ones((4, 3, 1), int), None, TypeError, "weight .*got dtype int64"),
        (None, None, TypeError, "weight "),
        (np.ones((4, 3, 2)), np.ones(3), ValueError, "bias .*(4,), got shape (3,)"),
        (np.ones((4, 3, 2)), np.ones(4, "f4"), TypeError, "bias .*weight, float64, got float32"),
        (np.ones((4, 3, 2)), [1j] * 4, TypeError, "bias .*float64"),
    ],
    ids=range(7),
)
def test_from_weights_errors(weight: Any, bias: Any, error: type[Exception], subject: str) -> None:
    with pytest.raises(error, match="^" + subject.replace("(", r"\(").replace(")", r"\)")):
        fs.Conv1d.from_weights(weight, bias)


def test_from_weights_takes_lists_and_any_byte_order() -> None:
    layer = fs.Conv1d.from_weights([[[1, 2]]], [3], stride=2)
    assert layer.dtype == np.float64
    assert layer([[1.0, 10.0, 5.0, 0.0]]).tolist() == [[24, 8]]
    swapped = fs.Conv1d.from_weights(np.array([[[1, 2]]], ">f4"), np.array([3], "<f4"))
    assert swapped.dtype.isnative
    assert swapped(np.ones((1, 2), np.float32)).tolist() == [[6]]
    assert fs.Conv1d.from_weights([[[1, 2]]], [3j]).dtype == np.complex128


def test_a_subclass_stays_one() -> None:
    class Mine(fs.Conv1d):
        pass

    assert type(Mine.from_weights(np.ones((1, 1, 1)))) is Mine
    assert repr(Mine(1, 1, 1)).startswith("Mine(")


# --- parameters and copies ----------------------------------------------------------------------


def test_attributes() -> None:
    layer = make(padding="causal", dilation=2, padding_mode="circular", dtype="float64")
    assert (layer.in_channels, layer.out_channels, layer.groups) == (4, 6, 2)
    assert layer.dtype == np.float64
    assert layer.geometry == fs.Conv1dGeometry(5, 3, "causal", 2, "circular")
    assert layer.weight.shape == (6, 2, 5)
    assert make(bias=False).bias is None
    for name in ("in_channels", "out_channels", "geometry", "groups"):
        with pytest.raises(AttributeError):
            setattr(layer, name, 2)


def test_parameters_are_assigned_as_copies_and_read_only(packed: list[Any]) -> None:
    layer, x = make(), draw(1, 2, 4, 9)
    for length in (9, 2, 5):
        layer(x[..., :length])
    assert len(packed) == 1
    layer.bias = None
    same_bits(layer(x), fs.conv1d(x, layer.weight, None, 3, (1, 2), groups=2))
    weight, bias = draw(2, 6, 2, 5), draw(3, 6)
    layer.weight, layer.bias = weight.astype(np.float64), bias
    wanted = fs.conv1d(x, weight, bias, 3, (1, 2), groups=2)
    weight[...] = bias[...] = 0
    del packed[:]
    same_bits(layer(x), wanted)
    assert len(packed) == 1
    for array in (layer.weight, layer.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    for name, value in (("weight", np.ones((4, 3, 5))), ("weight", 0.0), ("bias", np.ones(4))):
        with pytest.raises(ValueError, match=rf"^{name} must have the shape"):
            setattr(layer, name, value)
    with pytest.raises(TypeError, match=r"^weight must be real for a layer of float32"):
        layer.weight = np.ones((6, 2, 5), np.complex64)
    same_bits(layer(x), wanted)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("called", [False, True])
def test_copies(how: str, dtype: np.dtype[Any], called: bool) -> None:
    for bias in (True, False):
        layer = make(dtype=dtype, bias=bias, padding="causal", padding_mode="reflect")
        x = draw(1, 2, 4, 7, dtype=dtype)
        wanted = copy.deepcopy(layer)(x)
        if called:
            layer(x)
        twin = COPIES[how](layer)
        assert type(twin) is fs.Conv1d
        assert (twin.geometry, twin.groups, twin.dtype) == (layer.geometry, 2, dtype)
        assert repr(twin) == repr(layer)
        same_bits(twin(x), wanted)
        twin.weight, twin.bias = np.ones((6, 2, 5)), np.ones(6)
        assert (twin(x) != wanted).any()
        same_bits(layer(x), wanted)


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (fs.Conv1d(1, 2, 3), "1, 2, kernel_size=3"),
        (
            fs.Conv1d(4, 6, (5,), 3, 1, 2, 2, False, "circular", dtype="f8"),
            "4, 6, kernel_size=5, stride=3, padding=(1, 1), groups=2, bias=False, dilation=2, "
            "padding_mode='circular', dtype=float64",
        ),
        (fs.Conv1d(1, 2, 3, padding=(0, 9)), "1, 2, kernel_size=3, padding=(0, 9)"),
        (fs.Conv1d(1, 2, 3, padding="same"), "1, 2, kernel_size=3, padding='same'"),
        (fs.Conv1d(1, 2, 3, padding="valid"), "1, 2, kernel_size=3"),
        (fs.Conv1d(1, 2, 3, dtype="bfloat16"), "1, 2, kernel_size=3, dtype=bfloat16"),
    ],
    ids=range(6),
)
def test_repr(layer: fs.Conv1d, shown: str) -> None:
    assert repr(layer) == f"Conv1d({shown})"


def test_repr_without_dtype_is_an_expression() -> None:
    layer = make(padding="causal", padding_mode="replicate", dilation=2)
    twin = eval(repr(layer), {"Conv1d": fs.Conv1d})
    assert (twin.geometry, twin.groups) == (layer.geometry, layer.groups)
    assert repr(twin) == repr(layer)


def test_the_other_layer_reads_the_pickles_of_its_own_kind() -> None:
    both = fs.Conv1d(2, 3, 4, rng=0), fs.ConvTranspose1d(2, 3, 4, rng=0)
    for layer, twin in zip(both, pickle.loads(pickle.dumps(both)), strict=True):
        assert type(twin) is type(layer)
        same_bits(twin.weight, layer.weight)
