"""LSTM: one layer in one direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import numpy as np

from fracstride._load import native
from fracstride.arrays import Array, DType
from fracstride.conv1d import Conv1d as Layer
from fracstride.network.operation import Operation, check_channels
from fracstride.network.operations.concatenate import Concatenate
from fracstride.network.part import Part
from fracstride.network.reading import Reader
from fracstride.network.steps import keeping
from fracstride.network.value import Shape, Value

__all__ = ["LSTM"]

_BLOCK = 16  # units of a block of rows: lstm_units in native/lstm.hpp


@dataclass(frozen=True, eq=False)
class LSTM(Operation):
    """Long short-term memory.

    The input and the state before each position go through Conv1ds of kernel 1, and their sum
    through the four gates. So the bits of a position depend on the positions up to it alone.

    Args:
        input_weight: ``(4*units, channels)``: rows of the input gates, of the forget gates, of the
            new values, of the output gates, as torch has them.
        recurrent_weight: ``(4*units, units)``.
        bias: ``(4*units,)`` or None: the sum of torch's two.
        reverse: from the last position to the first.
        initial: ``h`` and ``c`` before the first position, ``(units,)`` each; None: zeros.
    """

    input_weight: Array
    recurrent_weight: Array
    bias: Array | None = None
    reverse: bool = False
    initial: tuple[Array, Array] | None = None

    torch = ("lstm",)
    onnx = ("LSTM",)

    @property
    def units(self) -> int:
        """Channels of the result."""
        return int(self.recurrent_weight.shape[-1])

    @property
    def details(self) -> str:
        return "reversed" if self.reverse else ""

    @property
    def weight_dtype(self) -> DType:
        return self.input_weight.dtype

    @property
    def parameters(self) -> int:
        bias = 0 if self.bias is None else self.bias.size
        return int(self.input_weight.size + self.recurrent_weight.size + bias)

    @property
    def multiply_adds(self) -> int:
        return int(self.input_weight.size + self.recurrent_weight.size)

    def result(self, *inputs: Value) -> Shape:
        (x,) = inputs
        self._check_weights()
        check_channels(self.name, x, self.input_weight.shape[1])
        return Shape(self.units, x.extent)

    def _check_weights(self) -> None:
        rows = 4 * self.units
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "input_weight": (self.input_weight, (rows, self.input_weight.shape[-1])),
            "recurrent_weight": (self.recurrent_weight, (rows, self.units)),
            "bias": (self.bias, (rows,)),
            **{f"initial {i}": (x, (self.units,)) for i, x in enumerate(self.initial or ())},
        }
        for name, (array, shape) in shapes.items():
            if array is None:
                continue
            if array.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
            if array.dtype != self.weight_dtype:
                raise ValueError(
                    f"{name} must have the dtype {self.weight_dtype}, got {array.dtype}"
                )

    def delay(self, *inputs: Value) -> Fraction | None:
        return None if self.reverse else Fraction(0)

    def obstacle(self, *inputs: Value) -> str:
        return "begins at the end of the signal" if self.reverse else ""

    def new_state(self, batch: int) -> Array:
        state: Array = np.zeros((2, batch, self.units), self.weight_dtype)
        if self.initial is not None:
            state[0], state[1] = self.initial
        return state

    def bind_part(
        self, inputs: Sequence[Part], out: Part, state: Array | None
    ) -> Callable[[], object]:
        return self.bound(inputs[0].between(out.start, out.stop), out.array, state)

    @cached_property
    def layers(self) -> tuple[Layer, Layer]:
        """The Conv1d of the input and that of the state, their rows as the kernel has them."""
        bias = None if self.bias is None else _by_blocks(self.bias)
        return (
            Layer.from_weights(_by_blocks(self.input_weight)[:, :, None], bias),
            Layer.from_weights(_by_blocks(self.recurrent_weight)[:, :, None]),
        )

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        (x,) = inputs
        if self.reverse:
            x, out = x[:, :, ::-1], out[:, :, ::-1]
        if self.initial is None:
            return self.bound(x, out)
        state = self.new_state(len(x))
        call, first = self.bound(x, out, state), state.copy()

        def run() -> None:
            state[...] = first
            call()

        return run

    def call(self, x: Array, out: Array, state: Array | None = None) -> None:
        """Compute ``(B, units, L)`` from ``(B, channels, L)``; see :meth:`bound`."""
        self.bound(x, out, state)()

    def bound(self, x: Array, out: Array, state: Array | None = None) -> Callable[[], object]:
        """A function that computes ``(B, units, L)`` from ``(B, channels, L)``.

        Args:
            x: the input.
            out: where the result goes.
            state: ``h`` and ``c`` before the first position, ``(2, B, units)``, each contiguous:
                they become those after the last one. None: zeros, and not wanted.
        """
        first, second = (layer.packed for layer in self.layers)
        call = partial(
            native.lstm,
            first.packed_weight().native,
            second.packed_weight().native,
            len(x),
            *native.signal_of(x),
            0 if first.packed_bias is None else first.packed_bias.address,
            *native.signal_of(out),
            *((0, 0) if state is None else (native.signal_of(part)[0] for part in state)),
        )
        return keeping(call, first.packed_bias, state)

    def astype(self, dtype: DType) -> LSTM:
        return LSTM(
            self.input_weight.astype(dtype),
            self.recurrent_weight.astype(dtype),
            None if self.bias is None else self.bias.astype(dtype),
            self.reverse,
            None
            if self.initial is None
            else (self.initial[0].astype(dtype), self.initial[1].astype(dtype)),
        )

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.check_unused(1, 2)
        axes = "BTC" if call.argument("batch_first") else "TBC"
        x = call.signal("input", axes)
        hidden, cell = call.weights("hx")
        params = iter(call.weights("params"))
        directions = 2 if call.argument("bidirectional") else 1
        for layer in range(int(call.number("num_layers"))):
            results = []
            for direction in range(directions):
                input_weight, recurrent = next(params), next(params)
                call.check(len(recurrent) == 4 * recurrent.shape[1], "it projects its state")
                bias = _sum(next(params), next(params)) if call.argument("has_biases") else None
                initial = [s[layer * directions + direction] for s in (hidden, cell)]
                call.check(all(len(s) == 1 for s in initial), "its state differs along the batch")
                given: Any = tuple(s[0] for s in initial) if any(s.any() for s in initial) else None
                operation = cls(input_weight, recurrent, bias, direction == 1, given)
                results.append(call.add(operation, x))
            x = results[0] if directions == 1 else call.add(Concatenate(), *results)
        call.give(x, axes)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        call.check_unused(1, 2)
        for name in ("sequence_lens", "P", "clip", "activations", "input_forget"):
            call.check(not call.argument(name), f"{name} is given")
        batch_first = bool(call.argument("layout"))
        x = call.signal("X", "BTC" if batch_first else "TBC")
        weights, recurrents = call.weight("W"), call.weight("R")
        biases = call.optional_weight("B")
        names = [name for name in ("initial_h", "initial_c") if call.argument(name) is not None]
        states = [call.weights(name)[0] for name in names]
        call.check(not any(state.any() for state in states), "it begins with a state")
        direction = call.argument("direction", "forward")
        results = []
        for place in range(len(weights)):
            bias = None if biases is None else _gates(_sum(*np.split(biases[place], 2)))
            reverse = direction == "reverse" or place == 1
            operation = cls(_gates(weights[place]), _gates(recurrents[place]), bias, reverse)
            results.append(call.add(operation, x))
        y = results[0] if len(results) == 1 else call.add(Concatenate(), *results)
        axes = "BTCC" if batch_first else "TCBC"
        call.give(y, axes, (len(results), results[0].channels))


_ONNX_GATES = (0, 2, 3, 1)  # ONNX has the output gates second


def _gates(rows: Array) -> Array:
    """Rows of ONNX's gates in torch's order."""
    parts = np.split(rows, 4)
    return np.concatenate([parts[i] for i in _ONNX_GATES])


def _by_blocks(rows: Array) -> Array:
    """Rows ``(4*units, ...)`` in blocks of units, each with its four gates; the last one filled."""
    units, rest = len(rows) // 4, rows.shape[1:]
    blocks = -(-units // _BLOCK)
    filled = np.zeros((4, blocks * _BLOCK, *rest), rows.dtype)
    filled[:, :units] = rows.reshape(4, units, *rest)
    ordered = filled.reshape(4, blocks, _BLOCK, *rest).swapaxes(0, 1)
    return np.ascontiguousarray(ordered).reshape(-1, *rest)


def _sum(first: Array, second: Array) -> Array:
    return np.asarray((first.astype(np.float64) + second).astype(first.dtype))
