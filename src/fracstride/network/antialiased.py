"""An elementwise function at a higher rate: up, the function, and down again, in one pass.

BigVGAN does this at each activation, so that what the function adds above half the sampling rate
does not fold back. The signal between the two layers is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

    def result(self, *inputs: Value) -> Shape:
        return self.shape

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        (x,) = inputs
        length = self.up.layer.geometry.output_length(x.shape[2])
        call = partial(
            native.antialiased,
            self.up.layer.packed.packed_weight().native,
            self.chain.compiled,
            self.down.layer.packed.packed_weight().native,
            out.shape[0],
            *native.signal_of(x),
            *_filtering(self.up),
            length,
            *_filtering(self.down),
            *native.signal_of(out),
        )
        return partial(self._run, call, x, out, length)

    def _run(self, call: Callable[[], bool], x: Array, out: Array, length: int) -> None:
        """In one pass, or where the module has none for these layers, one step after the other."""
        if call():
            return
        middle = np.empty((len(out), self.middle.channels, length), out.dtype)
        self.up.bind([x], middle)()
        self.chain.bind([middle], middle)()
        self.down.bind([middle], out)()


def _filtering(operation: Any) -> tuple[int, int, int]:
    """Bias, padding on the left and number of the padding mode."""
    packed, geometry = operation.layer.packed, operation.layer.geometry
    bias = packed.packed_bias
    address = 0 if bias is None else bias.address
    return address, geometry.padding_left, MODES[geometry.padding_mode].number
