"""What an operation of a network is.

Each kind of operation is a subclass in a file of its own in :mod:`fracstride.network.operations`.
The file says what the operation does to sizes, how it computes, and how it is read from the models
of frameworks. ``docs/operations.md`` walks through adding one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import ClassVar

from fracstride.arrays import Array, DType
from fracstride.network.part import Part
from fracstride.network.reading import Reader
from fracstride.network.value import Shape, Value

__all__ = ["Operation", "check_channels"]


class Operation(ABC):
    """One kind of step from values to a value.

    A subclass is a frozen dataclass whose fields are the parameters. It has :meth:`result` and
    :meth:`compute`, or :meth:`bind` if that costs too much at each call, or :meth:`view`.
    """

    #: Operators of torch that this class reads, without namespace and overload: ``("tanh",)``.
    torch: ClassVar[tuple[str, ...]] = ()
    #: Operators of ONNX that this class reads: ``("Tanh",)``.
    onnx: ClassVar[tuple[str, ...]] = ()
    #: Whether it takes codes; only this class then reads its operators where they are given codes.
    takes_codes: ClassVar[bool] = False
    #: Whether the result is a view of the input's memory, which :meth:`view` returns.
    is_view: ClassVar[bool] = False
    #: Whether the result may be written over an input of the same shape.
    in_place: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """In tables and messages."""
        return type(self).__name__

    @property
    def details(self) -> str:
        """The sizes that a table shows beside the name, such as ``"k7 d3"``."""
        return ""

    @property
    def weight_dtype(self) -> DType | None:
        """Of the weights; None without weights."""
        return None

    @property
    def parameters(self) -> int:
        """Numbers that were learnt."""
        return 0

    @property
    def multiply_adds(self) -> int:
        """For one position of the result, all channels."""
        return 0

    @property
    def stride(self) -> int:
        """After so many positions of the first input, the result does what it did before."""
        return 1

    @property
    def edge(self) -> int:
        """Positions at the beginning of a result that are like no later ones."""
        return 0

    @abstractmethod
    def result(self, *inputs: Value) -> Shape:
        """Channels and length of the result.

        Raises:
            ValueError: the inputs do not fit; the message says what would.
        """

    def accepts(self, length: int, result: int) -> bool:
        """Whether a first input of so many positions, for a result of so many, is long enough."""
        return True

    def delay(self, *inputs: Value) -> Fraction | None:
        """Ticks by which the result trails its inputs; None if it needs all of the signal.

        A position of the result at ``n/rate`` needs the inputs up to there and so much further.
        """
        return Fraction(0)

    # In a stream. These three are right for an operation whose positions read the same positions.

    def obstacle(self, *inputs: Value) -> str:
        """Why it cannot stream, as the end of a sentence; empty where it can."""
        return "looks at the whole signal" if self.delay(*inputs) is None else ""

    def known(self, known: Sequence[int], inputs: Sequence[Value]) -> int:
        """The positions of the result that no later input changes.

        Args:
            known: so many positions of each input are at hand.
            inputs: as in :meth:`result`.
        """
        return min(known)

    def needed(self, position: int, known: Sequence[int], inputs: Sequence[Value]) -> Sequence[int]:
        """Of each input, the first position that results from ``position`` on still read.

        What an end of the signal mirrors counts, wherever it may come: at ``known`` or later.
        """
        return [position] * len(inputs)

    def bind_part(
        self, inputs: Sequence[Part], out: Part, state: Array | None
    ) -> Callable[[], object]:
        """:meth:`bind` for some positions of the result.

        Args:
            inputs: what is at hand of them.
            out: where the result goes.
            state: what :meth:`new_state` gave, as the part before left it.
        """
        return self.bind([x.between(out.start, out.stop) for x in inputs], out.array)

    def new_state(self, batch: int) -> Array | None:
        """What is carried from part to part beside positions: ``(..., batch, units)``, at first."""
        return None

    def compute(self, inputs: Sequence[Array], out: Array) -> None:
        """Write the result of the arrays ``(B, channels, L)`` to ``out``."""
        raise NotImplementedError

    def view(self, x: Array, length: int) -> Array:
        """The result as a view of the only input, of this length; of an operation that is one."""
        raise NotImplementedError

    def view_part(self, x: Part) -> Part:
        """:meth:`view` of what is at hand of the input."""
        return Part(self.view(x.array, x.array.shape[2]), x.first, x.ends)

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        """A function that computes the result of these arrays, at each call anew.

        The arrays stay where they are; everything that depends on lengths alone is done here.
        """
        return lambda: self.compute(inputs, out)

    def astype(self, dtype: DType) -> Operation:
        """The same operation for another dtype."""
        return self

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        """Read a call of one of the operators in ``torch``.

        Raises:
            Unreadable: this call is none that the class knows.
        """
        raise NotImplementedError

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        """Read a call of one of the operators in ``onnx``; the same."""
        raise NotImplementedError


def check_channels(name: str, value: Value, channels: int) -> None:
    """Raise ``ValueError`` unless a signal has so many channels."""
    if value.channels != channels:
        raise ValueError(f"{name} takes {channels} channels, got {value.channels}")
