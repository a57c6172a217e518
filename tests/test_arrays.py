"""Operands: how arguments become arrays, and how complex and half numbers become real ones."""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fracstride._load import native
from fracstride.arrays import (
    as_dtype,
    as_operands,
    compute_dtype,
    join_channels,
    ready,
    round_to,
    split_channels,
    split_weight,
)

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
F2, F4, F8 = (np.dtype(name) for name in ("f2", "f4", "f8"))
C8, C16 = np.dtype(np.complex64), np.dtype(np.complex128)
COMPUTE = {F2: F4, BFLOAT16: F4, F4: F4, F8: F8, C8: F4, C16: F8}
SUPPORTED = "float16, bfloat16, float32, float64, complex64, complex128"


def same_bits(got: Any, wanted: Any) -> None:
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    assert got.tobytes() == wanted.tobytes()


def numbers(*shape: int, dtype: Any = F8) -> Any:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def unaligned(a: Any) -> Any:
    view = np.frombuffer(bytearray(a.nbytes + 1), a.dtype, a.size, offset=1).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned
    return view


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F2, BFLOAT16, F4, F8], ids=str)
def test_where_arrays_lie(dtype: np.dtype[Any]) -> None:
    a = np.zeros((4, 6, 10), dtype)
    a.flags.writeable = False
    address = a.ctypes.data
    assert native.signal_of(a) == (address, 60, 10, 1, 10)
    assert native.signal_of(a[1:, ::-2, ::3]) == (address + 110 * a.itemsize, 60, -20, 3, 4)
    assert native.signal_of(a[0, 0]) == (address, 1, 10)
    assert native.signal_of(a[..., :0])[4] == 0
    assert native.signal_of(unaligned(a))[1:] == (60, 10, 1, 10)
    with pytest.raises(TypeError):
        native.signal_of([1.0, 2.0])


# --- dtypes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", COMPUTE, ids=str)
def test_compute_dtype(dtype: np.dtype[Any]) -> None:
    assert compute_dtype(dtype) == COMPUTE[dtype]
    assert compute_dtype(dtype.newbyteorder("S")).isnative


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ("float16", F2),
        ("bfloat16", BFLOAT16),
        (ml_dtypes.bfloat16, BFLOAT16),
        (BFLOAT16, BFLOAT16),
        (np.float32, F4),
        ("f8", F8),
        (float, F8),
        (complex, C16),
        ("complex64", C8),
        (">f4", F4),
        ("<f4", F4),
        (np.dtype(">c16"), C16),
    ],
)
def test_as_dtype(value: Any, dtype: np.dtype[Any]) -> None:
    found = as_dtype(value)
    assert found == dtype
    if found != BFLOAT16:
        assert found.isnative


@pytest.mark.parametrize(
    "value",
    [
        None,
        int,
        bool,
        object,
        "i4",
        "U3",
        "nothing",
        "",
        "V4",
        "M8[s]",
        [("a", "f4")],
        3,
        1.5,
        b"f4!",
    ],
    ids=str,
)
def test_as_dtype_refuses(value: Any) -> None:
    with pytest.raises(TypeError, match=f"^dtype must be one of {SUPPORTED}, got ") as error:
        as_dtype(value)
    assert str(error.value).endswith(repr(value))


def test_long_double_is_not_supported() -> None:
    if np.dtype(np.longdouble) != F8:
        with pytest.raises(TypeError, match=r"^dtype must be one of"):
            as_dtype(np.longdouble)


def test_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match=r"ml_dtypes: pip install 'fracstride\[half\]'$"):
        as_dtype("bfloat16")


# --- as_operands --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", COMPUTE, ids=str)
def test_arrays_pass_as_they_are(dtype: np.dtype[Any]) -> None:
    a, b = numbers(2, 3, dtype=dtype), numbers(4, dtype=dtype)[::-1]
    got = as_operands(None, input=a, weight=b, bias=None)
    assert got[0] is a
    assert got[1] is b
    assert got[2] is None


def test_numbers_take_the_dtype_of_the_arrays() -> None:
    single = np.ones(2, F4)
    for value in ([1, 2], (1, 2.5), [[1], [2]], 3, 1.5, [True, False], []):
        for order in ({"input": value, "weight": single}, {"weight": single, "input": value}):
            got = dict(zip(order, as_operands(None, **order), strict=True))
            same_bits(got["input"], np.array(value, F4))
    (got,) = as_operands(C8, input=[[1, 2j]])
    same_bits(got, np.array([[1, 2j]], C8))
    (got,) = as_operands(BFLOAT16, input=[[1, 2]])
    same_bits(got, np.array([[1, 2]], BFLOAT16))
    got = as_operands(None, input=[1, 2], weight=np.ones(2, C8))
    same_bits(got[0], np.array([1, 2], C8))


def test_numbers_alone() -> None:
    same_bits(as_operands(None, input=[1, 2])[0], np.array([1.0, 2.0]))
    same_bits(as_operands(None, input=7)[0], np.array(7.0))
    same_bits(as_operands(None, input=[1j])[0], np.array([1j]))
    for given in ({"input": [1j], "weight": [2]}, {"input": [2], "weight": [1j]}):
        for got, value in zip(as_operands(None, **given), given.values(), strict=True):
            same_bits(got, np.array(value, C16))


