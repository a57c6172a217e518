"""A network that takes and gives tensors, made from a recording."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fracstride.arrays import Array, as_dtype
from fracstride.network import Network
from fracstride.network.layout import as_signal, as_tensor
from fracstride.network.layouts import Layouts
from fracstride.network.reading.lowering import Lowered
from fracstride.network.recording import Constant, Filled, Recording
from fracstride.network.saving import save
from fracstride.network.sizes import fit
from fracstride.torch.capture.foreign import as_tensor_of
from fracstride.torch.capture.reading.lower import lower

__all__ = ["Assembled", "assemble", "readable"]


def assemble(recording: Recording, least: int) -> Assembled:
    """The network of a recording.

    Raises:
        ValueError: a call cannot be represented; path and operator are named.
    """
    lowered = lower(recording)
    return Assembled(recording, lowered, Network(lowered.graph, lowered.dtype, least))


class Assembled:
    """A network and how the tensors of a module lie over its signals.

    Args:
        recording: of the module.
        lowered: the graph of it.
        network: that runs.
    """

    def __init__(self, recording: Recording, lowered: Lowered, network: Network) -> None:
        self._recording, self._lowered, self.network = recording, lowered, network

    def astype(self, dtype: Any) -> Assembled:
        """The same in another dtype."""
        return Assembled(self._recording, self._lowered, self.network.astype(dtype))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, with the axes of the tensors."""
        inputs, outputs = self._lowered.inputs, self._lowered.outputs
        for name, side in (("an input", inputs), ("a result", outputs)):
            if not all(isinstance(axes, tuple) for axes in side):
                raise ValueError(f"{name} is no signal, and a file holds signals only")
        layouts = Layouts(inputs, outputs)  # type: ignore[arg-type]
        net = self.network
        save(path, net.graph, net.dtype.name, net.least, layouts)

    @property
    def input_axes(self) -> Sequence[Any]:
        """How the tensors of the inputs lie over signals; None of one that is no signal."""
        return self._lowered.inputs

    @property
    def output_axes(self) -> Sequence[Any]:
        """The same of the results, or what they are instead."""
        return self._lowered.outputs

    def __call__(self, inputs: Sequence[Tensor], clock: int, batch: int) -> list[Tensor]:
        """The results for checked inputs, in memory of their own."""
        arrays = [
            given if axes is None else as_signal(readable(given), axes)
            for given, axes in zip(inputs, self._lowered.inputs, strict=True)
        ]
        given = iter(self.network.run(arrays, clock, batch))
        results: list[Tensor] = []
        for recorded, output in zip(self._recording.outputs, self._lowered.outputs, strict=True):
            if isinstance(output, Constant):
                results.append(as_tensor_of(output.array.copy()))
            elif isinstance(output, Filled):
                results.append(self._filled(output, clock, batch))
            elif output is None:
                results.append(next(given).clone())
            else:
                tensor = as_tensor_of(as_tensor(next(given), output))
                results.append(
                    tensor if tensor.is_floating_point() else self._codes(recorded, tensor)
                )
        return results

    def _codes(self, output: Any, tensor: Tensor) -> Tensor:
        """A result of codes in the dtype that the module gives."""
        return tensor.to(getattr(torch, self._recording.tensors[output.index].dtype))

    def _filled(self, output: Filled, clock: int, batch: int) -> Tensor:
        sizes = []
        for size in output.shape:
            fitted = fit(size, self._recording.conditions)
            if fitted is None:
                raise ValueError("a constant result has a size that is in proportion to no input")
            sizes.append(fitted(clock, batch))
        return torch.full(sizes, output.number, dtype=getattr(torch, output.dtype))


def readable(tensor: Tensor) -> Array:
    """The same memory as an array."""
    # Not by Tensor.numpy, after which the caller could not resize the tensor any more.
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        halves: Array = np.from_dlpack(tensor.view(torch.int16))
        return halves.view(as_dtype("bfloat16"))
    array: Array = np.from_dlpack(tensor)
    return array
