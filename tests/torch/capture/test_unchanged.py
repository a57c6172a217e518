"""A module is as it was after it was recorded, whatever it did."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fracstride.torch.capture.refusal import RefusedError
from fracstride.torch.capture.unchanged import unchanged


class Messy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3))
        self.calls, self.seen, self.notes = 0, [1], {"a": 1}
        self.register_buffer("state", torch.zeros(2))
        self.old = self.state

    def mess(self) -> None:
        self.calls += 1
        self.seen.append(2)
        self.notes["b"] = 3
        self.state = torch.ones(2)
        self.added: Any = torch.ones(1)
        self.part.append(nn.Tanh())
        self.part[0].p = 0.9
        del self.old
        torch.manual_seed(5)
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.set_default_dtype(torch.float64)
        self.part.train()


def snapshot(module: Messy) -> Any:
    return (
        {name: id(value) for name, value in module.__dict__.items() if name != "calls"},
        (module.calls, list(module.seen), dict(module.notes), id(module.state), id(module.old)),
        [(name, id(part), part.training) for name, part in module.named_modules()],
        module.part[0].p,
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.get_default_dtype(),
    )


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_all_is_as_it_was(training: bool, fails: bool) -> None:
    module = Messy().train(training)
    module.part[1].eval()
    before = snapshot(module)
    try:
        with unchanged(module):
            assert not any(part.training for part in module.modules())
            module.mess()
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert snapshot(module) == before
    assert module.state.tolist() == [0, 0]


def test_buffers_are_put_back() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3))
    changes = pytest.raises(RefusedError, match=r"^0: a call of the module changes running_mean")
    with changes, unchanged(module):
        module[0].running_mean.data.fill_(7)
    assert not module[0].running_mean.any()


def test_parameters_are_watched() -> None:
    module = nn.Sequential(nn.Conv1d(1, 1, 1))
    changes = pytest.raises(RefusedError, match=r"^0: a call of the module changes weight")
    with changes, unchanged(module):
        module[0].weight.data.fill_(7)


def test_memory_of_weights_stays_resizable() -> None:
    module = nn.Linear(2, 2)
    with unchanged(module):
        pass
    module.weight.untyped_storage().resize_(0)


def test_scripted_modules() -> None:
    module: Any = torch.jit.script(nn.Sequential(nn.Dropout(), nn.ReLU()))
    with unchanged(module):
        assert not module.training
    assert module.training
    assert module[0].training
    assert isinstance(module(torch.ones(2)), Tensor)
