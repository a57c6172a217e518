"""Views as calls: what a view reads from its base, and what a write to a view makes of the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fracstride.torch.capture.called import Called
from fracstride.torch.capture.steps import Kind, kind_of, plain

__all__ = ["View", "undo", "views_of"]

_aten: Any = torch.ops.aten
_RESHAPES = frozenset(
    [
        "aten.view",
        "aten.reshape",
        "aten._unsafe_view",
        "aten.flatten",
        "aten.unflatten",
        "aten.unsqueeze",
        "aten.squeeze",
        "aten.unsqueeze_",
        "aten.squeeze_",
        "aten.view_as",
        "aten.reshape_as",
        "aten.atleast_1d",
        "aten.atleast_2d",
        "aten.atleast_3d",
        "aten.ravel",
        "aten._reshape_alias",
    ]
)
_SWAPS = frozenset(
    [
        "aten.transpose",
        "aten.transpose_",
        "aten.swapaxes",
        "aten.swapaxes_",
        "aten.swapdims",
        "aten.swapdims_",
    ]
)
_LAST_TWO = frozenset(
    ["aten.t", "aten.t_", "aten.mT", "aten.numpy_T", "aten.matrix_H", "aten.mH", "aten.T"]
)
_PARTS = frozenset(["aten.split", "aten.split_with_sizes", "aten.chunk", "aten.tensor_split"])


@dataclass(frozen=True)
class View:
    """How a view was made of its base.

    Args:
        operator: that made it; empty where the view is its base as it is.
        path: of the module that called it.
        arguments: as recorded.
        base: name of the argument that is the base.
        kinds: of all results.
        position: which of the results the view is.
        base_kind: of the base.
    """

    operator: str
    path: str
    arguments: dict[str, Any]
    base: str
    kinds: tuple[Kind, ...]
    position: int
    base_kind: Kind

    @classmethod
    def same(cls, kind: Kind) -> View:
        """A view that is its base as it is."""
        return cls("", "", {}, "", (kind,), 0, kind)

    def begin(self, axis: int) -> int:
        """Where this one of several parts of an axis begins."""
        return sum(kind.sizes[axis] for kind in self.kinds[: self.position])

    def size(self, axis: int) -> int:
        """Its size along an axis."""
        return self.kinds[self.position].sizes[axis]


def views_of(
    call: Called, made: list[Tensor], operands: dict[str, Any] | None = None
) -> list[View] | None:
    """The results of a call as views of its first tensor, or None if it has other tensors too.

    ``operands`` are the recorded arguments of a call that is recorded.
    """
    if operands is None:
        if len(call.tensors) != 1 or not call.first:
            return None
        operands = {name: plain(value) for name, value in call.bound.items() if name != call.first}
    kinds, base = tuple(map(kind_of, made)), kind_of(call.bound[call.first])
    return [
        View(call.operator, call.path, operands, call.first, kinds, place, base)
        for place in range(len(made))
    ]


def undo(view: View, base: Any, value: Any) -> tuple[Any, tuple[Any, ...], bool] | None:
    """The operator and arguments that give the base after ``value`` was written to the view.

    The last of the three says whether the base's own value is needed. None: there is no such
    operator. An operator None says that the base is the value.
    """
    name, arguments = view.operator.rpartition(".")[0], view.arguments
    if not view.operator:
        return None, (), False
    if name in _RESHAPES:
        return _aten.reshape.default, (value, list(view.base_kind.sizes)), False
    if name in _SWAPS:
        first = arguments.get("dim0", arguments.get("axis0"))
        second = arguments.get("dim1", arguments.get("axis1"))
        return _aten.transpose.int, (value, first, second), False
    if name in _LAST_TWO and len(view.base_kind.sizes) == 2:
        return _aten.transpose.int, (value, 0, 1), False
    if name == "aten.mT":
        return _aten.transpose.int, (value, -2, -1), False
    if name == "aten.permute":
        return _aten.permute.default, (value, _inverse(arguments["dims"])), False
    if name == "aten.slice":
        part = [arguments[key] for key in ("dim", "start", "end", "step")]
        return _aten.slice_scatter.default, (base, value, *part), True
    if name == "aten.narrow" and isinstance(arguments["start"], int):
        start, axis = arguments["start"], arguments["dim"]
        start += view.base_kind.sizes[axis] if start < 0 else 0
        part = [axis, start, start + arguments["length"]]
        return _aten.slice_scatter.default, (base, value, *part), True
    if name == "aten.select":
        part = [arguments["dim"], arguments["index"]]
        return _aten.select_scatter.default, (base, value, *part), True
    if name == "aten.unbind":
        part = [arguments["dim"], view.position]
        return _aten.select_scatter.default, (base, value, *part), True
    if name in _PARTS:
        axis = arguments["dim"]
        start = view.begin(axis)
        part = [axis, start, start + view.size(axis)]
        return _aten.slice_scatter.default, (base, value, *part), True
    return None


def _inverse(dims: Sequence[int]) -> list[int]:
    places = [dim % len(dims) for dim in dims]
    return [places.index(axis) for axis in range(len(dims))]
