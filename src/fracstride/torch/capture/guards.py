"""What must hold of the sizes, so that the module's code goes the way that was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fracstride.network.recording import Conditions, Varying
from fracstride.network.sizes import fit
from fracstride.torch.capture.lengths import Asked, Leaf, Tree, evaluated, leaves
from fracstride.torch.capture.refusal import label
from fracstride.torch.capture.running import Run

__all__ = ["Guard", "guards_of"]

_SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_LINEAR = {"add", "sub", "mul", "neg"}
_MANY = 1 << 40

#: A size as a function of ticks and rows.
Sized = Callable[[int, int], int]


@dataclass(frozen=True)
class Guard:
    """A comparison whose answer was the same in all runs, but need not be for other inputs.

    Args:
        asked: the comparison.
        answer: in the runs.
        sizes: that it is made of.
    """

    asked: Asked
    answer: bool
    sizes: dict[Leaf, Sized]

    def holds(self, conditions: Conditions) -> bool:
        """Whether the answer is the recorded one."""
        return bool(self._value(self.asked.tree, conditions)) == self.answer

    def described(self, conditions: Conditions) -> str:
        """Where the module compares what, in words: ``encoder: 4100 > 4096``."""
        name, first, second = self.asked.tree
        left, right = (self._value(tree, conditions) for tree in (first, second))
        return f"{label(self.asked.path, '')} compares {left} {_SIGNS[name]} {right}"

    def flip(self, least: int) -> int | None:
        """A number of ticks near the least one at which the answer is another one."""
        good, step = least, 1
        while self.holds(Conditions(good + step, 1)):
            good, step = good + step, 2 * step
            if step > _MANY:
                return None
        bad = good + step
        while bad - good > 1:
            middle = (good + bad) // 2
            if self.holds(Conditions(middle, 1)):
                good = middle
            else:
                bad = middle
        return bad

    def always_holds(self, least: int) -> bool:
        """Whether no input gets another answer, as far as can be told."""
        name, first, second = self.asked.tree
        if not (_is_linear(first) and _is_linear(second)):
            return False
        signs = set()
        for clock in (least, least + 1, 10 * least + 1000, _MANY):
            for batch in (1, 2, _MANY):
                here = Conditions(clock, batch)
                left, right = self._value(first, here), self._value(second, here)
                signs.add((left > right) - (left < right))
        if name in ("lt", "ge"):
            signs = {sign < 0 for sign in signs}
        elif name in ("gt", "le"):
            signs = {sign > 0 for sign in signs}
        return len(signs) == 1

    def _value(self, tree: Tree, conditions: Conditions) -> int:
        value: int = evaluated(
            tree, lambda leaf: self.sizes[leaf](conditions.clock, conditions.batch)
        )
        return value


def guards_of(runs: Sequence[Run], least: int) -> Iterator[Guard]:
    """What runs that all went the same way asked, where other inputs may get another answer."""
    for asked in dict.fromkeys(asked for run in runs for asked in run.answers):
        asking = [run for run in runs if asked in run.answers]
        answers = {run.answers[asked] for run in asking}
        if len(answers) > 1:
            continue  # the code goes the same way after either answer
        sizes = {leaf: _sized(leaf, asking) for leaf in leaves(asked.tree)}
        known = {leaf: size for leaf, size in sizes.items() if size is not None}
        if len(known) < len(sizes):
            continue
        guard = Guard(asked, answers.pop(), known)
        if not guard.always_holds(least):
            yield guard


def _sized(leaf: Leaf, runs: Sequence[Run]) -> Sized | None:
    by_conditions = {run.conditions: run.sizes[leaf] for run in runs}
    return fit(Varying(tuple(by_conditions.values())), tuple(by_conditions))


def _is_linear(tree: Tree) -> bool:
    if not isinstance(tree, tuple):
        return True
    return tree[0] in _LINEAR and all(map(_is_linear, tree[1:]))
