"""A stack of layers on 1, 2 and 4 processes, cut along time or channels, against one process.

The processes have one thread each. All start at the same tick of the machine's clock, and the time
of the last one counts. Calls of one process alternate with calls of all processes, so ratios are
taken within a round. The times of a message and of a sum are measured too. With these numbers the
model of ``cost_model.py`` is compared with the measured times, and then applied to other machines.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from cost_model import Machine, Stack, Step, all_reduce, along_channels, along_time
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import parallelize_module

import fracstride.torch as ft
from fracstride.geometry import Geometry
from fracstride.torch.distributed import (
    ColwiseConvTranspose1d,
    RowwiseConvTranspose1d,
    TimeParallel,
)
from fracstride.torch.distributed.halo import shard_bounds

# The upsampling of HiFi-GAN's V1 (Kong, Kim and Bae, 2020): 256 samples to a frame.
HIFIGAN = (
    Step(512, 256, Geometry(16, 8, 4)),
    Step(256, 128, Geometry(16, 8, 4)),
    Step(128, 64, Geometry(4, 2, 1)),
    Step(64, 32, Geometry(4, 2, 1)),
)
RANKS = (1, 2, 4)
SIZES = (2**10, 2**14, 2**18, 2**22, 2**24)  # bytes of a message
LEAD = 0.02  # seconds in which all processes learn when to start
# Assumed, not measured: 1,024 GPUs in groups of eight.
GPU = Machine(flops=400e12, latency=10e-6, bandwidth=50e9, layer=20e-6)


def made(stack: Stack) -> nn.Sequential:
    """The layers, with a leaky ReLU between them."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for step in stack.steps:
        g = step.geometry
        modules += [
            ft.ConvTranspose1d(
                step.in_channels, step.out_channels, g.kernel_size, g.stride, g.padding
            ),
            nn.LeakyReLU(0.1),
        ]
    return nn.Sequential(*modules[:-1])


def together(call: Callable[[], Any] | None, ranks: int) -> float:
    """Seconds from a common start until the last rank is done; None takes part without a call."""
    start = torch.tensor([time.monotonic() + LEAD], dtype=torch.float64)
    dist.broadcast(start, 0)
    while time.monotonic() < start.item() - 1e-3:
        time.sleep(1e-4)
    while call is not None and time.monotonic() < start.item():
        pass
    if call is not None:
        call()
    end = torch.tensor([time.monotonic() if call is not None else 0.0], dtype=torch.float64)
    dist.all_reduce(end, dist.ReduceOp.MAX)
    return float(end - start)


def median(call: Callable[[], Any] | None, ranks: int, rounds: int) -> float:
    """The median over some rounds, after one that is not counted."""
    return statistics.median([together(call, ranks) for _ in range(rounds + 1)][1:])


def arrived(y: Any) -> Tensor:
    """The tensor, after the collective that fills it has ended."""
    result: Tensor = y.wait() if isinstance(y, AsyncCollectiveTensor) else y
    return result


