"""How a compiled module is compared with the module itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten


def relative(found: Tensor, wanted: Tensor) -> float:
    """The largest difference over the largest number."""
    peak = wanted.double().abs().max().item() if wanted.numel() else 0.0
    difference = (found.double() - wanted.double()).abs().max().item() if found.numel() else 0.0
    return difference / max(peak, 1e-6)


def assert_agrees(compiled: Any, module: nn.Module, inputs: tuple[Any, ...], most: float) -> None:
    """The same structure, shapes and dtypes, and numbers within ``most`` of the peak."""
    with torch.inference_mode():
        wanted, structure = tree_flatten(module(*inputs))
    found, own = tree_flatten(compiled(*inputs))
    assert own == structure
    for ours, theirs in zip(found, wanted, strict=True):
        if not isinstance(theirs, Tensor):
            assert ours == theirs
            continue
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        assert relative(ours, theirs) <= most
