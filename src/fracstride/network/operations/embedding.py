"""Embedding: codes become rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fracstride.arrays import Array, DType
from fracstride.network.codes import CodeError
from fracstride.network.operation import Operation
from fracstride.network.reading import Reader
from fracstride.network.value import Shape, Value

__all__ = ["Embedding"]


@dataclass(frozen=True, eq=False)
class Embedding(Operation):
    """Code ``n`` becomes row ``n`` of a table, one number for each channel of the result.

    Several channels of codes are looked up in the same table: their rows are the channels of the
    result, one after the other. A code below 0 or beyond the table raises an error: where a model
    counts negative ones from the end of the table, this does not.

    Args:
        table: ``(codes, channels)``.
    """

    table: Array

    takes_codes = True
    torch = ("embedding", "index", "index_select")
    onnx = ("Gather",)

    @property
    def details(self) -> str:
        return f"{len(self.table)} codes"

    @property
    def weight_dtype(self) -> DType:
        return self.table.dtype

    @property
    def parameters(self) -> int:
        return int(self.table.size)

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        if not x.is_codes:
            raise ValueError(f"{self.name} takes codes, got a signal of floats")
        if self.table.ndim != 2 or not self.table.size:
            raise ValueError(f"table must have two axes, got the shape {self.table.shape}")
        return Shape(x.channels * self.table.shape[1], x.extent)

    @cached_property
    def _columns(self) -> Array:
        """The table with its channels first: what lies together in a signal lies together here."""
        return np.ascontiguousarray(self.table.T)

    def check(self, codes: Array) -> None:
        """Whether the table has all of these codes.

        Raises:
            CodeError: it lacks one.
        """
        if not codes.size:
            return
        low, high, last = int(codes.min()), int(codes.max()), len(self.table) - 1
        if low < 0 or high > last:
            raise CodeError(f"codes must be 0 to {last}, got {low if low < 0 else high}")

    def compute(self, inputs: Sequence[Array], out: Array) -> None:
        (codes,) = inputs
        self.check(codes)
        width = self.table.shape[1]
        for rows, result in zip(codes, out, strict=True):
            for place, row in enumerate(rows):
                channels = result[place * width : (place + 1) * width]
                # (Checked already. With "raise", NumPy would write to a copy of the result first.)
                np.take(self._columns, row, axis=1, out=channels, mode="clip")

    def astype(self, dtype: DType) -> Embedding:
        return Embedding(self.table.astype(dtype))

    @classmethod
    def of_table(cls, call: Reader, name: str) -> Embedding:
        """The operation with a constant table."""
        table = call.weight(name)
        call.check(table.ndim == 2, "the table that it reads has not two axes")
        call.check(table.size > 0, "the table that it reads is empty")
        call.check(table.dtype.name == call.dtype, f"its table is in {table.dtype}")
        return cls(table)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        if call.operator == "embedding":
            call.look_up(cls.of_table(call, "weight"), "indices", "weight")
        elif call.operator == "index_select":
            call.check(call.argument("dim") == 0, "it takes columns of a table")
            call.look_up(cls.of_table(call, "self"), "index", "self")
        else:
            call.check(len(call.argument("indices")) == 1, "it takes single numbers of a table")
            call.look_up(cls.of_table(call, "self"), "indices", "self")

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        call.check(call.argument("axis", 0) in (0, -2), "it takes columns of a table")
        call.look_up(cls.of_table(call, "data"), "indices", "data")
