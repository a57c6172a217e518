"""Whole models in pieces: the time of all pushes beside that of the whole signal at once.

The bits are compared before anything is timed. What is outside kernels is the part of a push of one
frame in which none of them runs: checking the chunk, finding the steps, copying chunk and result,
moving what is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import model_zoo
import numpy as np
import timing
from rich.console import Console
from rich.table import Table

import fracstride as fs
from fracstride.network.streaming import NetworkStream
from fracstride.network.streaming.part_plan import Piece

FRAMES = 48  # of a signal
CHUNKS = (8, 1)  # frames of a push
PUSHES = 200  # of one frame


@dataclass(frozen=True)
class Streamed:
    """A model's times."""

    model: str
    threads: int
    offline_ms: float
    pushes: dict[int, float]  # by the frames of a push, over offline
    late_ms: float  # of audio
    push_us: float  # of one frame
    outside: float  # part of it


class Subject:
    """A network and its stream, on arrays as signals."""

    def __init__(self, model: Any) -> None:
        if isinstance(model, model_zoo.OnnxModel):
            import fracstride.onnx

            self.net: Any = fracstride.onnx.load(model.file, list(model.inputs), [model.output])
            self.inputs = model.examples(FRAMES)
            self.axes = [list(shape).index("T") for shape in model.inputs.values()]
            self.stream: Any = self.net.stream()
        else:
            import torch

            import fracstride.torch

            example = torch.from_numpy(model.example(12 * model.step))
            compiled = fracstride.torch.compile(model.build(), example, time=model.time)
            self.net = compiled
            self.inputs = [torch.from_numpy(model.example(FRAMES * model.step))]
            self.axes, self.stream = [model.time], compiled.stream()
        self.step = model.step

    def chunks(self, frames: int) -> list[list[Any]]:
        """The inputs in pieces of so many frames."""
        size = frames * self.step
        pieces = []
        for start in range(0, FRAMES * self.step, size):
            index = [(*[slice(None)] * axis, slice(start, start + size)) for axis in self.axes]
            pieces.append([x[place] for x, place in zip(self.inputs, index, strict=True)])
        return pieces

    def pushes(self, frames: int) -> Callable[[], list[Any]]:
        """A function that streams all of it."""
        chunks = self.chunks(frames)
        return lambda: [*(self.stream.push(*chunk) for chunk in chunks), self.stream.flush()]


def measure(model: Any, threads: int, seconds: float) -> Streamed:
    """The times of one model."""
    subject = Subject(model)
    fs.set_num_threads(threads)
    whole = np.asarray(subject.net(*subject.inputs))
    calls = [lambda: subject.net(*subject.inputs), *map(subject.pushes, CHUNKS)]
    for call in calls[1:]:
        pieces = [np.asarray(piece) for piece in call()]
        assert np.array_equal(np.concatenate(pieces, -1), whole), f"{model.name}: other bits"
    # The time of the process does not count what others use, and serves for one thread.
    clock = time.process_time if threads == 1 else time.perf_counter
    rounds, end = [], time.perf_counter() + seconds
    while len(rounds) < timing.MIN_ROUNDS or time.perf_counter() < end:
        took = []
        for call in calls:
            timing.settle()
            begin = clock()
            call()
            took.append(clock() - begin)
        rounds.append(took)
    times = np.array(rounds)
    ratios = np.median(times[:, 1:] / times[:, :1], axis=0)
    push, kernels = one_frame(subject.stream, subject.chunks(1))
    late = subject.stream.latency / model.rate
    if subject.stream.rate < 1:  # an encoder: frames come out
        late = float(subject.stream.latency / subject.stream.rate) / model.rate
    return Streamed(
        model.name,
        threads,
        1000 * float(np.median(times[:, 0])),
        dict(zip(CHUNKS, map(float, ratios), strict=True)),
        1000 * late,
        1e6 * push,
        max(0.0, 1 - kernels / push),
    )


def one_frame(stream: NetworkStream, chunks: Sequence[Sequence[Any]]) -> tuple[float, float]:
    """Seconds of a push of one frame in the middle of a signal, and of the kernels in it."""
    schedule = stream.schedule
    _, ticks = stream.chunks.signals(chunks[0])
    for _ in range(ceil((schedule.settled + 1) / ticks) + 1):
        stream.push(*chunks[0])
    place = schedule.settled + (-schedule.settled) % schedule.period
    piece = Piece(place, ticks, ends=False, rows=(0, 1))
    plan = stream.memory.plan(piece)
    pushes, kernels = [], []
    for number in range(PUSHES):
        begin = time.perf_counter()
        stream.push(*chunks[number % len(chunks)])
        pushes.append(time.perf_counter() - begin)
        kernels.append(plan.push.seconds)
    assert stream.memory.plan(piece) is plan
    moves = []
    for _ in range(PUSHES):
        times = plan.steps.run_timed()
        moves.append(sum(times[index] for index in plan.moving))
    stream.reset()
    return float(np.median(pushes)), float(np.median(kernels) - np.median(moves))


def table(results: Sequence[Streamed]) -> Table:
    """One line for each model."""
    shown = Table(title=f"{FRAMES} frames in pieces, over the whole at once (float32)")
    shown.add_column("model")
    names = ("threads", "whole, ms", *(f"{n} frames a push" for n in CHUNKS), "late, ms")
    for name in (*names, "a push of 1, us", "outside kernels"):
        shown.add_column(name, justify="right")
    for r in results:
        ratios = (f"{r.pushes[n]:.2f}" for n in CHUNKS)
        numbers = (f"{r.late_ms:.0f}", f"{r.push_us:.0f}", f"{r.outside:.0%}")
        shown.add_row(r.model, str(r.threads), f"{r.offline_ms:.0f}", *ratios, *numbers)
    return shown


def main() -> int:
    """Measure the models of the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[], help="of the list; all by default")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=20, help="for each model")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    timing.keep_freed_memory()
    timing.pin(max(arguments.threads))
    results = []
    for model in model_zoo.load(arguments.models):
        for threads in arguments.threads:
            results.append(measure(model, threads, arguments.seconds))
            print(f"{model.name}, {threads}: {results[-1].pushes}", file=sys.stderr)
    Console(width=None if sys.stdout.isatty() else 150).print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
