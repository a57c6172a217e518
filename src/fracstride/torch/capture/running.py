"""Runs of a module: what each recorded and gave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fracstride.network.recording import Conditions, Reference
from fracstride.torch.capture.constants import Folded, Pool
from fracstride.torch.capture.lengths import Asked, Leaf
from fracstride.torch.capture.paths import Paths
from fracstride.torch.capture.recorder import Recorder
from fracstride.torch.capture.refusal import RefusedError, described
from fracstride.torch.capture.steps import Kind, Step
from fracstride.torch.capture.structure import Structure, take_apart

__all__ = ["Run", "Runner", "operands_in"]


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        conditions: ticks and rows.
        steps: the calls that the outputs depend on, in order.
        kinds: of the recorded tensors, which ``steps`` refer to; the inputs come first.
        outputs: recorded tensors or constants.
        values: what the module gave.
        structure: of it.
    """

    conditions: Conditions
    steps: list[Step]
    kinds: list[Kind]
    outputs: list[Reference | Folded]
    values: list[Tensor]
    structure: Structure
    #: What the module's code asked about sizes, and the sizes.
    answers: dict[Asked, bool]
    sizes: dict[Leaf, int]
    #: Whether memory was used that nothing had written to.
    uninitialised: bool
    #: What operators gave, if that is wanted; not of those that write.
    between: dict[int, Tensor]

    @property
    def seconds(self) -> float:
        """About what it takes: the same number on every machine."""
        return sum(_seconds(step, self.kinds) for step in self.steps)


class Runner:
    """Runs a module and records it.

    Args:
        module: in eval mode already.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._paths, self._pool = Paths(module), Pool(module)

    def check_constants(self) -> None:
        """Raise ``RefusedError`` if a parameter or buffer has changed since it was first read."""
        self._pool.check()

    def run(
        self,
        inputs: list[Tensor],
        conditions: Conditions,
        filling: float = math.nan,
        *,
        keep: bool = False,
    ) -> Run:
        """One run on tensors that nobody else has.

        Args:
            inputs: the tensors.
            conditions: ticks and rows of them.
            filling: what memory holds that nothing has written to.
            keep: whether what operators give is wanted, all of it.

        Raises:
            RefusedError: the module does what cannot be recorded, or raises an error.
        """
        state = torch.get_rng_state()
        with torch.inference_mode(), self._paths:
            recorder = Recorder(inputs, self._paths, self._pool, filling)
            recorder.steps.values = {} if keep else None
            try:
                result = self._result(recorder, inputs, conditions)
            finally:
                moved = not torch.equal(state, torch.get_rng_state())
                torch.set_rng_state(state)
            if recorder.refused is not None:  # an error that the module caught
                raise recorder.refused
            if moved:
                why = "it draws random numbers unseen; make the noise an input of the module"
                raise RefusedError("", "", why)
            try:
                values, structure = take_apart(result)
            except TypeError as error:
                raise RefusedError("", "", str(error)) from None
            outputs = [recorder.result(value) for value in values]
            values = [value.clone() for value in values]
        recorded = recorder.steps
        steps, kinds, outputs, places = _pruned(
            recorded.steps, recorded.kinds, outputs, len(inputs)
        )
        answers, sizes = recorder.log.renamed(places)
        return Run(
            conditions,
            steps,
            kinds,
            outputs,
            values,
            structure,
            answers,
            sizes,
            recorder.uninitialised,
            {places[old]: v for old, v in (recorded.values or {}).items() if old in places},
        )

    def _result(self, recorder: Recorder, inputs: list[Tensor], conditions: Conditions) -> Any:
        try:
            with torch.autocast("cpu", enabled=False), recorder, recorder.watch:
                return self._module(*inputs)
        except Exception as error:
            if recorder.refused is not None:
                raise recorder.refused from None
            path, operator = recorder.last
            why = (
                f"with {described(conditions)}, in torch.inference_mode(), the module raises "
                f"{type(error).__name__} here or after: {error}"
            )
            raise RefusedError(path, operator, why, another_way=True) from error

    def plain(self, inputs: list[Tensor]) -> list[Tensor]:
        """What the module gives when nobody looks."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            return take_apart(self._module(*inputs))[0]


def operands_in(value: Any) -> list[Reference | Folded]:
    """The operands in an argument."""
    if isinstance(value, (Reference, Folded)):
        return [value]
    if isinstance(value, list):
        return [operand for each in value for operand in operands_in(each)]
    return []


def _seconds(step: Step, kinds: Sequence[Kind]) -> float:
    """About what a call takes."""
    written = sum(math.prod(kinds[place].sizes) for place in step.results)
    operands = operands_in(list(step.arguments.values()))
    each = max(map(_products, operands), default=1)
    return 2e-5 + 2e-9 * written + (5e-11 * written * each if _multiplies(step) else 0.0)


def _multiplies(step: Step) -> bool:
    words = ("conv", "linear", "matmul", "mm", "lstm", "gru", "rnn", "einsum")
    return any(word in step.operator for word in words)


def _products(operand: Reference | Folded) -> int:
    """Products for each result of a weight ``(out, in, taps)``."""
    return math.prod(operand.shape[1:]) if isinstance(operand, Folded) else 1


def _pruned(
    steps: list[Step], kinds: list[Kind], outputs: list[Any], inputs: int
) -> tuple[list[Step], list[Kind], list[Any], dict[int, int]]:
    """Only what the outputs depend on, and the inputs; and the new places of the tensors."""
    needed = {operand.index for operand in operands_in(outputs) if isinstance(operand, Reference)}
    kept = []
    for step in reversed(steps):
        if needed.isdisjoint(step.results):
            continue
        kept.append(step)
        operands = operands_in(list(step.arguments.values()))
        needed.update(each.index for each in operands if isinstance(each, Reference))
    kept.reverse()
    order = [*range(inputs), *(place for step in kept for place in step.results)]
    places = {old: new for new, old in enumerate(order)}

    def renamed(value: Any) -> Any:
        if isinstance(value, Reference):
            return Reference(places[value.index])
        return [renamed(each) for each in value] if isinstance(value, list) else value

    new = [
        Step(
            step.operator,
            step.path,
            {name: renamed(value) for name, value in step.arguments.items()},
            tuple(places[place] for place in step.results),
        )
        for step in kept
    ]
    return new, [kinds[old] for old in order], renamed(outputs), places
