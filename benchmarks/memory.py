"""The memory of a forward call beyond input, weight and output, ours and torch's. Linux only.

Linux counts the memory of the process; its peak is reset before the call and read after it. Blocks
of 64 KB and more are returned to the system when they are freed, so that no call reuses memory of
an earlier one. Counts are exact to some hundred kilobytes.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import layers
import numpy as np
import torch
from layers import Problem
from peers.ours import layer_of
from rich.console import Console
from rich.table import Table

import fracstride as fs

PROCESS = Path("/proc/self")
ROUNDS = 5
SHARE, ALLOWED = 0.05, 1e6  # the target: at most this share of the operands, or so many bytes


def held() -> dict[str, int]:
    """Bytes that the process holds now (VmRSS) and has held at most (VmHWM)."""
    lines = (PROCESS / "status").read_text().splitlines()
    return {line[:5]: 1024 * int(line.split()[1]) for line in lines if line.startswith("Vm")}


def taken(call: Callable[[], Any]) -> int:
    """Bytes that a call holds at its peak beyond what was held before; the median of some calls."""
    call()
    libc, found = ctypes.CDLL(None), []
    for _ in range(ROUNDS):
        libc.malloc_trim(0)
        (PROCESS / "clear_refs").write_text("5")
        before = held()["VmRSS"]
        result = call()
        found.append(held()["VmHWM"] - before)
        del result
    return int(median(found))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="for both")
    arguments = parser.parse_args()
    try:
        todo = layers.load(arguments.layers)
    except ValueError as error:
        parser.error(str(error))
    if not (PROCESS / "clear_refs").exists():
        parser.error("this system does not say what a process holds")
    libc = ctypes.CDLL(None)
    libc.mallopt(-3, 2**16)  # M_MMAP_THRESHOLD
    fs.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title=f"Megabytes of a call without its output, {arguments.threads} thread(s)")
    for column in ("layer", "operands", "fracstride", "of operands", "torch"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    over: list[str] = []
    for layer in todo:
        problem = Problem(layer)
        n = problem.layer
        ours = layer_of(problem)
        out = np.zeros(n.output_shape, np.float32)
        x, w, b = map(torch.from_numpy, (problem.x, problem.weight, problem.bias))
        function = partial(getattr(torch.nn.functional, n.function), x, w, b, **n.sizes)
        with torch.inference_mode():
            mine = taken(lambda: ours(problem.x, out=out))  # noqa: B023  # called at once
            torchs = taken(function)
        torchs = max(0, torchs - out.nbytes)
        operands = problem.x.nbytes + problem.weight.nbytes + out.nbytes
        if mine > max(SHARE * operands, ALLOWED):
            over.append(layer.name)
        numbers = (f"{size / 1e6:.2f}" for size in (operands, mine))
        table.add_row(layer.name, *numbers, f"{mine / operands:.1%}", f"{torchs / 1e6:.2f}")
    console.print(table)
    console.print(f"over {SHARE:.0%} and {ALLOWED / 1e6:.0f} MB: {', '.join(over) or 'no layer'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
