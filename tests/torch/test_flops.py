"""FLOPs are counted as torch counts its own layer's, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import random_case, random_conv1d_case
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import fracstride.torch as ft


def counted(layer: nn.Module, x: torch.Tensor) -> list[dict[str, dict[Any, int]]]:
    totals = []
    with FlopCounterMode(display=False) as forward:
        y = layer(x)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    with FlopCounterMode(display=False) as without, torch.no_grad():
        layer(x)
    for counter in (forward, backward, without):
        totals.append(counter.get_total_flops())
    return totals


@pytest.mark.parametrize("seed", range(30))
def test_as_torch_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(rng, "zeros", np.dtype(np.float32))
    g, shape = case.geometry, (1 + seed % 3, case.in_channels, case.length)
    crop = int(rng.integers(0, 1 + min(g.padding_left, g.padding_right)))  # torch has one number
    layers = [
        cls(
            *(case.in_channels, case.out_channels, g.kernel_size, g.stride, crop),
            *(g.output_padding, case.groups, case.b is not None, g.dilation),
        )
        for cls in (nn.ConvTranspose1d, ft.ConvTranspose1d)
    ]
    for needed in (True, False):
        x = torch.randn(shape, requires_grad=needed)
        theirs, ours = (counted(layer, x) for layer in layers)
        assert ours == theirs
        assert ours[0] == ours[2] > 0


@pytest.mark.parametrize("seed", range(30))
def test_conv1d_as_torch_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_conv1d_case(rng, "zeros", np.dtype(np.float32))
    g, shape = case.geometry, (1 + seed % 3, case.in_channels, case.length)
    more = max(g.padding_left, g.padding_right)  # torch has one number
    layers = [
        cls(
            *(case.in_channels, case.out_channels, g.kernel_size, g.stride, more),
            *(g.dilation, case.groups, case.b is not None),
        )
        for cls in (nn.Conv1d, ft.Conv1d)
    ]
    for needed in (True, False):
        x = torch.randn(shape, requires_grad=needed)
        theirs, ours = (counted(layer, x) for layer in layers)
        assert ours == theirs
        assert ours[0] == ours[2] > 0


def test_of_a_model() -> None:
    model = nn.Sequential(nn.ConvTranspose1d(4, 6, 4, 2), nn.ReLU(), nn.ConvTranspose1d(6, 2, 8, 4))
    x = torch.randn(2, 4, 10)
    theirs = counted(model, x)
    assert counted(ft.accelerate(model), x) == theirs
