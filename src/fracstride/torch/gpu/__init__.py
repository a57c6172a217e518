"""The three maps on NVIDIA GPUs, as Triton kernels.

``launch.py`` is where tensors meet them. ``dense.py`` multiplies matrices on the tensor cores,
``direct.py`` is for the few channels of a depthwise layer. ``shapes.py`` says in integers which
products these are, ``tiles.py`` how they are cut into programs, ``choices.py`` what was measured to
be faster.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

__all__ = ["available", "maps"]

LEAST = (8, 0)  # compute capability: tensor cores that know bfloat16 and tf32
TRITON = (3, 6)  # older ones cannot multiply float64


def available(device: torch.device) -> bool:
    """Whether the kernels can run on a device: an NVIDIA GPU since Ampere, with Triton at hand."""
    return device.type == "cuda" and _available(device.index)


@lru_cache
def _available(index: int | None) -> bool:
    if torch.version.cuda is None or _triton() < TRITON:
        return False
    return torch.cuda.get_device_capability(index) >= LEAST


def _triton() -> tuple[int, ...]:
    """Version of the Triton that is installed; empty if there is none."""
    try:
        return tuple(int(number) for number in version("triton").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return ()


def maps() -> Any:
    """The module of the maps, which imports Triton."""
    return import_module("fracstride.torch.gpu.launch")
