"""How DTensor may cut the operators, one dimension of a mesh at a time.

torch picks the rule that moves the fewest bytes. Operands cut in a way that no rule lists are
gathered first. No rule lists time. (A layer whose input is cut along time does better before it
comes to the operators: see :mod:`fracstride.torch.distributed.dtensor`.) Importing this module
registers the rules.

The ways to cut a layer, and when each is possible: :mod:`fracstride.torch.distributed.ways`. The
operators' records say how their tensors are cut in each of these ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import Placement, Replicate
from torch.distributed.tensor.experimental import register_sharding

from fracstride.torch.checks import groups_among
from fracstride.torch.distributed.ways import placement, possible
from fracstride.torch.operators.operator import Operator
from fracstride.torch.operators.register import OPERATORS

__all__: list[str] = []

_Rule = tuple[list[Placement], list[Placement | None]]
_ALL = Replicate()


def _rules(operator: Operator) -> Callable[..., list[_Rule]]:
    def rules(*arguments: Any) -> list[_Rule]:
        tensors, rest = arguments[: operator.tensors], arguments[operator.tensors :]
        rows, columns, per_group = operator.channels(*arguments)
        groups, ranks = groups_among(rows, per_group), tensors[0].mesh.size()
        found: list[_Rule] = []
        for way, (*cuts, of_result) in operator.cuts.items():
            if possible(way, rows, columns, groups, ranks, ranks):
                pairs = zip(tensors, cuts, strict=True)
                placements = [None if t is None else placement(cut) for t, cut in pairs]
                found.append(([placement(of_result)], [*placements, *[None] * len(rest)]))
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
