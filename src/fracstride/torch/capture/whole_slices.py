"""Slices that torch leaves out where they take everything.

``x[..., :n]`` calls no operator if ``n`` is the size of ``x``. A run in which this happens has one
step less than the others; here it gets the step that takes everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fracstride.network.recording import Reference
from fracstride.torch.capture.running import Run
from fracstride.torch.capture.steps import Kind, Step

__all__ = ["with_whole_slices"]

_SLICE = "aten.slice.Tensor"


def with_whole_slices(runs: Sequence[Run]) -> list[Run]:
    """The runs with the slices that some of them left out, or as they are if that is not all."""
    sources: dict[int, int] = {}
    growing = [_Growing(run, sources) for run in runs]
    while any(g.waiting for g in growing):
        called = {g.called for g in growing}
        if len(called) == 1:
            for g in growing:
                g.take()
            continue
        slicing = [g for g in growing if g.called is not None and g.called[0] == _SLICE]
        slicing = [g for g in slicing if g.called == slicing[0].called]
        if not slicing:
            return list(runs)
        for g in slicing:
            g.take()
        for g in growing:
            if g not in slicing:
                g.take_everything(slicing[0].steps[-1])
    for g in growing:
        for other in growing:
            g.follow(other)
    return [g.finished() for g in growing]


@dataclass(eq=False)
class _Growing:
    """A run whose steps get new numbers."""

    run: Run
    #: What each slice that any of the runs has left out is a slice of.
    sources: dict[int, int]
    steps: list[Step] = field(default_factory=list)
    names: dict[int, int] = field(default_factory=dict)
    kinds: list[Kind] = field(default_factory=list)
    #: Results of slices that were put in, with what they take everything of.
    whole: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = {place for step in self.run.steps for place in step.results}
        self.waiting = list(self.run.steps)[::-1]
        self.kinds = [kind for place, kind in enumerate(self.run.kinds) if place not in made]
        self.names = {place: place for place in range(len(self.kinds))}
        self.outputs: list[Any] = list(self.run.outputs)

    @property
    def called(self) -> tuple[Any, ...] | None:
        """Operator and path of the next step, and what a slice slices."""
        if not self.waiting:
            return None
        step = self.waiting[-1]
        of = step.arguments["self"] if step.operator == _SLICE else None
        if isinstance(of, Reference):
            return step.operator, step.path, self._source(self.names[of.index])
        return step.operator, step.path

    def _source(self, place: int) -> int:
        while place in self.sources:
            place = self.sources[place]
        return place

    def take(self) -> None:
        """The next step, with new numbers."""
        step = self.waiting.pop()
        results = []
        for place in step.results:
            self.names[place] = len(self.kinds)
            results.append(len(self.kinds))
            self.kinds.append(self.run.kinds[place])
        arguments = {name: self._renamed(value) for name, value in step.arguments.items()}
        self.steps.append(replace(step, arguments=arguments, results=tuple(results)))

    def take_everything(self, like: Step) -> None:
        """A slice that takes everything of what another run slices here."""
        source = like.arguments["self"]
        kind = self.kinds[source.index] if source.index < len(self.kinds) else None
        if kind is None:
            return
        size = kind.sizes[like.arguments["dim"]]
        whole = {"start": 0, "end": size, "step": 1}
        self.whole[len(self.kinds)] = self.sources[len(self.kinds)] = source.index
        self.steps.append(
            Step(like.operator, like.path, like.arguments | whole, (len(self.kinds),))
        )
        self.kinds.append(kind)

    def _renamed(self, value: Any) -> Any:
        if isinstance(value, Reference):
            return Reference(self.names[value.index])
        return [self._renamed(each) for each in value] if isinstance(value, list) else value

    def follow(self, other: _Growing) -> None:
        """Read a slice that was put in wherever the other run reads its own slice."""
        if not self.whole or other is self:
            return
        for number, (mine, theirs) in enumerate(zip(self.steps, other.steps, strict=True)):
            arguments = {
                name: self._followed(value, theirs.arguments.get(name))
                for name, value in mine.arguments.items()
            }
            self.steps[number] = replace(mine, arguments=arguments)
        theirs_out = [other._renamed(value) for value in other.outputs]
        renamed = [self._renamed(value) for value in self.outputs]
        followed = [self._followed(a, b) for a, b in zip(renamed, theirs_out, strict=True)]
        back = {new: old for old, new in self.names.items()}
        for place, value in enumerate(followed):
            if isinstance(value, Reference) and value.index not in back:
                self.names[-1 - value.index] = value.index
                self.outputs[place] = Reference(-1 - value.index)

    def _followed(self, mine: Any, theirs: Any) -> Any:
        if isinstance(mine, list) and isinstance(theirs, list):
            return [self._followed(a, b) for a, b in zip(mine, theirs, strict=False)]
        if isinstance(mine, Reference) and isinstance(theirs, Reference):
            place = theirs.index
            while place in self.whole:
                place = self.whole[place]
                if place == mine.index:
                    return theirs
        return mine

    def finished(self) -> Run:
        """The run."""
        outputs = [self._renamed(value) for value in self.outputs]
        return replace(self.run, steps=self.steps, kinds=self.kinds, outputs=outputs)
