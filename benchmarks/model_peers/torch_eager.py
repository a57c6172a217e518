"""torch without a compiler."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from model_zoo import Array, Model
from torch import Tensor, nn

from model_peers.runner import Runner


def read(folder: Path) -> nn.Module:
    """The module that was prepared, in float32."""
    module: nn.Module = torch.load(folder / "module.pt", weights_only=False)
    return module


class OnTensors(Runner):
    """A runner that takes tensors and returns one, in its dtype."""

    net: Any = None

    def given(self, inputs: Sequence[Array]) -> list[Tensor]:
        """In the dtype of the model."""
        return [torch.from_numpy(x).to(getattr(torch, self.dtype)) for x in inputs]

    def call(self, given: Sequence[Tensor]) -> Tensor:
        """Run the model once."""
        y: Tensor = self.net(*given)
        return y

    def result(self, output: Tensor) -> Array:
        """In float32."""
        return super().result(output.float().numpy())


class Eager(OnTensors):
    """The module, in inference mode."""

    def __init__(self, folder: Path, model: Model, dtype: str) -> None:
        super().__init__(folder, model, dtype)
        self.net = read(folder).to(getattr(torch, dtype))

    def set_up(self, threads: int, inputs: Sequence[Array], new_lengths: bool) -> None:
        """Set the number of threads."""
        torch.set_num_threads(threads)

    def running(self) -> AbstractContextManager[Any]:
        """Inference mode, entered once and not on every call."""
        return torch.inference_mode()
