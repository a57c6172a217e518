"""The three maps on NVIDIA GPUs, as Triton kernels. Experimental: not yet run on a GPU.

The maps are T, the transposed convolution; C, its input's gradient; R, its weight's gradient. Until
the kernels have passed their tests on a GPU, CUDA tensors go to torch's own operators, unless
:func:`use_triton` or ``FRACSTRIDE_TRITON=1`` says otherwise.

=====================================  ==========================================================
``maps.py``                            the maps on CUDA tensors
``launch.py``                          calls of the kernels: which tensor is which argument
``dense_forward.py``,                  kernels that multiply matrices on the tensor cores,
``dense_input_grad.py``,               one map a file
``dense_weight_grad.py``
``direct.py``                          kernels for the few channels of a depthwise layer
``split_sum.py``                       the kernel that adds up the parts of a sum
``indexing.py``, ``extension.py``,     what the kernels share: places in tensors, padding modes,
``products.py``                        arithmetic
``shapes.py``                          the maps as products of matrices, in integers
``tiles.py``                           how a product is cut into programs, and what that costs
``choices.py``                         which kernel and tile a product gets
``capture.py``                         kernels in the graphs of ``torch.compile``; recorded calls
``resources.py``                       registers of a kernel, without a GPU
=====================================  ==========================================================
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

__all__ = ["available", "triton_maps", "use_triton"]

MINIMUM_CAPABILITY = (8, 0)  # its tensor cores know bfloat16 and tf32
MINIMUM_TRITON = (3, 6)  # older versions cannot multiply float64


_enabled = os.environ.get("FRACSTRIDE_TRITON") == "1"


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
    global _enabled
    if not isinstance(enabled, bool):
        raise TypeError(f"enabled must be a bool, got {enabled!r}")
    _enabled = enabled


def available(device: torch.device) -> bool:
    """Whether tensors of a device go to the kernels: these are enabled, and can run there."""
    return _enabled and device.type == "cuda" and _can_run(device.index)


@lru_cache
def _can_run(index: int | None) -> bool:
    """Whether a GPU and the installed Triton can run the kernels."""
    if torch.version.cuda is None or _triton_version() < MINIMUM_TRITON:
        return False
    return torch.cuda.get_device_capability(index) >= MINIMUM_CAPABILITY


def _triton_version() -> tuple[int, ...]:
    """The installed version of Triton, empty if there is none."""
    try:
        return tuple(int(number) for number in version("triton").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return ()


def triton_maps() -> Any:
    """The module :mod:`maps`, imported when it is needed: it imports Triton."""
    return import_module("fracstride.torch.gpu.maps")
