"""How fast is a layer, beside other libraries? ``python benchmarks/bench.py --help``.

Every candidate's output is checked against float64 before it is timed. The ratios are times of a
peer over ours, above 1 where ours is faster.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import layers
import numpy as np
import timing
from layers import Layer, Problem
from peers import CANDIDATES, MODULES, Candidate
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from timing import Spread

import fracstride as fs

BUSY = 0.05  # share of the cores' time that goes elsewhere from which a warning is due
OURS, *PEERS = (candidate.name for candidate in CANDIDATES)
OUR_MODULE, TORCHS_MODULE = (candidate.name for candidate in MODULES)


@dataclass
class Result:
    """What was found for one layer, by the names of the candidates."""

    layer: Layer
    errors: dict[str, float] = field(default_factory=dict)  # see Problem.error
    rounds: int = 0
    seconds: dict[str, Spread] = field(default_factory=dict)  # per call; not of wrong candidates
    ratios: dict[str, Spread] = field(default_factory=dict)  # peer / ours

    @property
    def wrong(self) -> list[str]:
        """Candidates whose output is not that of the layer."""
        return [name for name, error in self.errors.items() if not error <= layers.TOLERANCE]

    @property
    def gflops(self) -> float | None:
        """Ours, in 1e9 operations per second."""
        if OURS not in self.seconds:
            return None
        return self.layer.flops / self.seconds[OURS].median / 1e9

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        errors = {name: e if isfinite(e) else str(e) for name, e in self.errors.items()}
        return {**asdict(self), "errors": errors, "wrong": self.wrong, "gflops": self.gflops}


def run(
    layer: Layer,
    threads: int,
    seconds: float | None,
    kinds: Sequence[type[Candidate]] = CANDIDATES,
) -> Result:
    """Check the candidates on a layer; time the right ones unless ``seconds`` is None."""
    problem, result = Problem(layer), Result(layer)
    candidates = {c.name: c(problem, threads) for c in kinds}
    for name, candidate in candidates.items():
        result.errors[name] = problem.error(candidate.output())
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


def mean_ratios(results: list[Result]) -> dict[str, float]:
    """Geometric means over the layers, by peer."""
    ratios = {p: [r.ratios[p].median for r in results if p in r.ratios] for p in PEERS}
    return {peer: geometric_mean(values) for peer, values in ratios.items() if values}


def speed_table(results: list[Result]) -> Table:
    """A row per layer: milliseconds of each candidate, ratios, our GFLOP/s."""
    table = Table(title="One forward pass: milliseconds, and times of peers over ours (quartiles)")
    table.add_column("layer")
    for name in (OURS, *PEERS, *(f"{peer} / ours" for peer in PEERS), "GFLOP/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in results:
        times = [_time(r, name, 1e3) for name in (OURS, *PEERS)]
        rate = "" if r.gflops is None else f"{r.gflops:.1f}"
        table.add_row(r.layer.name, *times, *(_ratio(r, peer) for peer in PEERS), rate)
    table.add_section()
    means = mean_ratios(results)
    shown = (f"{means[peer]:.2f}" if peer in means else "" for peer in PEERS)
    table.add_row("geometric mean", *[""] * len(CANDIDATES), *shown, "", style="bold")
    return table


def tiny_table(result: Result) -> Table:
    """What a call costs that has next to nothing to compute."""
    table = Table(title="A tiny call (1 to 1 channel, 4 frames)")
    table.add_column("")
    table.add_column("microseconds", justify="right")
    table.add_column("/ ours", justify="right")
    for name in result.errors:
        table.add_row(name, _time(result, name, 1e6), _ratio(result, name))
    return table


def module_overhead(result: Result) -> str:
    """Say what the torch module adds to the layer on arrays."""
    times = {name: spread.median * 1e6 for name, spread in result.seconds.items()}
    if not {OURS, OUR_MODULE, TORCHS_MODULE} <= times.keys():
        return ""
    return (
        f"in inference mode our torch module takes {times[OUR_MODULE] - times[OURS]:.1f} us more "
        f"than our layer on arrays, and {times[OUR_MODULE] / times[TORCHS_MODULE]:.2f} of torch's "
        "module"
    )


def check_table(results: list[Result]) -> Table:
    """How far each output is from float64."""
    table = Table(
        title="Largest error in float32 epsilons of the sum |x| |w| + |bias|"
        f" (right up to {layers.TOLERANCE:g})"
    )
    table.add_column("layer")
    for name in (OURS, *PEERS):
        table.add_column(name, justify="right")
    for r in results:
        errors = [
            f"[bold red]{r.errors[name]:.3g} wrong" if name in r.wrong else f"{r.errors[name]:.2f}"
            for name in (OURS, *PEERS)
        ]
        table.add_row(r.layer.name, *errors)
    return table


def _time(result: Result, name: str, unit: float) -> str:
    if name in result.wrong:
        return "[bold red]wrong"
    return f"{result.seconds[name].median * unit:.3f}"


def _ratio(result: Result, name: str) -> str:
    if name not in result.ratios:
        return ""
    r = result.ratios[name]
    shown = f"{r.median:.2f} [dim]({r.low:.2f}-{r.high:.2f})[/dim]"
    return f"[red]{shown}[/red]" if r.median < 1 else shown


def slower(results: list[Result], peer: str) -> str:
    """Say on which layers the peer wins."""
    lost = [r for r in results if peer in r.ratios and r.ratios[peer].median < 1]
    names = ", ".join(f"{r.layer.name} ({r.ratios[peer].median:.2f})" for r in lost)
    return f"slower than {peer} on: {names or 'no layer'}"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for every candidate")
    parser.add_argument("--seconds", type=float, default=60, help="for the whole run, about")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--check-only", action="store_true", help="compare outputs, time nothing")
    arguments = parser.parse_args()
    try:
        arguments.layers = layers.load(arguments.layers)
        arguments.cores = timing.pin(arguments.threads)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def main() -> int:
    """Run the benchmark; 1 if an output was wrong."""
    arguments = parse_arguments()
    timing.keep_freed_memory()
    start, elsewhere = time.perf_counter(), timing.used_by_others(arguments.cores)
    console = Console(width=None if sys.stdout.isatty() else 120)
    about = {
        "versions": {
            **{c.package: c.version() for c in CANDIDATES},
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
    results: list[Result] = []
    todo = [*arguments.layers, layers.TINY]
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # Refreshed between layers and never from a thread, which would take time from what is timed.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(todo))
        for i, layer in enumerate(todo):
            progress.update(task, description=layer.name, completed=i, refresh=True)
            left = start + arguments.seconds - time.perf_counter()
            seconds = None if arguments.check_only else left / (len(todo) - i)
            kinds = (*CANDIDATES, *MODULES) if layer is layers.TINY else CANDIDATES
            results.append(run(layer, arguments.threads, seconds, kinds))
    wall = (time.perf_counter() - start) * arguments.threads
    about["others"] = (timing.used_by_others(arguments.cores) - elsewhere) / wall
    *large, tiny = results
    if arguments.check_only:
        console.print(check_table(results))
    else:
        console.print(speed_table(large), tiny_table(tiny))
        console.print(module_overhead(tiny), highlight=False, soft_wrap=True)
        for peer in PEERS:
            console.print(slower(large, peer), highlight=False, soft_wrap=True)
        if about["others"] > BUSY:
            share = f"{about['others']:.0%}"
            console.print(f"[yellow]Other work took {share} of these cores: expect noise.")
    wrong = [f"{name} on {r.layer.name}" for r in results for name in r.wrong]
    if wrong:
        console.print(f"[bold red]wrong: {', '.join(wrong)}")
    if arguments.json:
        numbers = {
            **about,
            "geometric_means": mean_ratios(large),
            "layers": [r.as_json() for r in large],
            "tiny_call": tiny.as_json(),
        }
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
