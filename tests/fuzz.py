"""Compare layers with the definition on random cases: ``python tests/fuzz.py --cases N``.

Of a transposed convolution its three maps, of a Conv1d the layer. Cases go through all combinations
of these two, padding mode, dtype and instruction set. The first case that
fails is printed with the command that reproduces it, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

import numpy as np
from cases import DTYPES, check_maps, random_case, random_conv1d_case
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

import fracstride
from fracstride._load import native
from fracstride.extension import PADDING_MODES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each time")
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else time.time_ns() % 2**32
    isas = native.available_instruction_sets()
    kinds = (random_case, random_conv1d_case)
    turns = list(itertools.product(PADDING_MODES, DTYPES, isas, kinds))
    console = Console()
    console.print(
        f"{arguments.cases} cases, seed {seed}: 2 layers x {len(PADDING_MODES)} padding modes x "
        f"{len(DTYPES)} dtypes x {', '.join(isas)}"
    )
    began = time.perf_counter()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=arguments.cases)
        for number in range(arguments.start, arguments.start + arguments.cases):
            mode, dtype, isa, kind = turns[number % len(turns)]
            native.use_instruction_set(isa)
            case = kind(np.random.default_rng((seed, number)), mode, dtype)
            try:
                check_maps(case, fracstride)
            except Exception as error:
                progress.stop()
                console.print(f"{isa}: {case}\n{type(error).__name__}: {error}", markup=False)
                console.print(f"to reproduce: python tests/fuzz.py --seed {seed} --start {number}")
                return 1
            progress.advance(bar)
    rate = arguments.cases / (time.perf_counter() - began)
    console.print(f"{arguments.cases} cases within the bound, {rate:.0f} cases per second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
