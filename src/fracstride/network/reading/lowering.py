"""The graph that grows while a recording is read, and what each recorded tensor is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fracstride.network.codes import is_code_dtype
from fracstride.network.extent import Extent
from fracstride.network.graph import Graph
from fracstride.network.layout import BATCH, TIME, Axes, Axis, Split, View, split
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.code_arithmetic import ToFloat
from fracstride.network.reading import Unreadable
from fracstride.network.recording import (
    Call,
    Constant,
    Filled,
    Recording,
    Reference,
    Size,
    Varying,
    references,
)
from fracstride.network.sizes import fit_extent, samples, values_of
from fracstride.network.value import Value, foreign

__all__ = ["Lowered", "Lowering"]


@dataclass(frozen=True, eq=False)
class Lowered:
    """A graph, and how the tensors of the module lie over its signals."""

    graph: Graph
    #: Of its signals.
    dtype: str
    #: Of each input; None of one that is foreign.
    inputs: tuple[Axes | None, ...]
    #: Of each result of the module, in order: axes of the next output of the graph (None of a
    #: foreign one), or a constant.
    outputs: tuple[Axes | Constant | Filled | None, ...]


class Lowering:
    """A graph that is being read from a recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording, self.graph = recording, Graph()
        self.conditions = recording.conditions
        #: What each recorded tensor is so far.
        self.tensors: dict[int, View | Value] = {}
        self._input_axes: list[Axes | None] = []
        #: Of the network's signals.
        self.dtype = _dtype(recording)
        for number, given in enumerate(recording.inputs):
            self._add_input(number, given)

    def _add_input(self, number: int, given: Any) -> None:
        tensor = self.recording.tensors[given.index]
        name = f"input {number}" if len(self.recording.inputs) > 1 else "input"
        name = given.name or name
        if tensor.dtype != self.dtype and not is_code_dtype(tensor.dtype):
            value = foreign(name)
            self.graph.inputs.append(value)
            self.tensors[given.index] = value
            self._input_axes.append(None)
            return
        named: list[int | Axis] = []
        for dimension, size in enumerate(tensor.shape):
            if dimension == given.batch:
                named.append(BATCH)
            elif dimension == given.time:
                named.append(TIME)
            elif isinstance(size, Varying):
                raise ValueError(f"{name} has an axis that varies and is neither batch nor time")
            else:
                named.append(size)
        axes = split(*named)
        channels = int(np.prod([a.size for a in axes if isinstance(a, Split)], dtype=np.int64))
        extent = Extent.affine(given.per_clock) if TIME in axes else Extent.affine(0, 1)
        codes = is_code_dtype(tensor.dtype)
        value = self.graph.add_input(name, channels, extent, codes=codes)
        self.tensors[given.index] = View(value, axes)
        self._input_axes.append(axes)

    def finished(self) -> Lowered:
        """The graph with its outputs."""
        outputs: list[Axes | Constant | Filled | None] = []
        for output in self.recording.outputs:
            if not isinstance(output, Reference):
                outputs.append(output)
                continue
            found = self.tensors[output.index]
            if isinstance(found, View):
                self.graph.outputs.append(found.value)
                outputs.append(found.axes)
            else:
                self.graph.outputs.append(found)
                outputs.append(None)
        return Lowered(self.graph, self.dtype, tuple(self._input_axes), tuple(outputs))

    def view(self, argument: Any) -> View:
        """The view that an argument is."""
        found = self.tensors.get(argument.index) if isinstance(argument, Reference) else None
        if not isinstance(found, View):
            raise Unreadable("an argument is no signal of the network")
        return found

    def reads_codes(self, call: Call) -> bool:
        """Whether the first signal that a call is given is one of codes."""
        found = next((self.tensors.get(r.index) for r in references(call.arguments)), None)
        return isinstance(found, View) and found.value.is_codes

    def gives_codes(self, call: Call) -> bool:
        """Whether the first result of a call is integers."""
        return is_code_dtype(self.recording.tensors[call.results[0]].dtype)

    @contextmanager
    def codes_as_floats(self, call: Call) -> Iterator[None]:
        """While a call is read that gives floats, the codes that it is given are floats too.

        (So do the frameworks: the sum of integers and a number of floats is one of floats.)
        """
        given = {r.index: self.tensors.get(r.index) for r in references(call.arguments)}
        codes = {i: v for i, v in given.items() if isinstance(v, View) and v.value.is_codes}
        if self.recording.tensors[call.results[0]].dtype == self.dtype:
            for index, view in codes.items():
                value = self.graph.add(ToFloat(), view.value, path=call.path)
                self.tensors[index] = View(value, view.axes)
        try:
            yield
        finally:
            self.tensors.update(codes)

    def shape(self, index: int) -> tuple[Size, ...]:
        """Of a recorded tensor."""
        return self.recording.tensors[index].shape

    def lengths(self, extent: Extent) -> tuple[int, ...]:
        """A length in each run."""
        return samples(extent, self.conditions)

    def extent_of(self, wanted: Sequence[int], base: Extent) -> Extent | None:
        """The extent that has these lengths in the runs; ``base`` is that of the value at hand."""
        known = dict.fromkeys(v.extent for v in self.graph.values() if v.is_signal)
        return fit_extent(wanted, base, [*known][::-1], self.conditions)

    def sizes(self, size: Size) -> tuple[int, ...]:
        """A size in each run."""
        return values_of(size, self.conditions)

    @property
    def has_batch(self) -> bool:
        """Whether the batch differs between the runs."""
        return len({c.batch for c in self.conditions}) > 1

    def is_batch(self, size: Size) -> bool:
        """Whether a size is that of the batch in each run, and differs between runs."""
        batches = tuple(c.batch for c in self.conditions)
        return isinstance(size, Varying) and size.values == batches

    def plain(self, view: View, path: str) -> View:
        """The same with every channel shown once, in order."""
        if view.is_plain:
            return view
        indices = tuple(view.channel_indices.tolist())
        value = self.graph.add(Channels(indices), view.value, path=path)
        sizes = [axis.size if isinstance(axis, Split) else axis for axis in view.axes]
        return View(value, split(*sizes))


def _dtype(recording: Recording) -> str:
    """The dtype of the first input that is no codes, else of the first tensor that is none."""
    indices = [*(given.index for given in recording.inputs), *range(len(recording.tensors))]
    dtypes = (recording.tensors[index].dtype for index in indices)
    return next((dtype for dtype in dtypes if "float" in dtype), "float32")
