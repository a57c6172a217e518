"""Calls that write to their arguments, in functional form."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from fracstride.torch.capture import operators
from fracstride.torch.capture.aliases import View
from fracstride.torch.capture.called import Called
from fracstride.torch.capture.memory import Memory, geometry
from fracstride.torch.capture.steps import Kind, Steps, is_recorded, kind_of

__all__ = ["view_in_place", "write"]

_aten: Any = torch.ops.aten
# What they write is the named argument, in the shape and dtype of the tensor that they write to.
_OVERWRITES = {"aten.copy_": "src", "aten.fill_": "value", "aten.zero_": ""}


def write(call: Called, memory: Memory, steps: Steps) -> Any:
    """Carries out and records a call that writes to its arguments.

    Something in it descends from the inputs: what it reads, or what is in the memory it writes to.

    Raises:
        RefusedError: there is no functional form of it.
    """
    if operators.changes_nothing(call):
        return call.run()
    if call.packet in _OVERWRITES:
        return _overwrite(call, memory, steps)
    form = operators.functional_form(call.func)
    if form is None or any(isinstance(call.bound[name], (list, tuple)) for name in call.written):
        raise call.refusal("it writes to its arguments and has no form that does not")
    names = [argument.name for argument in form._schema.arguments]
    operands = steps.operands(call, names, functools.partial(memory.read, call=call))
    kinds = steps.kinds_of_results(form, operands, call.path)
    if len(kinds) != len(call.targets):
        raise call.refusal("it writes to its arguments and gives something else besides")
    finish = [memory.prepare(tensor, call) for tensor in call.targets]
    before = [(geometry(tensor), tensor.numel()) for tensor in call.targets]
    result = call.run()
    values = steps.emit(str(form), call.path, operands, kinds)
    for place, tensor in enumerate(call.targets):
        value = _converted(values[place], kinds[place], tensor, call, steps)
        if geometry(tensor) == before[place][0]:
            finish[place](value)
        elif before[place][1] == 0:
            memory.add(tensor, value)  # an empty out= has grown
        else:
            raise call.refusal("it changes the size of a tensor that it writes to")
    return result


def _overwrite(call: Called, memory: Memory, steps: Steps) -> Any:
    target, source = call.bound["self"], call.bound.get(_OVERWRITES[call.packet])
    operand: Any = memory.read(source, call) if isinstance(source, Tensor) else None
    tell = memory.prepare(target, call)
    result = call.run()
    if is_recorded(operand):
        tell(_converted(operand, steps.kind(operand), target, call, steps))
    else:
        tell(memory.fold(target))
    return result


def _converted(value: Any, kind: Kind, target: Tensor, call: Called, steps: Steps) -> Any:
    """A value in the shape and dtype of the tensor that it is written to."""
    wanted = kind_of(target)
    if kind.sizes != wanted.sizes:
        value = steps.call(_aten.expand.default, call.path, (value, list(wanted.sizes)))
    if kind.dtype != wanted.dtype:
        value = steps.call(_aten.to.dtype, call.path, (value, target.dtype))
    return value


def view_in_place(call: Called, memory: Memory, steps: Steps) -> Any:
    """A call that gives a tensor other sizes and strides: ``unsqueeze_`` and its like.

    Raises:
        RefusedError: the tensor descends from the inputs, and there is no view that is the same.
    """
    target = call.bound[call.first]
    if call.packet == "aten.detach_" or not memory.is_made(target):
        return call.run()
    form, live = operators.functional_form(call.func), memory.is_live(target)
    if form is None:
        if live:
            raise call.refusal("it gives memory that descends from the inputs another meaning")
        result = call.run()
        memory.add_view(target, None, None, None)
        return result
    before, base = memory.place_of(target), kind_of(target)
    value = memory.read(target, call) if live else None
    result = call.run()
    kind = kind_of(target)
    names = [argument.name for argument in form._schema.arguments]
    operands = steps.operands(call, names, lambda tensor: value)
    if live:
        (value,) = steps.emit(str(form), call.path, operands, [kind])
    view = View(str(form), call.path, operands, names[0], (kind,), 0, base)
    memory.add_view(target, value, view, before)
    return result
