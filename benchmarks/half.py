"""How much time half precision saves, against our float32 and torch's half precision.

All three compute with the same numbers: operands are rounded to half precision first. Results are
compared with float64 before anything is timed. ``--help`` lists the options.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from statistics import geometric_mean
from typing import Any, ClassVar

import options
import timing
import torch
from layers import Layer, Problem
from peers import Candidate
from peers.torch_eager import module_of
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from timing import Spread
from torch import Tensor

import fracstride as fs
import fracstride.torch

TOLERANCE = 2.0  # largest error of a correct result, in epsilons of its largest value
COLUMNS = ("ours, float32", "ours", "torch")


class Half(Candidate):
    """The forward pass of a module in eval mode, or forward with all gradients in training mode."""

    package = "torch"
    library: ClassVar[Any] = fracstride.torch

    def __init__(
        self, problem: Problem, threads: int, half: torch.dtype, dtype: torch.dtype, train: bool
    ) -> None:
        torch.set_num_threads(threads)
        fs.set_num_threads(threads)
        n = problem.layer
        module = module_of(problem, self.library).train(train)
        self.module = module.to(half).to(dtype)
        self.x = torch.from_numpy(problem.x).to(half).to(dtype).requires_grad_(train)
        generator = torch.Generator().manual_seed(0)
        self.gy = torch.randn(n.output_shape, generator=generator).to(half).to(dtype)
        self.exactly = partial(getattr(torch.nn.functional, n.function), **n.sizes)
        self.train = train
        self.call = self.step if train else partial(self.module, self.x)

    def step(self) -> tuple[Tensor, ...]:
        """Gradients of input, weight and bias."""
        leaves = (self.x, self.module.weight, self.module.bias)
        return torch.autograd.grad(self.module(self.x), leaves, self.gy)

    def running(self) -> Any:
        """Inference mode, entered once rather than on every call, unless gradients are timed."""
        return torch.inference_mode(not self.train)

    def error(self) -> float:
        """Largest error of a result, in epsilons of its largest value in float64."""
        leaves = [self.x, self.module.weight, self.module.bias]
        wide = [leaf.detach().double().requires_grad_(self.train) for leaf in leaves]
        exact: Any = self.exactly(*wide)
        exact = torch.autograd.grad(exact, wide, self.gy.double()) if self.train else (exact,)
        with self.running():
            got = self.call() if self.train else (self.call(),)
        errors = [
            float((g.double() - e).abs().max() / e.abs().max())
            for g, e in zip(got, exact, strict=True)
        ]
        return max(errors) / torch.finfo(self.x.dtype).eps


class TorchHalf(Half):
    """torch's own module."""

    library = torch.nn


def run(layer: Layer, half: torch.dtype, train: bool, arguments: Any, seconds: float) -> Any:
    """Milliseconds of all three, ratios of the others to ours, our error in epsilons."""
    problem = Problem(layer)
    candidates = [
        Half(problem, arguments.threads, half, torch.float32, train),
        Half(problem, arguments.threads, half, half, train),
        TorchHalf(problem, arguments.threads, half, half, train),
    ]
    error = candidates[1].error()
    if not error <= TOLERANCE:
        return [], [], error
    times = timing.measure(candidates, seconds, arguments.clock)
    medians = [Spread.of(column).median * 1e3 for column in times.T]
    return medians, [Spread.of(times[:, i] / times[:, 1]).median for i in (0, 2)], error


def main() -> int:
    """Run the benchmark; 1 if a result was wrong."""
    parser = options.parser_of(__doc__, seconds=180)
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--train", action="store_true", help="forward and backward")
    arguments = options.parsed(parser)
    half = getattr(torch, arguments.dtype)
    todo = arguments.layers
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(
        f"{arguments.dtype}, {fs.config()['isa']}, {arguments.threads} thread(s) on cores "
        f"{arguments.cores}, torch {torch.__version__}"
    )
    what = "Forward and backward" if arguments.train else "Forward"
    table = Table(
        title=f"{what} in {arguments.dtype}: milliseconds, and the others' times divided by ours"
    )
    for column in ("layer", *COLUMNS, "float32 / ours", "torch / ours", "error / eps"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    end = time.perf_counter() + arguments.seconds
    ratios: list[list[float]] = []
    slower: list[str] = []
    wrong: list[str] = []
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(todo))
        for i, layer in enumerate(todo):
            progress.update(task, description=layer.name, completed=i, refresh=True)
            share = (end - time.perf_counter()) / (len(todo) - i)
            times, found, error = run(layer, half, arguments.train, arguments, share)
            if not found:
                wrong.append(layer.name)
                table.add_row(layer.name, "[bold red]wrong", "", "", "", "", f"{error:.2f}")
                continue
            ratios.append(found)
            slower += [
                f"{layer.name} ({ratio:.2f} of {other})"
                for ratio, other in zip(found, ("our float32", "torch"), strict=True)
                if ratio < 1
            ]
            shown = (*(f"{t:.3f}" for t in times), *(f"{r:.2f}" for r in found), f"{error:.2f}")
            table.add_row(layer.name, *shown)
    if ratios:
        table.add_section()
        means = [f"{geometric_mean(column):.2f}" for column in zip(*ratios, strict=True)]
        table.add_row("geometric mean", "", "", "", *means, "", style="bold")
    console.print(table)
    console.print(f"slower: {', '.join(slower) or 'on no layer'}", highlight=False)
    if wrong:
        console.print(f"[bold red]wrong: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
