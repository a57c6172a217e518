"""What an operation's file sees of a framework's call while it is read.

Its arguments go by the names of the operator's schema.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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
    def signals(self, name: str, axes: str) -> list[Value]:
        """The signals that a list as argument holds, such as the parts of a complex number."""

    @abstractmethod
    def shape(self, name: str) -> tuple[Any, ...]:
        """Recorded sizes of a tensor that is an argument."""

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
    def resized(self, value: Value, size: Any) -> Value:
        """The first positions of a signal, as many as a recorded size; zeros where it ends."""

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
    def elementwise(self, operation: Any, *names: str) -> None:
        """Make an elementwise operation of these arguments the result, broadcast as they are."""

    @abstractmethod
    def give_sum(
        self,
        add_up: Callable[[Any, Value, Sequence[tuple[int, ...]]], Value],
        name: str,
        dims: Any,
        *,
        keepdim: bool,
        what: str,
    ) -> None:
        """Make a sum over axes of channels of an argument, or a mean, the result.

        ``add_up`` is given this call, the signal, and the channels of each part that is added;
        ``what`` it is, in messages.
        """

    @abstractmethod
    def on_codes(self, codes: str, *steps: tuple[Callable[[tuple[int, ...]], Any], str]) -> None:
        """Make operations on codes, an argument, the result, one after the other.

        Each step makes an operation of the whole numbers in another argument: one for each channel,
        or one for all.
        """

    @abstractmethod
    def look_up(self, operation: Any, codes: str, table: str) -> None:
        """Make what an operation finds for codes in a table, both arguments, the result.

        Its axes are those of the codes, and behind them one of what belongs to each code.
        """

    def check(self, condition: bool, why: str) -> None:
        """Raise :class:`Unreadable` unless the condition holds."""
        if not condition:
            raise Unreadable(why)
