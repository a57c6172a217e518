"""torch.compile with Inductor, weights frozen into the graph."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from model_zoo import Array, Model

from model_peers.images import on_images
from model_peers.torch_eager import OnTensors, read


class Inductor(OnTensors):
    """Compiled for one length with 2-D layers, or for all lengths with 1-D layers.

    These were the faster forms (SpeechT5, DAC, EnCodec; one thread): 2-D layers, whose weights
    Inductor packs, by up to 1.3 for a fixed length, and 1-D layers by up to 1.4 for any length.
    Compiling takes too long to try both each time.
    """

    def __init__(self, folder: Path, model: Model, dtype: str) -> None:
        super().__init__(folder, model, dtype)
        self._module = read(folder).to(getattr(torch, dtype))
        torch._inductor.config.freezing = True
        torch._dynamo.config.recompile_limit = 64

    def set_up(self, threads: int, inputs: Sequence[Array], new_lengths: bool) -> None:
        """Compile."""
        torch.set_num_threads(threads)
        torch._dynamo.reset()
        self.form = "any length" if new_lengths else "2-D"
        module = self._module if new_lengths else on_images(self._module)
        self.net = torch.compile(module, dynamic=new_lengths)
        with self.running():
            self.net(*self.given(inputs))

    def running(self) -> AbstractContextManager[Any]:
        """Without gradients: freezing needs that, and does not take inference tensors."""
        return torch.no_grad()
