"""The time of value and gradient in JAX, against the ways that Equinox and Flax write the layer.

Equinox gives XLA a convolution of a dilated input, channels first; Flax calls lax.conv_transpose,
channels last. The third way puts zeros between the frames and then calls a plain convolution, which
newer versions of Equinox do. Each keeps its weight in a layout of its own. All are one jitted
function that gives the output and the gradients of input, weight and bias. These are compared with
float64 before anything is timed. The depthwise layer is short: XLA takes 15 s for 4000 frames.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import options
import timing
from jax import lax
from layers import Layer, Problem
from peers import Candidate
from peers.xla import swapped
from rich.console import Console
from rich.table import Table
from timing import Spread

import fracstride as fs
import fracstride.jax

LAYERS = [
    Layer("512->256 k16 s8", C_in=512, C_out=256, k=16, s=8, p=4, L=100),
    Layer("64->32 k4 s2", C_in=64, C_out=32, k=4, s=2, p=1, L=12800),
    Layer("256 depthwise k12 s2", C_in=256, C_out=256, k=12, s=2, p=5, groups=256, L=400),
    Layer("512->1 k16 s8", C_in=512, C_out=1, k=16, s=8, p=4, L=4000),
]
TOLERANCE = 1e-4  # of a gradient's largest value: sums over time are long in float32
TINY_ROUNDS, TINY_CALLS = 60, 200  # of the tiny layer, in turn with the others

Way = Callable[..., Any]


def ours(n: Layer) -> Way:
    """This library's function."""
    return lambda x, w, b: fracstride.jax.conv_transpose1d(x, w, b, **n.sizes)


def dilated(n: Layer) -> Way:
    """Equinox: XLA dilates the input itself."""
    reach = n.dilation * (n.k - 1) - n.p
    return lambda x, w, b: _convolution(n, x, w, reach, lhs_dilation=(n.s,)) + b[:, None]


def explicit_zeros(n: Layer) -> Way:
    """Newer versions of Equinox: zeros between the frames, then a plain convolution."""
    reach = n.dilation * (n.k - 1) - n.p

    def call(x: Any, w: Any, b: Any) -> Any:
        x = lax.pad(x, np.zeros((), x.dtype), ((0, 0, 0), (0, 0, 0), (0, 0, n.s - 1)))
        return _convolution(n, x, w, reach) + b[:, None]

    return call


def _convolution(n: Layer, x: Any, w: Any, reach: int, **more: Any) -> Any:
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=(1,),
        padding=[(reach, reach + n.output_padding)],
        rhs_dilation=(n.dilation,),
        feature_group_count=n.groups,
        dimension_numbers=("NCH", "OIH", "NCH"),
        **more,
    )


def channels_last(n: Layer) -> Way:
    """Flax: lax.conv_transpose, which has no groups; with groups, what it would call."""
    layout = ("NHC", "HIO", "NHC")
    reach = n.k - 1 - n.p

    def call(x: Any, w: Any, b: Any) -> Any:
        if n.groups == 1:
            return lax.conv_transpose(x, w, (n.s,), [(reach, reach)], dimension_numbers=layout) + b
        y = lax.conv_general_dilated(
            x,
            w,
            window_strides=(1,),
            padding=[(reach, reach)],
            lhs_dilation=(n.s,),
            dimension_numbers=layout,
            feature_group_count=n.groups,
        )
        return y + b

    return call


WAYS: dict[str, Callable[[Layer], Way]] = {
    "ours": ours,
    "Equinox": dilated,
    "Flax": channels_last,
    "zeros": explicit_zeros,
}


class Step(Candidate):
    """Output and gradients by one of the ways, each in its own layout."""

    package = "jax"

    def __init__(self, problem: Problem, way: str) -> None:
        n, self.way, self.problem = problem.layer, way, problem
        gy = np.random.default_rng(1).standard_normal(n.output_shape, np.float32)
        self.exact = exact(problem, gy)
        x, w = problem.x, problem.weight
        if way != "ours":
            w = swapped(n, w)
        if way == "Flax":
            x, w, gy = x.swapaxes(1, 2), w.transpose(2, 1, 0), gy.swapaxes(1, 2)
        function = WAYS[way](n)

        def step(x: Any, w: Any, b: Any, gy: Any) -> Any:
            y, backward = jax.vjp(function, x, w, b)
            return y, *backward(gy)

        given = [jax.device_put(a) for a in (x, w, problem.bias, gy)]
        compiled = jax.jit(step)
        self.call = lambda: jax.block_until_ready(compiled(*given))

    def error(self) -> float:
        """Largest error of a result, relative to its largest value in float64."""
        y, gx, gw, gb = map(np.asarray, self.call())
        if self.way == "Flax":
            y, gx, gw = y.swapaxes(1, 2), gx.swapaxes(1, 2), gw.transpose(2, 1, 0)
        results = y, gx, gw, gb
        y, gx, gw, gb = self.exact
        if self.way != "ours":
            gw = swapped(self.problem.layer, gw)
        wanted = y, gx, gw, gb
        pairs = zip(results, wanted, strict=True)
        return max(float(abs(a - b).max() / abs(b).max()) for a, b in pairs)


