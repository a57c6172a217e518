"""Are the maps right on an NVIDIA GPU, and how fast beside torch and the card's limits?

One command, meant to take ten minutes on one GPU; it has not yet run on one::

    python benchmarks/gpu.py --json build/gpu.json

checks every layer in every dtype against float64, then times forward, and forward with backward,
against torch with cuDNN's benchmark mode on and off, channels first and compiled. The limit of a
layer is the time of its multiply-adds at the rate of a large matrix product in the same dtype, or
of its bytes at the rate of a large copy, whichever is longer; both are measured in the same run.
Times are of CUDA graphs where they can be captured: what a GPU takes, without Python's share, which
a table of its own shows.

``--tune`` measures which kernel and tile each layer gets, for ``--seconds``, and writes the table
that the package reads. ``--compile 90`` needs no GPU: it prints what the compiler makes of each
layer's kernels (ten minutes for all kinds: full float32 takes most).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import geometric_mean
from time import monotonic
from typing import Any

import layers
import torch
from gpu_cases import KINDS, OURS, PEERS, Problem, check, settings
from gpu_timing import Roofline, Timing, anti_aliasing, measure, python_cost
from layers import Layer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fracstride.geometry import Geometry
from fracstride.torch.gpu import choices, maps
from fracstride.torch.gpu.capture import recorded
from fracstride.torch.gpu.tiles import Machine

CHECKED_MODES = ("zeros", "reflect")
WORKERS = 8


def tune(
    chosen: Sequence[Layer], kinds: Sequence[str], file: Path, console: Console, budget: float
) -> None:
    """Measure the candidates layer by layer, for ``budget`` seconds; write the best.

    Compiling takes most of the time. A run that ends early has written what it knows; the next
    one can go on with ``--layers``.
    """
    os.environ["FRACSTRIDE_TUNE"] = "again"
    device = torch.device("cuda", torch.cuda.current_device())
    machine, start = Machine.of(device).name, monotonic()
    for layer in track(chosen, "tuning", console=console):
        for kind in kinds:
            if monotonic() - start > budget:
                console.print(f"[red]no time was left for {layer.name} {kind} and what follows")
                return
            settings("torch", kind)
            for mode in ("zeros", "replicate"):
                problem = Problem(layer, KINDS[kind], mode)
                geometry, groups = problem.geometry, layer.groups
                maps.forward(problem.x, problem.w, problem.b, geometry, groups)
                maps.input_grad(problem.gy, problem.w, layer.L, geometry, groups)
                maps.weight_grad(problem.x, problem.gy, geometry, groups)
        known = choices.measured(machine)
        table = json.loads(file.read_text()) if file.exists() else {}
        table[machine] = {bucket: choices.as_json(known[bucket]) for bucket in sorted(known)}
        file.write_text(json.dumps(table, indent=1) + "\n")
    console.print(f"{len(known)} choices for {machine} written to {file}")


def compile_all(
    chosen: Sequence[Layer], kinds: Sequence[str], capability: int, console: Console
) -> None:
    """Compile the kernels that the model chooses; print their registers and instructions."""
    from fracstride.torch.gpu.resources import compile_for

    table = Table(title=f"Kernels as they are compiled for sm_{capability}")
    for column in ("layer", "kind", "kernel", "programs", "tile", "registers", "spilt", "shared"):
        table.add_column(column)
    table.add_column("instructions")
    spilt: Counter[int] = Counter()
    for layer in track(chosen, "compiling", console=console):
        for kind, mode in product(kinds, CHECKED_MODES):
            settings("torch", kind)
            geometry = Geometry(
                layer.k, layer.s, layer.p, layer.output_padding, layer.dilation, mode
            )
            dtype, per_group = KINDS[kind], layer.C_out // layer.groups
            shapes = (layer.B, layer.C_in, layer.L), (layer.C_in, per_group, layer.k)
            x, w = (torch.empty(s, dtype=dtype, device="meta") for s in shapes)
            gy = x.new_empty(layer.B, layer.C_out, geometry.output_length(layer.L))
            with recorded() as launches:
                maps.forward(x, w, None, geometry, layer.groups)
                maps.input_grad(gy, w, layer.L, geometry, layer.groups)
                maps.weight_grad(x, gy, geometry, layer.groups)
            for call in launches:
                made = compile_for(call, capability)
                spilt[made.spilt] += 1
                names = ("ROWS", "COLUMNS", "TERMS", "FRAMES", "PHASES", "TAPS")
                tile = "x".join(str(call.constants[n]) for n in names if n in call.constants)
                counts = ", ".join(f"{n} {what}" for what, n in made.instructions.items() if n)
                table.add_row(
                    layer.name, f"{kind} {mode}", made.name, str(call.programs), tile,
                    str(made.registers), str(made.spilt), str(made.shared), counts,
                )  # fmt: skip
    console.print(table)
    console.print(f"spilt bytes: {dict(sorted(spilt.items()))}")


def show(results: Sequence[Timing], console: Console) -> None:
    """One table: a row per layer and kind, forward and with gradients side by side."""
    table = Table(title="Microseconds, times of peers over ours, and how near the limit")
    table.add_column("layer")
    table.add_column("kind")
    for what in ("forward", "with gradients"):
        for column in ("us", *PEERS, "of limit"):
            table.add_column(f"{column}\n{what}", justify="right")
    rows: dict[tuple[str, str], dict[str, Timing]] = {}
    for found in results:
        rows.setdefault((found.layer, found.kind), {})[found.what] = found
    for (layer, kind), by_what in rows.items():
        cells = []
        for what in ("forward", "both"):
            found = by_what.get(what)
            if found is None or OURS not in found.seconds:
                cells += [""] * (len(PEERS) + 2)
                continue
            cells.append(f"{found.seconds[OURS] * 1e6:.1f}")
            for peer in PEERS:
                ratio = found.ratio([peer])
                shown = "" if ratio is None else f"{ratio:.2f}"
                cells.append(f"[red]{shown}[/red]" if ratio is not None and ratio < 1 else shown)
            cells.append(f"{found.of_limit:.2f}{' ' if found.computing else 'm'}")
        table.add_row(layer, kind, *cells)
    console.print(table)
    for found in results:
        for name, error in found.failed.items():
            console.print(f"[red]{name} failed on {found.layer} {found.kind} {found.what}: {error}")
        slow = [name for name, graph in found.captured.items() if not graph]
        if slow:
            console.print(
                f"{found.layer} {found.kind} {found.what}: no graph, so with Python: {slow}"
            )
    for kind in KINDS:
        for what in ("forward", "both"):
            chosen = [f for f in results if f.kind == kind and f.what == what]
            ratios = {f.layer: r for f in chosen if (r := f.ratio(PEERS[:2])) is not None}
            if not ratios:
                continue
            behind = ", ".join(f"{name} {r:.2f}" for name, r in ratios.items() if r < 0.95)
            console.print(
                f"{kind} {what}: {geometric_mean(ratios.values()):.2f} over the better of cuDNN's "
                f"two settings (wanted: 1.5); below 0.95: {behind or 'none'}"
            )
    short = [
        f"{f.layer} {f.kind} {f.of_limit:.2f}{'' if f.computing else 'm'}"
        for f in results
        if f.what == "forward"
        and f.of_limit is not None
        and (f.large or not f.computing)
        and f.of_limit < (0.7 if f.computing else 0.8)
    ]
    console.print(f"short of 0.7 of the multiply-adds' limit or 0.8 of the bytes': {short}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="*", default=[], help="names in layers.json")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seconds", type=float, default=360, help="for all timings together")
    parser.add_argument("--json", type=Path, help="write everything that was measured")
    parser.add_argument("--tune", action="store_true", help="measure choices, write the table")
    parser.add_argument("--table", type=Path, default=choices.MEASURED, help="that table's file")
    parser.add_argument("--compile", type=int, metavar="SM", help="e.g. 90; needs no GPU")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 180)
    chosen = layers.load(arguments.layers, [layers.TRANSPOSED])
    if arguments.compile:
        compile_all(chosen, arguments.kinds, arguments.compile, console)
        return
    if not torch.cuda.is_available():
        sys.exit("there is no NVIDIA GPU; --compile 90 shows what is known without one")
    console.print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}"
    )
    if arguments.tune:
        tune(chosen, arguments.kinds, arguments.table, console, arguments.seconds)
        return
    run(chosen, arguments, console)


def run(chosen: Sequence[Layer], arguments: argparse.Namespace, console: Console) -> None:
    """Check, measure and show, and write the results after each step."""
    written: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}

    def write(**more: Any) -> None:
        written.update(more)
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(written, indent=1))

    console.print(
        f"one kernel, to see that any can be compiled: {check(chosen[0], 'bf16', 'zeros')}"
    )
    cases = [*product(chosen, arguments.kinds, CHECKED_MODES)]
    wrong = []
    # Side by side, since it is compiling that takes the time; what was compiled stays on disk.
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        found = pool.map(check, *zip(*cases, strict=True))
        for (layer, kind, mode), by_map in track(
            zip(cases, found, strict=True), "checking", len(cases), console=console
        ):
            for name, error in by_map.items():
                if isinstance(error, str) or not error <= 1:
                    wrong.append(f"{layer.name} {kind} {mode} {name}: {error}")
    console.print(f"wrong: {wrong or 'nothing'}")
    write(wrong=wrong)
    roofline = Roofline.measure()
    write(roofline=asdict(roofline))
    rates = {kind: f"{rate / 1e12:.0f}" for kind, rate in roofline.products.items()}
    console.print(f"copy {roofline.bandwidth / 1e12:.2f} TB/s, tera multiply-adds a second {rates}")
    results: list[Timing] = []
    runs = [*product(chosen, arguments.kinds, (False, True))]
    for layer, kind, both in track(runs, "timing", console=console):
        # What compiling takes is most of the time: one kind of it says what it is worth.
        peers = PEERS if kind == "bf16" and not both else PEERS[:2]
        budget = arguments.seconds / len(runs) / 2
        results.append(measure(layer, kind, both, roofline, budget, peers))
        write(results=[asdict(found) for found in results])
    show(results, console)
    failed = [found for found in results if OURS in found.failed]
    one, three, launches = anti_aliasing(1.0)
    write(anti_aliasing={"one": one, "three": three, "launches": launches})
    console.print(
        f"BigVGAN's anti-aliased upsampler: {launches} launch, {one * 1e6:.1f} us, "
        f"{three / one:.2f} times as fast as pad, transpose, crop"
    )
    cost = python_cost()
    write(host=cost)
    console.print(f"microseconds of the host for a tiny call: {cost}")
    if wrong or failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
