"""Conv1d."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fracstride.conv1d import Conv1d as Layer
from fracstride.conv1d_geometry import conv1d_geometry_of
from fracstride.extension import MODES
from fracstride.network.convolution import ConvolutionOperation, check_inputs, onnx_sizes
from fracstride.network.extent import Extent
from fracstride.network.reading import Reader
from fracstride.network.value import Shape, Value

__all__ = ["Conv1d"]


@dataclass(frozen=True, eq=False)
class Conv1d(ConvolutionOperation):
    """A :class:`fracstride.Conv1d`.

    Args:
        padded: how long the input is with its padding, where what is added on the right differs
            from length to length.
    """

    padded: Extent | None = None

    kind = Layer
    torch = ("conv1d",)
    onnx = ("Conv",)

    def result(self, *inputs: Value) -> Shape:
        if self.padded is None:
            return super().result(*inputs)
        g = self.layer.geometry
        bare = conv1d_geometry_of(g.kernel_size, g.stride, 0, g.dilation, "zeros")
        shape = Shape(
            self.layer.out_channels, self.padded.then(bare.output_length, period=g.stride)
        )
        check_inputs(self, shape, *inputs)
        return shape

    def _reads_beyond(self, inputs: Sequence[Value]) -> bool:
        return self.padded is not None or super()._reads_beyond(inputs)

    def _mirrored(self, inputs: Sequence[Value]) -> int:
        if self.padded is None:
            return super()._mirrored(inputs)
        g, x = self.layer.geometry, inputs[0].extent
        return MODES[g.padding_mode].mirrored(x.most_to(self.padded) - g.padding_left)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        weight, bias = call.weight("weight"), call.optional_weight("bias")
        padding: Any = call.argument("padding")
        if not isinstance(padding, str):
            (padding,) = call.integers("padding", 1)
        (stride,), (dilation,) = call.integers("stride", 1), call.integers("dilation", 1)
        layer = Layer.from_weights(
            weight, bias, stride, padding, dilation, int(call.number("groups"))
        )
        call.give(call.add(cls(layer), call.signal("input", "BCT")), "BCT")

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        sizes = onnx_sizes(call)
        layer = Layer.from_weights(call.weight("W"), call.optional_weight("B"), **sizes)
        call.give(call.add(cls(layer), call.signal("X", "BCT")), "BCT")
