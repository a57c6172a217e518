"""A recorded call, as the file of its operation sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.network.elementwise import Elementwise
from fracstride.network.layout import BATCH, TIME, Axes, Axis, Split, View, pattern, split
from fracstride.network.operations.channels import Channels
from fracstride.network.reading.lowering import Lowering
from fracstride.network.reading.reader import Reader, Unreadable
from fracstride.network.recording import Call, Constant, Filled, Reference, Varying
from fracstride.network.value import Value, constant

__all__ = ["RecordedReader"]


class RecordedReader(Reader):
    """A call of a recording, for the file of its operation."""

    def __init__(self, lowering: Lowering, call: Call, operator: str) -> None:
        self._lowering, self._call, self.operator = lowering, call, operator
        self.dtype = lowering.dtype

    def argument(self, name: str, default: Any = None) -> Any:
        found = self._call.arguments.get(name)
        return default if found is None else found

    def signal(self, name: str, axes: str) -> Value:
        view = self._lowering.view(self._call.arguments.get(name))
        if not pattern(view, axes) and not pattern(view, axes.replace("B", "")):
            raise Unreadable(f"{name} must have the axes {axes}, got {view.axes}")
        return self._lowering.plain(view, self._call.path).value

    def number(self, name: str, default: float | None = None) -> float:
        found = self.argument(name, default)
        number = _one_number(found)
        if number is None:
            raise Unreadable(f"{name} must be a number, the same in each call")
        return number

    def integers(self, name: str, count: int) -> tuple[int, ...]:
        found = self._call.arguments.get(name)
        if isinstance(found, (int, Varying)):
            found = [found]
        if found is None or len(found) not in (1, count):
            raise Unreadable(f"{name} must be {count} ints, got {found}")
        if any(not isinstance(n, int) for n in found):
            raise Unreadable(f"{name} must be the same in each call")
        return tuple(found) * (count if len(found) == 1 else 1)

    def optional_weight(self, name: str) -> Array | None:
        found = self._call.arguments.get(name)
        if found is None:
            return None
        if isinstance(found, Filled):
            sizes = [size for size in found.shape if isinstance(size, int)]
            if len(sizes) == len(found.shape):
                return np.full(sizes, found.number, np.dtype(found.dtype))
        if not isinstance(found, Constant):
            raise Unreadable(f"{name} must be a constant")
        return found.array

    def weights(self, name: str) -> list[Array]:
        arrays: list[Array] = []
        given = self._call.arguments[name]
        for found in given if isinstance(given, list) else [given]:
            if isinstance(found, Filled):
                sizes = [size if isinstance(size, int) else 1 for size in found.shape]
                arrays.append(np.full(sizes, found.number, np.dtype(found.dtype)))
            elif isinstance(found, Constant):
                arrays.append(found.array)
            else:
                raise Unreadable(f"{name} must be constants")
        return arrays

    def times_as_long(self) -> int:
        given = next(a for a in self._call.arguments.values() if isinstance(a, Reference))
        sizes = (self._lowering.shape(index)[-1] for index in (given.index, self._call.results[0]))
        lengths, results = map(self._lowering.sizes, sizes)
        ratios = {r // n if n and r % n == 0 else 0 for n, r in zip(lengths, results, strict=True)}
        if len(ratios) > 1 or min(ratios) < 1:
            raise Unreadable("the result is not some whole number of times as long")
        return ratios.pop()

    def check_unused(self, *results: int) -> None:
        recording = self._lowering.recording
        unwanted = {self._call.results[r] for r in results if r < len(self._call.results)}
        readers = [*(call.arguments for call in recording.calls), list(recording.outputs)]
        if unwanted & {reference.index for reader in readers for reference in _references(reader)}:
            raise Unreadable("only its first result can be read")

    def constant(self, array: Array) -> Value:
        return constant(array)

    def add(self, operation: Any, *inputs: Value) -> Value:
        return self._lowering.graph.add(operation, *inputs, path=self._call.path)

    def give(self, value: Value, axes: str, channels: tuple[int, ...] = ()) -> None:
        (result,) = self._call.results[:1]
        shape = self._lowering.shape(result)
        if len(shape) < len(axes):
            axes = axes.replace("B", "")
        named: list[int | Axis] = []
        sizes = iter(channels or (value.channels,))
        for letter, size in zip(axes, shape, strict=True):
            if letter == "C":
                named.append(next(sizes))
            elif (letter == "B" and not isinstance(size, Varying)) or (
                letter == "T" and not value.rate and value.extent(0) == 1
            ):
                named.append(1)
            else:
                named.append(BATCH if letter == "B" else TIME)
        self._lowering.tensors[result] = View(value, split(*named))

    def gathered(self, name: str, dims: Sequence[int]) -> tuple[Value, int]:
        view = self._lowering.view(self._call.arguments.get(name))
        chosen = {d % len(view.axes) for d in dims}
        count = 1
        for axis in (view.axes[d] for d in chosen):
            if not isinstance(axis, Split):
                raise Unreadable("it goes over time or over the batch")
            count *= axis.size
        order = sorted(range(len(view.axes)), key=lambda d: (d in chosen, d))
        moved = View(view.value, tuple(view.axes[d] for d in order))
        return self._lowering.plain(moved, self._call.path).value, count

    def give_without(self, value: Value, name: str, dims: Sequence[int], *, keep: bool) -> None:
        axes = self._lowering.view(self._call.arguments.get(name)).axes
        chosen = {d % len(axes) for d in dims}
        named = [
            1 if d in chosen else axis.size if isinstance(axis, Split) else axis
            for d, axis in enumerate(axes)
            if keep or d not in chosen
        ]
        self._lowering.tensors[self._call.results[0]] = View(value, split(*named))

    def elementwise(self, operation: Elementwise, *names: str) -> None:
        arguments: list[Any] = []
        for name in names:
            found = self._call.arguments[name]
            arguments += found if isinstance(found, list) else [found]
        values, axes = _Broadcast(self._lowering, self._call).operands(arguments)
        result = self.add(operation, *values)
        self._lowering.tensors[self._call.results[0]] = View(result, axes)


def _references(found: Any) -> Iterator[Reference]:
    """The recorded tensors in an argument."""
    if isinstance(found, Reference):
        yield found
    elif isinstance(found, (dict, list, tuple)):
        for each in found.values() if isinstance(found, dict) else found:
            yield from _references(each)


def _one_number(found: Any) -> float | None:
    if isinstance(found, (bool, int, float)):
        return float(found)
    if isinstance(found, Constant) and found.array.size == 1:
        return float(found.array.reshape(()))
    if isinstance(found, Filled):
        return float(found.number)
    return None


class _Broadcast:
    """The operands of an elementwise call as values whose channels and positions correspond."""

    def __init__(self, lowering: Lowering, call: Call) -> None:
        self._lowering, self._call = lowering, call

    def operands(self, arguments: Sequence[Any]) -> tuple[list[Value], Axes]:
        """The values, and the axes of the result."""
        rank = len(self._lowering.shape(self._call.results[0]))
        views = [self._lowering.view(a) for a in arguments if isinstance(a, Reference)]
        axes = self._axes(rank, views)
        values = []
        for argument in arguments:
            if isinstance(argument, Reference):
                values.append(self._aligned(self._lowering.view(argument), axes))
            else:
                values.append(self._constant(argument, axes))
        if all(not value.is_signal for value in values):
            raise Unreadable("none of its operands is a signal")
        return values, axes

    def _axes(self, rank: int, views: Sequence[View]) -> Axes:
        named: list[int | Axis] = []
        result = self._lowering.shape(self._call.results[0])
        for dimension in range(rank):
            here: set[Any] = set()
            for view in views:
                index = dimension - rank + len(view.axes)
                if index >= 0:
                    axis = view.axes[index]
                    if not (isinstance(axis, Split) and axis.size == 1):
                        here.add(axis.size if isinstance(axis, Split) else axis)
            size = result[dimension]
            if isinstance(size, int) and here <= {size}:
                named.append(size)  # also where only a constant has so many
            elif len(here) == 1:
                named.append(here.pop())
            else:
                raise Unreadable("batch, channels and time of its operands do not correspond")
        return split(*named)

    def _aligned(self, view: View, axes: Axes) -> Value:
        """A view's value, with the channels of the result or with one."""
        own = view.axes
        shown: list[Axis] = []
        for dimension, axis in enumerate(axes):
            index = dimension - len(axes) + len(own)
            mine = own[index] if index >= 0 else Split(1, 0)
            if not isinstance(axis, Split):
                if mine is not axis and not (isinstance(mine, Split) and mine.size == 1):
                    raise Unreadable("batch and time of its operands do not correspond")
                continue
            assert isinstance(mine, Split)
            shown.append(Split(axis.size, mine.step if mine.size > 1 else 0))
        spread = View(view.value, tuple(shown))
        if spread.is_plain or (view.value.channels == 1 and not spread.channel_indices.any()):
            return view.value
        indices = tuple(spread.channel_indices.tolist())
        return self._lowering.graph.add(Channels(indices), view.value, path=self._call.path)

    def _constant(self, argument: Any, axes: Axes) -> Value:
        number = _one_number(argument)
        if number is not None:
            return constant(number)
        if not isinstance(argument, Constant):
            raise Unreadable("an operand differs from call to call")
        array = argument.array
        array = array.reshape((1,) * (len(axes) - array.ndim) + array.shape)
        sizes: list[int] = []
        for axis, found in zip(axes, map(int, array.shape), strict=True):
            if isinstance(axis, Split):
                sizes.append(axis.size)
            elif found == 1:
                sizes.append(1)
            else:
                raise Unreadable("a constant varies along the batch or along time")
        return constant(np.broadcast_to(array, sizes).reshape(-1))
