"""What is found out if a network is not what it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from capture_replay import Replayed
from torch import Tensor, nn

from fracstride.network.recording import Conditions, Recording, Varying
from fracstride.torch.capture.agreement import difference
from fracstride.torch.compile import compiled


def module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(3, 4, 3), nn.Sequential(nn.Tanh(), nn.ELU()), nn.Conv1d(4, 2, 3), nn.Sigmoid()
    )


class Wrong(Replayed):
    """Stands for a network that gets ELUs wrong, by a little."""

    def __init__(self, recording: Recording, least: int) -> None:
        calls = [
            replace(call, arguments={**call.arguments, "alpha": 1.01})
            if call.operator == "aten.elu.default"
            else call
            for call in recording.calls
        ]
        super().__init__(replace(recording, calls=tuple(calls)), least)


class WrongFor(Replayed):
    """Stands for a network that is wrong under some conditions."""

    wrong = staticmethod(lambda clock, batch: False)
    raises = False

    def __call__(self, inputs: Sequence[Tensor], clock: int, batch: int) -> list[Tensor]:
        results = super().__call__(inputs, clock, batch)
        if not self.wrong(clock, batch):
            return results
        if self.raises:
            raise KeyError("nothing here")
        return [result + 1 for result in results]


def test_the_call_is_named() -> None:
    message = r"^1.1 \(aten.elu\): the network differs from the module with T = .*: a difference"
    with pytest.raises(ValueError, match=message):
        compiled(module(), (torch.randn(1, 3, 20),), -1, Wrong)


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda clock, batch: clock > 10,
        lambda clock, batch: batch == 2,
        lambda clock, batch: batch == 3,
        lambda clock, batch: clock == 20,
        lambda clock, batch: clock == 21,
        lambda clock, batch: clock > 1000,
    ],
)
def test_what_is_checked(wrong: Any, raises: bool) -> None:
    kind = type("Kind", (WrongFor,), {"wrong": staticmethod(wrong), "raises": raises})
    with pytest.raises(ValueError, match="KeyError" if raises else "difference"):
        compiled(module(), (torch.randn(1, 3, 20),), -1, kind)


def test_short_inputs_that_go_wrong_are_refused() -> None:
    kind = type("Kind", (WrongFor,), {"wrong": staticmethod(lambda clock, _: clock < 9)})
    net = compiled(module(), (torch.randn(1, 3, 20),), -1, kind)
    assert net.least == 9
    with pytest.raises(ValueError, match="must have at least 9 positions"):
        net(torch.randn(1, 3, 8))


def test_no_network() -> None:
    def broken(recording: Recording, least: int) -> Any:
        raise IndexError("out of range")

    with pytest.raises(ValueError, match="no network can be made of it: IndexError: out of range"):
        compiled(module(), (torch.randn(1, 3, 20),), -1, broken)


def test_conditions_tell_lengths_and_batches_apart() -> None:
    seen: list[Recording] = []

    def keeping(recording: Recording, least: int) -> Any:
        seen.append(recording)
        return Replayed(recording, least)

    compiled(module(), (torch.randn(1, 3, 20),), -1, keeping)
    recording = seen[0]
    assert len(set(recording.conditions)) == len(recording.conditions)
    clocks = [c.clock for c in recording.conditions]
    assert {20, 21, 23, 41} <= set(clocks)
    assert min(clocks) == 5
    assert {c.batch for c in recording.conditions} == {1, 2, 3}
    assert Conditions(20, 2) in recording.conditions
    for tensor in recording.tensors:
        assert isinstance(tensor.shape[0], Varying)
        assert isinstance(tensor.shape[2], Varying)


def test_agreement() -> None:
    x = torch.tensor([1.0, -2.0, 0.0])
    assert not difference(x, x * (1 + 1e-5))
    assert "difference of 0.001" in difference(x, x + 1e-3)
    assert "shape" in difference(x, x[:2])
    assert "dtype" in difference(x, x.double())
    nan, inf = x / torch.tensor([1, 1, 0]), torch.tensor([1.0, -2.0, torch.inf])
    assert not difference(nan, nan)
    assert "NaN" in difference(nan, x)
    assert "infinite" in difference(inf, -inf)
    assert "infinite" in difference(x, inf)
    assert not difference(inf, inf)
    assert not difference(x * 0, x * 0 + 1e-9, 1.0)
    assert difference(x * 0, x * 0 + 1e-9)
    assert difference(x * 0, x * 0 + 1e-3, 1.0)
    assert not difference(x.long(), x.long())
    assert "1 of 3 numbers" in difference(x.long(), x.long() + torch.tensor([0, 1, 0]))
    assert not difference(x.half(), x.half() * 1.005)
    assert not difference(x[:0], x[:0])
    assert not difference(x + 1j, x + 1j)
    assert difference(x + 1j, x + 1.1j)
