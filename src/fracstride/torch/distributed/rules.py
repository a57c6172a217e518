"""How DTensor may cut the operators, one dimension of a mesh at a time.

torch picks the rule that moves the fewest bytes. Operands cut in a way that no rule lists are
gathered first. No rule lists time. (A layer whose input is cut along time does better before it
comes to the operators: see :mod:`fracstride.torch.distributed.dtensor`.) Importing this module
registers the rules.

A layer may be whole on every rank, or cut along its batch, its output channels (``columns`` of the
weight), its input channels (``rows``) or its groups. The operators' records say how their tensors
are cut in each of these ways. Columns and rows are channels of a layer of one group, where no rank
is left without any; the channels of several groups are cut between groups, where the ranks divide
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import Partial, Placement, Replicate, Shard
from torch.distributed.tensor.experimental import register_sharding

from fracstride.torch.checks import groups_among
from fracstride.torch.distributed.halo import some_for_all
from fracstride.torch.operators.operator import Cut, Operator
from fracstride.torch.operators.register import OPERATORS

__all__: list[str] = []

_Rule = tuple[list[Placement], list[Placement | None]]
_ALL = Replicate()


def _placement(cut: Cut) -> Placement:
    """A record's word for a cut in the words of DTensor."""
    if isinstance(cut, int):
        return Shard(cut)
    return Partial() if cut == "sum" else _ALL


def _possible(way: str, inputs: int, outputs: int, group_channels: int, ranks: int) -> bool:
    """Whether a layer of so many channels can be cut in this way."""
    groups = groups_among(inputs, group_channels)
    if way == "columns":
        return groups == 1 and some_for_all(outputs, ranks)
    if way == "rows":
        return groups == 1 and some_for_all(inputs, ranks)
    if way == "groups":
        return groups > 1 and groups % ranks == 0
    assert way in ("whole", "batch"), f"when is {way!r} possible?"
    return True


def _rules(operator: Operator) -> Callable[..., list[_Rule]]:
    def rules(*arguments: Any) -> list[_Rule]:
        tensors, rest = arguments[: operator.tensors], arguments[operator.tensors :]
        channels, ranks = operator.channels(*arguments), tensors[0].mesh.size()
        found: list[_Rule] = []
        for way, (*cuts, of_result) in operator.cuts.items():
            if _possible(way, *channels, ranks):
                pairs = zip(tensors, cuts, strict=True)
                placements = [None if t is None else _placement(cut) for t, cut in pairs]
                found.append(([_placement(of_result)], [*placements, *[None] * len(rest)]))
        return found

    return rules


def _weight_norm_backward(gw: Any, v: Any, g: Any, norms: Any, dim: Any) -> list[_Rule]:
    """DTensor (2.13) has a rule for weight_norm and none for its gradient: gather."""
    return [([_ALL, _ALL], [_ALL, _ALL, _ALL, _ALL, None])]


def _register(overload: Any, rules: Callable[..., list[_Rule]]) -> None:
    register: Any = register_sharding(overload)
    register(rules)


for _operator in OPERATORS:
    _register(getattr(torch.ops.fracstride, _operator.name).default, _rules(_operator))
_register(torch.ops.aten._weight_norm_interface_backward.default, _weight_norm_backward)
