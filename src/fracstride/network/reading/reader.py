"""What an operation's file sees of a framework's call while it is read.

Its arguments go by the names of the operator's schema.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from fracstride.arrays import Array
from fracstride.network.value import Value

__all__ = ["Reader", "Unreadable"]


class Unreadable(ValueError):  # noqa: N818 (it is not the user's error)
    """A call that the library cannot represent, with the reason."""


class Reader(ABC):
    """One call of an operator of a framework."""

    #: Of the network's signals.
    dtype: str
    #: The operator without namespace and overload, such as ``"leaky_relu"``.
    operator: str

    @abstractmethod
    def argument(self, name: str, default: Any = None) -> Any:
        """An argument as the recording has it, or ``default`` if the operator has none such."""

    @abstractmethod
    def signal(self, name: str, axes: str) -> Value:
        """The signal that is an argument, whose axes are these: ``"BCT"``, ``"BTC"``, ``"TBC"``.

        Raises:
            Unreadable: it is no signal, or has other axes.
        """

    def signal_of(self, name: str, *axes: str) -> tuple[Value, str]:
        """The same with the first of several kinds of axes that it has."""
        for each in axes:
            try:
                return self.signal(name, each), each
            except Unreadable:
                pass
        return self.signal(name, axes[0]), axes[0]

    @abstractmethod
    def number(self, name: str, default: float | None = None) -> float:
        """A number."""

    @abstractmethod
    def integers(self, name: str, count: int) -> tuple[int, ...]:
        """A list of so many ints; a list of one counts for all."""

    @abstractmethod
    def optional_weight(self, name: str) -> Array | None:
        """A constant array, or None where the argument is None."""

    def weight(self, name: str) -> Array:
        """A constant array."""
        found = self.optional_weight(name)
        if found is None:
            raise Unreadable(f"{name} must be a constant")
        return found

    @abstractmethod
    def weights(self, name: str) -> list[Array]:
        """A list of constant arrays, or one alone.

        Where one is a single number everywhere, axes that vary have one position.
        """

    @abstractmethod
    def times_as_long(self) -> int:
        """How many positions of the last axis of the result there are for one of the first input.

        Raises:
            Unreadable: it is not the same whole number in each run.
        """

    @abstractmethod
    def check_unused(self, *results: int) -> None:
        """Raise :class:`Unreadable` if something reads one of these results of the call."""

    @abstractmethod
    def constant(self, array: Array) -> Value:
        """A constant with one number per channel, or one for all."""

    @abstractmethod
    def add(self, operation: Any, *inputs: Value) -> Value:
        """Use an operation on these values."""

    @abstractmethod
    def give(self, value: Value, axes: str, channels: tuple[int, ...] = ()) -> None:
        """Make a value with these axes the result of the call.

        ``channels`` are the sizes of the axes of channels, where there are several.
        """

    @abstractmethod
    def gathered(self, name: str, dims: Sequence[int]) -> tuple[Value, int]:
        """A signal whose channels along some of its axes stand together, and how many these are.

        Raises:
            Unreadable: one of these axes is time or the batch.
        """

    @abstractmethod
    def give_without(self, value: Value, name: str, dims: Sequence[int], *, keep: bool) -> None:
        """Make a value the result, which has the axes of an argument but for these.

        ``keep``: they are there with one position.
        """

    @abstractmethod
    def elementwise(self, operation: Any, *names: str) -> None:
        """Make an elementwise operation of these arguments the result, broadcast as they are."""

    def check(self, condition: bool, why: str) -> None:
        """Raise :class:`Unreadable` unless the condition holds."""
        if not condition:
            raise Unreadable(why)
