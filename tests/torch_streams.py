"""Adapters from streams of tensors to the helpers that push arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fracstride.streaming import Stream


class OnArrays(Stream):
    """A stream of tensors, as one of arrays."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.rate, self.latency, self.overhang = stream.rate, stream.latency, stream.overhang

    def final_length(self, frames: int) -> int:
        return self.stream.final_length(frames)

    def length_at_end(self, frames: int) -> int:
        return self.stream.length_at_end(frames)

    def staircases(self) -> Any:
        return self.stream.staircases()

    def check_end(self, frames: int) -> None:
        self.stream.check_end(frames)

    def push(self, chunk: Any, *, active: Any = None) -> Any:
        return self._array(self.stream.push(torch.from_numpy(chunk.copy()), active=active))

    def finish(self, chunk: Any, *, rows: Any = None) -> Any:
        return self._array(self.stream.finish(torch.from_numpy(chunk.copy()), rows=rows))

    def flush(self, *, rows: Any = None) -> Any:
        return self._array(self.stream.flush(rows=rows))

    def _array(self, piece: torch.Tensor) -> Any:
        assert isinstance(piece, torch.Tensor)
        return piece.detach().numpy()

    @property
    def lengths(self) -> Any:
        return self.stream.lengths

    def reset(self, *, rows: Any = None) -> None:
        self.stream.reset(rows=rows)

    def clear(self) -> None:
        self.stream.clear()

    def advance(self, chunk: Any, last: bool) -> Any:
        raise NotImplementedError  # it is in no composition

    def state(self) -> dict[str, Any]:
        return {key: value.numpy() for key, value in self.stream.state().items()}

    def prepare_restore(self, state: Mapping[str, Any]) -> Any:
        return self.stream.prepare_restore({key: torch.from_numpy(state[key]) for key in state})
