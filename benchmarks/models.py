"""Compare the speed of whole models with other libraries: ``python benchmarks/models.py --help``.

The models are those of ``models.json``: vocoders and codecs of transformers in full size, with
seeded weights, and parts of a voice in ONNX. Each candidate runs in a process of its own and is
called when its turn comes. Its output is compared before it is timed: with torch's, for a voice in
ONNX with ONNX Runtime's. ``seen``: all inputs have one length, which was
seen before; ``new``: each call has another length around it, as each sentence of speech has its
own. Ratios are times of a peer divided by ours, above 1 where ours is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import model_peers
import model_tables
import model_turns
import model_zoo
import numpy as np
import processes
from model_comparison import Comparison
from model_peers import ORT, OURS, PEERS, TORCH
from model_preparation import CLOSE
from model_results import NEW, SEEN, Case, means, own_gains
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import fracstride as fs

SHORT = (1, 2, 3, 5, 8, 16, 32)  # frames


def parse_arguments() -> Any:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=[], metavar="NAME", help="only these")
    add("--peers", nargs="+", choices=PEERS, help="only these")
    add("--quick", action="store_true", help="float32, peers that do not compile, few rounds")
    add("--full", action="store_true", help="peers that compile in bfloat16, too: 20 minutes more")
    add("--short", action="store_true", help=f"{SHORT} frames, seen before, against one peer")
    add("--seconds", type=float, default=2, help="of audio in a call, about")
    add("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    add("--dtypes", nargs="+", choices=CLOSE, default=list(CLOSE))
    add("--lengths", nargs="+", choices=(SEEN, NEW), default=[SEEN, NEW])
    add("--rounds", type=int, help="by default 3 to 9, as many as fit into the budget")
    add("--budget", type=float, default=6, help="seconds of timing for a model in one setting")
    add("--patience", type=float, default=120, help="seconds in which a peer has to be ready")
    add("--check-only", action="store_true", help="compare outputs, time nothing")
    add("--cpu-time", action="store_true", help="count the time of the process: for one thread")
    add("--small", action="store_true", help="models of few channels: a test of this program")
    add("--json", type=Path, metavar="FILE", help="write the numbers there, too, model by model")
    add("--plot", type=Path, metavar="FILE", help="draw a picture of them")
    add("--log", type=Path, default=Path(os.devnull), help="write there what the peers print")
    arguments = parser.parse_args()
    if arguments.cpu_time and max(arguments.threads) > 1:
        parser.error("--cpu-time counts the time of all threads: it needs --threads 1")
    if arguments.quick:
        arguments.dtypes, arguments.rounds = ["float32"], arguments.rounds or 3
    if arguments.short:
        arguments.lengths, arguments.rounds = [SEEN], arguments.rounds or 9
    few = arguments.quick or arguments.short
    arguments.peers = arguments.peers or (model_peers.QUICK if few else PEERS)
    arguments.log = arguments.log.resolve()
    try:
        arguments.models = model_zoo.load(arguments.models)
    except ValueError as error:
        parser.error(str(error))
    cores = len(model_turns.cores()) or max(arguments.threads)
    if not 1 <= min(arguments.threads) <= max(arguments.threads) <= cores:
        parser.error(f"--threads must be from 1 to {cores}, the cores here")
    return arguments


def versions(names: Sequence[str]) -> dict[str, str | None]:
    """Of the packages that take part."""
    packages = {model_peers.RUNNERS[name][2]: model_peers.installed(name) for name in names}
    packages["fracstride"] = fs.config()["version"]
    return {**packages, "numpy": np.__version__, "python": platform.python_version()}


def numbers(cases: Sequence[Case], versions: dict[str, str | None]) -> dict[str, Any]:
    """All results, for JSON."""
    return {
        "versions": versions,
        "isa": fs.config()["isa"],
        "means": {
            group: {name: mean and vars(mean) for name, mean in of_group.items()}
            for group, of_group in means(cases).items()
        },
        "own_gains": {name: vars(mean) for name, mean in own_gains(cases).items()},
        "cases": [case.as_json() for case in cases],
    }


def measured(
    arguments: Any, names: Sequence[str], console: Console, keep: Callable[[list[Case]], None]
) -> list[Case]:
    """The results on all models; ``keep`` is given those found, whenever a model is done."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    each = len(arguments.dtypes) * len(arguments.threads) * len(arguments.lengths)
    each *= len(SHORT) if arguments.short else 1
    cases: list[Case] = []
    processes.preload(["torch", "onnx", *{model.imported for model in arguments.models}])
    # Refreshed between calls only: a refreshing thread would take time from the timed calls.
    with (
        Progress(*columns, console=console, transient=True, auto_refresh=False) as progress,
        tempfile.TemporaryDirectory() as folder,
    ):
        task = progress.add_task("", total=each * len(arguments.models))

        def told(text: str) -> None:
            with arguments.log.open("a") as log:
                print(f"{progress.tasks[task].elapsed:.0f} s: {text}", file=log)
            progress.update(task, description=text, completed=len(cases), refresh=True)

        for model in arguments.models:
            place = Path(folder) / model.name
            place.mkdir()
            frames = [n * model.step for n in SHORT] if arguments.short else None
            frames = frames or [model.frames(arguments.seconds)]
            peer = ORT if isinstance(model, model_zoo.OnnxModel) else TORCH
            chosen = [name for name in names if not arguments.short or name in (OURS, peer)]
            comparison = Comparison(model, frames, chosen, place, arguments, told)
            comparison.prepare()
            cases += comparison.cases()
            keep(cases)
    return cases


def show(cases: Sequence[Case], arguments: Any, console: Console) -> None:
    """Print the tables and the lines below them."""
    if arguments.short:
        console.print(model_tables.short(cases))
    else:
        if not arguments.check_only:
            console.print(model_tables.speeds(cases), model_tables.ratios(cases))
        console.print(model_tables.agreement(cases))
        if not arguments.check_only:
            console.print(model_tables.summary(cases))
    if not arguments.check_only:
        for line in model_tables.lines(cases, arguments.short):
            console.print(line, highlight=False, soft_wrap=True)
    for line in model_tables.failures(cases):
        console.print(f"[yellow]{line}", highlight=False, soft_wrap=True)


def main() -> int:
    """Run the benchmark; 1 if an output of ours was wrong, or if ours could not run a model."""
    arguments = parse_arguments()
    console = Console(width=None if sys.stdout.isatty() else 170)
    present = [name for name in arguments.peers if model_peers.installed(name)]
    names, about = [OURS, *present], versions([OURS, *present])
    console.print(", ".join(f"{name} {version}" for name, version in about.items()))
    console.print(f"{fs.config()['isa']}, threads: {', '.join(map(str, arguments.threads))}")
    for name in arguments.peers:
        if name not in present:
            package = model_peers.RUNNERS[name][2]
            console.print(f"[yellow]without {name}: the package {package} is not installed")

    def keep(cases: list[Case]) -> None:
        if arguments.json:
            arguments.json.write_text(json.dumps(numbers(cases, about), indent=1) + "\n")

    cases = measured(arguments, names, console, keep)
    show(cases, arguments, console)
    if arguments.plot and not arguments.check_only:
        import model_plot

        model_plot.save(numbers(cases, about), arguments.plot)
    wrong = [case for case in cases if OURS in case.wrong]
    for case in wrong:
        console.print(f"[bold red]wrong: {case.model} in {case.dtype}, {case.lengths} lengths")
    return 1 if wrong or any(OURS in c.failed for c in cases if not arguments.short) else 0


if __name__ == "__main__":
    sys.exit(main())
