"""Results of a module: nested structures, taken apart and put together again."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree

__all__ = ["Structure", "take_apart"]


class Structure:
    """The structure of a result without its tensors.

    Args:
        build: makes the result of its tensors.
        description: equal for equal structures, and in words.
    """

    def __init__(self, build: Callable[[Sequence[Tensor]], Any], description: str) -> None:
        self.build, self.description = build, description


def take_apart(result: Any) -> tuple[list[Tensor], Structure]:
    """The tensors in a result, and its structure.

    Tuples, lists, dicts, named tuples, dataclasses and what is registered as a pytree of torch, of
    tensors, None, numbers and strings.

    Raises:
        TypeError: there is something else in it.
    """
    tensors: list[Tensor] = []
    build, description = _part(result, tensors)
    return tensors, Structure(lambda given: build(given), description)


Build = Callable[[Sequence[Tensor]], Any]


def _part(value: Any, tensors: list[Tensor]) -> tuple[Build, str]:
    if isinstance(value, Tensor):
        tensors.append(value)
        place = len(tensors) - 1
        return (lambda given: given[place]), "tensor"
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return (lambda given: value), repr(value)
    kind = type(value)
    node_type = namedtuple if _is_namedtuple(value) else kind
    if node_type in _pytree.SUPPORTED_NODES:
        node = _pytree.SUPPORTED_NODES[node_type]
        children, context = node.flatten_fn(value)
        parts = [_part(child, tensors) for child in children]

        def rebuild(given: Sequence[Tensor]) -> Any:
            return node.unflatten_fn([build(given) for build, _ in parts], context)

        inner = ", ".join(description for _, description in parts)
        return rebuild, f"{kind.__name__}[{context!r}]({inner})"
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value)]
        fields = [_part(getattr(value, name), tensors) for name in names]

        def remake(given: Sequence[Tensor]) -> Any:
            new = object.__new__(kind)
            for name, (build, _) in zip(names, fields, strict=True):
                object.__setattr__(new, name, build(given))
            return new

        inner = ", ".join(f"{n}={d}" for n, (_, d) in zip(names, fields, strict=True))
        return remake, f"{kind.__name__}({inner})"
    raise TypeError(f"the result holds a {kind.__name__}, which is no tensor, number or container")


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(type(value), "_fields")
