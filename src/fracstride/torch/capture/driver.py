"""From a module to a checked network: which runs are made, and what must agree.

The module runs at the example's own length, at the shortest ones that it takes, at others between
and beyond, with several batches and kinds of values. All runs become one recording, and the network
made of it must give what the module gave in each of them.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fracstride.network.recording import Conditions, Recording
from fracstride.torch.capture.agreement import difference, peak
from fracstride.torch.capture.align import align
from fracstride.torch.capture.batch import with_batch
from fracstride.torch.capture.constants import digest
from fracstride.torch.capture.example import Example
from fracstride.torch.capture.guards import Guard, guards_of
from fracstride.torch.capture.refusal import RefusedError, described
from fracstride.torch.capture.running import Run, Runner
from fracstride.torch.capture.structure import Structure

__all__ = ["Captured", "capture"]

_LONGEST_RUN = 20.0  # seconds for which the module may run at about twice the example's length
_LONG_RUN = 1.0  # seconds for which it may run at lengths beyond
_SOON = 0.3  # seconds; where the example takes longer, most runs are shorter than the example

#: Makes a network of a recording, with the least number of ticks that it takes.
Assemble = Callable[[Recording, int], Any]


@dataclass(frozen=True)
class Captured:
    """A module as a network.

    Args:
        assembled: the network.
        recording: that it is made of.
        example: that says what inputs it takes.
        least: ticks that the inputs must last.
        structure: of the results.
        guards: what must hold of the sizes of inputs besides.
    """

    assembled: Any
    recording: Recording
    example: Example
    least: int
    structure: Structure
    guards: tuple[Guard, ...]


def capture(module: nn.Module, example: Example, assemble: Assemble) -> Captured:
    """Record a module that is in eval mode, make a network, and compare the two.

    Raises:
        ValueError: the module cannot be represented; path and operator are named.
    """
    return _Driver(module, example, assemble).capture()


@dataclass(frozen=True)
class _Trial:
    """What the inputs of a run are made of."""

    conditions: Conditions
    values: str
    seed: int = 0


class _Driver:
    def __init__(self, module: nn.Module, example: Example, assemble: Assemble) -> None:
        self._runner, self._example, self._assemble = Runner(module), example, assemble
        self._runs: dict[_Trial, Run] = {}

    def capture(self) -> Captured:
        """The network, after all checks."""
        begin = clocks.perf_counter()
        own = self._run(_Trial(self._example.conditions, "own"))
        self._seconds = clocks.perf_counter() - begin
        least = self._least_alike(own)
        usual = self._usual_length(least)
        example = with_batch(self._example, self._runner, usual)
        if example.batched:
            self._example = example
            self._runs = {_Trial(example.conditions, "own"): own}
        try:
            captured = self._attempt(least, usual)
        except ValueError as error:
            captured = self._longer(least, usual, error)
        self._check_again(own)
        return captured

    def _run(self, trial: _Trial) -> Run:
        if trial not in self._runs:
            self._runs[trial] = self._runner.run(self._inputs(trial), trial.conditions)
        return self._runs[trial]

    def _inputs(self, trial: _Trial) -> list[Tensor]:
        return self._example.make(trial.conditions, trial.values, trial.seed)

    # --- lengths --------------------------------------------------------------------------------

    def _least_alike(self, own: Run) -> int:
        """The least number of ticks with which the module calls what it calls for the example."""
        clock = self._example.conditions.clock
        self._align_with(own, clock + 1)
        good, bad, probe = clock, 0, 1
        while probe < clock:
            if self._is_alike(own, probe):
                good = probe
                break
            bad, probe = probe, 2 * probe
        while good - bad > 1:
            middle = (good + bad) // 2
            if self._is_alike(own, middle):
                good = middle
            else:
                bad = middle
        return good

    def _is_alike(self, own: Run, clock: int) -> bool:
        try:
            self._align_with(own, clock)
        except RefusedError:
            return False
        return True

    def _align_with(self, own: Run, clock: int) -> None:
        """Raises RefusedError unless a run of so many ticks can be aligned with the example's."""
        conditions = Conditions(clock, self._example.conditions.batch)
        align([own, self._run(_Trial(conditions, "normal"))], self._example.inputs())

    def _usual_length(self, least: int) -> int:
        """Ticks of most runs."""
        clock = self._example.conditions.clock
        if self._seconds <= _SOON:
            return clock
        return min(clock, max(least + 4, int(clock * _SOON / self._seconds)))

    def _longer(self, least: int, usual: int, error: ValueError) -> Captured:
        """The network for longer inputs only, if there is one; else the error."""
        if least >= usual:
            raise error
        good, bad = usual, least
        captured = self._attempt(usual, usual)
        while good - bad > 1:
            middle = (good + bad) // 2
            try:
                captured, good = self._attempt(middle, usual), middle
            except ValueError:
                bad = middle
        return captured

    # --- runs -----------------------------------------------------------------------------------

    def _attempt(self, least: int, usual: int) -> Captured:
        """A network for inputs of at least so many ticks."""
        trials = list(dict.fromkeys(self._trials(least, usual)))
        runs = [self._run(trial) for trial in trials]
        recording = align(runs, self._example.inputs())
        assembled = self._assemble(recording, least)
        peaks = [max(map(peak, values)) for values in zip(*(r.values for r in runs), strict=True)]
        for trial, run in zip(trials, runs, strict=True):
            self._compare(trial, run, assembled, peaks)
        guards = tuple(guards_of(runs, least))
        return Captured(assembled, recording, self._example, least, runs[0].structure, guards)

    def _trials(self, least: int, usual: int) -> Iterator[_Trial]:
        own = self._example.conditions
        yield _Trial(own, "own")
        for number, clock in enumerate(self._lengths(least, usual)):
            batch = (1, 1, 2, 1, 3)[number % 5] if self._example.batched else own.batch
            yield _Trial(Conditions(clock, batch), "normal", number)
        rows = 2 if self._example.batched else own.batch
        for values in ("normal", "other", "large", "small", "zeros", "constant"):
            yield _Trial(Conditions(usual, rows), values, 100 + (values == "other"))

    def _lengths(self, least: int, usual: int) -> Iterator[int]:
        """Lengths to run at, each step longer than the one before."""
        clock = self._example.conditions.clock
        yield from (least, least + 1, least + 2)
        step = 3
        while least + step < usual:
            yield least + step
            step = 2 * step + (step % 4 == 3)
        yield from (usual, usual + 1, usual + 3)
        if 2 * self._seconds < _LONGEST_RUN:
            yield 2 * clock + 1
        longer = 4 * clock + 3
        while self._seconds * longer / clock < _LONG_RUN and longer < 3000:
            yield longer
            longer = 2 * longer + 1

    # --- checks ---------------------------------------------------------------------------------

    def _compare(self, trial: _Trial, run: Run, assembled: Any, peaks: list[float]) -> None:
        conditions = trial.conditions
        results = assembled(self._inputs(trial), conditions.clock, conditions.batch)
        for place, (expected, result) in enumerate(zip(run.values, results, strict=True)):
            found = difference(expected, result, peaks[place])
            if found:
                raise RefusedError(
                    "",
                    "",
                    f"result {place} of the network differs from the module's with "
                    f"{described(conditions)} and {trial.values} values: {found}",
                )

    def _check_again(self, own: Run) -> None:
        """The first run again: nothing may be left over from other calls."""
        inputs, conditions = self._inputs(_Trial(own.conditions, "own")), own.conditions
        again = self._runner.run(inputs, conditions)
        align([own, again], self._example.inputs())
        if not _same_bits(own, again):
            why = "it gives another result when it is called again with the same input"
            raise RefusedError("", "", why)
        if own.uninitialised and not _same_bits(own, self._runner.run(inputs, conditions, 0.5)):
            why = "its result depends on memory that nothing has written to (torch.empty)"
            raise RefusedError("", "", why)


def _same_bits(one: Run, other: Run) -> bool:
    return all(digest(a) == digest(b) for a, b in zip(one.values, other.values, strict=True))