def test_the_machines_byte_order() -> None:
    swapped = np.array([1, 2], F4.newbyteorder("S"))
    a, b = as_operands(None, input=swapped, weight=np.ones(1, F4))
    assert a.dtype.isnative
    same_bits(a, np.array([1, 2], F4))
    assert b.dtype == F4
    a, b = as_operands(None, input=[3], weight=swapped)
    assert (a.dtype.isnative, b.dtype.isnative) == (True, True)


def test_the_first_array_decides() -> None:
    text = "^bias must have the dtype of weight, float32, got float64$"
    with pytest.raises(TypeError, match=text):
        as_operands(None, input=[1], weight=np.ones(1, F4), bias=np.ones(1, F8))
    with pytest.raises(TypeError, match=r"^weight must have the dtype of the layer, float64, got"):
        as_operands(F8, input=[1], weight=np.ones(1, F4))
    with pytest.raises(TypeError, match=r"^input must be real numbers, as the layer is float32$"):
        as_operands(F4, input=[1j])
    with pytest.raises(TypeError, match=r"^input must .* numbers$"):
        as_operands(None, input=["a"])
    with pytest.raises(TypeError, match=f"^input must be an array of {SUPPORTED}, got dtype int8$"):
        as_operands(F4, input=np.ones(1, np.int8))


def test_operands_are_not_written_to() -> None:
    a = numbers(3, 4)
    a.flags.writeable = False
    assert as_operands(None, input=a)[0] is a
    values = [1, 2]
    as_operands(None, input=values)[0][...] = 0
    assert values == [1, 2]


# --- ready --------------------------------------------------------------------------------------


def test_ready_copies_nothing_that_kernels_can_read() -> None:
    a = numbers(4, 6, 8)
    for view in (a, a[::2], a[:, ::-1, ::3], a.T, a[:0], np.broadcast_to(a[0], (5, 6, 8)), a[:1]):
        assert ready(view) is view


def test_ready_copies_the_rest() -> None:
    records = np.zeros((2, 3, 4), [("before", "i1"), ("value", F8)])
    records["value"] = numbers(2, 3, 4)
    odd = np.zeros((2, 3, 4), [("value", C16), ("after", "i8")])["value"]
    assert odd.flags.aligned
    a = numbers(2, 3, 4)
    for view in (records["value"], odd, unaligned(a), unaligned(a)[..., ::-1], unaligned(a).T):
        got = ready(view)
        assert got.flags.aligned
        assert not any(stride % got.itemsize for stride in got.strides)
        assert (got == view).all()
        assert not np.shares_memory(got, view)


# --- rounding, channels -------------------------------------------------------------------------


def test_round_to() -> None:
    a = numbers(2, 3, dtype=F4)
    assert round_to(a, F4) is a
    wide = np.array([1e30, -1e30, np.nan, np.inf, 1 + 2**-11, 1 + 3 * 2**-11], F4)
    got = round_to(wide, F2)
    assert got.dtype == F2
    np.testing.assert_array_equal(got, [np.inf, -np.inf, np.nan, np.inf, 1, 1 + 2**-9])
    got = round_to(np.array([3.4e38, 1 + 2**-8, 1 + 3 * 2**-8], F4), BFLOAT16)
    assert got.dtype == BFLOAT16
    assert got.astype(float).tolist() == [np.inf, 1, 1 + 2**-6]


@pytest.mark.parametrize("dtype", COMPUTE, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_channels_split_and_join(dtype: np.dtype[Any], groups: int, batch: int) -> None:
    x = numbers(batch, 6, 5, dtype=dtype)
    real = compute_dtype(dtype)
    parts = split_channels(x, groups, real)
    assert parts.dtype == real
    if dtype.kind == "c":
        assert parts.shape == (batch, 12, 5)
        per_group = 6 // groups
        for group in range(groups):
            ours = x[:, group * per_group : (group + 1) * per_group]
            start = 2 * group * per_group
            assert (parts[:, start : start + per_group] == ours.real).all()
            assert (parts[:, start + per_group : start + 2 * per_group] == ours.imag).all()
    else:
        assert (parts == x.astype(real)).all()
        assert (parts is x) == (dtype == real)
    same_bits(join_channels(parts, groups, dtype), x)


@pytest.mark.parametrize("dtype", COMPUTE, ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_split_weight_is_the_matrix_of_the_docstring(dtype: np.dtype[Any], groups: int) -> None:
    x, w = numbers(1, 4, 1, dtype=dtype), numbers(4, 3, 1, dtype=dtype)
    real = compute_dtype(dtype)
    parts = split_weight(w, groups, real)
    assert parts.dtype == real
    assert parts.flags.c_contiguous

    def product(x: Any, w: Any) -> Any:
        by_group = x.reshape(groups, -1), w.reshape(groups, x.shape[1] // groups, -1)
        return np.einsum("gi,gic->gc", *by_group).reshape(1, -1, 1)

    got = join_channels(product(split_channels(x, groups, real), parts), groups, dtype)
    if dtype.kind == "c":
        assert parts.shape == (8, 6, 1)
        np.testing.assert_allclose(got, product(x, w), rtol=1e-5)
    else:
        same_bits(parts, w.astype(real))


def test_split_weight_is_ready_for_the_kernels() -> None:
    w = numbers(4, 3, 2, dtype=F4)
    assert split_weight(w, 1, F4) is w
    for view in (w.transpose(1, 0, 2), w[..., ::-1], unaligned(w), w[::2]):
        got = split_weight(view, 1, F4)
        assert got.flags.c_contiguous
        assert got.flags.aligned
        assert (got == view).all()
