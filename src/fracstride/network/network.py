"""A network: a graph that runs."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fracstride.arrays import Array, DType, as_dtype
from fracstride.network.fusing import fuse
from fracstride.network.graph import Graph
from fracstride.network.inputs import Inputs
from fracstride.network.layouts import Layouts
from fracstride.network.memory import Arena, plan_slots
from fracstride.network.plan import Plan
from fracstride.network.streaming import NetworkStream
from fracstride.network.streaming.chunks import Chunks
from fracstride.network.streaming.obstacles import check_streams, obstacle_of
from fracstride.network.streaming.schedule import Schedule
from fracstride.network.table import table
from fracstride.network.value import Value

__all__ = ["Network"]

_MOST_TICKS = 1 << 18  # that pads may need at the least
_PLANS = 8  # lengths whose steps are remembered
_SHOWN = 100  # ticks for which a printed network says how much memory they need


class Network:
    """A graph of layers and elementwise operations that runs on arrays.

    Args:
        graph: its values and operations.
        dtype: of the signals: float32, float64, float16 or bfloat16.
        least: the least number of ticks that it accepts.
        layouts: axes of the inputs and outputs, where they are not ``(B, channels, L)``.
        fused: whether operations are fused into one another. The results have the same bits
            without, except where a constant factor, a BatchNorm or a scale is folded into a weight,
            or a linear layer into the frames of a transform.

    Raises:
        TypeError: the dtype is none of these, or an operation has weights in another one.

    >>> import numpy as np
    >>> import fracstride as fs
    >>> from fracstride.network import Graph
    >>> from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
    >>> from fracstride.network.operations.leaky_relu import LeakyReLU
    >>> graph = Graph()
    >>> x = graph.add(LeakyReLU(0.1), graph.add_input("frames", channels=4))
    >>> layer = fs.ConvTranspose1d(4, 1, kernel_size=4, stride=2, padding=1, rng=0)
    >>> graph.outputs.append(graph.add(ConvTranspose1d(layer), x))
    >>> Network(graph)(np.ones((1, 4, 10), np.float32)).shape
    (1, 1, 20)
    """

    def __init__(
        self,
        graph: Graph,
        dtype: DTypeLike = np.float32,
        least: int = 1,
        *,
        layouts: Layouts | None = None,
        fused: bool = True,
    ) -> None:
        self.dtype: DType = as_dtype(dtype)
        if self.dtype.kind == "c":
            raise TypeError(f"dtype must be real, got {self.dtype}")
        _check_dtypes(graph, self.dtype)
        #: As the model has it.
        self.graph = graph
        self._fuses = fused
        #: What runs.
        self.fused = fuse(graph, self.dtype, everything=fused)
        self._layouts = layouts
        least = max(least, _least(graph))
        self._inputs = Inputs(graph.inputs, self.dtype, least, layouts)
        self._spare: list[_Memory] = []

    @property
    def least(self) -> int:
        """The least number of ticks that the network accepts."""
        return self._inputs.least

    def __call__(self, *inputs: Any) -> Array | tuple[Array, ...]:
        """The outputs ``(B, channels, L)`` of inputs ``(B, channels, L)``, or all without ``B``.

        A network with layouts takes and gives the axes of the model that it comes from.

        Args:
            inputs: as many as the network has, of its dtype, or integers where it takes codes; any
                batch, and lengths in proportion.

        Raises:
            ValueError, TypeError: an input does not fit, or holds a code that a table does not
                have, with what would.
        """
        arrays, clock, batched = self._inputs.check(inputs)
        outputs = [out if batched else out[0] for out in self.run(arrays, clock)]
        if self._layouts is not None:
            outputs = self._layouts.arrays(outputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def run(self, inputs: Sequence[Any], clock: int, batch: int | None = None) -> list[Any]:
        """The outputs of checked inputs, in new arrays; foreign inputs and outputs as they are.

        ``batch`` is needed where no input is a signal.
        """
        if batch is None:
            signals = [x for x, v in zip(inputs, self.graph.inputs, strict=True) if v.is_signal]
            batch = len(signals[0])
        memory = self._spare.pop() if self._spare else _Memory(self)
        plan = memory.plan(clock, batch)
        foreign = {}
        for value, given, place in zip(self.graph.inputs, inputs, plan.inputs, strict=True):
            if place is None:
                foreign[value] = given
            else:
                place[...] = given
        outputs = [
            np.array(out) if value.is_signal else out
            for value, out in zip(self.fused.outputs, plan.run(foreign), strict=True)
        ]
        self._spare.append(memory)
        return outputs

    def astype(self, dtype: DTypeLike) -> Network:
        """The same network in another dtype: ``net.astype("bfloat16")``."""
        wanted = as_dtype(dtype)
        graph, new = Graph(), {}
        for value in self.graph.inputs:
            new[value] = value
            graph.inputs.append(value)
        for node in self.graph.nodes:
            operation = node.operation.astype(wanted)
            graph.nodes.append(type(node)(operation, node.inputs, node.outputs, node.path))
        graph.outputs = list(self.graph.outputs)
        return Network(graph, wanted, self.least, layouts=self._layouts, fused=self._fuses)

    def stream(self, batch_size: int | None = 1, constants: Sequence[Any] = ()) -> NetworkStream:
        """The network fed chunk by chunk: the bits of its output for the whole input.

        Args:
            batch_size: rows ``B`` of each chunk, or None for chunks without a batch.
            constants: the inputs without time, such as the embedding of a speaker, in their order.

        Raises:
            ValueError: an operation cannot stream: the message names it, and says why.
            ValueError, TypeError: an argument does not fit.

        >>> import numpy as np
        >>> import fracstride as fs
        >>> from fracstride.network import Graph
        >>> from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
        >>> graph = Graph()
        >>> layer = fs.ConvTranspose1d(4, 1, kernel_size=4, stride=2, padding=1, rng=0)
        >>> frames = graph.add_input("frames", channels=4)
        >>> graph.outputs.append(graph.add(ConvTranspose1d(layer), frames))
        >>> stream = Network(graph).stream()
        >>> pieces = stream.push(np.ones((1, 4, 10), np.float32)), stream.flush()
        >>> [piece.shape[2] for piece in pieces], stream.latency
        ([19, 1], 1)
        """
        check_streams(self.graph)
        chunks = Chunks(self.fused, self.dtype, self._layouts, batch_size)
        return NetworkStream(self.schedule, self.dtype, chunks, constants)

    @cached_property
    def schedule(self) -> Schedule:
        """When what of its signals is final, of a network that can stream."""
        return Schedule(self.fused, self.least)

    @property
    def layouts(self) -> Layouts | None:
        """Axes of the inputs and outputs, where they are not ``(B, channels, L)``."""
        return self._layouts

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that :func:`fracstride.load` reads, without a framework.

        The file is one of safetensors, with the graph in its metadata. The network that is read has
        the bits of this one.

        Args:
            path: where it goes, such as ``"decoder.safetensors"``.

        Raises:
            ValueError: an operation runs in torch, which no file can hold; it is named.
            OSError: the file cannot be written.
            ModuleNotFoundError: safetensors is not installed.
        """
        from fracstride.network.saving import save

        save(path, self.graph, self.dtype.name, self.least, self._layouts)

    def memory(self, clock: int, batch: int = 1) -> int:
        """Bytes of the arena that a run of so many ticks needs, its outputs and weights apart."""
        sizes = self._sizes(clock, batch)
        return plan_slots(self.fused, sizes).layout(sizes)[1]

    def _sizes(self, clock: int, batch: int) -> dict[Value, int]:
        return {
            value: value.dtype(self.dtype).itemsize * batch * value.channels * value.extent(clock)
            for value in self.fused.values()
            if value.is_signal
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # What is compiled and what is in use belongs to one process, and is made again.
        return _network, (self.graph, self.dtype, self.least, self._layouts, self._fuses)

    def __str__(self) -> str:
        clock = max(self.least, _SHOWN)
        megabytes = self.memory(clock) / 1e6
        obstacle = obstacle_of(self.graph)
        streams = f"cannot stream: {obstacle}" if obstacle else self.schedule.summary
        return table(
            self.graph, streams, f"memory for {clock} ticks, weights apart: {megabytes:.3g} MB"
        )

    def __repr__(self) -> str:
        return f"Network({len(self.graph.nodes)} operations, dtype={self.dtype.name})"


def _network(
    graph: Graph, dtype: DType, least: int, layouts: Layouts | None, fused: bool
) -> Network:
    return Network(graph, dtype, least, layouts=layouts, fused=fused)


def _check_dtypes(graph: Graph, dtype: DType) -> None:
    for node in graph.nodes:
        own = node.operation.weight_dtype
        if own is not None and own != dtype:
            where = node.path or node.operation.name
            raise TypeError(f"{where} has weights in {own}, and the network is one in {dtype}")


def _least(graph: Graph) -> int:
    """The least number of ticks at which every operation has the input that it needs.

    Raises:
        ValueError: a pad would need more than 2**18.
    """
    extents = [value.extent for value in graph.values() if value.is_signal]
    clock = max([1, *(extent.first_positive for extent in extents if extent.step > 0)])
    for node in graph.nodes:
        if not node.inputs:
            continue
        first, result = node.inputs[0], node.outputs[0]
        if not (first.is_signal and first.rate and result.is_signal):
            continue
        while not node.operation.accepts(first.extent(clock), result.extent(clock)):
            clock += 1
            if clock > _MOST_TICKS:
                raise ValueError(f"it would need inputs of more than {_MOST_TICKS} ticks")
    return clock


class _Memory:
    """An arena and the plans that are bound to it; one run at a time uses it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._arena = Arena()
        self._slots: Any = None
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()

    def plan(self, clock: int, batch: int) -> Plan:
        """The steps for a length, remembered for the last few."""
        key = clock, batch
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        network = self._network
        sizes = network._sizes(clock, batch)
        if self._slots is None:
            self._slots = plan_slots(network.fused, sizes)
        starts, size = self._slots.layout(sizes)
        if self._arena.reserve(size):
            self._plans.clear()
        plan = Plan(network.fused, self._slots, starts, self._arena, clock, batch, network.dtype)
        self._plans[key] = plan
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)
        return plan
