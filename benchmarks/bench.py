"""Compare the speed of layers with other libraries: ``python benchmarks/bench.py --help``.

Every candidate's output is checked against float64 before it is timed. The ratios are times of a
peer divided by ours, above 1 where ours is faster. The limit is the least time that this machine
allows for the layer, measured in the same run. ``torch face`` is our torch module in eval mode
without gradients; its column shows its time divided by that of our layer on arrays.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import layers
import model_streams
import model_zoo
import numpy as np
import options
import peers
import streaming
import tables
import timing
from comparison import compare
from peers import OWN, PEERS, TORCHS_MODULE, Candidate
from results import LEAST, Result, Summary, by_kind
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from roofline import Roofline

import fracstride as fs

BUSY = 0.05  # warn if other processes take more than this share of the cores' time


def parse_arguments() -> Any:
    """Read the command line."""
    parser = options.parser_of(__doc__, seconds=120)
    parser.add_argument("--full", action="store_true", help="with peers that compile, too")
    parser.add_argument("--peers", nargs="+", choices=PEERS, help="only these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture of them")
    parser.add_argument("--check-only", action="store_true", help="compare outputs, time nothing")
    arguments = options.parsed(parser)
    arguments.peers = arguments.peers or (PEERS if arguments.full else peers.QUICK)
    return arguments


def facts(arguments: Any, kinds: Mapping[str, type[Candidate]]) -> dict[str, Any]:
    """What a reader has to know about the run."""
    return {
        "versions": {
            **{kind.package: kind.version() for kind in kinds.values()},
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "isa": fs.config()["isa"],
        "threads": arguments.threads,
        "cores": arguments.cores,
        "clock": "of the process" if arguments.cpu_time else "on the wall",
        "dtype": "float32",
    }


def measured(
    arguments: Any, kinds: Mapping[str, type[Candidate]], roofline: Roofline, console: Console
) -> list[Result]:
    """The results on all layers; the tiny call's is the last."""
    todo = [*arguments.layers, layers.TINY]
    tiny = {**kinds, **peers.candidates([TORCHS_MODULE])[0]}
    seconds = None if arguments.check_only else arguments.seconds / len(todo)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    results = []
    # Refreshed between layers only: a refreshing thread would take time from the timed calls.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(todo))
        for i, layer in enumerate(todo):
            progress.update(task, description=layer.name, completed=i, refresh=True)
            chosen = tiny if layer is layers.TINY else kinds
            results.append(compare(layer, chosen, arguments.threads, seconds, arguments.clock))
            if i == len(todo) // 2:
                roofline.measure()  # again, for a machine that was busy before
    fs.set_num_threads(arguments.threads)
    roofline.measure()
    for result in results:
        result.set_limit(roofline)
    return results


def show(results: Sequence[Result], shown: Sequence[str], console: Console, full: bool) -> None:
    """Print the tables and the lines below them."""
    *large, tiny = results
    console.print(tables.speed_table(large, shown), tables.summary_table(large, shown))
    console.print(tables.tiny_table(tiny))
    lines = [tables.module_overhead(tiny)]
    if full:
        lines += tables.targets(large)
    else:
        lines += [f"below {LEAST} of {p} on: {tables.slower(large, p, LEAST)}" for p in shown]
        lines.append(f"torch face slow on: {tables.slow_modules(large)}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def show_failures(results: Sequence[Result], console: Console) -> None:
    """Print which outputs are wrong, and which layers a peer cannot do."""
    wrong = [f"{name} on {r.layer.name}" for r in results for name in r.wrong]
    if wrong:
        console.print(f"[bold red]wrong: {', '.join(wrong)}")
    for r in results:
        for name, reason in r.failed.items():
            console.print(f"[yellow]{name} cannot do {r.layer.name}: {reason[:200]}")


def main() -> int:
    """Run the benchmark; 1 if an output of ours was wrong."""
    arguments = parse_arguments()
    kinds, missing = peers.candidates([*OWN, *arguments.peers])
    shown = [name for name in kinds if name in PEERS]
    console = Console(width=None if sys.stdout.isatty() else 150)
    about = facts(arguments, kinds)
    console.print(", ".join(f"{name} {v}" for name, v in about["versions"].items()))
    console.print(
        f"float32, {about['isa']}, threads: {arguments.threads}"
        f" on cores {', '.join(map(str, arguments.cores)) or 'of the system’s choice'}"
        f", clock {about['clock']}"
    )
    for name, package in missing.items():
        console.print(f"[yellow]without {name}: the package {package} is not installed")
    fs.set_num_threads(arguments.threads)
    roofline = Roofline()
    roofline.measure()
    elsewhere, begin = timing.used_by_others(arguments.cores), time.perf_counter()
    results = measured(arguments, kinds, roofline, console)
    elapsed = (time.perf_counter() - begin) * arguments.threads
    about["others"] = (timing.used_by_others(arguments.cores) - elsewhere) / elapsed
    if arguments.check_only:
        console.print(tables.check_table(results, shown))
    else:
        console.print(roofline.text, highlight=False)
        show(results, shown, console, arguments.full)
        pushes, about["pushes"] = streaming.measure(arguments.seconds / 15)
        console.print(pushes)
        (demo,) = model_zoo.load(["piper_joe_decoder"])
        if find_spec(demo.imported):
            streamed = model_streams.measure(demo, arguments.threads, arguments.seconds / 15)
            about["demo"] = asdict(streamed)
            console.print(model_streams.table([streamed]))
        if about["others"] > BUSY:
            share = f"{about['others']:.0%}"
            console.print(f"[yellow]Other work took {share} of these cores: expect noise.")
    show_failures(results, console)
    numbers = {
        **about,
        "peak_multiply_adds_per_second": roofline.peak,
        "copied_bytes_per_second": roofline.copied,
        "read_bytes_per_second": roofline.read,
        "kinds": {k: asdict(Summary.of(rs)) for k, rs in by_kind(results[:-1]).items()},
        "layers": [r.as_json() for r in results[:-1]],
        "tiny_call": results[-1].as_json(),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")
    if arguments.plot and not arguments.check_only:
        import plot

        plot.save(numbers, arguments.plot)
    return 1 if any(name in OWN for r in results for name in r.wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
