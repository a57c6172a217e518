"""Codes: signals of whole numbers, such as the tokens of a codec, that tables are read with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fracstride.arrays import Array, DType, as_operands

__all__ = ["CODES", "CodeError", "as_numbers", "is_code_dtype", "naming"]

#: The dtype of codes in the memory of a network: one that every other holds. (A code is an index,
#: and NumPy indexes by it without a copy.)
CODES: DType = np.dtype(np.int64)
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


class CodeError(ValueError):
    """A code that a table does not have."""


def is_code_dtype(name: str) -> bool:
    """Whether a dtype is one of codes: of integers that int64 holds.

    >>> is_code_dtype("int32"), is_code_dtype("uint64"), is_code_dtype("bool")
    (True, False, False)
    """
    return name in _INTEGERS


def as_numbers(name: str, dtype: DType, given: Any) -> Array:
    """What a caller gives for a signal of this dtype, as an array; codes may be any integers.

    Raises:
        TypeError: it has another dtype.
    """
    if dtype != CODES:
        (array,) = as_operands(dtype, **{name: given})
        numbers: Array = array
        return numbers
    array = np.asarray(given)
    if not is_code_dtype(array.dtype.name):
        raise TypeError(f"{name} must be codes, integers such as int64, got dtype {array.dtype}")
    return array


def naming(step: Callable[[], object], where: str) -> Callable[[], object]:
    """A step whose message about codes says which operation has the table."""

    def run() -> None:
        try:
            step()
        except CodeError as error:
            raise CodeError(f"{where}: {error}") from None

    return run
