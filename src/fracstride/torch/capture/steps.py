"""The calls of one run, as they are recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fracstride.network.recording import Reference
from fracstride.torch.capture.called import Called, bind
from fracstride.torch.capture.constants import Folded
from fracstride.torch.capture.refusal import RefusedError

__all__ = ["Kind", "Step", "Steps", "is_operand", "is_recorded", "kind_of", "plain"]


@dataclass(frozen=True)
class Kind:
    """Sizes and dtype of a tensor."""

    sizes: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Step:
    """A call as one run saw it: as :class:`fracstride.network.recording.Call`.

    Arguments that are constants are :class:`fracstride.torch.capture.constants.Folded`.
    """

    operator: str
    path: str
    arguments: dict[str, Any]
    results: tuple[int, ...]


class Steps:
    """Recorded calls, and the kinds of the recorded tensors."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.kinds: list[Kind] = []
        #: Copies of what operators gave, if they are wanted.
        self.values: dict[int, Tensor] | None = None

    def new(self, kind: Kind) -> Reference:
        """Another recorded tensor."""
        self.kinds.append(kind)
        return Reference(len(self.kinds) - 1)

    def keep(self, results: Sequence[Reference], tensors: Sequence[Tensor]) -> None:
        """What a call gave."""
        if self.values is not None:
            for result, tensor in zip(results, tensors, strict=True):
                self.values[result.index] = tensor.clone()

    def kind(self, operand: Reference | Folded) -> Kind:
        """Sizes and dtype of an operand."""
        if isinstance(operand, Folded):
            return Kind(operand.shape, operand.dtype)
        return self.kinds[operand.index]

    def emit(
        self, operator: str, path: str, arguments: dict[str, Any], kinds: Sequence[Kind]
    ) -> list[Reference]:
        """A call whose arguments are operands; gives its results."""
        results = [self.new(kind) for kind in kinds]
        places = tuple(result.index for result in results)
        self.steps.append(Step(operator, path, arguments, places))
        return results

    def call(self, func: Any, path: str, args: tuple[Any, ...]) -> Reference:
        """A call with one result of operands, which the module does not make in this form."""
        (kind,) = self.kinds_of_results(func, bind(func, args, {}), path)
        arguments = {name: plain(value) for name, value in bind(func, args, {}).items()}
        return self.emit(str(func), path, arguments, [kind])[0]

    def kinds_of_results(self, func: Any, operands: dict[str, Any], path: str) -> list[Kind]:
        """Kinds of the results of an operator on operands."""
        arguments = func._schema.arguments
        args = [self._like(operands[a.name]) for a in arguments if not a.kwarg_only]
        kwargs = {a.name: self._like(operands[a.name]) for a in arguments if a.kwarg_only}
        try:
            result = func(*args, **kwargs)
        except (RuntimeError, NotImplementedError) as error:
            why = "the shapes that it would have without writing in place are unknown"
            raise RefusedError(path, str(func), why) from error
        results = [result] if isinstance(result, Tensor) else result
        return [kind_of(each) for each in results if isinstance(each, Tensor)]

    def _like(self, operand: Any) -> Any:
        """A tensor without memory for an operand; anything else as it is."""
        if isinstance(operand, (list, tuple)):
            return [self._like(each) for each in operand]
        if not is_operand(operand):
            return operand
        kind = self.kind(operand)
        return torch.empty(kind.sizes, dtype=getattr(torch, kind.dtype), device="meta")

    def operands(
        self, call: Called, names: Sequence[str], read: Callable[[Tensor], Any]
    ) -> dict[str, Any]:
        """These arguments of a call as they are recorded.

        Args:
            call: the call.
            names: of the arguments.
            read: gives the operand of a tensor.
        """
        try:
            return {name: plain(call.bound[name], read) for name in names}
        except TypeError as error:
            raise call.refusal(f"it has {error}, which no recording holds") from None


def plain(value: Any, read: Callable[[Tensor], Any] | None = None) -> Any:
    """An argument as a recording holds it; ``read`` gives the operand of a tensor."""
    if isinstance(value, (list, tuple)):
        return [plain(each, read) for each in value]
    if isinstance(value, Tensor) and read is not None:
        return read(value)
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.device):
        return str(value)
    if value is None or isinstance(value, (bool, str)) or is_operand(value):
        return value
    for kind in (int, float, complex):
        if isinstance(value, kind):
            make: Any = kind
            return make(value)  # without what a subclass adds
    raise TypeError(f"an argument of type {type(value).__name__}")


def is_operand(value: Any) -> bool:
    """Whether an argument is a recorded tensor or a constant one."""
    return isinstance(value, (Reference, Folded))


def is_recorded(value: Any) -> bool:
    """Whether an argument is a recorded tensor."""
    return isinstance(value, Reference)


def kind_of(tensor: Tensor) -> Kind:
    """Sizes and dtype of a tensor."""
    return Kind(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
