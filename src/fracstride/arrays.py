"""Operands: what may come in, and the real arrays that the kernels work on.

The kernels read and write float32, float64, and half precision, which they add up in float32 and
round once, at the end (:mod:`fracstride.kernel_table`). A complex layer is a real one of twice the
channels (:mod:`fracstride.complex_numbers`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fracstride import complex_numbers
from fracstride.kernel_table import KERNELS, Kernels

Array = NDArray[Any]
DType = np.dtype[Any]

__all__ = [
    "Array",
    "DType",
    "agreed_dtype",
    "aligned",
    "as_dtype",
    "as_operands",
    "complex_of",
    "compute_dtype",
    "join_channels",
    "kernel_dtype",
    "kernels_of",
    "ready",
    "round_to",
    "split_channels",
    "split_weight",
]

_DTYPES = ", ".join(KERNELS)


@lru_cache(maxsize=64)
def compute_dtype(dtype: DType) -> DType:
    """The real dtype that the kernels add up in for ``dtype``.

    >>> compute_dtype(np.dtype(np.float16)), compute_dtype(np.dtype(np.complex128))
    (dtype('float32'), dtype('float64'))
    """
    return np.dtype(KERNELS[dtype.name].sums)


@lru_cache(maxsize=64)
def kernel_dtype(dtype: DType) -> DType:
    """The real dtype that the kernels read and write for ``dtype``.

    >>> kernel_dtype(np.dtype(np.float16)), kernel_dtype(np.dtype(np.complex128))
    (dtype('float16'), dtype('float64'))
    """
    stored = KERNELS[dtype.name].stored
    return dtype.newbyteorder("=") if dtype.name == stored else np.dtype(stored)


@lru_cache(maxsize=64)
def kernels_of(dtype: DType) -> Kernels:
    """The kernels of ``dtype``."""
    return KERNELS[dtype.name]


def as_dtype(dtype: Any) -> DType:
    """``dtype`` as a NumPy dtype that a layer can have, else a ``TypeError``.

    >>> as_dtype("float16")
    dtype('float16')
    """
    if isinstance(dtype, str) and dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise TypeError(
                "dtype bfloat16 needs the package ml_dtypes: pip install 'fracstride[half]'"
            ) from error
        bfloat16: DType = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    try:
        found: DType = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be one of {_DTYPES}, got {dtype!r}") from None
    if dtype is None or found.name not in KERNELS:
        raise TypeError(f"dtype must be one of {_DTYPES}, got {dtype!r}")
    native: DType = found.newbyteorder("=")
    return native


def agreed_dtype(
    name: str, found: DType, dtype: DType | None, decided_by: str
) -> tuple[DType, str]:
    """The dtype of all operands, and the name of the one that decides it, once ``found`` is known.

    ``dtype`` is that of the operands before, of which ``decided_by`` was the first, or None.
    ``TypeError`` if ``found``, the dtype of the operand ``name``, is another one or not supported.

    >>> agreed_dtype("input", np.dtype("f4"), None, "the layer")
    (dtype('float32'), 'input')
    """
    if found.name not in KERNELS:
        raise TypeError(f"{name} must be an array of {_DTYPES}, got dtype {found}")
    if dtype is None:
        return found.newbyteorder("="), name
    if found.name != dtype.name:
        raise TypeError(f"{name} must have the dtype of {decided_by}, {dtype}, got {found}")
    return dtype, decided_by


def as_operands(dtype: DType | None, /, **operands: ArrayLike | None) -> list[Any]:
    """The operands as arrays of one dtype in the machine's byte order; a bias may be None.

    ``dtype`` is the layer's, or None where the operands decide. Numbers and lists have no dtype of
    their own and take that of the arrays (float64 or complex128 if there are none). ``TypeError``
    names the first operand whose dtype is not supported or not that of the ones before.

    >>> [a.dtype.name for a in as_operands(None, input=[[1, 2]], weight=np.ones((1, 1, 3), "f4"))]
    ['float32', 'float32']
    """
    arrays: dict[str, Any] = {}
    decided_by = "the layer"
    for name, operand in operands.items():
        if operand is None and name != "bias":
            raise TypeError(f"{name} must be an array, got None")
        if operand is None:
            continue
        if isinstance(operand, (list, tuple, int, float, complex)):
            arrays[name] = _numbers(name, operand)
            continue
        array = np.asarray(operand)
        dtype, decided_by = agreed_dtype(name, array.dtype, dtype, decided_by)
        arrays[name] = array
    if dtype is None:
        is_complex = any(array.dtype.kind == "c" for array in arrays.values())
        dtype = np.dtype(np.complex128 if is_complex else np.float64)
    for name, array in arrays.items():
        if array.dtype.kind == "c" and dtype.kind != "c":
            raise TypeError(f"{name} must be real numbers, as {decided_by} is {dtype}")
        arrays[name] = round_to(array, dtype)
    return [arrays.get(name) for name in operands]


def _numbers(name: str, operand: Any) -> Array:
    try:
        array = np.asarray(operand)
    except ValueError:  # lists of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biufc" and array.dtype.name not in KERNELS:
        raise TypeError(f"{name} must be an array, or nested lists of numbers")
    return array


def ready(array: Array) -> Array:
    """The array itself if the kernels can read it in place, else a copy that they can read."""
    if array.flags.c_contiguous and array.flags.aligned:
        return array
    size = array.itemsize
    if array.flags.aligned and not any(stride % size for stride in array.strides):
        return array
    return aligned(array, array.dtype)


def aligned(array: Array, dtype: DType) -> Array:
    """``array`` as contiguous, aligned memory of the dtype: itself if it is that already."""
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def round_to(array: Array, dtype: DType) -> Array:
    """The array in another dtype; values too large for it become infinite, without a warning."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype)


def complex_of(real: Array, imag: Array) -> Array:
    """The complex numbers that have these parts, whatever the parts are."""
    numbers = np.empty(real.shape, np.result_type(real, np.complex64))
    numbers.real, numbers.imag = real, imag
    return numbers


def split_channels(x: Array, groups: int, dtype: DType) -> Array:
    """``(B, C, L)`` in a real dtype; a complex array as ``(B, 2*C, L)``, by group re, im."""
    if x.dtype.kind != "c":
        return x if x.dtype == dtype else x.astype(dtype)
    parts: Array = complex_numbers.split_signal(x, groups, np.concatenate)
    return parts


def join_channels(parts: Array, groups: int, dtype: DType) -> Array:
    """The inverse of :func:`split_channels`, rounded to ``dtype``."""
    if dtype.kind != "c":
        return round_to(parts, dtype)
    joined: Array = complex_numbers.join_signal(parts, groups, complex_of)
    return joined


def split_weight(weight: Array, groups: int, dtype: DType) -> Array:
    """``(C_in, C_out/g, k)`` in a real dtype, contiguous; complex as the matrix of its parts."""
    if weight.dtype.kind == "c":
        weight = complex_numbers.split_weight(weight, groups, np.concatenate)
    return aligned(weight, dtype)
