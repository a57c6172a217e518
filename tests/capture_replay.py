"""A recording run again with torch's own operators, at any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fracstride.network.recording import (
    Constant,
    Filled,
    Recording,
    Reference,
    Varying,
)
from fracstride.network.sizes import fit
from fracstride.torch.capture.foreign import as_tensor_of, call


def replay(recording: Recording, inputs: Sequence[Tensor], clock: int, batch: int) -> list[Tensor]:
    """The outputs for these inputs, each Varying as a function of ``clock`` and ``batch``."""
    tensors: dict[int, Tensor] = dict(
        zip((each.index for each in recording.inputs), inputs, strict=True)
    )

    def value(argument: Any) -> Any:
        if isinstance(argument, Reference):
            return tensors[argument.index]
        if isinstance(argument, Constant):
            return as_tensor_of(argument.array.copy())
        if isinstance(argument, Filled):
            sizes = [value(size) for size in argument.shape]
            return torch.full(sizes, argument.number, dtype=getattr(torch, argument.dtype))
        if isinstance(argument, Varying):
            found = fit(argument, recording.conditions)
            assert found is not None, argument
            return found(clock, batch)
        if isinstance(argument, list):
            return [value(each) for each in argument]
        return argument

    for each in recording.calls:
        with torch.inference_mode():
            made = call(each.operator, {name: value(a) for name, a in each.arguments.items()})
        tensors.update(zip(each.results, made, strict=True))
    return [value(output) for output in recording.outputs]


class Replayed:
    """Stands for a network: the recording, run again."""

    def __init__(self, recording: Recording, least: int) -> None:
        self.recording, self.network = recording, None

    def __call__(self, inputs: Sequence[Tensor], clock: int, batch: int) -> list[Tensor]:
        return replay(self.recording, inputs, clock, batch)
