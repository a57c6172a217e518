"""A part of an ONNX file as a network of ours, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from model_preparation import exported
from model_zoo import Array, Model

import fracstride as fs
import fracstride.onnx
from model_peers.runner import Runner


class FromOnnx(Runner):
    """Loaded once, for every length and number of threads."""

    def __init__(self, folder: Path, model: Model, dtype: str) -> None:
        super().__init__(folder, model, dtype)
        self.net = fracstride.onnx.load(exported(folder)["1-D"])
        if dtype != "float32":
            self.net = self.net.astype(dtype)

    def set_up(self, threads: int, inputs: Sequence[Array], new_lengths: bool) -> None:
        """Set the number of threads."""
        fs.set_num_threads(threads)

    def given(self, inputs: Sequence[Array]) -> Any:
        """In the dtype of the network."""
        return [np.asarray(x).astype(self.net.dtype) for x in inputs]

    def call(self, given: Any) -> Any:
        """Run the model once."""
        return self.net(*given)
