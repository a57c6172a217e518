"""The time of a training step, forward and backward, against torch eager.

Weights change on every step, so our time includes packing them. Gradients of input, weight and bias
are compared with float64 before anything is timed. ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from statistics import geometric_mean
from typing import Any

import layers
import timing
import torch
from layers import Layer, Problem, torch_sizes
from peers import Candidate
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from timing import Spread
from torch import Tensor
from torch.nn.functional import conv_transpose1d

import fracstride as fs
import fracstride.torch

TOLERANCE = 1e-4  # of a gradient's largest value: sums over time are long in float32


class Step(Candidate):
    """Output, then the gradients of input, weight and bias."""

    package = "torch"
    function: Any = None

    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        fs.set_num_threads(threads)
        self.leaves = [
            torch.from_numpy(a).requires_grad_() for a in (problem.x, problem.weight, problem.bias)
        ]
        self.sizes = torch_sizes(problem.layer)
        generator = torch.Generator().manual_seed(0)
        self.gy = torch.randn(problem.layer.output_shape, generator=generator)
        self.call = partial(self.step, self.leaves, self.gy)

    def step(self, leaves: list[Tensor], gy: Tensor) -> tuple[Tensor, ...]:
        """One forward and backward pass."""
        y = type(self).function(*leaves, *self.sizes)
        return torch.autograd.grad(y, leaves, gy)

    def error(self) -> float:
        """Largest error of a gradient, relative to its largest value in float64."""
        wide = [leaf.detach().double().requires_grad_() for leaf in self.leaves]
        y = conv_transpose1d(*wide, *self.sizes)
        exact = torch.autograd.grad(y, wide, self.gy.double())
        pairs = zip(self.call(), exact, strict=True)
        return max(float((g - e).abs().max() / e.abs().max()) for g, e in pairs)


class Fracstride(Step):
    """Ours, through torch's autograd."""

    name = "fracstride"
    function = staticmethod(fracstride.torch.conv_transpose1d)


class Torch(Step):
    """torch eager."""

    name = "torch"
    function = staticmethod(conv_transpose1d)


def run(layer: Layer, threads: int, seconds: float) -> tuple[list[float], Spread | None, float]:
    """Milliseconds of both, their ratio, our error; no ratio where that is too large."""
    candidates = [kind(Problem(layer), threads) for kind in (Fracstride, Torch)]
    error = candidates[0].error()
    if not error <= TOLERANCE:
        return [], None, error
    times = timing.measure(candidates, seconds)
    medians = [Spread.of(column).median * 1e3 for column in times.T]
    return medians, Spread.of(times[:, 1] / times[:, 0]), error


def main() -> int:
    """Run the benchmark; 1 if a gradient was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for both")
    parser.add_argument("--seconds", type=float, default=90, help="for the whole run, about")
    arguments = parser.parse_args()
    try:
        todo = layers.load(arguments.layers)
        cores = timing.pin(arguments.threads)
    except ValueError as error:
        parser.error(str(error))
    timing.keep_freed_memory()
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(
        f"float32, {fs.config()['isa']}, {arguments.threads} thread(s) on cores {cores}, "
        f"torch {torch.__version__}"
    )
    table = Table(
        title="Forward and backward: milliseconds, and torch's time divided by ours (quartiles)"
    )
    for column in ("layer", "fracstride", "torch", "torch / ours", "largest error"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    end = time.perf_counter() + arguments.seconds
    ratios: list[float] = []
    slower: list[str] = []
    wrong: list[str] = []
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(todo))
        for i, layer in enumerate(todo):
            progress.update(task, description=layer.name, completed=i, refresh=True)
            share = (end - time.perf_counter()) / (len(todo) - i)
            times, ratio, error = run(layer, arguments.threads, share)
            if ratio is None:
                wrong.append(layer.name)
                table.add_row(layer.name, "[bold red]wrong", "", "", f"{error:.1e}")
                continue
            ratios.append(ratio.median)
            if ratio.median < 1:
                slower.append(f"{layer.name} ({ratio.median:.2f})")
            shown = f"{ratio.median:.2f} [dim]({ratio.low:.2f}-{ratio.high:.2f})[/dim]"
            table.add_row(layer.name, *(f"{t:.3f}" for t in times), shown, f"{error:.1e}")
    if ratios:
        table.add_section()
        table.add_row("geometric mean", "", "", f"{geometric_mean(ratios):.2f}", "", style="bold")
    console.print(table)
    console.print(f"slower than torch on: {', '.join(slower) or 'no layer'}", highlight=False)
    if wrong:
        console.print(f"[bold red]wrong: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
