"""How our time depends on threads, on new lengths, and on the length of the signal.

Ratios are taken within one run: the two measurements of a pair alternate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any

import layers
import numpy as np
import timing
from layers import Array, Layer, Problem
from peers.ours import layer_of
from rich.console import Console
from rich.table import Table

import fracstride as fs

ROUNDS = 15
LONG = 5e-3  # a second thread must help from so many seconds on
LENGTHS = (
    "hifigan_up0",
    "hifigan_up2",
    "stream_last_L8",
    "bigvgan_aa",
    "mrf_256_k3",
    "w2v_1",
    "bigvgan_down",
)
LONGEST = ("hifigan_up3", "bigvgan_aa", "conv_s1_k7", "mrf_32_k3", "w2v_0")
TIMES = (1, 8, 64)  # as long as the layer's own input


def in_turns(calls: list[Callable[[], Any]]) -> list[float]:
    """Median seconds of each, after one that is not counted."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(ROUNDS + 1):
        for call, mine in zip(calls, times, strict=True):
            start = perf_counter()
            call()
            mine.append(perf_counter() - start if turn else 0.0)
    return [median(mine[1:]) for mine in times]


def threads_table(todo: list[Layer], threads: int) -> Table:
    """One thread and many."""
    table = Table(title=f"One thread and {threads}: milliseconds")
    for column in ("layer", "1", str(threads), "ratio"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for layer in todo:
        problem = Problem(layer)
        ours = layer_of(problem)

        def call(number: int, ours: Any = ours, x: Array = problem.x) -> None:
            fs.set_num_threads(number)
            ours(x)

        one, many = in_turns([partial(call, 1), partial(call, threads)])
        mark = "" if one >= LONG else " [dim](short)[/dim]"
        table.add_row(
            layer.name + mark, f"{one * 1e3:.3f}", f"{many * 1e3:.3f}", f"{one / many:.2f}"
        )
    return table


def lengths_table(todo: list[Layer]) -> Table:
    """Calls of different lengths, against calls of one length."""
    table = Table(title="Time of a new length, divided by that of a repeated one")
    table.add_column("layer")
    table.add_column("ratio", justify="right")
    for layer in todo:
        problem = Problem(layer)
        ours, x = layer_of(problem), np.concatenate([problem.x] * 2, axis=2)
        lengths = count(layer.L + 1)

        def new(ours: Any = ours, x: Array = x, lengths: Any = lengths) -> float:
            length = next(lengths)  # per frame, since each is longer than the last
            start = perf_counter()
            ours(x[:, :, :length])
            return (perf_counter() - start) / length

        def known(ours: Any = ours, x: Array = x, length: int = layer.L) -> float:
            start = perf_counter()
            ours(x[:, :, :length])
            return (perf_counter() - start) / length

        rounds = min(200, layer.L)
        pairs = [(new(), known()) for _ in range(rounds)]
        table.add_row(layer.name, f"{median(n / k for n, k in pairs):.2f}")
    return table


def longer_table(todo: list[Layer]) -> Table:
    """Time per frame as the signal grows."""
    table = Table(
        title="Time per frame of longer signals, divided by that of the layer's own length"
    )
    table.add_column("layer")
    for times in TIMES[1:]:
        table.add_column(f"x {times}", justify="right")
    for layer in todo:
        problem = Problem(layer)
        ours = layer_of(problem)
        signals = [np.concatenate([problem.x] * times, axis=2) for times in TIMES]
        own, *rest = in_turns([partial(ours, x) for x in signals])
        ratios = (t / times / own for t, times in zip(rest, TIMES[1:], strict=True))
        table.add_row(layer.name, *(f"{ratio:.2f}" for ratio in ratios))
    return table


def main() -> int:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    arguments = parser.parse_args()
    try:
        todo = layers.load(arguments.layers)
        timing.pin(arguments.threads)
    except ValueError as error:
        parser.error(str(error))
    timing.keep_freed_memory()
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(threads_table(todo, arguments.threads))
    fs.set_num_threads(1)
    console.print(lengths_table(layers.load(LENGTHS)))
    console.print(longer_table(layers.load(LONGEST)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
