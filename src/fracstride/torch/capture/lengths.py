"""Sizes that remember where they come from, and what Python code asked about them.

The module's code gets its sizes as :class:`Length`, an int. Sums, products and quotients of lengths
are lengths. A comparison is noted: its answer decides which way the code goes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Asked", "Leaf", "Length", "Log", "Tree", "evaluated", "leaves"]


@dataclass(frozen=True)
class Leaf:
    """Size ``axis`` of the recorded tensor ``index``."""

    index: int
    axis: int


#: An expression: a leaf, a number, or an operator's name with expressions.
Tree = Any

_OPERATORS: dict[str, Callable[..., Any]] = {
    name: getattr(operator, name)
    for name in (
        "add", "sub", "mul", "floordiv", "mod", "truediv", "neg", "lt", "le", "gt", "ge", "eq", "ne"
    )
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A comparison that the module's code made: its path, and the expression."""

    path: str
    tree: Tree


class Log:
    """What one run asked, and the sizes that it asked about.

    Args:
        path: gives the path of the module that runs.
    """

    def __init__(self, path: Callable[[], str]) -> None:
        self._path = path
        self.sizes: dict[Leaf, int] = {}
        self.answers: dict[Asked, bool] = {}

    def length(self, index: int, axis: int, size: int) -> Length:
        """A size of a recorded tensor."""
        leaf = Leaf(index, axis)
        self.sizes[leaf] = size
        return Length.of(size, leaf, self)

    def note(self, name: str, first: Tree, second: Tree, answer: bool) -> None:
        """A comparison."""
        self.answers[Asked(self._path(), (name, first, second))] = answer

    def renamed(self, places: dict[int, int]) -> tuple[dict[Asked, bool], dict[Leaf, int]]:
        """Answers and sizes with other numbers for the tensors, as far as these have any."""
        sizes = {
            Leaf(places[leaf.index], leaf.axis): size
            for leaf, size in self.sizes.items()
            if leaf.index in places
        }
        answers = {
            Asked(asked.path, _renamed(asked.tree, places)): answer
            for asked, answer in self.answers.items()
            if all(leaf.index in places for leaf in leaves(asked.tree))
        }
        return answers, sizes


class Length(int):
    """A size, with its expression."""

    tree: Tree
    log: Log

    @classmethod
    def of(cls, value: int, tree: Tree, log: Log) -> Length:
        """A length of this value."""
        length = cls(value)
        length.tree, length.log = tree, log
        return length

    __hash__ = int.__hash__

    def __bool__(self) -> bool:
        answer = int(self) != 0
        self.log.note("ne", self.tree, 0, answer)
        return answer


def evaluated(tree: Tree, sizes: Callable[[Leaf], Any]) -> Any:
    """The value of an expression."""
    if isinstance(tree, Leaf):
        return sizes(tree)
    if isinstance(tree, tuple):
        name, *parts = tree
        return _OPERATORS[name](*(evaluated(part, sizes) for part in parts))
    return tree


def leaves(tree: Tree) -> set[Leaf]:
    """The sizes in an expression."""
    if isinstance(tree, Leaf):
        return {tree}
    if isinstance(tree, tuple):
        return {leaf for part in tree[1:] for leaf in leaves(part)}
    return set()


def _renamed(tree: Tree, places: dict[int, int]) -> Tree:
    if isinstance(tree, Leaf):
        return Leaf(places[tree.index], tree.axis)
    return tuple(_renamed(part, places) for part in tree) if isinstance(tree, tuple) else tree


def _tree(value: Any) -> Tree:
    return value.tree if isinstance(value, Length) else value


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Length) else value


def _arithmetic(name: str, reverse: bool) -> Callable[[Length, Any], Any]:
    function = _OPERATORS[name]

    def method(self: Length, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        first, second = (other, self) if reverse else (self, other)
        value = function(_plain(first), _plain(second))
        if type(value) is not int:
            return value  # a float: what is asked about it is not noted
        return Length.of(value, (name, _tree(first), _tree(second)), self.log)

    return method


def _comparison(name: str) -> Callable[[Length, Any], Any]:
    function = _OPERATORS[name]

    def method(self: Length, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        answer = function(int(self), _plain(other))
        self.log.note(name, self.tree, _tree(other), answer)
        return answer

    return method


def _negative(self: Length) -> Length:
    return Length.of(-int(self), ("neg", self.tree), self.log)


for _name in ("add", "sub", "mul", "floordiv", "mod", "truediv"):
    setattr(Length, f"__{_name}__", _arithmetic(_name, False))
    setattr(Length, f"__r{_name}__", _arithmetic(_name, True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Length, f"__{_name}__", _comparison(_name))
setattr(Length, "__neg__", _negative)  # noqa: B010 (as the others)
