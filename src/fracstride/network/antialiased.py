"""An elementwise function at a higher rate: up, the function, and down again, in one pass.

BigVGAN does this at each activation, so that what the function adds above half the sampling rate
does not fold back. The signal between the two layers is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from fracstride._load import native
from fracstride.arrays import Array
from fracstride.extension import MODES
from fracstride.network.elementwise import Fused
from fracstride.network.operation import Operation
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.part import Part
from fracstride.network.steps import keeping
from fracstride.network.value import Shape, Value

__all__ = ["Antialiased"]


@dataclass(frozen=True, eq=False)
class Antialiased(Operation):
    """A depthwise transposed convolution, a chain of elementwise operations, a depthwise Conv1d.

    Args:
        up: without an activation of its input.
        chain: of one signal.
        down: the same.
        shape: of the result.
        middle: of the signal between the layers.
    """

    up: ConvTranspose1d
    chain: Fused
    down: Conv1d
    shape: Shape
    middle: Shape

    @property
    def name(self) -> str:
        return f"{self.up.name} {self.chain.name} {self.down.name}"

    @property
    def parameters(self) -> int:
        return self.up.parameters + self.down.parameters

    @property
    def stride(self) -> int:
        # Of positions of the input: as many as make a whole number of strides of the second layer.
        up, down = self.up.layer.geometry.stride, self.down.layer.geometry.stride
        return Fraction(down, up).numerator

    def result(self, *inputs: Value) -> Shape:
        return self.shape

    def known(self, known: Sequence[int], inputs: Sequence[Value]) -> int:
        return self.down.known([self.up.known(known, inputs)], self._between)

    def needed(self, position: int, known: Sequence[int], inputs: Sequence[Value]) -> Sequence[int]:
        between = self.up.known(known, inputs)
        (first,) = self.down.needed(position, [between], self._between)
        return self.up.needed(max(first, 0), known, inputs)

    @property
    def _between(self) -> Sequence[Value]:
        return [Value("", self.middle)]

    def bind_part(
        self, inputs: Sequence[Part], out: Part, state: Array | None
    ) -> Callable[[], object]:
        (x,) = inputs
        up, down = self.up.layer.geometry, self.down.layer.geometry
        first = out.start * down.stride - down.padding_left
        stop = first + (out.array.shape[2] - 1) * down.stride + down.span
        if x.ends:
            stop = up.output_length(x.stop)
            first = min(first, stop - 1 - down.mirrored_right)
        first = max(first, 0)
        if not x.ends:
            (start,) = self.up.needed(first, [x.stop], [])
            x = x.since(max(start, 0))
        return self._bind(
            x.array,
            out.array,
            stop - first,
            up.crop_of_part(x.start, first),
            down.crop_of_part(first, out.start),
        )

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        (x,) = inputs
        up, down = self.up.layer.geometry, self.down.layer.geometry
        length = up.output_length(x.shape[2])
        return self._bind(x, out, length, up.padding_left, down.padding_left)

    def _bind(
        self, x: Array, out: Array, between: int, up_left: int, down_left: int
    ) -> Callable[[], object]:
        """A call for so many positions between the layers, padded on the left by so much."""
        call = partial(
            native.antialiased,
            self.up.layer.packed.packed_weight().native,
            self.chain.compiled,
            self.down.layer.packed.packed_weight().native,
        )
        numbers = (
            *native.signal_of(x),
            *_filtering(self.up, up_left),
            between,
            *_filtering(self.down, down_left),
            *native.signal_of(out),
        )
        if call(0, *numbers):  # of no rows: whether the module has it for these layers
            biases = (each.layer.packed.packed_bias for each in (self.up, self.down))
            return keeping(partial(call, len(out), *numbers), *biases)
        middle = np.empty((len(out), self.middle.channels, between), out.dtype)
        steps = (
            self.up.bind_padded([x], middle, up_left),
            self.chain.bind([middle], middle),
            self.down.bind_padded([middle], out, down_left),
        )

        def run() -> None:
            for step in steps:
                step()

        return run


def _filtering(operation: Any, padding_left: int) -> tuple[int, int, int]:
    """Bias, padding on the left and number of the padding mode."""
    packed, geometry = operation.layer.packed, operation.layer.geometry
    bias = packed.packed_bias
    address = 0 if bias is None else bias.address
    return address, padding_left, MODES[geometry.padding_mode].number
