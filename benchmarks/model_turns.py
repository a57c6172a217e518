"""One candidate in its process: ready for a case, then called when its turn comes."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import model_peers
import timing
from memory import PROCESS, held
from model_preparation import difference
from model_zoo import Model

SHORT = 0.1  # seconds; a call that takes less is preceded by one that is not counted


class Contender:
    """A runner, made when it is first set up."""

    def __init__(self, name: str, folder: Path, model: Model, dtype: str) -> None:
        self._kind = model_peers.kind_of(name, model)  # imports the library, which is not counted
        self._arguments = (folder, model, dtype)
        self._folder, self._model = folder, model
        self._runner: Any = None
        self._cores = cores()

    def set_up(self, threads: int, frames: int, new_lengths: bool) -> dict[str, Any]:
        """Get ready; what that took, in seconds and at its peak in bytes, and the form chosen.

        The peak is told the first time only. One call is included, with malloc's own settings.
        """
        _pin(self._cores)
        first, begin = self._runner is None, time.perf_counter()
        before = _begin_peak() if first else None
        inputs = self._model.examples(frames)
        if first:
            self._runner = self._kind(*self._arguments)
        self._runner.set_up(threads, inputs, new_lengths)
        seconds = time.perf_counter() - begin
        self._called(frames)
        memory = None if before is None else held()["VmHWM"] - before
        timing.keep_freed_memory()
        _pin(self._cores[:threads])
        return {"seconds": seconds, "memory": memory, "form": self._runner.form}

    def check(self, frames: int) -> tuple[float, float]:
        """The difference from the right output, and the seconds of the call."""
        output, seconds = self._called(frames)
        return difference(self._folder, frames, self._runner.result(output)), seconds

    def time(self, frames: int, seen: bool, cpu_time: bool) -> float:
        """Seconds of a call. This process is idle before and after it."""
        clock = time.process_time if cpu_time else time.perf_counter
        given = self._runner.given(self._model.examples(frames))
        timing.settle()
        gc.disable()
        with self._runner.running():
            for _ in range(2):
                start = clock()
                self._runner.call(given)
                taken = clock() - start
                if not seen or taken > SHORT:
                    break
        gc.enable()
        timing.settle()
        return taken

    def _called(self, frames: int) -> tuple[Any, float]:
        given = self._runner.given(self._model.examples(frames))
        with self._runner.running():
            start = time.perf_counter()
            output = self._runner.call(given)
            return output, time.perf_counter() - start


def cores() -> list[int]:
    """The cores that this process may use, or [] where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _begin_peak() -> int | None:
    """Bytes held now, from which the peak is counted; None where the system does not say."""
    if not (PROCESS / "clear_refs").exists():
        return None
    gc.collect()
    (PROCESS / "clear_refs").write_text("5")
    return held()["VmRSS"]


def _pin(cores: Sequence[int]) -> None:
    """Keep all threads of this process on these cores, those of pools included."""
    if not cores:  # a system that cannot
        return
    for thread in os.listdir(PROCESS / "task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:  # it has ended meanwhile
            continue
