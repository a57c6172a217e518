"""A recorded call, as the file of its operation sees it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.network.codes import CODES
from fracstride.network.elementwise import Elementwise
from fracstride.network.layout import BATCH, TIME, Axes, Axis, Split, View, pattern, split
from fracstride.network.operations.channels import Channels
from fracstride.network.reading import envelopes, stretches
from fracstride.network.reading.lowering import Lowering
from fracstride.network.reading.reader import Reader, Unreadable
from fracstride.network.recording import (
    Call,
    Constant,
    Filled,
    Reference,
    Repeated,
    Size,
    Varying,
    references,
)
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
        return self._signal(name, self._call.arguments.get(name), axes)

    def _signal(self, name: str, given: Any, axes: str) -> Value:
        view = self._lowering.view(given)
        if not pattern(view, axes) and not pattern(view, axes.replace("B", "")):
            raise Unreadable(f"{name} must have the axes {axes}, got {view.axes}")
        if view.value.is_codes:
            raise Unreadable(f"{name} must be a signal of floats, and it is one of codes")
        return self._lowering.plain(view, self._call.path).value

    def signals(self, name: str, axes: str) -> list[Value]:
        return [self._signal(name, given, axes) for given in self._call.arguments[name]]

    def shape(self, name: str) -> tuple[Size, ...]:
        given = self._call.arguments.get(name)
        if not isinstance(given, Reference):
            raise Unreadable(f"{name} is no signal of the network")
        return self._lowering.shape(given.index)

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

    def resized(self, value: Value, size: Any) -> Value:
        lowering = self._lowering
        pairs = zip(lowering.sizes(size), lowering.lengths(value.extent), strict=True)
        gaps = tuple(wanted - length for wanted, length in pairs)
        gap = gaps[0] if len(set(gaps)) == 1 else Varying(gaps)
        for operation in stretches.pads(lowering, value, 0, gap):
            value = self.add(operation, value)
        return value

    def check_unused(self, *results: int) -> None:
        recording = self._lowering.recording
        unwanted = {self._call.results[r] for r in results if r < len(self._call.results)}
        readers = [*(call.arguments for call in recording.calls), list(recording.outputs)]
        if unwanted & {reference.index for reader in readers for reference in references(reader)}:
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

    def elementwise(self, operation: Elementwise, *names: str) -> None:
        arguments: list[Any] = []
        for name in names:
            found = self._call.arguments[name]
            arguments += found if isinstance(found, list) else [found]
        if any(isinstance(argument, Repeated) for argument in arguments):
            envelopes.give(self._lowering, self._call, operation, arguments)
            return
        values, axes = _Broadcast(self._lowering, self._call).operands(arguments)
        if any(value.is_codes for value in values):
            raise Unreadable("its operands are codes")
        result = self.add(operation, *values)
        self._lowering.tensors[self._call.results[0]] = View(result, axes)

    def give_sum(
        self,
        add_up: Callable[[Any, Value, Sequence[tuple[int, ...]]], Value],
        name: str,
        dims: Any,
        *,
        keepdim: bool,
        what: str,
    ) -> None:
        view = self._lowering.view(self._call.arguments[name])
        if view.value.is_codes:
            raise Unreadable(f"it is a {what} of codes")
        if not isinstance(dims, list) or not all(isinstance(dim, int) for dim in dims) or not dims:
            raise Unreadable(f"it is a {what} over all axes")
        view = self._lowering.plain(view, self._call.path)
        gone = {dim % len(view.axes) for dim in dims}
        if any(not isinstance(view.axes[dim], Split) for dim in gone):
            raise Unreadable(f"it is a {what} over time or over the batch")
        split_axes = [dim for dim, axis in enumerate(view.axes) if isinstance(axis, Split)]
        sizes = [axis.size for axis in view.axes if isinstance(axis, Split)]
        order = sorted(range(len(sizes)), key=lambda place: split_axes[place] not in gone)
        terms = math.prod(sizes[place] for place in order if split_axes[place] in gone)
        channels = np.arange(view.value.channels).reshape(sizes).transpose(order)
        parts = [tuple(part) for part in channels.reshape(terms, -1).tolist()]
        named: list[int | Axis] = [a.size if isinstance(a, Split) else a for a in view.axes]
        for dim in sorted(gone, reverse=True):
            named[dim : dim + 1] = [1] if keepdim else []
        total = add_up(self, view.value, parts)
        self._lowering.tensors[self._call.results[0]] = View(total, split(*named))

    def on_codes(self, codes: str, *steps: tuple[Callable[[tuple[int, ...]], Any], str]) -> None:
        lowering, call = self._lowering, self._call
        if lowering.recording.tensors[call.results[0]].dtype != CODES.name:
            raise Unreadable(f"its result is not in {CODES.name}")
        arguments = [_array_of(call.arguments[name]) for name in (codes, *(n for _, n in steps))]
        if not isinstance(arguments[0], Reference) or any(
            isinstance(argument, Reference) for argument in arguments[1:]
        ):
            raise Unreadable("it does not have codes first, and then constants")
        (value, *numbers), axes = _Broadcast(lowering, call).operands(arguments)
        for (make, _), found in zip(steps, numbers, strict=True):
            assert found.constant is not None
            whole = found.constant.astype(CODES)
            if (whole != found.constant).any():
                raise Unreadable("its numbers are no integers")
            value = self.add(make(tuple(whole.tolist())), value)
        lowering.tensors[call.results[0]] = View(value, axes)

    def look_up(self, operation: Any, codes: str, table: str) -> None:
        call = self._call
        (given,) = references(call.arguments[codes])
        view = self._lowering.plain(self._lowering.view(given), call.path)
        # A quantiser's module is seldom called itself: whose table it is says more.
        owner = getattr(call.arguments[table], "name", "").rpartition(".")[0]
        found = self._lowering.graph.add(operation, view.value, path=owner or call.path)
        named: list[int | Axis] = [a.size if isinstance(a, Split) else a for a in view.axes]
        axes = split(*named, found.channels // view.value.channels)
        self._lowering.tensors[call.results[0]] = View(found, axes)


def _array_of(argument: Any) -> Any:
    """An argument, a list of ints as a constant."""
    if isinstance(argument, list) and all(isinstance(each, int) for each in argument):
        return Constant(np.array(argument, CODES))
    return argument


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
        if len({view.value.is_codes for view in views}) > 1:
            raise Unreadable("some of its operands are codes, and some are none")
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
