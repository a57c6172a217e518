"""Operators of frameworks that are several operations of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.conv1d import Conv1d as Layer
from fracstride.network.operation import Operation
from fracstride.network.operations.arithmetic import Add, Multiply, Subtract
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.divided_by import DividedBy
from fracstride.network.operations.functions import Rsqrt, Sigmoid, Square
from fracstride.network.reading import Reader, Unreadable
from fracstride.network.value import Shape, Value

__all__ = ["GLU", "BatchNorm", "ChannelMean", "ChannelSum", "LayerNorm", "Linear", "RMSNorm"]

# Where channels may be the last axis.
_CHANNELS_LAST = ("BTC", "TBC", "BC", "C")
_MOST_PARTS = 64  # of a signal that are added up: there are as many codebooks at the most


class Expanded(Operation):
    """An operator that is read as other operations, and has no place in a graph itself."""

    def result(self, *inputs: Value) -> Shape:
        raise NotImplementedError("it is made of other operations")


class Linear(Expanded):
    """A linear layer over the channels: a Conv1d with one tap."""

    torch = ("linear",)
    onnx = ("Gemm",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        x, axes = call.signal_of("input", *_CHANNELS_LAST)
        weight = call.weight("weight")
        layer = Layer.from_weights(weight[:, :, None], call.optional_weight("bias"))
        call.give(call.add(Conv1d(layer), x), axes)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        for name in ("alpha", "beta"):
            call.check(call.number(name, 1) == 1, f"{name} must be 1")
        call.check(not call.argument("transA"), "it transposes the signal")
        if call.operator == "MatMul" and (rows := _if_constant(call, "A")) is not None:
            x, axes, bias = call.signal("B", "BCT"), "BCT", None
            rows = _matrix(call, rows)
        else:
            weight = _matrix(call, call.weight("B"))
            x, axes = call.signal_of("A", *_CHANNELS_LAST)
            rows, bias = weight if call.argument("transB") else weight.T, call.optional_weight("C")
            call.check(bias is None or bias.ndim < 2, "what it adds is a matrix")
        if bias is not None:
            bias = np.broadcast_to(bias, (len(rows),))
        layer = Layer.from_weights(np.ascontiguousarray(rows)[:, :, None], bias)
        call.give(call.add(Conv1d(layer), x), axes)


def _if_constant(call: Reader, name: str) -> Array | None:
    try:
        return call.optional_weight(name)
    except Unreadable:
        return None


def _matrix(call: Reader, weight: Array) -> Array:
    """A matrix that may have axes of one position before it."""
    alone = weight.ndim >= 2 and set(weight.shape[:-2]) <= {1}
    call.check(alone, "it multiplies by several matrices, or by a vector")
    return weight.reshape(weight.shape[-2:])


class BatchNorm(Expanded):
    """A BatchNorm in eval mode: a factor and a shift for each channel."""

    torch = ("batch_norm",)
    onnx = ("BatchNormalization",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check(not call.argument("training"), "it is in training mode")
        x = call.signal("input", "BCT")
        statistics = [call.weight(f"running_{name}") for name in ("mean", "var")]
        learnt = [call.optional_weight(name) for name in ("weight", "bias")]
        call.give(_batch_norm(call, x, statistics, learnt, call.number("eps")), "BCT")

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        call.check(not call.argument("training_mode"), "it is in training mode")
        x = call.signal("X", "BCT")
        prefix = "" if call.argument("input_mean") is None else "input_"
        statistics = [call.weight(prefix + name) for name in ("mean", "var")]
        learnt = [call.optional_weight(name) for name in ("scale", "B")]
        call.give(_batch_norm(call, x, statistics, learnt, call.number("epsilon", 1e-5)), "BCT")


def _batch_norm(
    call: Reader,
    x: Value,
    statistics: Sequence[Array],
    learnt: Sequence[Array | None],
    eps: float,
) -> Value:
    (mean, variance), (weight, bias) = statistics, learnt
    factor = 1 / np.sqrt(variance.astype(np.float64) + eps)
    shift = -mean * factor
    if weight is not None:
        factor, shift = factor * weight, shift * weight
    if bias is not None:
        shift = shift + bias
    scaled = call.add(Multiply(), x, call.constant(factor.astype(mean.dtype)))
    return call.add(Add(), scaled, call.constant(shift.astype(mean.dtype)))


class GLU(Expanded):
    """The first half of the channels, times the sigmoid of the second."""

    torch = ("glu",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        x, axes = call.signal_of("self", "BCT", "BTC")
        call.check(int(call.number("dim")) % 3 == axes.index("C"), "it halves time or the batch")
        half = x.channels // 2
        first = call.add(Channels(tuple(range(half))), x)
        second = call.add(Channels(tuple(range(half, 2 * half))), x)
        call.give(call.add(Multiply(), first, call.add(Sigmoid(), second)), axes)


def sum_over_channels(call: Reader, x: Value) -> Value:
    """The sum of the channels at each position: a Conv1d of ones.

    (Its sums have the kernels' order, so the bits do not depend on the length.)
    """
    ones = np.ones((1, x.channels, 1), as_dtype(call.dtype))
    return call.add(Conv1d(Layer.from_weights(ones)), x)


def mean_over_channels(call: Reader, x: Value) -> Value:
    """The mean of the channels at each position."""
    return call.add(DividedBy(x.channels), sum_over_channels(call, x))


class ChannelSum(Expanded):
    """The sum over axes of channels: over all channels, or over several signals in one tensor."""

    torch = ("sum",)
    onnx = ("ReduceSum",)
    what: ClassVar[str] = "sum"

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check(call.argument("dtype") is None, f"it is a {cls.what} in another dtype")
        dims = call.argument("dim")
        keepdim = bool(call.argument("keepdim"))
        call.give_sum(cls._sum, "self", dims, keepdim=keepdim, what=cls.what)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        dims = call.argument("axes")
        keepdim = bool(call.argument("keepdims", 1))
        call.give_sum(cls._sum, "data", dims, keepdim=keepdim, what=cls.what)

    @classmethod
    def _sum(cls, call: Reader, x: Value, parts: Sequence[tuple[int, ...]]) -> Value:
        """The sum of parts of the channels of a signal."""
        if len(parts[0]) == 1:
            return sum_over_channels(call, x)
        if len(parts) > _MOST_PARTS:
            order = tuple(channel for together in zip(*parts, strict=True) for channel in together)
            ones = np.ones((len(parts[0]), len(parts), 1), as_dtype(call.dtype))
            layer = Layer.from_weights(ones, groups=len(parts[0]))
            return call.add(Conv1d(layer), call.add(Channels(order), x))
        signals = [call.add(Channels(part), x) for part in parts]
        total = signals[0]
        for signal in signals[1:]:
            total = call.add(Add(), total, signal)
        return total


class ChannelMean(ChannelSum):
    """The mean over axes of channels."""

    torch = ("mean",)
    onnx = ("ReduceMean",)
    what = "mean"

    @classmethod
    def _sum(cls, call: Reader, x: Value, parts: Sequence[tuple[int, ...]]) -> Value:
        return call.add(DividedBy(len(parts)), super()._sum(call, x, parts))


class LayerNorm(Expanded):
    """Mean 0 and variance 1 of the channels at each position, then a factor and a shift."""

    torch = ("layer_norm",)
    onnx = ("LayerNormalization",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        x, axes = call.signal_of("input", *_CHANNELS_LAST)
        call.check(len(call.argument("normalized_shape")) == 1, "it is a norm over several axes")
        learnt = [call.optional_weight(name) for name in ("weight", "bias")]
        call.give(_layer_norm(call, x, learnt, call.number("eps")), axes)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        call.check_unused(1, 2)
        x, axes = call.signal_of("X", *_CHANNELS_LAST)
        dim = int(call.number("axis", -1))
        call.check(dim in (-1, len(axes) - 1), "it is a norm over several axes")
        learnt = [call.optional_weight(name) for name in ("Scale", "B")]
        call.give(_layer_norm(call, x, learnt, call.number("epsilon", 1e-5)), axes)


def _layer_norm(call: Reader, x: Value, learnt: Sequence[Array | None], eps: float) -> Value:
    weight, bias = learnt
    centred = call.add(Subtract(), x, mean_over_channels(call, x))
    # Once more: where all channels are equal, what rounding leaves would be divided by sqrt(eps).
    centred = call.add(Subtract(), centred, mean_over_channels(call, centred))
    variance = mean_over_channels(call, call.add(Square(), centred))
    with_eps = call.add(Add(), variance, call.constant(np.array(eps)))
    y = call.add(Multiply(), centred, call.add(Rsqrt(), with_eps))
    if weight is not None:
        y = call.add(Multiply(), y, call.constant(weight))
    if bias is not None:
        y = call.add(Add(), y, call.constant(bias))
    return y


class RMSNorm(Expanded):
    """A root mean square of 1 of the channels at each position, then a factor."""

    torch = ("rms_norm",)
    onnx = ("RMSNormalization",)

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        x, axes = call.signal_of("input", *_CHANNELS_LAST)
        call.check(len(call.argument("normalized_shape")) == 1, "it is a norm over several axes")
        eps = call.number("eps", float(np.finfo(as_dtype(call.dtype)).eps))
        call.give(_rms_norm(call, x, call.optional_weight("weight"), eps), axes)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        x, axes = call.signal_of("X", *_CHANNELS_LAST)
        dim = int(call.number("axis", -1))
        call.check(dim in (-1, len(axes) - 1), "it is a norm over several axes")
        eps = call.number("epsilon", 1e-5)
        call.give(_rms_norm(call, x, call.optional_weight("scale"), eps), axes)


def _rms_norm(call: Reader, x: Value, weight: Array | None, eps: float) -> Value:
    mean = mean_over_channels(call, call.add(Square(), x))
    with_eps = call.add(Add(), mean, call.constant(np.array(eps)))
    y = call.add(Multiply(), x, call.add(Rsqrt(), with_eps))
    return y if weight is None else call.add(Multiply(), y, call.constant(weight))
