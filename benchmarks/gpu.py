"""The maps on an NVIDIA GPU: right first, then against torch, the card's limit, and each other.

One command, made for ten minutes on one GPU (not yet run on one)::

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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import geometric_mean, median
from time import monotonic
from typing import Any

import layers
import torch
from layers import Layer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional as tf

import fracstride
import fracstride.torch as ft
from fracstride.geometry import Geometry
from fracstride.torch import kernels
from fracstride.torch.gpu import choices, maps
from fracstride.torch.gpu.capture import recorded
from fracstride.torch.gpu.tiles import Machine

KINDS = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "tf32": torch.float32,
    "fp32": torch.float32,
}
# Of the sum |x| |w|: what rounding operands and results to the kind may do, and a little more.
TOLERANCES = {"bf16": 2**-7, "fp16": 2**-10, "tf32": 2**-9, "fp32": 2**-20}
LARGE = 25e6  # multiply-adds from which a fraction of the limit is held against a target
CHECKED_MODES = ("zeros", "reflect")
WORKERS = 8
ft.use_triton()  # also in the processes of the check, which import this file
OURS, PEERS = "fracstride", ("torch", "torch benchmark", "torch compiled")


@dataclass
class Found:
    """What was found for one layer in one kind: errors, seconds by candidate, the limit."""

    layer: str
    kind: str
    what: str  # forward, or both: forward and backward
    seconds: dict[str, float] = field(default_factory=dict)
    limit: float = 0.0
    computing: bool = True
    large: bool = True
    failed: dict[str, str] = field(default_factory=dict)
    captured: dict[str, bool] = field(default_factory=dict)  # as a CUDA graph

    def ratio(self, peers: Sequence[str]) -> float | None:
        """The fastest of the peers over ours."""
        times = [self.seconds[peer] for peer in peers if peer in self.seconds]
        return min(times) / self.seconds[OURS] if times and OURS in self.seconds else None

    @property
    def of_limit(self) -> float | None:
        """The limit over our time."""
        return self.limit / self.seconds[OURS] if OURS in self.seconds else None


class Problem:
    """A layer's operands on the GPU, random and the same in every run."""

    def __init__(self, layer: Layer, dtype: torch.dtype, mode: str = "zeros") -> None:
        self.layer = layer
        self.geometry = Geometry(
            layer.k, layer.s, layer.p, layer.output_padding, layer.dilation, mode
        )
        torch.manual_seed(0)
        length = self.geometry.output_length(layer.L)
        shapes = (
            (layer.B, layer.C_in, layer.L),
            (layer.C_in, layer.C_out // layer.groups, layer.k),
            (layer.C_out,),
            (layer.B, layer.C_out, length),
        )
        self.x, self.w, self.b, self.gy = (torch.randn(s, device="cuda").to(dtype) for s in shapes)

    def sizes(self) -> tuple[int, int, int, int, int]:
        """The arguments of torch's function after the bias."""
        return layers.torch_sizes(self.layer)


def check(layer: Layer, kind: str, mode: str) -> dict[str, float | str]:
    """Error of each map against float64 on the CPU, over the tolerance: 1 is what is allowed.

    Or what went wrong, so that one layer's failure is not that of the run.
    """
    try:
        return {**errors(layer, kind, mode)}
    except Exception as error:
        return {"call": f"{type(error).__name__}: {error}"[:300]}


def errors(layer: Layer, kind: str, mode: str) -> dict[str, float]:
    """As :func:`check`, with exceptions."""
    fracstride.set_num_threads(2)  # of several processes
    settings("torch", kind)
    problem = Problem(layer, KINDS[kind], mode)
    geometry, groups = problem.geometry, layer.groups
    wide = [t.cpu().double() for t in (problem.x, problem.w, problem.b, problem.gy)]
    x, w, b, gy = wide
    ax, aw, ab, agy = (t.abs() for t in wide)
    exact = {
        "T": kernels.forward(x, w, b, geometry, groups),
        "C": kernels.input_grad(gy, w, layer.L, geometry, groups),
        "R": kernels.weight_grad(x, gy, geometry, groups),
    }
    scale = {
        "T": kernels.forward(ax, aw, ab, geometry, groups),
        "C": kernels.input_grad(agy, aw, layer.L, geometry, groups),
        "R": kernels.weight_grad(ax, agy, geometry, groups),
    }
    calls: dict[str, Callable[[], Tensor]] = {
        "T": lambda: maps.forward(problem.x, problem.w, problem.b, geometry, groups),
        "C": lambda: maps.input_grad(problem.gy, problem.w, layer.L, geometry, groups),
        "R": lambda: maps.weight_grad(problem.x, problem.gy, geometry, groups),
    }
    found = {}
    for name, call in calls.items():
        got = call()
        if not torch.equal(got, call()):
            found[name] = float("inf")  # other bits from run to run
            continue
        error = (got.cpu().double() - exact[name]).abs()
        error = torch.where(error == 0, 0, error / (scale[name] * TOLERANCES[kind]))
        found[name] = float(torch.nan_to_num(error, nan=float("inf")).max())
    return found


def candidates(problem: Problem, both: bool) -> dict[str, Callable[[], Any]]:
    """Calls by name; ``both`` with gradients of all three operands."""
    x, w, b, gy, sizes = problem.x, problem.w, problem.b, problem.gy, problem.sizes()
    geometry, groups = problem.geometry, problem.layer.groups
    if both:
        x, w, b = (t.detach().requires_grad_() for t in (x, w, b))

    def with_gradients(forward: Callable[..., Tensor]) -> Callable[[], Any]:
        def call() -> Any:
            y = forward(x, w, b)
            return torch.autograd.grad(y, (x, w, b), gy) if both else y

        return call

    def ours(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return ft.conv_transpose1d(
            x, w, b, geometry.stride, geometry.padding, geometry.output_padding, groups,
            geometry.dilation, padding_mode=geometry.padding_mode,
        )  # fmt: skip

    def torchs(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return tf.conv_transpose1d(x, w, b, *sizes)

    torch._dynamo.reset()  # it compiles a function for so many shapes only, then no more
    compiled: Callable[..., Tensor] = torch.compile(torchs, dynamic=False)
    return {
        OURS: with_gradients(ours),
        "torch": with_gradients(torchs),
        "torch benchmark": with_gradients(torchs),
        "torch compiled": with_gradients(compiled),
    }


def settings(name: str, kind: str) -> None:
    """Torch's global switches as a candidate wants them."""
    torch.backends.cudnn.benchmark = name in ("torch benchmark", "torch compiled")
    torch.backends.cudnn.allow_tf32 = kind == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"


def captured(call: Callable[[], Any]) -> tuple[Callable[[], Any], bool]:
    """The call as a CUDA graph, or itself where it cannot be one, and which."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except RuntimeError:
        torch.cuda.synchronize()
        return call, False
    return graph.replay, True


def seconds(calls: dict[str, Callable[[], Any]], kind: str, budget: float) -> dict[str, float]:
    """Median time of each call; they take turns, with a cache full of other data."""
    flush = torch.empty(128 << 20, dtype=torch.uint8, device="cuda")
    times: dict[str, list[float]] = {name: [] for name in calls}
    start = monotonic()
    while monotonic() - start < budget or min(map(len, times.values())) < 5:
        for name, call in calls.items():
            settings(name, kind)
            flush.zero_()
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            call()
            after.record()
            after.synchronize()
            times[name].append(before.elapsed_time(after) / 1e3)
        if len(times[name]) >= 200:
            break
    return {name: median(values) for name, values in times.items()}


@dataclass(frozen=True)
class Roofline:
    """What the card does at best, measured: bytes of a copy and multiply-adds a second, by kind."""

    bandwidth: float
    products: dict[str, float]

    @classmethod
    def measure(cls) -> Roofline:
        """By the largest copy and matrix product that take a millisecond or so."""
        from triton.testing import do_bench

        source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        copied = 2 * source.numel() / (do_bench(lambda: target.copy_(source)) / 1e3)
        rates = {}
        for kind, dtype in KINDS.items():
            settings("torch", kind)
            n = 8192 if kind != "fp32" else 4096
            a, b = (torch.randn(n, n, device="cuda").to(dtype) for _ in range(2))
            rates[kind] = n**3 / (do_bench(lambda a=a, b=b: a @ b) / 1e3)
        return cls(copied, rates)

    def limit(self, layer: Layer, kind: str, both: bool) -> tuple[float, bool]:
        """Seconds that a layer takes at least, and whether multiply-adds decide."""
        size = KINDS[kind].itemsize
        moved = layer.bytes / 4 * size
        maps = 3 if both else 1  # each reads two of the three tensors and writes the third
        computing = maps * layer.products / self.products[kind]
        moving = maps * moved / self.bandwidth
        return max(computing, moving), computing >= moving


def measure(
    layer: Layer, kind: str, both: bool, roofline: Roofline, budget: float, peers: Sequence[str]
) -> Found:
    """Time one layer."""
    what = "both" if both else "forward"
    found = Found(layer.name, kind, what, large=layer.products >= LARGE)
    problem = Problem(layer, KINDS[kind])
    found.limit, found.computing = roofline.limit(layer, kind, both)
    calls = {}
    for name, call in candidates(problem, both).items():
        if name != OURS and name not in peers:
            continue
        settings(name, kind)
        try:
            calls[name], found.captured[name] = captured(call)
        except Exception as error:  # a peer that cannot do a layer is left out, and said to be
            found.failed[name] = f"{type(error).__name__}: {error}"[:200]
    if calls:
        found.seconds = seconds(calls, kind, budget)
    return found


def anti_aliasing(budget: float) -> tuple[float, float, int]:
    """BigVGAN's upsampler: seconds of one launch, of its three operators, and launches of ours."""
    settings("torch benchmark", "fp32")
    channels, length = 256, 4000
    x = torch.randn(1, channels, length, device="cuda")
    w = torch.randn(1, 1, 12, device="cuda").repeat(channels, 1, 1)

    def three() -> Tensor:
        padded = tf.pad(x, (5, 5), "replicate")
        return tf.conv_transpose1d(padded, w, stride=2, groups=channels)[..., 15:-15]

    def one() -> Tensor:
        return ft.conv_transpose1d(
            x, w, stride=2, padding=5, groups=channels, padding_mode="replicate"
        )

    torch.testing.assert_close(one(), three(), rtol=1e-5, atol=1e-5)
    geometry = Geometry(12, 2, 5, padding_mode="replicate")
    with recorded() as launches:
        maps.forward(x, w, None, geometry, channels)
    times = seconds({"one": captured(one)[0], "three": captured(three)[0]}, "fp32", budget)
    return times["one"], times["three"], len(launches)


def python_cost() -> dict[str, float]:
    """Microseconds that the host takes to start a tiny call, ours and torch's."""
    x, w = torch.randn(1, 16, 64, device="cuda"), torch.randn(16, 16, 4, device="cuda")
    cost = {}
    with torch.inference_mode():
        for name, call in (
            (OURS, lambda: ft.conv_transpose1d(x, w, stride=2, padding=1)),
            ("torch", lambda: tf.conv_transpose1d(x, w, stride=2, padding=1)),
        ):
            for _ in range(50):
                call()
            torch.cuda.synchronize()
            start = monotonic()
            for _ in range(500):
                call()
            cost[name] = (monotonic() - start) / 500 * 1e6
            torch.cuda.synchronize()
    return cost


def tune(
    chosen: Sequence[Layer], kinds: Sequence[str], file: Path, console: Console, budget: float
) -> None:
    """Measure the candidates on layer after layer, for so many seconds; write what was best.

    What compiling takes is most of it: a run that ends early has written what it knows, and
    ``--layers`` says where the next one goes on.
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
    """Print what the compiler makes of the kernels that the model chooses."""
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


def show(results: Sequence[Found], console: Console) -> None:
    """One table: a row per layer and kind, forward and with gradients side by side."""
    table = Table(title="Microseconds, times of peers over ours, and how near the limit")
    table.add_column("layer")
    table.add_column("kind")
    for what in ("forward", "with gradients"):
        for column in ("us", *PEERS, "of limit"):
            table.add_column(f"{column}\n{what}", justify="right")
    rows: dict[tuple[str, str], dict[str, Found]] = {}
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
    """Run what the command line asks for."""
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
    chosen = layers.load(arguments.layers)
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
    """Check, time, show; what is known is written after each step."""
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
    results: list[Found] = []
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
