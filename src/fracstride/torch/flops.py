"""Floating-point operations of the three operators, for ``torch.utils.flop_counter``.

The formulas are torch's own (``conv_flop_count`` and ``conv_backward_flop`` there), so that a model
of real numbers counts the same before and after :func:`fracstride.torch.accelerate`, forward and
backward: two for each product of a frame, extended frames and bias left out; in the weight's
gradient, groups are not taken off.
Importing this module registers them.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from fracstride.torch import ops as _ops  # noqa: F401 - registers the operators

__all__: list[str] = []

_Shape = list[int]


@register_flop_formula(torch.ops.fracstride.conv_transpose1d)
def _forward(input: _Shape, weight: _Shape, *_: Any, **__: Any) -> int:
    batch, _channels, length = input
    return 2 * batch * length * prod(weight)


@register_flop_formula(torch.ops.fracstride.conv_transpose1d_input_grad)
def _input_grad(grad_output: _Shape, weight: _Shape, length: int, *_: Any, **__: Any) -> int:
    return 2 * grad_output[0] * length * prod(weight)


@register_flop_formula(torch.ops.fracstride.conv_transpose1d_weight_grad)
def _weight_grad(input: _Shape, grad_output: _Shape, kernel_size: int, *_: Any, **__: Any) -> int:
    return 2 * prod(input) * grad_output[1] * kernel_size
