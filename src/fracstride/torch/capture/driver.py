"""From a module to a checked network: which runs are made, and what must agree.

The module runs at the example's own length, at the shortest ones that it takes, at others between
and beyond, with several batches and kinds of values. All runs become one recording, and the network
made of it must give what the module gave in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from fracstride.network.recording import Call, Conditions, Recording
from fracstride.torch.capture.agreement import difference, peak
from fracstride.torch.capture.align import align
from fracstride.torch.capture.batch import with_batch
from fracstride.torch.capture.codes import with_all_codes
from fracstride.torch.capture.example import Example
from fracstride.torch.capture.guards import Guard, guards_of
from fracstride.torch.capture.locate import first_difference
from fracstride.torch.capture.refusal import RefusedError, described
from fracstride.torch.capture.running import Run, Runner
from fracstride.torch.capture.structure import Structure
from fracstride.torch.capture.trials import Trial, Trials

__all__ = ["Assemble", "Captured", "capture"]

_DIVISORS = 24  # of the example's length that are tried
_GUARDS = 8  # that are tried beyond

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


class _Driver:
    def __init__(self, module: nn.Module, example: Example, assemble: Assemble) -> None:
        self._runner, self._example, self._assemble = Runner(module), example, assemble
        self._runs: dict[Trial, Run] = {}
        self._own = self._run(Trial(example.conditions, "own"))
        self._seconds = self._own.seconds

    def capture(self) -> Captured:
        """The network, after all checks."""
        self._use(with_all_codes(self._example, self._runner, self._own))
        self._use(self._with_tick())
        least = self._least_alike()
        usual = Trials(self._example, self._seconds, least).usual
        self._use(with_batch(self._example, self._runner, usual))
        trials = Trials(self._example, self._seconds, least)
        try:
            captured = self._attempt(least, trials)
        except ValueError:
            if least >= usual:
                raise
            captured = self._longer(least, trials)
        self._check_again(trials.at(usual))
        return captured

    def _use(self, example: Example) -> None:
        """Go on with what is known by now about the inputs."""
        if example is not self._example:
            self._example = example
            self._own = replace(self._own, conditions=example.conditions)
            self._runs = {Trial(example.conditions, "own"): self._own}

    def _run(self, trial: Trial) -> Run:
        if trial not in self._runs:
            self._runs[trial] = self._runner.run(self._inputs(trial), trial.conditions)
        return self._runs[trial]

    def _inputs(self, trial: Trial) -> list[Tensor]:
        return self._example.make(trial.conditions, trial.values, trial.seed)

    # --- lengths --------------------------------------------------------------------------------

    def _with_tick(self) -> Example:
        """The example with the shortest tick by which the length may grow.

        It is longer than it seems where the module works in blocks of the signal.
        """
        example, clock = self._example, self._example.conditions.clock
        try:
            self._align_with(example, clock + 1)
        except RefusedError as error:
            if not error.another_way:
                raise
            divisors = [n for n in range(2, clock + 1) if clock % n == 0][:_DIVISORS]
            for ticks in divisors:
                longer = example.with_tick(ticks)
                if all(self._is_alike(longer, clock // ticks + more) for more in (1, 2)):
                    return longer
            raise
        return example

    def _least_alike(self) -> int:
        """The least number of ticks with which the module calls what it calls for the example."""
        clock = self._example.conditions.clock
        good, bad, probe = clock, 0, 1
        while probe < clock:
            if self._is_alike(self._example, probe):
                good = probe
                break
            bad, probe = probe, 2 * probe
        while good - bad > 1:
            middle = (good + bad) // 2
            if self._is_alike(self._example, middle):
                good = middle
            else:
                bad = middle
        return good

    def _is_alike(self, example: Example, clock: int) -> bool:
        try:
            self._align_with(example, clock)
        except RefusedError:
            return False
        return True

    def _align_with(self, example: Example, clock: int) -> None:
        """Raises RefusedError unless a run of so many ticks can be aligned with the example's."""
        conditions = Conditions(clock, example.conditions.batch)
        own = replace(self._own, conditions=example.conditions)
        run = self._runner.run(example.make(conditions, "normal", clock), conditions)
        align([own, run], example.inputs())

    def _longer(self, least: int, trials: Trials) -> Captured:
        """The network for longer inputs only, if there is one."""
        good, bad = trials.usual, least
        captured = self._attempt(good, trials)
        while good - bad > 1:
            middle = (good + bad) // 2
            try:
                captured, good = self._attempt(middle, trials), middle
            except ValueError:
                bad = middle
        return captured

    # --- runs -----------------------------------------------------------------------------------

    def _attempt(self, least: int, trials: Trials) -> Captured:
        """A network for inputs of at least so many ticks."""
        made = trials.near(least)
        guards = list(guards_of([self._run(trial) for trial in made], least))
        beyond: list[Trial] = []
        for trial in trials.far():
            held = all(guard.holds(trial.conditions) for guard in guards)
            (made if held else beyond).append(trial)
        captured = self._network(least, made)
        # Perhaps the module asks, and does the same after another answer.
        for more in (beyond, *_past(guards, least, trials)):
            if more and all(map(self._goes, more)):
                with suppress(ValueError):
                    captured = self._network(least, made + more)
                    made += more
        return captured

    def _network(self, least: int, trials: Sequence[Trial]) -> Captured:
        """The network of these runs, if it is right in each of them."""
        runs = [self._run(trial) for trial in trials]
        recording = align(runs, self._example.inputs())
        try:
            assembled = self._assemble(recording, least)
        except ValueError:
            raise
        except Exception as error:
            why = f"no network can be made of it: {type(error).__name__}: {error}"
            raise RefusedError("", "", why) from error
        peaks = [max(map(peak, values)) for values in zip(*(r.values for r in runs), strict=True)]
        for trial in trials:
            self._compare(trial, recording, assembled, peaks)
        guards = tuple(guards_of(runs, least))
        return Captured(assembled, recording, self._example, least, self._own.structure, guards)

    def _goes(self, trial: Trial) -> bool:
        """Whether the module goes the way that it goes for the example."""
        try:
            align([self._own, self._run(trial)], self._example.inputs())
        except RefusedError:
            return False
        return True

    # --- checks ---------------------------------------------------------------------------------

    def _compare(
        self, trial: Trial, recording: Recording, assembled: Any, peaks: Sequence[float]
    ) -> None:
        """The network against the module, with these inputs."""
        found = ""
        try:
            results = self._results(trial, assembled)
        except Exception as error:
            found = f"the network raises {type(error).__name__}: {error}"
            results = []
        for result, expected, usual in zip(results, self._run(trial).values, peaks, strict=False):
            found = found or difference(expected, result, usual)
        if found:
            self._runner.check_constants()
            call = self._located(trial, recording)
            where = ("", "") if call is None else (call.path, call.operator)
            when = f"with {described(trial.conditions)} and {trial.values} values"
            raise RefusedError(*where, f"the network differs from the module {when}: {found}")

    def _results(self, trial: Trial, assembled: Any) -> list[Tensor]:
        conditions, inputs = trial.conditions, self._inputs(trial)
        results: list[Tensor] = assembled(inputs, conditions.clock, conditions.batch)
        return results

    def _located(self, trial: Trial, recording: Recording) -> Call | None:
        """The call that the network gets wrong."""
        run = self._runner.run(self._inputs(trial), trial.conditions, keep=True)
        return first_difference(
            recording,
            run.between,
            lambda partial: self._results(trial, self._assemble(partial, 1)),
        )

    def _check_again(self, usual: Trial) -> None:
        """The first run again: nothing may be left over, and nothing may depend on recording."""
        self._runner.check_constants()
        trial, own = Trial(self._own.conditions, "own"), self._own
        again = self._runner.run(self._inputs(trial), own.conditions)
        align([own, again], self._example.inputs())
        if not _is_same(own, again):
            why = "it gives another result when it is called again with the same input"
            raise RefusedError("", "", why)
        if own.uninitialised:
            filled = self._runner.run(self._inputs(trial), own.conditions, 0.5)
            if not _is_same(own, filled):
                why = "its result depends on memory that nothing has written to (torch.empty)"
                raise RefusedError("", "", why)
        self._check_strides(usual)
        plain, watched = self._runner.plain(self._inputs(usual)), self._run(usual).values
        if any(difference(*each) for each in zip(watched, plain, strict=True)):
            raise RefusedError("", "", "it gives another result while it is recorded")

    def _check_strides(self, trial: Trial) -> None:
        """A run with inputs whose last axis is not the fastest in memory."""
        inputs = [x.mT.contiguous().mT if x.dim() > 1 else x for x in self._inputs(trial)]
        try:
            run = self._runner.run(inputs, trial.conditions)
        except RefusedError as error:
            if error.another_way:  # it raises: it takes no such inputs
                return
            raise
        dense = self._run(trial)
        align([dense, run], self._example.inputs())
        if any(difference(*each) for each in zip(dense.values, run.values, strict=True)):
            raise RefusedError("", "", "it gives another result for inputs of other strides")


def _past(guards: Sequence[Guard], least: int, trials: Trials) -> Iterator[list[Trial]]:
    """For each guard runs for which it does not hold, if they are short enough."""
    for clock in dict.fromkeys(guard.flip(least) for guard in guards[:_GUARDS]):
        if clock is not None and trials.affordable(2 * clock + 1):
            yield [trials.at(clock), trials.at(clock + 1), trials.at(2 * clock + 1)]


def _is_same(one: Run, other: Run) -> bool:
    """Whether two runs gave the same, within rounding: torch's own bits may change with a place."""
    return not any(difference(a, b) for a, b in zip(one.values, other.values, strict=True))
