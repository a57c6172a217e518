"""The time of a training step, forward and backward, against torch eager.

Weights change on every step, so our time includes packing them. Gradients of input, weight and bias
are compared with float64 before anything is timed. ``--help`` lists the options.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import geometric_mean
from typing import Any

import options
import timing
import torch
from layers import Layer, Problem
from peers import Candidate
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from timing import Spread
from torch import Tensor

import fracstride as fs
import fracstride.torch

TOLERANCE = 1e-4  # of a gradient's largest value: sums over time are long in float32


class Step(Candidate):
    """Output, then the gradients of input, weight and bias, by a library's function."""

    package = "torch"

    def __init__(self, problem: Problem, threads: int, library: Any) -> None:
        torch.set_num_threads(threads)
        fs.set_num_threads(threads)
        n = problem.layer
        self.leaves = [
            torch.from_numpy(a).requires_grad_() for a in (problem.x, problem.weight, problem.bias)
        ]
        generator = torch.Generator().manual_seed(0)
        self.gy = torch.randn(n.output_shape, generator=generator)
        self.exactly = partial(gradients, getattr(torch.nn.functional, n.function), n)
        self.call = partial(gradients, getattr(library, n.function), n, self.leaves, self.gy)

    def error(self) -> float:
        """Largest error of a gradient, relative to its largest value in float64."""
        wide = [leaf.detach().double().requires_grad_() for leaf in self.leaves]
        pairs = zip(self.call(), self.exactly(wide, self.gy.double()), strict=True)
        return max(float((g - e).abs().max() / e.abs().max()) for g, e in pairs)


def gradients(
    function: Callable[..., Tensor], n: Layer, leaves: list[Tensor], gy: Tensor
) -> tuple[Tensor, ...]:
    """One forward and backward pass."""
    return torch.autograd.grad(function(*leaves, *n.sizes.values()), leaves, gy)


def run(
    layer: Layer, threads: int, seconds: float, clock: Callable[[], float]
) -> tuple[list[float], Spread | None, float]:
    """Milliseconds of both, their ratio, our error; no ratio where that is too large."""
    libraries = (fracstride.torch, torch.nn.functional)
    candidates = [Step(Problem(layer), threads, library) for library in libraries]
    error = candidates[0].error()
    if not error <= TOLERANCE:
        return [], None, error
    times = timing.measure(candidates, seconds, clock)
    medians = [Spread.of(column).median * 1e3 for column in times.T]
    return medians, Spread.of(times[:, 1] / times[:, 0]), error


def add_means(table: Table, ratios: Sequence[tuple[Layer, float]]) -> None:
    """A row with the geometric mean of each kind of layers, and of all if there are several."""
    kinds: dict[str, list[float]] = {}
    for layer, ratio in ratios:
        kinds.setdefault(layer.kind, []).append(ratio)
    if len(kinds) > 1:
        kinds["all"] = [ratio for _, ratio in ratios]
    table.add_section()
    for kind, values in kinds.items():
        shown = f"{geometric_mean(values):.2f}"
        table.add_row(f"geometric mean, {kind}", "", "", shown, "", style="bold")


def main() -> int:
    """Run the benchmark; 1 if a gradient was wrong."""
    arguments = options.parsed(options.parser_of(__doc__, seconds=180))
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(
        f"float32, {fs.config()['isa']}, {arguments.threads} thread(s) on cores "
        f"{arguments.cores}, torch {torch.__version__}"
    )
    table = Table(
        title="Forward and backward: milliseconds, and torch's time divided by ours (quartiles)"
    )
    for column in ("layer", "fracstride", "torch", "torch / ours", "largest error"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    end = time.perf_counter() + arguments.seconds
    ratios: list[tuple[Layer, float]] = []
    wrong: list[str] = []
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(arguments.layers))
        for i, layer in enumerate(arguments.layers):
            progress.update(task, description=layer.name, completed=i, refresh=True)
            share = (end - time.perf_counter()) / (len(arguments.layers) - i)
            times, ratio, error = run(layer, arguments.threads, share, arguments.clock)
            if ratio is None:
                wrong.append(layer.name)
                table.add_row(layer.name, "[bold red]wrong", "", "", f"{error:.1e}")
                continue
            ratios.append((layer, ratio.median))
            shown = f"{ratio.median:.2f} [dim]({ratio.low:.2f}-{ratio.high:.2f})[/dim]"
            table.add_row(layer.name, *(f"{t:.3f}" for t in times), shown, f"{error:.1e}")
    add_means(table, ratios)
    console.print(table)
    slower = [f"{layer.name} ({ratio:.2f})" for layer, ratio in ratios if ratio < 1]
    console.print(f"slower than torch on: {', '.join(slower) or 'no layer'}", highlight=False)
    if wrong:
        console.print(f"[bold red]wrong: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
