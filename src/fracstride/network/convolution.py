"""What both convolutions are in a network: a layer, and the operations fused into its call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fracstride._load import native
from fracstride.arrays import Array, DType
from fracstride.convolution import Convolution
from fracstride.extension import MODES
from fracstride.network.operation import Operation, check_channels
from fracstride.network.part import Part
from fracstride.network.reading import Reader
from fracstride.network.steps import keeping
from fracstride.network.value import Shape, Value

__all__ = ["ConvolutionOperation", "check_inputs"]

_NOTHING = (0, 0, 0, 0, 0)  # an absent argument of the kernel


@dataclass(frozen=True, eq=False)
class ConvolutionOperation(Operation):
    """A layer with what is fused into it: ``residual + layer(leaky_relu(x))``.

    The residual is the second input, if there is one.
    """

    layer: Convolution[Any]
    #: Of the leaky ReLU of the input; 1: none.
    negative_slope: float = 1.0

    #: The class of the layer.
    kind: ClassVar[type[Any]]

    @property
    def details(self) -> str:
        g = self.layer.geometry
        shown = [f"k{g.kernel_size}"]
        shown += [f"s{g.stride}"] if g.stride > 1 else []
        shown += [f"d{g.dilation}"] if g.dilation > 1 else []
        shown += [f"g{self.layer.groups}"] if self.layer.groups > 1 else []
        return " ".join(shown)

    @property
    def weight_dtype(self) -> DType:
        return self.layer.dtype

    @property
    def parameters(self) -> int:
        bias = self.layer.bias
        return int(self.layer.weight.size) + (0 if bias is None else int(bias.size))

    @property
    def multiply_adds(self) -> int:
        # Each number of the weight meets each frame once, of T, or each sample once, of a Conv1d.
        g, count = self.layer.geometry, int(self.layer.weight.size)
        return -(-count // g.stride) if g.is_transposed else count

    @property
    def stride(self) -> int:
        g = self.layer.geometry
        return 1 if g.is_transposed else int(g.stride)

    def result(self, *inputs: Value) -> Shape:
        extent = inputs[0].extent.then(self.layer.geometry.output_length, self.stride)
        shape = Shape(self.layer.out_channels, extent)
        check_inputs(self, shape, *inputs)
        return shape

    def delay(self, *inputs: Value) -> Fraction | None:
        g, rate = self.layer.geometry, inputs[0].rate
        if not rate:
            return Fraction(0)
        if g.padding_mode == "circular":
            return None
        if g.is_transposed:
            return Fraction(g.padding_left, g.stride) / rate
        return Fraction(g.span - g.stride - g.padding_left) / rate

    def obstacle(self, *inputs: Value) -> str:
        mode = MODES[self.layer.geometry.padding_mode]
        return "" if mode.streams else f"is padded {mode.name!r}: {mode.obstacle}"

    def known(self, known: Sequence[int], inputs: Sequence[Value]) -> int:
        g, frames = self.layer.geometry, known[0]
        if frames <= g.mirrored_left:
            return 0
        if g.is_transposed:
            positions = frames * g.stride - g.padding_left
        else:
            positions = (frames + g.padding_left - g.span) // g.stride + 1
        return min([int(positions), *known[1:]])

    def needed(self, position: int, known: Sequence[int], inputs: Sequence[Value]) -> Sequence[int]:
        first = self._first_read(position)
        if self._reads_beyond(inputs):
            first = min(first, known[0] - 1 - self._mirrored(inputs))
        return [first, *[position] * (len(known) - 1)]

    def _first_read(self, position: int) -> int:
        """The first position of the input that a position of the result reads."""
        g = self.layer.geometry
        if not g.is_transposed:
            return int(position * g.stride - g.padding_left)
        # The last tap of the first frame, or where there is a gap between frames, that before it.
        at = position + g.padding_left
        return int(min(-((g.span - 1 - at) // g.stride), at // g.stride))

    def _reads_beyond(self, inputs: Sequence[Value]) -> bool:
        """Whether there are positions that wait for the end of the signal."""
        g = self.layer.geometry
        return bool(g.padding_right if not g.is_transposed else g.overhang + g.padding_left > 0)

    def _mirrored(self, inputs: Sequence[Value]) -> int:
        """How far from the last position of the input its extension reads."""
        return int(self.layer.geometry.mirrored_right)

    def bind_part(
        self, inputs: Sequence[Part], out: Part, state: Array | None
    ) -> Callable[[], object]:
        x, *residual = inputs
        if not x.ends:
            x = x.since(max(self._first_read(out.start), 0))
        arrays = [x.array, *(each.between(out.start, out.stop) for each in residual)]
        left = self.layer.geometry.crop_of_part(x.start, out.start)
        return self.bind_padded(arrays, out.array, left)

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        return self.bind_padded(inputs, out, self.layer.geometry.padding_left)

    def bind_padded(
        self, inputs: Sequence[Array], out: Array, padding_left: int
    ) -> Callable[[], object]:
        """:meth:`bind` with another padding on the left, of any sign for a Conv1d."""
        packed = self.layer.packed
        around: tuple[float, ...] = ()
        if len(inputs) > 1:
            around = (*native.signal_of(inputs[1])[:4], self.negative_slope, *_NOTHING)
        elif self.negative_slope != 1:
            around = (*_NOTHING[:4], self.negative_slope, *_NOTHING)
        bias, geometry = packed.packed_bias, self.layer.geometry
        call = partial(
            native.forward,
            packed.packed_weight().native,
            out.shape[0],
            *native.signal_of(inputs[0]),
            0 if bias is None else bias.address,
            *native.signal_of(out),
            padding_left,
            MODES[geometry.padding_mode].number,
            *around,
        )
        return keeping(call, bias)

    def with_layer(self, **changes: Any) -> ConvolutionOperation:
        """The same with another weight, bias or geometry (``padding``, ``padding_mode``)."""
        g, layer = self.layer.geometry, self.layer
        arguments = {
            "weight": layer.weight,
            "bias": layer.bias,
            "stride": g.stride,
            "padding": (g.padding_left, g.padding_right),
            "dilation": g.dilation,
            "groups": layer.groups,
            "padding_mode": g.padding_mode,
        }
        if g.is_transposed:
            arguments["output_padding"] = g.output_padding
        return replace(self, layer=self.kind.from_weights(**arguments | changes))

    def astype(self, dtype: DType) -> ConvolutionOperation:
        bias = self.layer.bias
        return self.with_layer(
            weight=np.asarray(self.layer.weight).astype(dtype),
            bias=None if bias is None else np.asarray(bias).astype(dtype),
        )


def onnx_sizes(call: Reader) -> dict[str, Any]:
    """Stride, padding, dilation and groups of a convolution of ONNX."""
    call.check(call.weight("W").ndim == 3, "it is no 1-D convolution")
    pad = call.argument("auto_pad", "NOTSET")
    call.check(pad in ("NOTSET", "VALID"), f"auto_pad is {pad!r}")
    padding = (0, 0)
    if call.argument("pads") and pad == "NOTSET":
        left, right = call.integers("pads", 2)
        padding = (left, right)
    (stride,) = call.integers("strides", 1) if call.argument("strides") else (1,)
    (dilation,) = call.integers("dilations", 1) if call.argument("dilations") else (1,)
    groups = int(call.number("group", 1))
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def check_inputs(operation: ConvolutionOperation, shape: Shape, *inputs: Value) -> None:
    """Raise ``ValueError`` unless the inputs fit to the layer and to a result of this shape."""
    check_channels(operation.name, inputs[0], operation.layer.in_channels)
    for residual in inputs[1:]:
        if residual.shape != shape:
            raise ValueError(f"the residual of {operation.name} must have the shape of its result")