def exact(problem: Problem, gy: Any) -> tuple[Any, ...]:
    """Output and gradients in float64, by the NumPy face."""
    n = problem.layer
    x, w, b, gy = (a.astype(np.float64) for a in (problem.x, problem.weight, problem.bias, gy))
    return (
        fs.conv_transpose1d(x, w, b, **n.sizes),
        fs.conv_transpose1d_input_grad(gy, w, n.L, **n.sizes),
        fs.conv_transpose1d_weight_grad(x, gy, n.k, **n.sizes),
        gy.sum((0, 2)),
    )


def tiny_calls(clock: Callable[[], float]) -> dict[str, float]:
    """Microseconds of a jitted call of a tiny layer, and of a program that does next to nothing."""
    x, w = jax.numpy.ones((1, 1, 4)), jax.numpy.ones((1, 1, 2))
    calls = {
        "x * 2": jax.jit(lambda x, w: x * 2),
        "ours": jax.jit(lambda x, w: fracstride.jax.conv_transpose1d(x, w, stride=2)),
        "XLA": jax.jit(dilated_without_bias),
    }
    rounds: list[list[float]] = []
    for _ in range(TINY_ROUNDS):
        row = []
        for call in calls.values():
            call(x, w).block_until_ready()
            begin = clock()
            for _ in range(TINY_CALLS):
                call(x, w).block_until_ready()
            row.append((clock() - begin) / TINY_CALLS * 1e6)
        rounds.append(row)
    return dict(zip(calls, np.median(rounds, 0).tolist(), strict=True))


def dilated_without_bias(x: Any, w: Any) -> Any:
    """The tiny layer as XLA's convolution."""
    return _convolution(Layer("", 1, 1, 2, s=2), x, w, 1, lhs_dilation=(2,))


def row_of(layer: Layer, seconds: float, clock: Any) -> tuple[list[str], bool]:
    """The cells of a layer, and whether all results are right."""
    steps = [Step(Problem(layer), way) for way in WAYS]
    errors = [step.error() for step in steps]
    if max(errors) > TOLERANCE:
        return [layer.name, *(f"[bold red]{error:.1e}" for error in errors)], False
    times = timing.measure(steps, seconds, clock)
    cells = [layer.name]
    for i in range(len(steps)):
        cells.append(f"{Spread.of(times[:, i]).median * 1e3:.2f}")
    cells += [f"{Spread.of(times[:, i] / times[:, 0]).median:.1f}" for i in range(1, len(steps))]
    return cells, True


def main(chosen: Sequence[Layer] = tuple(LAYERS)) -> int:
    """Run the benchmark; 1 if a gradient was wrong."""
    parser = options.parser_of(__doc__, seconds=60)
    arguments = options.parsed(parser)
    fs.set_num_threads(arguments.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(
        f"float32, {fs.config()['isa']}, {arguments.threads} thread(s), jax {jax.__version__}"
    )
    table = Table(title="Value and gradients: milliseconds, and their times divided by ours")
    others = [way for way in WAYS if way != "ours"]
    for column in ("layer", *WAYS, *(f"{way} / ours" for way in others)):
        table.add_column(column, justify="left" if column == "layer" else "right")
    right = True
    for layer in chosen:
        cells, correct = row_of(layer, arguments.seconds / len(chosen), arguments.clock)
        table.add_row(*cells)
        right &= correct
    console.print(table)
    tiny = tiny_calls(arguments.clock)
    shown = ", ".join(f"{name} {microseconds:.1f}" for name, microseconds in tiny.items())
    console.print(f"microseconds of a tiny jitted call: {shown}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
