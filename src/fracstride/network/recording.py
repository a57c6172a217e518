"""A model as a framework ran it: operators on tensors, at several lengths and batch sizes.

A face of the library (:mod:`fracstride.torch.capture`) writes a recording; a graph is read from it.
Whatever differs between the runs is a :class:`Varying`, with one value for each of the recording's
:class:`Conditions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from fracstride.network.periodic import Periodic

__all__ = [
    "Call",
    "Conditions",
    "Constant",
    "Filled",
    "Input",
    "Recording",
    "Reference",
    "Repeated",
    "Size",
    "Tensor",
    "Varying",
    "references",
]


@dataclass(frozen=True)
class Conditions:
    """One run of the model."""

    #: Ticks ``T`` of the clock: the length of the inputs in their smallest common proportion.
    clock: int
    #: Entries of the batch.
    batch: int


@dataclass(frozen=True)
class Varying:
    """A number that differs between the runs."""

    values: tuple[int | float, ...]


Size: TypeAlias = int | Varying


@dataclass(frozen=True)
class Reference:
    """A recorded tensor, as an argument or a result."""

    index: int


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that is the same in every run."""

    array: NDArray[Any]
    #: Of the parameter or buffer that it is, such as ``"decoder.conv.weight"``, or empty.
    name: str = ""


@dataclass(frozen=True)
class Filled:
    """A constant all of whose elements are one number, of a size that may differ between runs."""

    number: float
    shape: tuple[Size, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Repeated:
    """A constant along one axis, whose size differs between runs: a window's envelope."""

    numbers: Periodic
    shape: tuple[Size, ...]


@dataclass(frozen=True)
class Tensor:
    """What is known about a recorded tensor."""

    shape: tuple[Size, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Call:
    """One operator of the framework, in functional form."""

    #: Such as ``"aten.conv1d.default"``.
    operator: str
    #: Of the module that called it, such as ``"resblocks.0.convs1.2"``.
    path: str
    #: All arguments by their name in the operator's schema, defaults filled in.
    arguments: dict[str, Any]
    #: Indices of the tensors that it gives.
    results: tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """A recorded tensor that the caller gives."""

    index: int
    #: Axis of time, or None.
    time: int | None
    #: Axis of the batch, or None.
    batch: int | None
    #: Positions for each tick of the clock; 0 without time.
    per_clock: int
    #: In the model, if it has one.
    name: str = ""


@dataclass(frozen=True, eq=False)
class Recording:
    """A model's runs, aligned."""

    conditions: tuple[Conditions, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[Input, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Reference | Constant | Filled, ...]


def references(found: Any) -> Iterator[Reference]:
    """The recorded tensors in an argument."""
    if isinstance(found, Reference):
        yield found
    elif isinstance(found, (dict, list, tuple)):
        for each in found.values() if isinstance(found, dict) else found:
            yield from references(each)
