"""Fair clocks: pinned cores, rotating order, medians over rounds.

A round times every candidate once, as a block of calls back to back, so that a slow spell of the
machine meets all of them: ratios are taken within a round, and only then their median.

Pools of threads spin for a while after a call: OpenMP's for milliseconds, ONNX Runtime's for tens
of them. On as many cores as threads that can double the time of whoever runs next. Making the
pools sleep (``OMP_WAIT_POLICY=passive``, ``session.force_spinning_stop``) is no remedy, for then
every call pays for waking them, up to half its time on small layers. So each library keeps its own
way, and each block begins with a wait until the process is idle and with a call that is not
counted, which finds caches and pool as the next call will.

Freed memory stays with the process. Left alone, malloc gives large blocks back to the system and
faults them in again on the next call, or does not, depending on what ran before: a factor of two
for torch on layers of a few megabytes. Kept, it serves everybody as in a program that has been
running for a while.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from timeit import Timer

import numpy as np
from numpy.typing import NDArray
from peers import Candidate

MIN_ROUNDS = 5
BLOCK = 0.002  # seconds of calls per block, or one call that takes longer
PATIENCE = 0.2  # seconds that a pool may go on spinning


@dataclass(frozen=True)
class Spread:
    """The middle of some measurements, and the quartiles that show how far to trust it."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread:
        """Quartiles of the values."""
        return cls(*np.quantile(values, [0.25, 0.5, 0.75]).tolist())


def pin(threads: int) -> list[int]:
    """Keep this process on its first ``threads`` cores.

    Returns them, or [] where a system lets nobody choose. Raises ``ValueError`` if there are fewer.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(cores):
        raise ValueError(f"threads must be from 1 to {len(cores)}, the cores here, got {threads}")
    os.sched_setaffinity(0, cores[:threads])
    return cores[:threads]


def keep_freed_memory() -> None:
    """Have malloc reuse what is freed, however large; only glibc's can be told."""
    mallopt = None if os.name == "nt" else getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX: no block from the system of its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing given back at the end of the heap


def used_by_others(cores: Sequence[int]) -> float:
    """Seconds that these cores have spent on anything but this process; 0 where nobody counts.

    Only differences mean something.
    """
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    except OSError:
        return 0.0
    times = [list(map(int, line[1:9])) for line in lines if line[0] in {f"cpu{c}" for c in cores}]
    ticks = sum(sum(t) - t[3] - t[4] for t in times)  # all but idle and waiting for a disk
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def measure(candidates: Sequence[Candidate], seconds: float) -> NDArray[np.float64]:
    """Seconds per call, ``(rounds, candidates)``, of as many rounds as fit, at least five."""
    end = time.perf_counter() + seconds
    timers = [Timer(candidate.call) for candidate in candidates]
    repeats = [
        max(1, round(BLOCK / min(_block(candidate, timer, 1) for _ in range(3))))
        for candidate, timer in zip(candidates, timers, strict=True)
    ]
    rounds: list[list[float]] = []
    while len(rounds) < MIN_ROUNDS or time.perf_counter() < end:
        times = [0.0] * len(candidates)
        for turn in range(len(candidates)):
            i = (len(rounds) + turn) % len(candidates)
            times[i] = _block(candidates[i], timers[i], repeats[i])
        rounds.append(times)
    return np.array(rounds)


def settle() -> None:
    """Wait until no thread of this process is busy any more."""
    end = time.perf_counter() + PATIENCE
    while time.perf_counter() < end:
        wall, busy = time.perf_counter(), time.process_time()
        time.sleep(0.001)
        if time.process_time() - busy < 0.25 * (time.perf_counter() - wall):
            return


def _block(candidate: Candidate, timer: Timer, repeats: int) -> float:
    settle()
    with candidate.running():
        candidate.call()
        return timer.timeit(repeats) / repeats
