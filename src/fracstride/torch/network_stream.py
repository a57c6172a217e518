"""The stream of a compiled module: tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fracstride.arguments import as_size
from fracstride.arrays import Array
from fracstride.network.layout import as_signal, as_tensor
from fracstride.network.recording import Conditions
from fracstride.network.streaming.chunks import Chunks
from fracstride.network.streaming.declared import declare
from fracstride.network.streaming.obstacles import check_streams
from fracstride.network.streaming.schedule import Schedule
from fracstride.network.streaming.stream import NetworkStream
from fracstride.network.value import Value
from fracstride.torch.capture.assembled import readable
from fracstride.torch.capture.driver import Captured
from fracstride.torch.capture.foreign import as_tensor_of
from fracstride.torch.inputs import check_guards, check_inputs, shared

__all__ = ["network_stream"]


def network_stream(
    captured: Captured,
    batch_size: int,
    constants: Sequence[Any],
    elementwise: Collection[str] = (),
) -> NetworkStream:
    """The stream of a captured module; ``elementwise``: paths of submodules that are.

    Raises:
        ValueError: an operation cannot stream; it is named.
        ValueError, TypeError: an argument does not fit.
    """
    network = captured.assembled.network
    check_streams(declare(network.graph, elementwise), _ELEMENTWISE)
    for place, axes in enumerate(captured.assembled.output_axes):
        if not isinstance(axes, tuple):
            raise ValueError(f"the network cannot stream: result {place} is no signal")
    chunks = TensorChunks(captured, batch_size)
    schedule = network.schedule
    if elementwise or captured.least != network.least:
        schedule = Schedule(declare(network.fused, elementwise), captured.least)
    return NetworkStream(schedule, network.dtype, chunks, constants)


#: Ticks beyond the signal so far, one of which may be an end that the module takes.
_A_FEW = 64
_ELEMENTWISE = (
    "Where each position depends on no other time, say so by elementwise=, with the class of the "
    "submodule"
)


class TensorChunks(Chunks):
    """Chunks with the axes of a module's tensors."""

    def __init__(self, captured: Captured, batch_size: int) -> None:
        as_size("batch_size", batch_size, 1)
        network = captured.assembled.network
        super().__init__(network.fused, network.dtype, None, batch_size)
        self._captured = captured
        layouts, axes = captured.example.layouts, captured.assembled.input_axes
        self._of_input = dict(
            zip(network.fused.inputs, zip(layouts, axes, strict=True), strict=True)
        )
        # The sizes of the first input before and behind its axis of time.
        first, _ = self._of_input[self.values[0]]
        sizes, time = first.shape(Conditions(1, self.rows)), first.time or 0
        self._lead, self._tail = sizes[:time], sizes[time + 1 :]
        if self.rows > 1 and not any(layout.batched for layout in layouts):
            raise ValueError(f"batch_size must be 1 for this module, got {batch_size}")

    def ordinary(self, chunk: Any) -> Array | None:
        layout, axes = self._of_input[self.values[0]]
        if type(chunk) is not Tensor or chunk.dtype is not layout.dtype or chunk.requires_grad:
            return None
        time, shape = layout.time, chunk.shape
        if time is None or len(shape) != len(layout.sizes):
            return None
        if shape[:time] != self._lead or shape[time + 1 :] != self._tail:
            return None
        plain = chunk.is_cpu and chunk.layout is torch.strided
        if not plain or shape[time] % layout.per_clock:
            return None
        return as_signal(readable(chunk), axes)

    @property
    def may_refuse_end(self) -> bool:  # type: ignore[override]
        """Whether the module's code asks for the length of its inputs."""
        return bool(self._captured.guards)

    def check_end(self, ticks: int) -> None:
        """As the module itself is refused for inputs that long."""
        if ticks >= self._captured.least:
            check_guards(self._captured.guards, Conditions(ticks, self.rows))

    def check_longer(self, ticks: int) -> None:
        """The same, if it is refused for inputs of all lengths up to a few ticks more."""
        for later in range(ticks, ticks + _A_FEW if self._captured.guards else ticks):
            with suppress(ValueError):
                self.check_end(later)
                return
        self.check_end(ticks)

    def results(self, outs: Sequence[Array]) -> Any:
        axes, captured = self._captured.assembled.output_axes, self._captured
        tensors = [as_tensor_of(as_tensor(out, a)) for out, a in zip(outs, axes, strict=True)]
        return captured.structure.build(shared(captured.recording.outputs, tensors))

    def result(self, out: Array) -> Any:
        return self.results((out,))

    def _arrays(self, values: Sequence[Value], given: Sequence[Any], what: str) -> list[Array]:
        if not values:
            return []
        layouts = [self._of_input[value][0] for value in values]
        check_inputs(layouts, given)
        arrays = []
        for value, tensor, layout in zip(values, given, layouts, strict=True):
            rows = tensor.shape[0] if layout.batched else 1
            if layout.batched and rows != self.rows:
                raise ValueError(f"{what} must have a batch of {self.rows}, got {rows}")
            signal = as_signal(readable(tensor), self._of_input[value][1])
            if len(signal) != self.rows:  # one for all rows
                signal = np.broadcast_to(signal, (self.rows, *signal.shape[1:]))
            arrays.append(signal)
        return arrays
