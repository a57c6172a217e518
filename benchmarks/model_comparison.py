"""All candidates on one model: prepared, checked, then timed in turns.

A process that has ended, for it was too slow to get ready or crashed, is not started again for the
same kind of lengths in the same dtype: its reason stands in each case.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from model_peers import COMPILING, FROM_ONNX, FROM_TORCH, OURS, TORCH
from model_preparation import FORMS, exported, preparation
from model_results import NEW, SEEN, Case
from model_turns import Contender
from model_zoo import Model, OnnxModel
from processes import Remote, RemoteError
from timing import Spread

LEAST_ROUNDS, MOST_ROUNDS = 3, 9
CHECKED = MOST_ROUNDS + 1  # steps by which the length of the check differs, where lengths are new
LASTING = {
    OURS
}  # get ready once for all numbers of threads, which takes long; others once for each


@dataclass
class Comparison:
    """The candidates ``names`` on a model.

    ``told`` is called with a line that says what happens now.
    """

    model: Model
    frames: Sequence[int]  # lengths of the input
    names: Sequence[str]
    folder: Path
    options: Any  # of the command line
    told: Callable[[str], None]
    hopeless: dict[tuple[str, str, str], str] = field(default_factory=dict)  # and why
    allowed: dict[str, float] = field(default_factory=dict)

    def prepare(self) -> None:
        """Build the model, compute the right outputs, export the graphs."""
        o = self.options
        others = [n + CHECKED * self.model.step for n in self.frames if NEW in o.lengths]
        lengths = sorted({*self.frames, *others})
        is_file, reasons = isinstance(self.model, OnnxModel), []
        readers = [name for name in self.names if name in FROM_ONNX or is_file]
        self.told(f"{self.model.name}: building")
        builder = Remote(preparation, self.folder, self.model, o.small, log=str(o.log))
        self.allowed = builder.ask("outputs", lengths, self._dtypes)
        for form in FORMS if readers else ():
            self.told(f"{self.model.name}: exporting the {form} form")
            try:
                builder.ask("export", form, patience=o.patience)
            except RemoteError as error:
                reasons.append(str(error))
            if builder.closed:
                break
        builder.close()
        if readers and not exported(self.folder):
            self._give_up(readers, o.dtypes, o.lengths, reasons[0])
        if is_file:
            self._give_up(FROM_TORCH, o.dtypes, o.lengths, "the model is a file of ONNX")
        elif not o.full:
            halves = [dtype for dtype in o.dtypes if dtype != "float32"]
            self._give_up(COMPILING, halves, o.lengths, "it compiles too long without --full")

    def cases(self) -> Iterator[Case]:
        """The results, one after the other."""
        o = self.options
        for dtype in self._dtypes:
            remotes: dict[str, Remote] = {}
            try:
                for place, threads in enumerate(o.threads):
                    for frames in self.frames:
                        for lengths in o.lengths:
                            case = self._case(dtype, threads, lengths, frames)
                            self._compare(case, remotes, place)
                            yield case
                    for name in set(remotes) - LASTING:
                        remotes.pop(name).close()
            finally:
                for remote in remotes.values():
                    remote.close()

    @property
    def _dtypes(self) -> list[str]:
        return [dtype for dtype in self.options.dtypes if dtype in self.model.dtypes]

    def _case(self, dtype: str, threads: int, lengths: str, frames: int) -> Case:
        audio = frames / self.model.frames_a_second
        case = Case(self.model.name, dtype, threads, lengths, frames, self.model.step, audio)
        case.allowed = self.allowed[dtype]
        return case

    def _give_up(
        self, names: Iterable[str], dtypes: Iterable[str], lengths: Iterable[str], reason: str
    ) -> None:
        where = itertools.product(names, dtypes, lengths)
        self.hopeless.update((key, reason) for key in where if key[0] in self.names)

    def _compare(self, case: Case, remotes: dict[str, Remote], place: int) -> None:
        """Check and time all candidates; their processes are started here and stay.

        ``place`` counts the numbers of threads: each has new lengths of its own.
        """
        estimate, right = 0.0, {}
        for name in self.names:
            reason = self.hopeless.get((name, case.dtype, case.lengths))
            if reason is not None:
                case.failed[name] = reason
                continue
            self.told(f"{_text(case)}: {name} gets ready")
            if name not in remotes:
                arguments = (name, self.folder, self.model, case.dtype)
                remotes[name] = Remote(Contender, *arguments, log=str(self.options.log))
            try:
                estimate += self._ready(case, name, remotes[name])
            except RemoteError as error:
                case.failed[name] = str(error)
                if remotes[name].closed:  # it would take as long, or end, with more threads
                    self._give_up([name], [case.dtype], [case.lengths], str(error))
                    del remotes[name]
            else:
                if name not in case.wrong:
                    right[name] = remotes[name]
        if self.options.check_only or not right:
            return
        fitting = int(self.options.budget / estimate)
        case.rounds = self.options.rounds or min(max(fitting, LEAST_ROUNDS), MOST_ROUNDS)
        self.told(f"{_text(case)}: {case.rounds} rounds")
        times = self._times(case, right, place)
        case.seconds = {name: Spread.of(values) for name, values in times.items()}
        if OURS in times:
            others = [name for name in times if name != OURS]
            case.ratios = {name: Spread.of(times[name] / times[OURS]) for name in others}

    def _ready(self, case: Case, name: str, remote: Remote) -> float:
        """Set up and check a candidate; about how long a call takes."""
        new = case.lengths == NEW
        patience = None if name in (OURS, TORCH) else self.options.patience
        found = remote.ask("set_up", case.threads, case.frames, new, patience=patience)
        frames = case.frames + new * CHECKED * self.model.step
        case.differences[name], seconds = remote.ask("check", frames)
        case.ready[name], case.memory[name] = found["seconds"], found["memory"]
        if found["form"]:
            case.forms[name] = found["form"]
        return float(seconds)

    def _times(self, case: Case, right: dict[str, Remote], place: int) -> dict[str, Any]:
        """Seconds per call of each candidate, round by round; each round begins with another."""
        skipped = place * max(case.rounds, MOST_ROUNDS)
        lengths = new_lengths(case.frames, self.model.step, case.rounds, skipped)
        names, seen = list(right), case.lengths == SEEN
        times: dict[str, list[float]] = {name: [] for name in names}
        for i, new in enumerate(lengths):
            for turn in range(len(names)):
                name = names[(i + turn) % len(names)]
                if name in case.failed:
                    continue
                frames = case.frames if seen else new
                try:
                    taken = right[name].ask("time", frames, seen, self.options.cpu_time)
                except RemoteError as error:
                    case.failed[name] = str(error)
                else:
                    times[name].append(taken)
        return {name: np.array(times[name]) for name in names if name not in case.failed}


def new_lengths(frames: int, step: int, rounds: int, skipped: int = 0) -> list[int]:
    """The lengths nearest to one, without it and ``skipped`` others, in a random order."""
    steps = (sign * i for i in itertools.count(1) if i != CHECKED for sign in (1, -1))
    lengths = (frames + i * step for i in steps)
    found = list(itertools.islice((n for n in lengths if n > 0), skipped, skipped + rounds))
    random.Random(0).shuffle(found)
    return found


def _text(case: Case) -> str:
    return f"{case.model}, {case.dtype}, {case.threads}, {case.lengths}"
