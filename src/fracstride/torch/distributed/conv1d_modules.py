"""torch's own ``Conv1d`` modules in models that are cut: this library computes them."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from fracstride.torch.functional import CONV1D, apply
from fracstride.torch.module import Conv1d
from fracstride.torch.module_kinds import Kind, classify
from fracstride.torch.packed import PackedWeights

__all__ = ["compute_conv1d"]


def compute_conv1d(module: nn.Module) -> None:
    """Let this library compute each ``nn.Conv1d`` in a module that is not its own already."""
    for part in module.modules():
        if classify(part).kind is Kind.CONV1D and not isinstance(part, Conv1d):
            part.__dict__["forward"] = partial(_convolve, part, PackedWeights())


def _convolve(module: Any, packed_weights: PackedWeights, input: Tensor) -> Tensor:
    sizes = module.stride, module.padding, module.dilation, module.padding_mode
    weight, bias = module.weight, module.bias
    return apply(input, weight, bias, sizes, module.groups, None, packed_weights, CONV1D)
