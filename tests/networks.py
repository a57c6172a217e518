"""Networks on arrays: what holds for each, a plain way to run a graph, and random graphs."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Any

import numpy as np

import fracstride as fs
from fracstride.network import Extent, Graph, Network, Value
from fracstride.network.fusing import fuse
from fracstride.network.operations.arithmetic import Add, Divide, Maximum, Multiply, Subtract
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.clamp import Clamp
from fracstride.network.operations.code_arithmetic import CodeArithmetic
from fracstride.network.operations.concatenate import Concatenate
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.elu import ELU
from fracstride.network.operations.embedding import Embedding
from fracstride.network.operations.functions import Absolute, Negative, ReLU, Sin, Tanh
from fracstride.network.operations.leaky_relu import LeakyReLU, PReLU
from fracstride.network.operations.pad import Pad
from fracstride.network.table import look_ahead
from fracstride.network.value import constant

Rng = np.random.Generator
CODES = 16  # that inputs of codes are drawn from


def inputs_of(graph: Graph, clock: int, batch: int, dtype: Any = "f4", seed: int = 0) -> list[Any]:
    """Random inputs of so many ticks: a shorter one is the beginning of a longer one."""
    inputs = []
    for number, value in enumerate(graph.inputs):
        rng = np.random.default_rng([seed, number])
        longest = rng.normal(0, 1, (4, value.channels, value.extent(300)))
        if value.is_codes:
            longest = rng.integers(0, CODES, longest.shape)
        given = longest[:batch, :, : value.extent(clock)]
        inputs.append(given if value.is_codes else given.astype(dtype))
    return inputs


def outputs_of(network: Network, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs as a tuple, also of one."""
    outputs = network(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def same_bits(found: Sequence[Any], expected: Sequence[Any], *, signed_zeros: bool = True) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_array_equal(a, b)
        if signed_zeros:
            np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


def plain_outputs(graph: Graph, dtype: Any, inputs: Sequence[Any], clock: int) -> list[Any]:
    """The outputs, each operation by itself and each value in memory of its own."""
    plain = fuse(graph, np.dtype(dtype), everything=False)
    values: dict[Value, Any] = dict(zip(plain.inputs, inputs, strict=True))
    for node in plain.nodes:
        arrays = [values[value] for value in node.inputs]
        if node.operation.is_view:
            values[node.output] = node.operation.view(*arrays, node.output.extent(clock)).copy()
        else:
            shape = len(inputs[0]), node.output.channels, node.output.extent(clock)
            values[node.output] = (
                np.full(shape, -1) if node.output.is_codes else np.full(shape, np.nan, dtype)
            )
            node.operation.bind(arrays, values[node.output])()
    return [values[value] for value in plain.outputs]


def check_invariances(network: Network, longest: int = 40) -> None:
    """The bits of a result depend neither on fusing, memory, threads and batch nor on what follows.

    Args:
        network: of signals alone.
        longest: ticks.
    """
    graph, dtype = network.graph, network.dtype
    inputs = inputs_of(graph, longest, 3, dtype)
    whole = outputs_of(network, inputs)
    same_bits(whole, plain_outputs(graph, dtype, inputs, longest))
    fs.set_num_threads(2)
    same_bits(outputs_of(network, inputs), whole)
    fs.set_num_threads(1)
    for entry in range(3):
        alone = [x[entry : entry + 1] for x in inputs]
        same_bits(outputs_of(network, alone), [y[entry : entry + 1] for y in whole])
    ahead = look_ahead(graph)
    for clock in (network.least, network.least + 1, network.least + 6, longest - 1):
        found = outputs_of(network, inputs_of(graph, clock, 3, dtype))
        for value, y, expected in zip(graph.outputs, found, whole, strict=True):
            assert y.shape == (3, value.channels, value.extent(clock))
            reach = ahead[value]
            if reach is not None:
                settled = max(floor((clock - reach) * value.rate), 0) if value.rate else 1
                same_bits([y[:, :, :settled]], [expected[:, :, : min(settled, y.shape[2])]])


class RandomGraph:
    """A graph of random operations.

    Args:
        rng: draws them.
        exact: integers and halves of them, whose sums are exact in float64, in any order; else any
            numbers, where only powers of two are folded into weights.
    """

    def __init__(self, rng: Rng, *, exact: bool) -> None:
        self._rng, self._exact = rng, exact
        self.graph = Graph()
        self._values = [self.graph.add_input("x", int(rng.integers(1, 5)))]
        #: A value without time, such as an embedding.
        self._whole = self.graph.add_input("whole", 4, Extent.affine(0, 1))
        self._codes = self.graph.add_input("codes", 3, codes=True)
        for _ in range(int(rng.integers(3, 14))):
            self._grow()
        unread = [v for v in self._values if v not in self.graph.readers()]
        self.graph.outputs = unread[-2:]
        for _ in range(int(rng.integers(0, 3))):
            self.graph.outputs.append(self._pick())

    def _pick(self) -> Value:
        # Mostly a late value, so that chains grow.
        late = self._rng.random() < 0.7
        return self._values[-1] if late else self._values[self._rng.integers(len(self._values))]

    def _add(self, operation: Any, *inputs: Value) -> Value:
        self._values.append(self.graph.add(operation, *inputs))
        return self._values[-1]

    def _grow(self) -> None:
        kinds = (self._conv, self._transposed, self._function, self._factor, self._sum, self._pad)
        more = (self._crop, self._channels, self._residual, self._activation, self._upsampling)
        more = (*more, self._gate, self._broadcast, self._embedding)
        kind = (*kinds, *more)[self._rng.integers(len(kinds) + len(more))]
        kind(self._pick())

    def _weight(self, *shape: int) -> Any:
        if self._exact:
            return self._rng.integers(-2, 3, shape).astype("f8")
        return self._rng.normal(0, 0.5, shape).astype("f4")

    def _conv(self, x: Value) -> None:
        rng = self._rng
        groups = x.channels if rng.random() < 0.2 else 1
        out = x.channels if rng.random() < 0.6 else groups * int(rng.integers(1, 3))
        kernel, dilation = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        stride = int(rng.choice([1, 1, 1, 2]))
        same = stride == 1 and rng.random() < 0.6
        left = int(rng.integers(0, 3))
        padding: Any = (left, dilation * (kernel - 1) - left if same else int(rng.integers(0, 3)))
        if min(padding) < 0 or rng.random() < 0.3:
            padding = 0
        mode = str(rng.choice(["zeros", "zeros", "replicate"]))
        bias = self._weight(out) if rng.random() < 0.7 else None
        layer = fs.Conv1d.from_weights(
            self._weight(out, x.channels // groups, kernel),
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=mode,
        )
        self._add(Conv1d(layer), x)

    def _transposed(self, x: Value) -> None:
        rng = self._rng
        if x.rate > 3:
            return
        groups = x.channels if rng.random() < 0.2 else 1
        stride, kernel = int(rng.integers(1, 3)), int(rng.integers(1, 5))
        padding = int(rng.integers(0, max(kernel - 1, 1)))
        out = 1 if groups > 1 else int(rng.integers(1, 5))
        layer = fs.ConvTranspose1d.from_weights(
            self._weight(x.channels, out, kernel),
            self._weight(out * groups) if rng.random() < 0.7 else None,
            stride=stride,
            padding=padding,
            groups=groups,
        )
        self._add(ConvTranspose1d(layer), x)

    def _activation(self, x: Value) -> None:
        self._add(LeakyReLU(0.5) if self._rng.random() < 0.7 else ReLU(), x)

    def _function(self, x: Value) -> None:
        slopes = constant(self._rng.choice([0.25, 0.5, 2.0], x.channels))
        exact = [(Clamp(-3, 4), x), (Absolute(), x), (Negative(), x), (PReLU(), x, slopes)]
        others = [(Tanh(), x), (ELU(), x), (Sin(), x)]
        kinds: list[Any] = exact if self._exact else exact + others
        self._add(*kinds[self._rng.integers(len(kinds))])

    def _factor(self, x: Value) -> None:
        rng = self._rng
        several = x.channels if rng.random() < 0.5 else 1
        numbers = constant(rng.choice([0.5, 2.0, 4.0, -1.0, -0.25], several))
        if self._exact and rng.random() < 0.4:
            numbers = constant(rng.integers(-3, 4, several).astype("f8"))
            kind: Any = (Multiply(), Add(), Subtract())[rng.integers(3)]
        else:
            kind = Multiply() if rng.random() < 0.7 else Divide()
        turned = isinstance(kind, (Multiply, Add)) and rng.random() < 0.3
        self._add(kind, *((numbers, x) if turned else (x, numbers)))

    def _sum(self, x: Value) -> None:
        like = [v for v in self._values if v.shape == x.shape]
        kinds: tuple[Any, ...] = (Add(), Add(), Subtract(), Maximum())
        self._add(kinds[self._rng.integers(4)], x, like[self._rng.integers(len(like))])

    def _residual(self, x: Value) -> None:
        """A block of a decoder."""
        before = x
        for dilation in (1, 2):
            x = self._add(LeakyReLU(0.5), x)
            layer = fs.Conv1d.from_weights(
                self._weight(x.channels, x.channels, 3), padding=dilation, dilation=dilation
            )
            x = self._add(Conv1d(layer), x)
        self._add(Add(), *((x, before) if self._rng.random() < 0.5 else (before, x)))

    def _gate(self, x: Value) -> None:
        half = x.channels // 2
        if half:
            parts = [
                self._add(Channels(tuple(range(first, first + half))), x) for first in (0, half)
            ]
            self._add(Multiply() if self._rng.random() < 0.5 else Maximum(), *parts)

    def _broadcast(self, x: Value) -> None:
        """With one of its own channels, or with a value without time."""
        rng = self._rng
        channels = (0,) if rng.random() < 0.5 else tuple(range(x.channels))
        if rng.random() < 0.5 and x.channels <= self._whole.channels:
            other = self.graph.add(Channels(channels), self._whole)
            if rng.random() < 0.5:
                other = self.graph.add(Absolute(), other)
        else:
            other = self._add(Channels((int(rng.integers(x.channels)),)), x)
        self._add(Add() if rng.random() < 0.5 else Subtract(), x, other)

    def _embedding(self, x: Value) -> None:
        """Some rows of codes, perhaps changed, in one table."""
        rng = self._rng
        rows = tuple(int(row) for row in rng.permutation(3)[: rng.integers(1, 3)])
        codes = self.graph.add(Channels(rows), self._codes)
        size = CODES
        if rng.random() < 0.5:
            offsets = tuple(int(n) for n in rng.integers(0, 20, len(rows)))
            codes = self.graph.add(CodeArithmetic("add", offsets), codes)
            codes = self.graph.add(CodeArithmetic("remainder", (size := 7,)), codes)
        table = self._weight(size, x.channels if len(rows) == 1 else 2)
        self._add(Embedding(table), codes)

    def _upsampling(self, x: Value) -> None:
        """A pad, a transposed convolution and a crop, of about what the pad has added."""
        rng = self._rng
        stride, kernel = int(rng.integers(1, 4)), int(rng.integers(1, 7))
        pads = [int(n) for n in rng.integers(0, 4, 2)]
        mode = str(rng.choice(["reflect", "replicate", "zeros"]))
        number = float(rng.integers(0, 2)) if mode == "zeros" else 0.0
        x = self._add(Pad(pads[0], pads[1], mode, number), x)
        layer = fs.ConvTranspose1d.from_weights(self._weight(x.channels, 2, kernel), stride=stride)
        x = self._add(ConvTranspose1d(layer), x)
        crops = [max(0, pad * stride + int(rng.integers(-1, kernel + 1))) for pad in pads]
        if sum(crops) < x.extent(30):
            self._add(Crop(*crops), x)

    def _pad(self, x: Value) -> None:
        rng = self._rng
        left, right = (int(n) for n in rng.integers(0, 3, 2))
        mode = str(rng.choice(["zeros", "reflect", "replicate"]))
        number = float(rng.choice([0, 0, 1, -2])) if mode == "zeros" else 0.0
        extent = None
        if rng.random() < 0.2:  # to a multiple of 2
            extent = x.extent.then(lambda length: left + (length + 1) // 2 * 2 + right, 2)
        x = self._add(Pad(left, right, mode, number, extent), x)
        if rng.random() < 0.5:
            (self._conv if rng.random() < 0.5 else self._transposed)(x)

    def _crop(self, x: Value) -> None:
        left, right = (int(n) for n in self._rng.integers(0, 3, 2))
        extent = None
        if self._rng.random() < 0.2:
            extent = x.extent.then(lambda length: (length - left) // 2 * 2 - right, 2)
        if x.extent(50) > 20:
            self._add(Crop(left, right, extent), x)

    def _channels(self, x: Value) -> None:
        rng = self._rng
        if rng.random() < 0.3:
            like = [v for v in self._values if v.extent == x.extent]
            self._add(Concatenate(), x, like[rng.integers(len(like))])
        elif rng.random() < 0.5:
            first = int(rng.integers(0, x.channels))
            self._add(Channels(tuple(range(first, x.channels))), x)
        else:
            self._add(Channels(tuple(int(c) for c in rng.permutation(x.channels))), x)
