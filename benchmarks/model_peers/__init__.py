"""The libraries that run whole models, each in the form in which its users would run one fast.

A peer is one file here with a subclass of :class:`~model_peers.runner.Runner`, and its line in
:data:`RUNNERS`. Each runs in a process of its own, which imports its file only.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from model_zoo import Model, OnnxModel

from model_peers.runner import Runner

__all__ = [
    "COMPILING",
    "FROM_ONNX",
    "FROM_TORCH",
    "ORT",
    "OURS",
    "PEERS",
    "QUICK",
    "RUNNERS",
    "TORCH",
    "Runner",
    "installed",
    "kind_of",
]

OURS, TORCH, ORT = "fracstride", "torch", "ORT"
RUNNERS = {  # name: file, class, package
    OURS: ("ours", "Fracstride", "fracstride"),
    TORCH: ("torch_eager", "Eager", "torch"),
    "frozen": ("inductor", "Inductor", "torch"),
    ORT: ("onnx_runtime", "OnnxRuntime", "onnxruntime"),
    "OpenVINO": ("open_vino", "OpenVino", "openvino"),
}
PEERS = tuple(name for name in RUNNERS if name != OURS)
QUICK = (TORCH, ORT)  # the others compile each model
COMPILING = ("frozen",)  # by a C++ compiler, half a minute and more for each setting
FROM_ONNX = (ORT, "OpenVINO")  # read ONNX files, such as torch exports them
FROM_TORCH = (TORCH, "frozen")  # run modules of torch and nothing else


def kind_of(name: str, model: Model) -> type[Runner]:
    """The class of this name, for a model."""
    file, kind, _ = RUNNERS[name]
    if name == OURS and isinstance(model, OnnxModel):
        file, kind = "ours_onnx", "FromOnnx"
    found: type[Runner] = getattr(import_module(f"model_peers.{file}"), kind)
    return found


def installed(name: str) -> str | None:
    """The version of its package, or None."""
    try:
        return version(RUNNERS[name][2])
    except PackageNotFoundError:
        return None