def wire(ranks: int, rounds: int) -> dict[str, list[float]]:
    """By size: seconds of a message to the next rank and one from the previous, and of a sum."""
    rank = dist.get_rank()
    seconds: dict[str, list[float]] = {"message": [], "sum": []}
    for size in SIZES:
        out, back = torch.zeros(size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8)
        numbers = torch.zeros(size // 4)

        def trade(out: Tensor = out, back: Tensor = back) -> None:
            pair = [
                dist.P2POp(dist.isend, out, (rank + 1) % ranks),
                dist.P2POp(dist.irecv, back, (rank - 1) % ranks),
            ]
            for work in dist.batch_isend_irecv(pair):
                work.wait()

        def total(numbers: Tensor = numbers) -> None:
            dist.all_reduce(numbers)

        for kind, call in (("message", trade), ("sum", total)):
            often = partial(repeat, call, max(1, min(20, SIZES[-1] // size)))
            seconds[kind].append(median(often, ranks, rounds) / often.args[1])
    return seconds


def repeat(call: Callable[[], Any], times: int) -> None:
    """One after the other."""
    for _ in range(times):
        call()


def rank_of(rank: int, ranks: int, stack: Stack, rounds: int, folder: str) -> None:
    """One process on one core, where the threads that bring its messages run too."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=(Path(folder) / f"store-{ranks}").as_uri(), rank=rank, world_size=ranks
    )
    mesh = init_device_mesh("cpu", (ranks,))
    one, by_time, by_channels = made(stack), made(stack), made(stack)
    parallelize_module(by_time, mesh, TimeParallel())
    styles = {
        str(2 * i): (RowwiseConvTranspose1d if i % 2 else ColwiseConvTranspose1d)()
        for i in range(len(stack.steps))
    }
    parallelize_module(by_channels, mesh, styles)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(stack.batch, stack.steps[0].in_channels, stack.L, generator=generator)
    first, stop = shard_bounds(stack.L, ranks, rank)
    mine = x[:, :, first:stop].clone()
    tiny = x[:, :, :2].clone()
    times: dict[str, list[float]] = defaultdict(list)
    with torch.inference_mode():
        want = one(x)
        first, stop = shard_bounds(want.shape[2], ranks, rank)
        assert torch.equal(by_time(mine), want[:, :, first:stop])
        torch.testing.assert_close(arrived(by_channels(x)), want, rtol=1e-3, atol=1e-4)
        del want
        for turn in range(rounds + 1):
            for name, call in (
                ("one", (lambda: one(x)) if rank == 0 else None),
                ("time", lambda: by_time(mine)),
                ("channels", lambda: arrived(by_channels(x))),
                ("tiny one", lambda: one(tiny)),
                ("tiny time", lambda: by_time(tiny)),
            ):
                seconds = together(call, ranks)
                if turn:
                    times[name].append(seconds)
    seen = {"times": dict(times), "wire": wire(ranks, 2 * rounds) if ranks > 1 else {}}
    dist.barrier()
    if rank == 0:
        torch.save(seen, Path(folder) / f"seen-{ranks}")
    dist.destroy_process_group()
    os._exit(0)  # torch 2.13 may abort at the end of a process in which a mesh is alive


def measured(stack: Stack, rounds: int) -> dict[int, dict[str, Any]]:
    """Measure each number of ranks."""
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        for ranks in RANKS:
            mp.spawn(rank_of, (ranks, stack, rounds, folder), nprocs=ranks)  # type: ignore[no-untyped-call]
            seen[ranks] = torch.load(Path(folder) / f"seen-{ranks}")
    return seen


def fitted(stack: Stack, seen: dict[int, dict[str, Any]]) -> Machine:
    """The constants of this machine, from the time of one process and the messages of two."""
    flops = stack.flops / statistics.median(seen[1]["times"]["one"])
    small, large = (seen[2]["wire"]["message"][i] for i in (0, -1))
    bandwidth = (SIZES[-1] - SIZES[0]) / (large - small)
    tiny = (statistics.median(seen[1]["times"][f"tiny {kind}"]) for kind in ("time", "one"))
    layer = max(0.0, next(tiny) - next(tiny)) / len(stack.steps)
    return Machine(flops, small, bandwidth, layer)


def report(console: Console, stack: Stack, seen: dict[int, dict[str, Any]]) -> float:
    """Print the measurements beside the model; the ratio of two ranks to one process."""
    here, cores = fitted(stack, seen), len(os.sched_getaffinity(0))
    console.print(
        f"\nOne process: {here.flops / 1e9:.0f} GFLOP/s of layers and activations. A message "
        f"takes {here.latency * 1e6:.0f} us and {here.bandwidth / 1e9:.2f} GB/s, a layer "
        f"{here.layer * 1e6:.0f} us more than in one process."
    )
    table = Table(title="Forward, one thread a rank: milliseconds")
    for column in ("ranks", "cut", "one process", "all ranks", "ratio", "model", "model/clock"):
        table.add_column(column, justify="left" if column == "cut" else "right")
    ratio = 0.0
    for ranks in RANKS:
        # If there are more ranks than cores, they share the cores.
        share = replace(here, flops=here.flops * min(1.0, cores / ranks))
        for cut, model in (("time", along_time), ("channels", along_channels)):
            times = seen[ranks]["times"]
            ratios = [a / b for a, b in zip(times["one"], times[cut], strict=True)]
            clock, expected = statistics.median(times[cut]), model(stack, ranks, share)
            if (ranks, cut) == (2, "time"):
                ratio = statistics.median(ratios)
            table.add_row(
                str(ranks),
                cut,
                f"{statistics.median(times['one']) * 1e3:.1f}",
                f"{clock * 1e3:.1f}",
                f"{statistics.median(ratios):.2f}",
                f"{expected * 1e3:.1f}",
                f"{expected / clock:.2f}",
            )
    console.print(table)
    table = Table(title="Messages and sums: milliseconds")
    for column in (
        "bytes",
        "message, 2 ranks",
        "4",
        "sum, 2 ranks",
        "4",
        "model of the sum, 2",
        "4",
    ):
        table.add_column(column, justify="right")
    for i, size in enumerate(SIZES):
        row = [seen[n]["wire"][kind][i] for kind in ("message", "sum") for n in (2, 4)]
        row += [all_reduce(size, n, here) for n in (2, 4)]
        table.add_row(f"{size:,}", *(f"{seconds * 1e3:.2f}" for seconds in row))
    console.print(table)
    return ratio


def carried_on(console: Console) -> None:
    """The model's times for other machines."""
    g = GPU
    console.print(
        f"\nNot measured: the model with {g.flops / 1e12:.0f} TFLOP/s reached, "
        f"{g.latency * 1e6:.0f} us and {g.bandwidth / 1e9:.0f} GB/s to a neighbour, "
        f"{g.layer * 1e6:.0f} us a layer; bfloat16. Halos and sums as a part of the time."
    )
    for frames in (6 * 1024, 55 * 1024, 3296 * 1024):
        stack = Stack(HIFIGAN, 1, frames, 2)
        seconds = frames * 256 / 24_000
        table = Table(
            title=f"{seconds:,.0f} s of audio at 24 kHz, {stack.flops / 1e12:.1f} TFLOP, "
            f"{stack.signal_bytes / 1e9:.2f} GB of input and output of a layer"
        )
        for column in ("GPUs", "time: ms", "halos", "bytes", "channels: ms", "sums"):
            table.add_column(column, justify="right")
        for ranks in (1, 8, 32, 128, 512, 1024):
            t = along_time(stack, ranks, g)
            row = [
                f"{ranks:,}",
                f"{t * 1e3:.3f}",
                f"{1 - along_time(stack, 1, alone(ranks)) / t:.0%}",
            ]
            row.append(f"{sum(stack.halo_bytes(ranks)) if ranks > 1 else 0:,}")
            if ranks <= stack.channels:
                c = along_channels(stack, ranks, g)
                row += [f"{c * 1e3:.3f}", f"{1 - along_time(stack, 1, alone(ranks)) / c:.0%}"]
            table.add_row(*row)
        console.print(table)


def alone(ranks: int) -> Machine:
    """One GPU as fast as so many GPUs together, which needs no messages."""
    return replace(GPU, flops=GPU.flops * ranks)


def main() -> None:
    """Measure, compare with the model, apply the model to other machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=6144, help="frames of the signal")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts")
    parser.add_argument("--model", action="store_true", help="the model alone, nothing measured")
    options = parser.parse_args()
    console = Console()
    if not options.model:
        stack = Stack(HIFIGAN, 1, options.frames)
        console.print(
            f"{options.frames} frames through {len(HIFIGAN)} layers: {stack.flops / 1e9:.1f} GFLOP,"
            f" halos of {stack.halo_bytes(2)} bytes at the seam of two ranks, sums of "
            f"{stack.sum_bytes()} bytes for pairs of layers cut along channels"
        )
        ratio = report(console, stack, measured(stack, options.rounds))
        console.print(f"Two ranks, cut along time: [bold]{ratio:.2f}[/] times one process.")
    carried_on(console)


if __name__ == "__main__":
    main()
