"""Sizes that remember where they come from, and the guards made of what was asked about them."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fracstride.network.recording import Conditions
from fracstride.torch.capture.guards import Guard, guards_of
from fracstride.torch.capture.lengths import Leaf, Length, Log, evaluated, leaves
from fracstride.torch.capture.running import Run, Runner


def length(size: int = 20) -> Length:
    return Log(lambda: "path").length(0, 2, size)


@pytest.mark.parametrize(
    "function",
    [
        lambda n: n + 3,
        lambda n: 3 - n,
        lambda n: (2 * n + 1) // 4,
        lambda n: 100 // n,
        lambda n: -n % 7,
        lambda n: 100 % n,
        lambda n: n * n - n,
        lambda n: -(-n // 8) * 8,
        lambda n: max(n, 30) + min(n, 5),
    ],
)
def test_arithmetic_is_remembered(function: Callable[[Any], Any]) -> None:
    for size in (1, 20, 33):
        n = length(size)
        found = function(n)
        assert found == function(size)
        assert isinstance(found, int)
    tree = function(length()).tree if isinstance(function(length()), Length) else None
    if tree is not None and not n.log.answers:
        assert evaluated(tree, lambda leaf: 41) == function(41)
        assert leaves(tree) <= {Leaf(0, 2)}


def test_it_is_an_int() -> None:
    n = length()
    assert (n, hash(n), repr(n), f"{n:3d}") == (20, hash(20), "20", " 20")
    assert list(range(n))[-1] == 19
    assert torch.zeros(2, n).shape == (2, 20)
    assert {20: "here"}[n] == "here"
    assert n / 8 == 2.5
    assert math.ceil(n / 8) == 3
    assert [0] * n == [0] * 20
    assert copy.deepcopy(n) == n
    assert int(n) is not n
    assert type(pickle.loads(pickle.dumps(int(n)))) is int
    assert n != "20"


def test_comparisons_are_noted() -> None:
    n = length()
    assert n > 3
    assert (2 * n + 1 == 40) is False
    assert n <= 50
    assert bool(n)
    asked = {(a.path, a.tree): answer for a, answer in n.log.answers.items()}
    leaf = Leaf(0, 2)
    assert asked == {
        ("path", ("gt", leaf, 3)): True,
        ("path", ("eq", ("add", ("mul", 2, leaf), 1), 40)): False,
        ("path", ("le", leaf, 50)): True,
        ("path", ("ne", leaf, 0)): True,
    }


class Of(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        self.function(x)
        return x * 2


def runs(function: Callable[[Tensor], Any], *conditions: tuple[int, int]) -> list[Run]:
    runner = Runner(Of(function))
    given = [Conditions(*each) for each in conditions or ((5, 1), (6, 1), (9, 2), (4, 3))]
    return [runner.run([torch.randn(c.batch, 3, c.clock)], c) for c in given]


def guards(function: Callable[[Tensor], Any], *conditions: tuple[int, int]) -> list[Guard]:
    return list(guards_of(runs(function, *conditions), 4))


def test_what_may_change_is_guarded() -> None:
    (guard,) = guards(lambda x: x.shape[-1] > 100)
    assert guard.holds(Conditions(100, 7))
    assert not guard.holds(Conditions(101, 1))
    assert guard.flip(4) == 101
    assert guard.described(Conditions(150, 1)) == "the module compares 150 > 100"


@pytest.mark.parametrize(
    ("function", "held", "broken"),
    [
        (lambda x: x.size(-1) == 77, (76, 1), (77, 1)),
        (lambda x: x.size()[0] < 9, (5, 8), (5, 9)),
        (lambda x: x.numel() < 1000, (100, 3), (100, 4)),
        (lambda x: x.shape[-1] % 50 == 49, (50, 1), (99, 1)),
        (lambda x: x.shape[-1] * 2 + 1 >= 2001, (999, 1), (1000, 1)),
        (lambda x: min(x.shape[-1], 64), (63, 1), (65, 1)),
        (lambda x: x[..., :64], (64, 1), (65, 1)),
        (lambda x: x[..., -64:], (64, 1), (65, 1)),
        (lambda x: x[:, None, ..., :64, None], (64, 1), (65, 1)),
        (lambda x: x[0, :, :64], (64, 1), (65, 1)),
        (lambda x: x.split(64, -1), (64, 1), (65, 1)),
        (lambda x: torch.split(x, 64, dim=2), (64, 1), (65, 1)),
        (lambda x: x.shape == (1, 3, 200), (199, 1), (200, 1)),
    ],
)
def test_guards(
    function: Callable[[Tensor], Any], held: tuple[int, int], broken: tuple[int, int]
) -> None:
    found = guards(function, (5, 1), (6, 1), (7, 2), (4, 3))
    assert all(guard.holds(Conditions(*held)) for guard in found)
    assert not all(guard.holds(Conditions(*broken)) for guard in found)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.shape[1] == 3,
        lambda x: x.shape[-1] > 2,
        lambda x: x.shape[-1] > 5,  # both answers are seen
        lambda x: 2 * x.shape[-1] - 1 < x.shape[-1],
        lambda x: x.shape == x.shape,
        lambda x: x[..., 1:],
        lambda x: x[:, :2],
        lambda x: x.exp().shape[-1] > 100 and None,
    ],
)
def test_what_cannot_change_is_not_guarded(function: Callable[[Tensor], Any]) -> None:
    assert not guards(function)


def test_both_answers_in_different_runs() -> None:
    assert not guards(lambda x: x.shape[-1] > 5, (5, 1), (6, 1))
    assert guards(lambda x: x.shape[-1] > 5, (4, 1), (5, 1))


def test_slices_call_an_operator_always() -> None:
    """Torch calls none where a slice takes everything."""
    found = runs(lambda x: None, (5, 1))
    assert [step.operator for step in found[0].steps] == ["aten.mul.Tensor"]

    class Slices(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.zeros(x.shape)
            y[:, :, : x.shape[-1]] = x[0, ..., :5]
            return y[..., 0:9]

    runner = Runner(Slices())
    calls = [
        [step.operator for step in runner.run([torch.ones(b, 3, n)], Conditions(n, b)).steps]
        for n, b in ((5, 1), (5, 2), (5, 1))
    ]
    assert calls[0] == calls[1] == [
        "aten.select.int", "aten.slice.Tensor", "aten.expand.default", "aten.slice_scatter.default",
        "aten.slice.Tensor",
    ]  # fmt: skip
