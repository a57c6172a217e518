"""ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from model_preparation import exported
from model_zoo import Array, Model

from model_peers.runner import Runner, fastest


class OnnxRuntime(Runner):
    """The exported graph with 1-D and with 2-D layers, of which the faster counts.

    For a length seen before, the length is fixed in the graph and the output is bound in place.
    """

    def __init__(self, folder: Path, model: Model, dtype: str) -> None:
        super().__init__(folder, model, dtype)
        if dtype != "float32":
            raise ValueError(f"its CPU provider has no convolution in {dtype}")
        self._graphs = exported(folder)

    def set_up(self, threads: int, inputs: Sequence[Array], new_lengths: bool) -> None:
        """Make a session per form, and keep the faster one."""
        self._output: Any = None
        bound = {
            name: self._binding(path, threads, None if new_lengths else [x.shape for x in inputs])
            for name, path in self._graphs.items()
        }
        given = self.given(inputs)
        self.form = fastest({name: partial(self._run, *b, given) for name, b in bound.items()})
        self._bound = bound[self.form]
        if not new_lengths:
            self._output = ort.OrtValue.ortvalue_from_numpy(self.result(self.call(given)))

    def _binding(
        self, path: Path, threads: int, shapes: Sequence[tuple[int, ...]] | None
    ) -> tuple[Any, ...]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        for shape, symbols in zip(shapes or (), self._symbols(path), strict=bool(shapes)):
            for size, symbol in zip(shape, symbols, strict=True):
                if isinstance(symbol, str):
                    options.add_free_dimension_override_by_name(symbol, size)
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        return session, session.io_binding(), names, session.get_outputs()[0].name

    def _symbols(self, path: Path) -> list[list[int | str]]:
        import onnx

        inputs = onnx.load(path, load_external_data=False).graph.input
        shapes = [value.type.tensor_type.shape.dim for value in inputs]
        return [[d.dim_param or d.dim_value for d in shape] for shape in shapes]

    def given(self, inputs: Sequence[Array]) -> Any:
        """As values that can be bound."""
        return [ort.OrtValue.ortvalue_from_numpy(x) for x in inputs]

    def call(self, given: Any) -> Any:
        """Run the model once."""
        return self._run(*self._bound, given)

    def _run(
        self, session: Any, binding: Any, names: Sequence[str], y_name: str, given: Any
    ) -> Any:
        for name, x in zip(names, given, strict=True):
            binding.bind_ortvalue_input(name, x)
        if self._output is None:
            binding.bind_output(y_name, "cpu")
        else:
            binding.bind_ortvalue_output(y_name, self._output)
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    def result(self, output: Any) -> Array:
        """The bound output is written again by the next call."""
        return np.array(output.numpy())
