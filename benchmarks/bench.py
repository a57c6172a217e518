"""Compare the speed of layers with other libraries: ``python benchmarks/bench.py --help``.

Every candidate's output is checked against float64 before it is timed. The ratios are times of a
peer divided by ours, above 1 where ours is faster. The limit is the least time that this machine
allows for the layer, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import layers
import numpy as np
import results as show
import streaming
import timing
from layers import Layer, Problem
from peers import CANDIDATES, MODULES, Candidate
from results import OURS, Result
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from roofline import Roofline
from timing import Spread

import fracstride as fs

BUSY = 0.05  # warn if other processes take more than this share of the cores' time


def run(
    layer: Layer, threads: int, seconds: float | None, kinds: Sequence[type[Candidate]]
) -> Result:
    """Check the candidates on a layer; time the correct ones unless ``seconds`` is None."""
    problem, result = Problem(layer), Result(layer)
    candidates: dict[str, Candidate] = {}
    for kind in kinds:
        try:
            candidates[kind.name] = kind(problem, threads)
            result.errors[kind.name] = problem.error(candidates[kind.name].output())
        except Exception as error:  # that a peer cannot do the layer is a result too
            if kind.name == OURS:
                raise
            result.failed[kind.name] = f"{type(error).__name__}: {error}"
            candidates.pop(kind.name, None)
    right = {name: c for name, c in candidates.items() if name not in result.wrong}
    if seconds is None or not right:
        return result
    times = timing.measure(list(right.values()), seconds)
    column = dict(zip(right, times.T, strict=True))
    result.rounds = len(times)
    result.seconds = {name: Spread.of(column[name]) for name in right}
    if OURS in right:
        ratios = {name: column[name] / column[OURS] for name in right if name != OURS}
        result.ratios = {name: Spread.of(ratio) for name, ratio in ratios.items()}
    return result


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--random", type=int, metavar="N", help="N layers drawn at random instead")
    parser.add_argument("--seed", type=int, default=0, help="of the random layers")
    parser.add_argument("--full", action="store_true", help="with peers that compile, too")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for every candidate")
    parser.add_argument("--seconds", type=float, default=60, help="of timing, about")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture of them")
    parser.add_argument("--check-only", action="store_true", help="compare outputs, time nothing")
    arguments = parser.parse_args()
    try:
        arguments.layers = layers.load(arguments.layers)
        if arguments.random is not None:
            arguments.layers = layers.draw(arguments.random, arguments.seed)
        arguments.cores = timing.pin(arguments.threads)
    except ValueError as error:
        parser.error(str(error))
    missing = [name for name in ("jax", "openvino") if find_spec(name) is None]
    if arguments.full and missing:
        parser.error(f"--full needs {' and '.join(missing)}: pip install '.[bench-full]'")
    return arguments


def targets(results: Sequence[Result], console: Console) -> None:
    """Print where the project's own targets are missed."""
    best, torch = show.mean(results, None), show.mean(results, "torch")
    for line in (
        f"slower than the best peer on: {show.slower(results, None)}",
        f"short of 0.85 of the multiply-adds' limit (50 MFLOP and more) or 0.75 of the bytes' (m): "
        f"{show.far_from_limit(results)}",
        f"geometric mean: {best:.2f} of the best peer's time (wanted: 1.25), "
        f"{torch:.2f} of torch's (wanted: 2.1)"
        if best and torch
        else "",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def main() -> int:
    """Run the benchmark; 1 if an output was wrong."""
    arguments = parse_arguments()
    timing.keep_freed_memory()
    kinds = CANDIDATES
    if arguments.full:
        from compilers import COMPILERS

        kinds = (*CANDIDATES, *COMPILERS)
    peers = [kind.name for kind in kinds if kind.name != OURS]
    console = Console(width=None if sys.stdout.isatty() else 120)
    about: dict[str, Any] = {
        "versions": {
            **{c.package: c.version() for c in kinds},
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "isa": fs.config()["isa"],
        "threads": arguments.threads,
        "cores": arguments.cores,
        "dtype": "float32",
    }
    console.print(", ".join(f"{name} {v}" for name, v in about["versions"].items()))
    console.print(
        f"float32, {about['isa']}, threads: {arguments.threads}"
        f" on cores {', '.join(map(str, arguments.cores)) or 'of the system’s choice'}"
    )
    fs.set_num_threads(arguments.threads)
    roofline = Roofline()
    roofline.measure()
    elsewhere, begin, timed = timing.used_by_others(arguments.cores), time.perf_counter(), 0.0
    results: list[Result] = []
    todo = [*arguments.layers, layers.TINY]
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # Refreshed between layers only: a refreshing thread would take time from the timed calls.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(todo))
        for i, layer in enumerate(todo):
            progress.update(task, description=layer.name, completed=i, refresh=True)
            seconds = None if arguments.check_only else arguments.seconds / len(todo)
            tiny = MODULES if layer is layers.TINY else ()
            results.append(run(layer, arguments.threads, seconds, (*kinds, *tiny)))
            if i == len(todo) // 2:
                roofline.measure()  # again, for a machine that was busy before
    timed = (time.perf_counter() - begin) * arguments.threads
    about["others"] = (timing.used_by_others(arguments.cores) - elsewhere) / timed
    fs.set_num_threads(arguments.threads)
    roofline.measure()
    for result in results:
        result.set_limit(roofline)
    *large, tiny_result = results
    if arguments.check_only:
        console.print(show.check_table(results, peers))
    else:
        console.print(
            f"peak {2e-9 * roofline.peak:.0f} GFLOP/s, copies "
            + ", ".join(f"{r * 1e-9:.0f}" for r in (roofline.copied or {}).values())
            + f" GB/s of {', '.join(f'{s >> 10}' for s in roofline.copied or ())} KB",
            highlight=False,
        )
        console.print(show.speed_table(large, peers), show.tiny_table(tiny_result))
        console.print(show.module_overhead(tiny_result), highlight=False, soft_wrap=True)
        pushes, about["pushes"] = streaming.measure(arguments.seconds / 15)
        console.print(pushes)
        if arguments.full:
            targets(large, console)
        else:
            for peer in peers:
                line = f"slower than {peer} on: {show.slower(large, peer)}"
                console.print(line, highlight=False, soft_wrap=True)
        if about["others"] > BUSY:
            share = f"{about['others']:.0%}"
            console.print(f"[yellow]Other work took {share} of these cores: expect noise.")
    wrong = [f"{name} on {r.layer.name}" for r in results for name in r.wrong]
    if wrong:
        console.print(f"[bold red]wrong: {', '.join(wrong)}")
    for r in results:
        for name, reason in r.failed.items():
            console.print(f"[yellow]{name} cannot do {r.layer.name}: {reason[:200]}")
    if arguments.json:
        numbers = {
            **about,
            "peak_multiply_adds_per_second": roofline.peak,
            "copied_bytes_per_second": roofline.copied,
            "geometric_means": show.mean_ratios(large, peers),
            "layers": [r.as_json() for r in large],
            "tiny_call": tiny_result.as_json(),
        }
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")
    if arguments.plot and not arguments.check_only:
        import plot

        versions = ", ".join(f"{n} {v}" for n, v in about["versions"].items() if n != "python")
        title = f"{versions}\nfloat32, {about['isa']}, threads: {arguments.threads}"
        plot.save(large, peers, title, arguments.plot)
    return 1 if OURS in {name for r in results for name in r.wrong} else 0


if __name__ == "__main__":
    sys.exit(main())
