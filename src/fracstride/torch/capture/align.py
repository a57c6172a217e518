"""Runs side by side: one recording of them all, or the call at which they part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fracstride.network.periodic import fit_periodic
from fracstride.network.recording import (
    Call,
    Conditions,
    Constant,
    Filled,
    Input,
    Recording,
    Reference,
    Repeated,
    Size,
    Tensor,
    Varying,
)
from fracstride.torch.capture.constants import Folded
from fracstride.torch.capture.foreign import as_array, resolve
from fracstride.torch.capture.refusal import RefusedError, described, label
from fracstride.torch.capture.running import Run
from fracstride.torch.capture.steps import Kind, Step
from fracstride.torch.capture.whole_slices import with_whole_slices

__all__ = ["align"]


def align(runs: Sequence[Run], inputs: Sequence[Input]) -> Recording:
    """One recording of several runs.

    Runs with the same conditions have other values, and must agree in all that is recorded.

    Raises:
        RefusedError: they differ in more than sizes; the call is named.
    """
    return _Alignment(with_whole_slices(runs)).recording(tuple(inputs))


class _Alignment:
    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._conditions = tuple(dict.fromkeys(run.conditions for run in runs))
        self._places = [[run.conditions for run in runs].index(c) for c in self._conditions]
        self._tensors: list[Tensor] = []
        self._calls: list[Call] = []
        self._constants: dict[int, Constant] = {}

    def recording(self, inputs: tuple[Input, ...]) -> Recording:
        self._check_calls()
        makers = {place: step for step in self._runs[0].steps for place in step.results}
        for place in range(len(self._runs[0].kinds)):
            maker = makers.get(place)
            where = ("", "") if maker is None else (maker.path, maker.operator)
            kinds = [run.kinds[place] for run in self._runs]
            self._tensors.append(self._tensor(kinds, _Slot(*where, "a size")))
        for number, step in enumerate(self._runs[0].steps):
            self._add([run.steps[number] for run in self._runs], step)
        outputs = self._outputs()
        return Recording(
            self._conditions, tuple(self._tensors), inputs, tuple(self._calls), outputs
        )

    # --- calls ----------------------------------------------------------------------------------

    def _check_calls(self) -> None:
        """The same operators in the same submodules, in the same order."""
        first = self._runs[0]
        for run in self._runs[1:]:
            for here, there in zip(first.steps, run.steps, strict=False):
                if (here.operator, here.path, here.results) != (
                    there.operator,
                    there.path,
                    there.results,
                ):
                    raise self._parting(here, there, run)
            if len(first.steps) != len(run.steps):
                short = min(len(first.steps), len(run.steps))
                longer = first if len(first.steps) > short else run
                raise self._parting(longer.steps[short], None, first if longer is run else run)
            if first.structure.description != run.structure.description:
                why = (
                    f"it returns {first.structure.description} with {described(first.conditions)}, "
                    f"and {run.structure.description} with {described(run.conditions)}"
                )
                raise RefusedError("", "", why)

    def _parting(self, here: Step, there: Step | None, other: Run) -> RefusedError:
        first = self._runs[0]
        called = "no further operator" if there is None else label(there.path, there.operator)
        if other.conditions == first.conditions:
            when = "with other values of the input, or in another call"
        else:
            when = f"with {described(other.conditions)} (and not {described(first.conditions)})"
        why = f"{when}, the module calls {called} here: it takes another way through its code"
        return RefusedError(here.path, here.operator, why, another_way=True)

    def _add(self, steps: list[Step], step: Step) -> None:
        arguments = {}
        for name in step.arguments:
            slot = _Slot(step.path, step.operator, f"the argument {name}")
            broadcast = self._broadcasts(steps, name)
            arguments[name] = self._merged([s.arguments[name] for s in steps], slot, broadcast)
        self._calls.append(Call(step.operator, step.path, arguments, step.results))

    def _broadcasts(self, steps: list[Step], name: str) -> Callable[[list[int]], bool]:
        """Whether an argument may have the size 1 along axes without changing the result."""

        def may(axes: list[int]) -> bool:
            func: Any = resolve(steps[0].operator)
            if torch.Tag.pointwise not in func.tags:
                return False
            return all(
                self._result_stays(run, step, name, axes)
                for run, step in zip(self._runs, steps, strict=True)
            )

        return may

    def _result_stays(self, run: Run, step: Step, name: str, axes: list[int]) -> bool:
        shapes = []
        for other, argument in step.arguments.items():
            if isinstance(argument, Reference):
                shapes.append(run.kinds[argument.index].sizes)
            elif isinstance(argument, Folded):
                sizes = argument.shape
                if other == name:
                    sizes = tuple(1 if i in axes else size for i, size in enumerate(sizes))
                shapes.append(sizes)
        return tuple(torch.broadcast_shapes(*shapes)) == run.kinds[step.results[0]].sizes

    # --- arguments ------------------------------------------------------------------------------

    def _merged(
        self, values: list[Any], slot: _Slot, broadcasts: Callable[[list[int]], bool]
    ) -> Any:
        """What an argument is in all runs."""
        first = values[0]
        if any(type(value) is not type(first) for value in values):
            raise self._refusal(values, slot)
        if isinstance(first, list):
            if any(len(value) != len(first) for value in values):
                raise self._refusal(list(map(len, values)), slot)
            return [
                self._merged(list(each), slot, broadcasts) for each in zip(*values, strict=True)
            ]
        if isinstance(first, Folded):
            return self._constant(values, slot, broadcasts)
        if isinstance(first, (int, float)) and not isinstance(first, bool):
            return self._number(values, slot)
        if any(value != first for value in values):
            raise self._refusal(values, slot)
        return first

    def _number(self, values: list[Any], slot: _Slot) -> Any:
        same = all(_same_number(value, values[0]) for value in values)
        if same:
            return values[0]
        by_conditions = [values[place] for place in self._places]
        for run, value in zip(self._runs, values, strict=True):
            if not _same_number(value, by_conditions[self._conditions.index(run.conditions)]):
                raise self._refusal(values, slot)
        return Varying(tuple(by_conditions))

    def _size(self, values: list[int], slot: _Slot) -> Size:
        size: Size = self._number(values, slot)
        return size

    def _tensor(self, kinds: list[Kind], slot: _Slot) -> Tensor:
        first = kinds[0]
        for kind in kinds:
            if len(kind.sizes) != len(first.sizes) or kind.dtype != first.dtype:
                ranks = [f"{len(k.sizes)} axes of {k.dtype}" for k in kinds]
                raise self._refusal(ranks, _Slot(slot.path, slot.operator, "its result"))
        sizes = zip(*(kind.sizes for kind in kinds), strict=True)
        return Tensor(tuple(self._size(list(each), slot) for each in sizes), first.dtype)

    # --- constants ------------------------------------------------------------------------------

    def _constant(
        self, values: list[Folded], slot: _Slot, broadcasts: Callable[[list[int]], bool]
    ) -> Any:
        first = values[0]
        if all(value is first for value in values):
            return self._as_constant(first)
        if any(v.dtype != first.dtype or len(v.shape) != len(first.shape) for v in values):
            raise self._refusal(values, slot)
        shape = tuple(
            self._size(list(each), slot) for each in zip(*(v.shape for v in values), strict=True)
        )
        number = first.number
        if number is not None and all(_same_number(v.number, number) for v in values):
            return Filled(number, shape, first.dtype)
        axes = [axis for axis, size in enumerate(shape) if isinstance(size, Varying)]
        parts = []
        if axes and all(v.repeats_along(axis) for v in values for axis in axes):
            parts = [value.first_along(axes) for value in values]
        if not parts or any(part.key != parts[0].key for part in parts):
            numbers = fit_periodic([as_array(value.tensor) for value in values])
            if numbers is None or len(axes) != 1:
                raise self._refusal(values, slot)
            return Repeated(numbers, shape)
        collapsed = self._as_constant(parts[0])
        return collapsed if broadcasts(axes) else self._expanded(collapsed, shape, slot)

    def _expanded(self, constant: Constant, shape: tuple[Size, ...], slot: _Slot) -> Reference:
        """A constant that is repeated as often as the run needs."""
        self._tensors.append(Tensor(shape, str(constant.array.dtype)))
        result = Reference(len(self._tensors) - 1)
        arguments = {"self": constant, "size": list(shape), "implicit": False}
        self._calls.append(Call("aten.expand.default", slot.path, arguments, (result.index,)))
        return result

    def _as_constant(self, folded: Folded) -> Constant:
        if id(folded) not in self._constants:
            array = as_array(folded.tensor)
            array.flags.writeable = False
            self._constants[id(folded)] = Constant(array, folded.name)
        return self._constants[id(folded)]

    def _outputs(self) -> tuple[Reference | Constant | Filled, ...]:
        outputs = []
        for number, _ in enumerate(self._runs[0].outputs):
            slot = _Slot("", "", f"result {number}")
            values = [run.outputs[number] for run in self._runs]
            output = self._merged(values, slot, lambda axes: False)
            if isinstance(output, Repeated):
                raise self._refusal(values, slot)
            outputs.append(output)
        return tuple(outputs)

    # --- what does not fit ----------------------------------------------------------------------

    def _refusal(self, values: list[Any], slot: _Slot) -> RefusedError:
        """Why an argument cannot be told, from the runs in which it differs."""
        shown = [_key(value) for value in values]
        seen: dict[Conditions, Any] = {}
        for run, value in zip(self._runs, shown, strict=True):
            if seen.setdefault(run.conditions, value) != value:
                why = (
                    f"{slot.what} depends on the values of the input in a way that the recording "
                    "does not see, or on earlier calls"
                )
                return RefusedError(slot.path, slot.operator, why)
        lengths = any(
            one.conditions.batch == other.conditions.batch and shown[i] != shown[j]
            for i, one in enumerate(self._runs)
            for j, other in enumerate(self._runs[:i])
        )
        changes = f"changes with the {'length' if lengths else 'batch'}"
        if all(isinstance(value, Folded) for value in values):
            shapes = sorted({value.shape for value in values})
            what = f"of shape {shapes[0]}" if len(shapes) == 1 else f"of shapes {shapes[0]}, ..."
            why = f"{slot.what}, a constant {what}, {changes}, and its values are not one number"
        else:
            why = f"{slot.what} {changes}: {_short(values)}"
        return RefusedError(slot.path, slot.operator, why)


class _Slot:
    """Where something stands in a recording."""

    def __init__(self, path: str, operator: str, what: str) -> None:
        self.path, self.operator, self.what = path, operator, what


def _same_number(a: Any, b: Any) -> bool:
    return a is not None and b is not None and repr(a) == repr(b)


def _key(value: Any) -> Any:
    return value.key if isinstance(value, Folded) else repr(value)


def _short(values: list[Any]) -> str:
    shown = list(dict.fromkeys("a constant" if isinstance(v, Folded) else str(v) for v in values))
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")
