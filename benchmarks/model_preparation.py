"""What the runners of a model read: the module, graphs of ONNX, and the right outputs."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import model_graphs
import numpy as np
import onnx
import torch
from model_peers.images import on_images
from model_zoo import CALIBRATION, Array, Model, OnnxModel, TorchModel
from torch import nn

FORMS = {"1-D": lambda module: module, "2-D": on_images}
CLOSE = {"float32": 1e-4, "bfloat16": 0.05}  # of the output's peak
OWN_SHARE = 3  # or of the difference that torch's own output in that dtype has


def preparation(folder: Path, model: Model, small: bool) -> Any:
    """What writes into ``folder`` what the runners need of a model.

    ``small``: with few channels, if that can be.
    """
    if isinstance(model, OnnxModel):
        return OfFile(folder, model)
    assert isinstance(model, TorchModel)
    return OfModule(folder, model, small)


class OfFile:
    """Of a part of an ONNX file."""

    def __init__(self, folder: Path, model: OnnxModel) -> None:
        self.folder, self.model = folder, model
        self._graph = model_graphs.part(model)

    def outputs(self, lengths: Sequence[int], dtypes: Sequence[str]) -> dict[str, float]:
        """Write ONNX Runtime's outputs; return by how much of the peak each dtype may differ."""
        for frames in lengths:
            wanted = model_graphs.output_of(self._graph, *self.model.examples(frames))
            np.save(_wanted(self.folder, frames), wanted)
        return {dtype: CLOSE[dtype] for dtype in dtypes}

    def export(self, form: str) -> None:
        """Write the graph: as it is, or with 2-D layers."""
        graph = self._graph if form == "1-D" else model_graphs.on_images(self._graph)
        onnx.save_model(graph, _graph(self.folder, form))


class OfModule:
    """Of a torch module."""

    def __init__(self, folder: Path, model: TorchModel, small: bool) -> None:
        self.folder, self.model = folder, model
        self._module = model.build(small)
        torch.save(self._module, folder / "module.pt")

    def outputs(self, lengths: Sequence[int], dtypes: Sequence[str]) -> dict[str, float]:
        """Write torch's float32 outputs; return by how much of the peak each dtype may differ."""
        allowed = {dtype: CLOSE[dtype] for dtype in dtypes}
        halves = {d: _as(self._module, d) for d in dtypes if d != "float32"}
        with torch.inference_mode():
            for frames in lengths:
                x = torch.from_numpy(self.model.example(frames))
                wanted = self._module(x).numpy()
                np.save(_wanted(self.folder, frames), wanted)
                for dtype, module in halves.items():
                    y = module(x.to(getattr(torch, dtype))).float().numpy()
                    allowed[dtype] = max(allowed[dtype], OWN_SHARE * _difference(y, wanted))
        return allowed

    def export(self, form: str) -> None:
        """Write an ONNX graph of any length: by the exporter of today, or else the older one."""
        model, module = self.model, FORMS[form](self._module)
        x = torch.from_numpy(model.example(CALIBRATION * model.step))
        path = _graph(self.folder, form)
        begun = path.with_suffix(".begun")  # a name that no runner reads
        errors = []
        for export in (_export, _export_traced):
            try:
                with torch.inference_mode(), contextlib.redirect_stdout(io.StringIO()):
                    export(module, x, model.time, begun)
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
            else:
                begun.rename(path)
                return
        raise ValueError(f"torch.onnx.export fails: {errors[-1]}")


def difference(folder: Path, frames: int, output: Array) -> float:
    """Largest difference of an output from torch's in float32, relative to its peak."""
    return _difference(output, np.load(_wanted(folder, frames)))


def exported(folder: Path) -> dict[str, Path]:
    """The graphs that could be written, by form."""
    return {form: path for form in FORMS if (path := _graph(folder, form)).exists()}


def _wanted(folder: Path, frames: int) -> Path:
    return folder / f"wanted-{frames}.npy"


def _graph(folder: Path, form: str) -> Path:
    return folder / f"{form}.onnx"


def _as(module: nn.Module, dtype: str) -> nn.Module:
    return copy.deepcopy(module).to(getattr(torch, dtype))


def _difference(output: Array, wanted: Array) -> float:
    if output.shape != wanted.shape:
        return float("inf")
    return float(np.abs(output - wanted).max() / np.abs(wanted).max())


def _export(module: nn.Module, x: torch.Tensor, time: int, path: Path) -> None:
    dynamic = ({time: torch.export.Dim.DYNAMIC},)
    torch.onnx.export(
        module, (x,), path, dynamo=True, dynamic_shapes=dynamic, external_data=False, verbose=False
    )


def _export_traced(module: nn.Module, x: torch.Tensor, time: int, path: Path) -> None:
    """For models whose sizes are tensors, such as EnCodec."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (x,),
            str(path),
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {time: "T"}},
            opset_version=17,
        )
