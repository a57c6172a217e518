"""The libraries that are compared, each in the form in which its users would run a layer fast.

A peer is one file here with a subclass of :class:`Candidate`, and its line in :data:`PEERS`. A peer
whose package is not installed is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from peers.candidate import Candidate

__all__ = [
    "OURS",
    "OUR_MODULE",
    "OWN",
    "PEERS",
    "QUICK",
    "TORCHS_MODULE",
    "Candidate",
    "candidates",
]

OURS, OUR_MODULE, TORCHS_MODULE = "fracstride", "torch face", "torch module"
OWN = {OURS: ("ours", "Fracstride"), OUR_MODULE: ("ours", "FracstrideModule")}
PEERS = {
    "torch": ("torch_eager", "Torch"),
    "ORT": ("onnx_runtime", "OnnxRuntime"),
    "frozen": ("inductor", "Inductor"),
    "OpenVINO": ("open_vino", "OpenVino"),
    "XLA": ("xla", "Xla"),
}
ONLY_TINY = {TORCHS_MODULE: ("torch_eager", "TorchModule")}
QUICK = ("torch", "ORT")  # the others compile each layer


def candidates(names: Sequence[str]) -> tuple[dict[str, type[Candidate]], dict[str, str]]:
    """The candidates of these names, and for each whose package is missing, that package."""
    found, missing = {}, {}
    for name in names:
        file, kind = {**OWN, **PEERS, **ONLY_TINY}[name]
        try:
            found[name] = getattr(import_module(f"peers.{file}"), kind)
        except ModuleNotFoundError as error:
            missing[name] = str(error.name)
    return found, missing
