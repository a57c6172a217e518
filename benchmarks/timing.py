"""Timing that is fair to all candidates: pinned cores, rotating order, medians over rounds.

A round times every candidate once, as a block of calls back to back. A slow spell of the machine
then affects all of them. Ratios are taken within a round, and then the median over the rounds.

Thread pools spin for a while after a call: OpenMP's for milliseconds, ONNX Runtime's for tens of
milliseconds. With as many threads as cores, that can double the time of the next candidate. Making
the pools sleep (``OMP_WAIT_POLICY=passive``, ``session.force_spinning_stop``) is no remedy: every
call would then wait for them to wake, up to half its time on small layers. So each library keeps
its default, and each block begins with a wait until the process is idle and with one call that is
not counted, after which caches and pool are as they are between calls.

Freed memory stays with the process. By default malloc returns large blocks to the system and faults
them in again on the next call, or does not, depending on what ran before. That is a factor of two
for torch on layers of a few megabytes. With memory kept, all candidates run as in a program that
has been running for a while.

On a machine that others use, the clock can be that of the process (``--cpu-time``): it does not
count the time in which other processes had the core. It counts the time of all threads, so it
serves for one thread only.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
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
    """The median of some measurements, and the quartiles, which show how much they vary."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread:
        """Quartiles of the values."""
        return cls(*np.quantile(values, [0.25, 0.5, 0.75]).tolist())


def pin(threads: int) -> list[int]:
    """Keep this process on its first ``threads`` cores.

    Returns them, or [] where the system cannot pin. Raises ``ValueError`` if there are fewer.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(cores):
        raise ValueError(f"threads must be from 1 to {len(cores)}, the cores here, got {threads}")
    os.sched_setaffinity(0, cores[:threads])
    return cores[:threads]


def keep_freed_memory() -> None:
    """Have glibc's malloc keep freed blocks of any size; other systems are left as they are."""
    mallopt = None if os.name == "nt" else getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX: no block from the system of its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing given back at the end of the heap


def used_by_others(cores: Sequence[int]) -> float:
    """Seconds that these cores have spent on other processes; 0 where the system does not count.

    Only differences between two calls have a meaning.
    """
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    except OSError:
        return 0.0
    times = [list(map(int, line[1:9])) for line in lines if line[0] in {f"cpu{c}" for c in cores}]
    ticks = sum(sum(t) - t[3] - t[4] for t in times)  # all but idle and waiting for a disk
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def measure(
    candidates: Sequence[Candidate],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> NDArray[np.float64]:
    """Seconds per call, ``(rounds, candidates)``, of as many rounds as fit, at least five."""
    end = time.perf_counter() + seconds
    timers = [Timer(candidate.call, timer=clock) for candidate in candidates]
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
