"""The whole model as a network of ours."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from model_zoo import CALIBRATION, Array, TorchModel

import fracstride as fs
import fracstride.torch
from model_peers.torch_eager import OnTensors, read


class Fracstride(OnTensors):
    """Compiled once, for every length and number of threads; the module itself is let go."""

    def __init__(self, folder: Path, model: TorchModel, dtype: str) -> None:
        super().__init__(folder, model, dtype)
        module = read(folder)
        example = torch.from_numpy(model.example(CALIBRATION * model.step))
        self.net = fracstride.torch.compile(module, example, time=model.time)
        if dtype != "float32":
            self.net = self.net.astype(dtype)

    def set_up(self, threads: int, inputs: Sequence[Array], new_lengths: bool) -> None:
        """Set the numbers of threads: ours, and torch's for operations that run there."""
        fs.set_num_threads(threads)
        torch.set_num_threads(threads)

    def running(self) -> AbstractContextManager[Any]:
        """Inference mode, entered once and not on every call."""
        return torch.inference_mode()
