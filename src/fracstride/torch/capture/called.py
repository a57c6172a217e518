"""A call of an operator, its arguments by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from torch import Tensor

from fracstride.torch.capture.refusal import RefusedError

__all__ = ["Called", "bind", "tensors_in", "written_names"]


class Called:
    """A call as a dispatch mode sees it.

    Args:
        func: the operator.
        args, kwargs: its arguments.
        path: of the module that calls it.
    """

    def __init__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], path: str) -> None:
        self.func, self.path = func, path
        self._args, self._kwargs = args, kwargs
        #: ``"aten.conv1d.default"``, and without the overload.
        self.operator = str(func)
        self.packet = self.operator.rpartition(".")[0]
        self.bound = bind(func, args, kwargs)
        self.tensors = tensors_in(self.bound.values())
        #: Names of the arguments that it writes to.
        self.written = written_names(func)

    def run(self) -> Any:
        """What it gives."""
        return self.func(*self._args, **self._kwargs)

    def refusal(self, why: str) -> RefusedError:
        """The error that names it."""
        return RefusedError(self.path, self.operator, why)

    @cached_property
    def targets(self) -> list[Tensor]:
        """The tensors that it writes to."""
        return tensors_in([self.bound[name] for name in self.written])

    @cached_property
    def first(self) -> str:
        """Name of the first argument that is a tensor; empty without."""
        found = (name for name, value in self.bound.items() if isinstance(value, Tensor))
        return next(found, "")


def bind(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of the schema by name, defaults filled in."""
    bound = {}
    for place, argument in enumerate(func._schema.arguments):
        if not argument.kwarg_only and place < len(args):
            bound[argument.name] = args[place]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        else:
            bound[argument.name] = argument.default_value
    return bound


def written_names(func: Any) -> list[str]:
    """Names of the arguments that an operator writes to."""
    return [
        argument.name
        for argument in func._schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]


def tensors_in(values: Iterable[Any] | Any) -> list[Tensor]:
    """The tensors among values, and in the lists among them."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        return []
    return [tensor for value in values for tensor in tensors_in(value)]
