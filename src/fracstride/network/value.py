"""Values: what flows through a network.

A *value* is a signal ``(B, channels, L)`` whose length follows from the clock, a constant with one
number per channel, or something foreign: an object that only operations of another library read.
The numbers of a signal have the dtype of the network, or they are codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracstride.arrays import DType
from fracstride.network.codes import CODES
from fracstride.network.extent import Extent

__all__ = ["Shape", "Value", "constant", "foreign"]


@dataclass(frozen=True)
class Shape:
    """Channels and length of a signal."""

    channels: int
    extent: Extent
    #: Whether its numbers are codes: integers, whatever the dtype of the network is.
    codes: bool = False


@dataclass(eq=False)
class Value:
    """A signal, a constant or something foreign; compared by identity."""

    #: In the model, or made up.
    name: str
    #: None of a foreign value.
    shape: Shape | None
    #: ``(channels,)`` of a constant.
    constant: NDArray[Any] | None = None

    @property
    def is_signal(self) -> bool:
        """Whether it is a signal."""
        return self.shape is not None and self.constant is None

    @property
    def is_codes(self) -> bool:
        """Whether it is a signal of codes."""
        return self.shape is not None and self.shape.codes

    def dtype(self, signals: DType) -> DType:
        """Of a signal in a network whose signals have this dtype."""
        return CODES if self.is_codes else signals

    @property
    def channels(self) -> int:
        """Of a signal or a constant."""
        assert self.shape is not None
        return self.shape.channels

    @property
    def extent(self) -> Extent:
        """The length; 1 of a constant."""
        assert self.shape is not None
        return self.shape.extent

    @property
    def rate(self) -> Fraction:
        """Positions for each tick of the clock; 0 of a value without time."""
        return self.extent.rate


def constant(values: Any, channels: int | None = None) -> Value:
    """A constant: one number for all channels, or one per channel."""
    array = np.array(values).reshape(-1)
    if channels is not None and array.size == 1:
        array = np.repeat(array, channels)
    array.flags.writeable = False
    return Value("", Shape(array.size, Extent.affine(0, 1)), array)


def foreign(name: str = "") -> Value:
    """A value that only operations of another library read."""
    return Value(name, None)
