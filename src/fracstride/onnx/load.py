"""``load``: an ONNX model as a network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias

from fracstride.network import Network
from fracstride.network.layout import BATCH, TIME, Axes, Split, View
from fracstride.network.layouts import Layouts
from fracstride.network.reading.lowering import Lowered, Lowering
from fracstride.network.recording import Conditions, Recording
from fracstride.onnx.inputs import Given, givens
from fracstride.onnx.lower import lower
from fracstride.onnx.model import Part, read_model, wanted_part
from fracstride.onnx.nodes import Unknown
from fracstride.onnx.proportions import in_proportion
from fracstride.onnx.record import record
from fracstride.onnx.run import Run, Runner

__all__ = ["load"]

# Ticks at which the sizes are worked out: even and odd, with several remainders of each stride.
# Models that take samples need longer signals.
_CLOCKS = (50, 51, 53, 56, 60, 64, 71, 83, 97, 112, 127, 128)
_LONGER = (1, 12, 144)  # times so many, and a few more
# Positions of which the inputs must have a multiple, where a model takes no others.
_TICKS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 80, 96, 128, 160, 256, 320, 512, 640)
_CHECKED = (75, 94, 120, 131)  # compared with what follows from the others
# And where lengths are rounded: numbers that strides of models divide, and those next to them, show
# how much is added at most and at least at each stride. The others have many remainders.
_ALIGNED = (2**11 * 3**2 * 5 * 7, 2**6 * 3**2 * 5**2 * 7**2)
_ROUNDED = (
    *(n + d for n in _ALIGNED for d in (0, 1, -1)),
    *(1009 * n + n * n for n in range(1, 13)),
)
_MORE = 12  # lengths at which the model does otherwise, which are then among the first ones
_SHORT = (1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 16, 20, 25, 32, 40)


def load(
    model: Any,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    time: Any = None,
) -> Network:
    """A network of an ONNX model, or of a part of it: any length, any batch, without a framework.

    Inputs and outputs have the axes that they have in the model. Sizes are worked out with the
    length as a symbol: what a model computes of shapes costs nothing when the network runs.

    Args:
        model: a path, or an ``onnx.ModelProto``, of opset 11 or later.
        inputs: names of the values that the caller gives; those of the model if None. Values
            between are possible: what leads to them is left out.
        outputs: names of the results; those of the model if None.
        time: the axis of time of each input: an int for all of them, or a tuple with an int for
            each, None for one without time. None: the axis, beside that of the batch, whose size
            the file does not fix.

    Returns:
        The network. Weights in half precision are taken as float32.

    Raises:
        TypeError, FileNotFoundError: an argument is not what it must be.
        ValueError: the model cannot be represented; the node is named.
    """
    try:
        part = wanted_part(read_model(model), inputs, outputs)
        return _Loading(part, givens(part, time)).network()
    except (FileNotFoundError, TypeError, ValueError):
        raise
    except Exception as error:  # a file from elsewhere may be wrong in any way
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"the model cannot be read: {type(error).__name__}: {text}") from error


_Read: TypeAlias = "tuple[list[Run], Recording, Lowered, Lowering]"


class _Loading:
    def __init__(self, part: Part, given: list[Given]) -> None:
        self._part, self._given = part, in_proportion(part, given)
        self._runner = Runner(part, self._given)
        self._runs: dict[Conditions, Run] = {}

    def network(self) -> Network:
        read = self._read()
        while found := self._first_difference(read):
            run, what = found
            if run is None or run in read[0] or len(read[0]) == len(_CLOCKS) + _MORE:
                raise ValueError(what)
            read = self._lowered([*read[0], run])
        _, _, lowered, lowering = read
        least = self._least(read)
        layouts = Layouts(_axes("input", lowered.inputs), _axes("output", lowered.outputs))
        return Network(lowered.graph, lowering.dtype, least, layouts=layouts)

    def _first_difference(self, read: _Read) -> tuple[Run | None, str] | None:
        """A run in which the model does otherwise than what has been read, and what that is."""
        runs, _, lowered, _ = read
        factor = runs[0].conditions.clock // _CLOCKS[0]
        clocks = [clock * factor + clock % factor for clock in _CHECKED]
        if any(value.extent.period > 1 for value in lowered.graph.values() if value.is_signal):
            clocks += _ROUNDED
        differences = (self._difference(*read, clock) for clock in clocks)
        return next((found for found in differences if found is not None), None)

    def _read(self) -> _Read:
        """The model at several lengths: of short inputs if they will do, else of longer ones.

        Where the model takes no odd lengths, the inputs last a multiple of several positions.
        """
        failed: list[ValueError] = []
        for factor in _LONGER:
            try:
                return self._read_with(1, factor)
            except ValueError as error:
                failed.append(error)
        for tick in _TICKS if all(isinstance(error, Unknown) for error in failed) else ():
            with suppress(Unknown):
                return self._read_with(tick, 1)
        raise failed[0]

    def _read_with(self, tick: int, factor: int) -> _Read:
        """With different batches, if the model allows it, else with one entry."""
        given = [replace(each, per_clock=each.per_clock * tick) for each in self._given]
        clocks = [clock * factor + clock % factor for clock in _CLOCKS]
        if all(each.batch is None for each in given):
            return self._read_as(given, clocks, (1,))
        try:
            return self._read_as(given, clocks, (1, 2, 3))
        except ValueError as error:
            try:
                return self._read_as([each.of_one() for each in given], clocks, (1,))
            except ValueError as other:
                # The one that says why no batch will do is of no help where one entry fails too.
                raise other from error

    def _read_as(self, given: list[Given], clocks: list[int], batches: tuple[int, ...]) -> _Read:
        before = self._given, self._runner
        self._given, self._runner, self._runs = given, Runner(self._part, given), {}
        try:
            return self._lowered(
                [self._run(clock, batches[i % len(batches)]) for i, clock in enumerate(clocks)]
            )
        except ValueError:
            self._given, self._runner = before
            raise

    def _run(self, clock: int, batch: int) -> Run:
        conditions = Conditions(clock, batch)
        if conditions not in self._runs:
            self._runs[conditions] = self._runner.run(conditions)
        return self._runs[conditions]

    def _lowered(self, runs: list[Run]) -> _Read:
        recording = record(runs, self._given)
        return runs, recording, *lower(recording)

    def _difference(
        self, runs: list[Run], recording: Recording, _: Lowered, lowering: Lowering, clock: int
    ) -> tuple[Run | None, str] | None:
        """What the model does otherwise at this length, and the run if it goes the same way."""
        try:
            run = self._run(clock, runs[-1].conditions.batch)
            record([runs[0], run], self._given)
        except Unknown as error:
            return None, str(error)
        for call in recording.calls:
            for index in call.results:
                found = lowering.tensors.get(index)
                if isinstance(found, View):
                    wanted = _sizes(found, run.conditions)
                    if run.tensors[index].shape != wanted:
                        shape = run.tensors[index].shape
                        return run, (
                            f"the node {call.path!r} ({call.operator.removeprefix('onnx.')}) has "
                            f"the shape {shape} at {clock} ticks, where {wanted} follows from "
                            "other lengths"
                        )
        return None

    def _least(self, read: _Read) -> int:
        """The least number of ticks from which on the model does what it does for long inputs."""
        good, bad = read[0][0].conditions.clock, 0
        for clock in reversed(_SHORT):
            if self._difference(*read, clock):
                bad = clock
                break
            good = clock
        while good - bad > 1:
            middle = (good + bad) // 2
            if self._difference(*read, middle):
                bad = middle
            else:
                good = middle
        return good


def _axes(side: str, found: Sequence[Any]) -> tuple[Axes, ...]:
    """Of inputs or outputs, which have to be signals."""
    for number, axes in enumerate(found):
        if not isinstance(axes, tuple):
            raise ValueError(
                f"{side} {number} is none that a network has: they are floats of one dtype, or "
                "integers"
            )
    return tuple(found)


def _sizes(view: View, conditions: Conditions) -> tuple[int, ...]:
    sizes = []
    for axis in view.axes:
        if isinstance(axis, Split):
            sizes.append(axis.size)
        else:
            assert axis in (BATCH, TIME)
            clock = view.value.extent(conditions.clock)
            sizes.append(conditions.batch if axis is BATCH else clock)
    return tuple(sizes)
