"""Runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fracstride.network.recording import (
    Conditions,
    Constant,
    Filled,
    Input,
    Recording,
    Reference,
    Varying,
)
from fracstride.torch.capture.align import align
from fracstride.torch.capture.refusal import RefusedError
from fracstride.torch.capture.running import Runner

CONDITIONS = (Conditions(5, 1), Conditions(5, 1), Conditions(6, 1), Conditions(9, 2))


class Of(nn.Module):
    """A module of a function, with a parameter."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function, self.bias = function, nn.Parameter(torch.arange(3.0)[:, None])

    def forward(self, x: Tensor) -> Any:
        return self.function(x, self.bias)


def aligned(function: Callable[..., Any]) -> Recording:
    runner = Runner(Of(function))
    runs = [runner.run([torch.randn(c.batch, 3, c.clock)], c) for c in CONDITIONS]
    return align(runs, [Input(0, 2, 0, 1)])


def test_sizes_and_arguments_vary() -> None:
    recording = aligned(lambda x, _: x[..., : x.shape[-1] - 2].reshape(x.shape[0], -1))
    assert recording.conditions == (Conditions(5, 1), Conditions(6, 1), Conditions(9, 2))
    assert recording.tensors[0].shape == (Varying((1, 1, 2)), 3, Varying((5, 6, 9)))
    sliced, reshaped = recording.calls
    assert sliced.arguments["end"] == Varying((3, 4, 7))
    assert reshaped.arguments["shape"] == [Varying((1, 1, 2)), -1]
    assert recording.outputs == (Reference(2),)
    assert recording.tensors[2].shape == (Varying((1, 1, 2)), Varying((9, 12, 21)))


def test_floats_vary() -> None:
    (call,) = aligned(lambda x, _: x * (1 / x.shape[-1])).calls
    assert call.arguments["other"] == Varying((1 / 5, 1 / 6, 1 / 9))


def test_constants() -> None:
    (call,) = aligned(lambda x, bias: x + bias).calls
    constant = call.arguments["other"]
    assert isinstance(constant, Constant)
    assert constant.name == "bias"
    np.testing.assert_array_equal(constant.array, [[0], [1], [2]])


def test_one_number_of_any_size() -> None:
    (call,) = aligned(lambda x, _: torch.cat([x, x.new_full(x.shape, 0.5)], 1)).calls
    filled = call.arguments["tensors"][1]
    assert filled == Filled(0.5, (Varying((1, 1, 2)), 3, Varying((5, 6, 9))), "float32")


def test_repeated_constants_of_elementwise_operators() -> None:
    (call,) = aligned(lambda x, bias: x * bias.expand(x.shape)).calls
    assert call.arguments["other"].array.shape == (1, 3, 1)


def test_repeated_constants_of_other_operators() -> None:
    expand, cat = aligned(lambda x, bias: torch.cat([x, bias.expand(x.shape)], 1)).calls
    assert expand.operator == "aten.expand.default"
    assert expand.arguments["size"] == [Varying((1, 1, 2)), 3, Varying((5, 6, 9))]
    assert expand.arguments["self"].array.shape == (1, 3, 1)
    assert cat.arguments["tensors"][1] == Reference(expand.results[0])


def test_constants_that_would_not_broadcast() -> None:
    """The result has the size of the constant, so it must not become smaller."""
    recording = aligned(lambda x, bias: x.mean(-1, keepdim=True) + bias.expand(x.shape))
    assert [call.operator for call in recording.calls] == [
        "aten.mean.dim", "aten.expand.default", "aten.add.Tensor"
    ]  # fmt: skip


def test_constant_results() -> None:
    recording = aligned(lambda x, bias: (bias * 2, x.new_zeros(x.shape), bias.expand(x.shape), x))
    bias, zeros, expanded, same = recording.outputs
    assert isinstance(bias, Constant)
    assert isinstance(zeros, Filled)
    assert expanded == Reference(recording.calls[0].results[0])
    assert same == Reference(0)


def test_equal_constants_are_held_once() -> None:
    first, second = aligned(lambda x, bias: (x + bias.exp()) * bias.exp()).calls
    assert first.arguments["other"].array is second.arguments["other"].array


REFUSED: dict[str, Callable[..., Any]] = {
    r"\(aten.add.Tensor\): .* a constant of shapes \(5,\), ..., changes with the length": (
        lambda x, _: x + torch.arange(x.shape[-1])
    ),
    r"\(aten.add.Tensor\): .* a constant of shapes \(1, 1, 1\), ..., changes with the batch": (
        lambda x, _: x + torch.arange(x.shape[0])[:, None, None]
    ),
    r"\(aten.mul.Tensor\): .* a constant of shape \(\), changes with the length": (
        lambda x, _: x * torch.tensor(float(x.shape[-1]))
    ),
    r"\(aten.sin\): with T = 6, batch 1 \(and not T = 5, batch 1\), the module calls .*cos": (
        lambda x, _: x.cos() if x.shape[-1] > 5 else x.sin()
    ),
    r"\(aten.sin\): with T = 9, batch 2 .* calls no further operator": (
        lambda x, _: x.exp() if x.shape[0] > 1 else x.exp().sin()
    ),
    r"\(aten.sort\): the argument descending changes with the length: False, True": (
        lambda x, _: x.sort(-1, descending=x.shape[-1] > 5)[0]
    ),
    r"returns tensor with T = 5, batch 1, and list.* with T = 6": (
        lambda x, _: x if x.shape[-1] < 6 else [x]
    ),
    r"\(aten.squeeze\): its result changes with the batch: 2 axes of float32, 3 axes of float32": (
        lambda x, _: x.squeeze()
    ),
    r"\(aten.cat\): the argument tensors changes with the length: 1, 2": (
        lambda x, _: torch.cat([x] * (1 + (x.shape[-1] > 5)))
    ),
    r"\(aten.sub.Tensor\): the argument other changes with the length: a constant, Reference": (
        lambda x, b: x.exp() - (x if x.shape[-1] > 5 else b)
    ),
    r"\(aten.sum.dim_IntList\): its result changes with the length: 2 axes of float32, 3 axes": (
        lambda x, _: x.sum(1, keepdim=x.shape[-1] > 5)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        aligned(REFUSED[message])


def test_constants_by_the_values() -> None:
    calls = []

    def function(x: Tensor, bias: Tensor) -> Tensor:
        calls.append(x)
        return x * len(calls)

    message = r"\(aten.mul.Tensor\): the argument other depends on the values of the input"
    with pytest.raises(RefusedError, match=message):
        aligned(function)
