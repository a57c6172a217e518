"""The three maps on NVIDIA GPUs, as Triton kernels: experimental, and used by whoever asks.

They have not yet run on a GPU. Until they have passed their tests on one, CUDA tensors go to
torch's own operators unless :func:`use_triton` or ``FRACSTRIDE_TRITON=1`` says otherwise.

``maps.py`` is where tensors meet them. ``dense.py`` multiplies matrices on the tensor cores,
``direct.py`` is for the few channels of a depthwise layer. ``shapes.py`` says in integers which
products these are, ``tiles.py`` how they are cut into programs, ``choices.py`` what was measured to
be faster.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

__all__ = ["available", "triton_maps", "use_triton"]

LEAST = (8, 0)  # compute capability: tensor cores that know bfloat16 and tf32
TRITON = (3, 6)  # older ones cannot multiply float64


_wanted = os.environ.get("FRACSTRIDE_TRITON") == "1"


def use_triton(enabled: bool = True) -> None:
    """Let CUDA tensors go to this library's Triton kernels, or (``False``) to torch's operators.

    Experimental: the kernels are tested in Triton's interpreter, not yet on a GPU. They are off
    unless the environment has ``FRACSTRIDE_TRITON=1`` at import. They need an NVIDIA GPU of compute
    capability 8.0 or more and Triton 3.6 or later; elsewhere this changes nothing. Graphs that
    ``torch.compile`` has made stay as they are.

    Args:
        enabled: a bool.

    Raises:
        TypeError: ``enabled`` is no bool.

    >>> use_triton()
    >>> use_triton(False)
    """
    global _wanted
    if not isinstance(enabled, bool):
        raise TypeError(f"enabled must be a bool, got {enabled!r}")
    _wanted = enabled


def available(device: torch.device) -> bool:
    """Whether a device's tensors go to the kernels: asked for, and an NVIDIA GPU with Triton."""
    return _wanted and device.type == "cuda" and _available(device.index)


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


def triton_maps() -> Any:
    """The module of the maps, which imports Triton."""
    return import_module("fracstride.torch.gpu.maps")
