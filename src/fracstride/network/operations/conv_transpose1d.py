"""ConvTranspose1d."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.layer import ConvTranspose1d as Layer
from fracstride.network.convolution import ConvolutionOperation, onnx_sizes
from fracstride.network.reading import Reader

__all__ = ["ConvTranspose1d"]


@dataclass(frozen=True, eq=False)
class ConvTranspose1d(ConvolutionOperation):
    """A :class:`fracstride.ConvTranspose1d`."""

    kind = Layer
    torch = ("conv_transpose1d",)
    onnx = ("ConvTranspose",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        weight, bias = call.weight("weight"), call.optional_weight("bias")
        names = ("stride", "padding", "output_padding", "dilation")
        stride, padding, output_padding, dilation = (call.integers(n, 1)[0] for n in names)
        layer = Layer.from_weights(
            weight, bias, stride, padding, output_padding, int(call.number("groups")), dilation
        )
        call.give(call.add(cls(layer), call.signal("input", "BCT")), "BCT")

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        call.check(not call.argument("output_shape"), "it asks for an output of a fixed length")
        (added,) = call.integers("output_padding", 1) if call.argument("output_padding") else (0,)
        weight, bias = call.weight("W"), call.optional_weight("B")
        layer = Layer.from_weights(weight, bias, output_padding=added, **onnx_sizes(call))
        call.give(call.add(cls(layer), call.signal("X", "BCT")), "BCT")
