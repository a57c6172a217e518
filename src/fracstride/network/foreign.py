"""Operations of another library, which a network runs as they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from fracstride.network.operation import Operation
from fracstride.network.value import Shape, Value

__all__ = ["Foreign"]


class Foreign(Operation):
    """An operation of another library: of signals, and of objects that only that library knows.

    Its results are given when it is added (:meth:`fracstride.network.graph.Graph.add_foreign`).
    """

    def result(self, *inputs: Value) -> Shape:
        raise NotImplementedError("the shapes of its results are given to Graph.add_foreign")

    def delay(self, *inputs: Value) -> Fraction | None:
        return None

    @property
    def depends_on_length(self) -> bool:
        """Whether it is called with numbers that follow from how long the signal is."""
        return False

    def obstacle(self, *inputs: Value) -> str:
        return "is unknown to this library, and so at which times it looks"

    @abstractmethod
    def call(self, inputs: Sequence[Any], clock: int, batch: int) -> Sequence[Any]:
        """The results, of arrays ``(B, channels, L)`` for signals and of its own objects."""
