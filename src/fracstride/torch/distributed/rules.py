"""How DTensor may cut the three operators, one dimension of a mesh at a time.

torch picks the rule that moves the fewest bytes; what no rule lists is gathered first, time among
it. (A layer whose input is cut along time does better before it comes to the operators: see
:mod:`fracstride.torch.distributed.dtensor`.)

=======  =========  =========  =========  ========
cut      input      weight     bias       output
=======  =========  =========  =========  ========
batch    Shard(0)   Replicate  Replicate  Shard(0)
columns  Replicate  Shard(1)   Shard(0)   Shard(1)
rows     Shard(1)   Shard(0)   Partial    Partial
groups   Shard(1)   Shard(0)   Shard(0)   Shard(1)
=======  =========  =========  =========  ========

Columns and rows are output and input channels of a layer of one group, where no rank is left
without any; the channels of several groups are cut between groups, where the ranks divide them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import Partial, Placement, Replicate, Shard
from torch.distributed.tensor.experimental import register_sharding

from fracstride.torch.checks import groups_among
from fracstride.torch.distributed.halo import some_for_all

__all__: list[str] = []

_BATCH, _CHANNELS = Shard(0), Shard(1)  # of a signal
_IN, _OUT = Shard(0), Shard(1)  # of a weight
_ALL, _PART = Replicate(), Partial()
# Names are those of T: x, w, b, y. The gradients are cut as what they are gradients of.
_WAYS: dict[str, dict[str, Placement]] = {
    "whole": dict(x=_ALL, w=_ALL, b=_ALL, y=_ALL),
    "batch": dict(x=_BATCH, w=_ALL, b=_ALL, y=_BATCH),
    "columns": dict(x=_ALL, w=_OUT, b=Shard(0), y=_CHANNELS),
    "rows": dict(x=_CHANNELS, w=_IN, b=_PART, y=_PART),
    "groups": dict(x=_CHANNELS, w=_IN, b=Shard(0), y=_CHANNELS),
}
_Rule = tuple[list[Placement], list[Placement | None]]


def _ways(inputs: int, outputs: int, group_channels: int, ranks: int) -> list[dict[str, Placement]]:
    """The ways to cut a layer of so many channels."""
    groups = groups_among(inputs, group_channels)
    possible = {
        "columns": groups == 1 and some_for_all(outputs, ranks),
        "rows": groups == 1 and some_for_all(inputs, ranks),
        "groups": groups > 1 and groups % ranks == 0,
    }
    return [way for name, way in _WAYS.items() if possible.get(name, True)]


def _rules(operator: Any) -> Callable[[Callable[..., list[_Rule]]], Any]:
    """The decorator of torch, with types."""
    register: Any = register_sharding(operator)
    return lambda rules: register(rules)


def _others(given: tuple[Any, ...]) -> list[Placement | None]:
    return [None] * len(given)


@_rules(torch.ops.fracstride.conv_transpose1d.default)
def _forward(x: Any, w: Any, b: Any, *sizes: Any) -> list[_Rule]:
    return [
        ([way["y"]], [way["x"], way["w"], None if b is None else way["b"], *_others(sizes)])
        for way in _ways(w.shape[0], w.shape[1], sizes[4], w.mesh.size())
    ]


@_rules(torch.ops.fracstride.conv_transpose1d_input_grad.default)
def _input_grad(gy: Any, w: Any, length: Any, *sizes: Any) -> list[_Rule]:
    rules: list[_Rule] = []
    for way in _ways(w.shape[0], w.shape[1], sizes[4], w.mesh.size()):
        # Summed over output channels where these are cut; over input channels nothing is.
        gx = _PART if way is _WAYS["columns"] else way["x"]
        gy_way = _ALL if way is _WAYS["rows"] else way["y"]
        rules.append(([gx], [gy_way, way["w"], None, *_others(sizes)]))
    return rules


@_rules(torch.ops.fracstride.conv_transpose1d_weight_grad.default)
def _weight_grad(x: Any, gy: Any, kernel_size: Any, *sizes: Any) -> list[_Rule]:
    rules: list[_Rule] = []
    for way in _ways(x.shape[1], gy.shape[1], sizes[4], x.mesh.size()):
        # Summed over the batch where that is cut.
        gw = _PART if way is _WAYS["batch"] else way["w"]
        gy_way = _ALL if way is _WAYS["rows"] else way["y"]
        rules.append(([gw], [way["x"], gy_way, None, *_others(sizes)]))
    return rules


@_rules(torch.ops.aten._weight_norm_interface_backward.default)
def _weight_norm_backward(gw: Any, v: Any, g: Any, norms: Any, dim: Any) -> list[_Rule]:
    """DTensor (2.13) has a rule for weight_norm and none for its gradient: gather."""
    return [([_ALL, _ALL], [_ALL, _ALL, _ALL, _ALL, None])]
