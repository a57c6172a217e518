"""The weight of a Conv1d, turned into that of a transposed convolution, under threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fracstride.conv1d_geometry import geometry_of_conv1d
from fracstride.torch import turned_weights
from fracstride.torch.turned_weights import TurnedWeights


def test_a_second_thread_sees_no_half_of_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call while another thread turns a new weight gets the new weight, or turns it too."""
    kept, turn = TurnedWeights(), turned_weights._turned
    geometry = geometry_of_conv1d(3)
    old, new = torch.randn(4, 6, 3), torch.randn(4, 6, 3)
    kept.pack(kept.transposed(old, 1), geometry, 1)
    others: list[Tensor] = []

    def in_between(weight: Tensor, groups: int) -> Tensor:
        if not others:
            others.append(weight)  # this one comes once
            others[0] = kept.transposed(new, 1)
        return turn(weight, groups)

    monkeypatch.setattr(turned_weights, "_turned", in_between)
    mine = kept.transposed(new, 1)
    assert torch.equal(others[0], turn(new, 1))
    assert torch.equal(mine, turn(new, 1))


def test_a_packed_weight_belongs_to_its_turned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight changes while the one before is being packed."""
    kept, geometry = TurnedWeights(), geometry_of_conv1d(3)
    old, new = torch.randn(4, 6, 3), torch.randn(4, 6, 3)
    pack = turned_weights.PackedWeights.pack

    def in_between(self: TurnedWeights, *operands: object) -> object:
        packed = pack(self, *operands)  # type: ignore[arg-type]
        self.transposed(new, 1)
        return packed

    turned = kept.transposed(old, 1)
    monkeypatch.setattr(turned_weights.PackedWeights, "pack", in_between)
    of_old = kept.pack(turned, geometry, 1)
    monkeypatch.setattr(turned_weights.PackedWeights, "pack", pack)
    of_new = kept.pack(kept.transposed(new, 1), geometry, 1)
    assert of_new is not of_old
    assert kept.pack(kept.transposed(new, 1), geometry, 1) is of_new
