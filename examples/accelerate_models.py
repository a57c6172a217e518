"""Accelerate models of transformers with one line, and print by how much on your machine.

The models are the vocoders of SpeechT5 and VITS, and the encoders and decoders of DAC and EnCodec,
in their full size. Their weights are random, and take as long as trained ones. Each model runs in
turns with a copy that ``fracstride.torch.accelerate`` was called on, in torch's eager mode, and the
outputs are compared before anything is timed. Its convolutions are timed inside.

A length that was seen before is the easy case for torch, which prepares code for each length. Most
programs give each call a new one, as each sentence has its own.

With one thread, CPU time is measured; with more, the time that passes. Memory is allocated as it is
for a user: no environment variable is set.
"""

import argparse
import copy
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import fracstride as fs
import fracstride.torch

CLOSE = 1e-4  # of the output's peak: float32 sums in another order, through a whole model
CONVOLUTIONS = nn.Conv1d, nn.ConvTranspose1d
LENGTHS = "seen before", "new"


@dataclass
class Model:
    """A model, the shape of its input for a number of frames, and how many frames a second has."""

    name: str
    make: Callable[[], nn.Module]
    shape: Callable[[int], tuple[int, ...]]
    frames_a_second: float
    step: int = 1  # lengths differ by this many frames


def models(small: bool) -> list[Model]:
    """All models, perhaps with few channels, for a quick test of this program."""
    t = transformers

    def of(kind: str, part: str | None, **sizes: Any) -> Callable[[], nn.Module]:
        def make() -> nn.Module:
            config = getattr(t, kind.removesuffix("Model") + "Config")(**sizes if small else {})
            whole = getattr(t, kind)(config).eval()
            return whole if part is None else getattr(whole, part)

        return make

    vits = dict(hidden_size=16, flow_size=16, ffn_dim=16, upsample_initial_channel=32)
    dac = dict(encoder_hidden_size=4, decoder_hidden_size=64, hidden_size=64)
    encodec = dict(num_filters=4, hidden_size=16, codebook_dim=16)
    hifigan = of("SpeechT5HifiGan", None, model_in_dim=80, upsample_initial_channel=32)
    dac_channels, encodec_channels = (64, 16) if small else (1024, 128)
    return [
        Model("SpeechT5 vocoder", hifigan, lambda n: (1, n, 80), 62.5),
        Model(
            "VITS decoder",
            of("VitsModel", "decoder", **vits),
            lambda n: (1, 16 if small else 192, n),
            62.5,
        ),
        Model(
            "DAC decoder", of("DacModel", "decoder", **dac), lambda n: (1, dac_channels, n), 31.25
        ),
        Model("DAC encoder", of("DacModel", "encoder", **dac), lambda n: (1, 1, n), 16000, 512),
        Model(
            "EnCodec decoder",
            of("EncodecModel", "decoder", **encodec),
            lambda n: (1, encodec_channels, n),
            75,
        ),
        Model(
            "EnCodec encoder",
            of("EncodecModel", "encoder", **encodec),
            lambda n: (1, 1, n),
            24000,
            320,
        ),
    ]


class Watch:
    """Runs a model, and records the seconds of the whole and of its convolutions."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.clock: Callable[[], float] = time.perf_counter
        self.whole: list[float] = []
        self.layers: list[float] = []
        self._in_layers = 0.0
        for layer in model.modules():
            if isinstance(layer, CONVOLUTIONS):
                self._watch(layer)

    def _watch(self, layer: nn.Module) -> None:
        started = 0.0

        def before(*_: object) -> None:
            nonlocal started
            started = self.clock()

        def after(*_: object) -> None:
            self._in_layers += self.clock() - started

        layer.register_forward_pre_hook(before)
        layer.register_forward_hook(after)

    def __call__(self, x: Tensor) -> Tensor:
        """Run once."""
        self._in_layers, start = 0.0, self.clock()
        y = self.model(x)
        self.whole.append(self.clock() - start)
        self.layers.append(self._in_layers)
        return y[0] if isinstance(y, tuple) else y

    def forget(self, clock: Callable[[], float]) -> None:
        """Forget what was measured, and measure by another clock."""
        self.whole.clear()
        self.layers.clear()
        self.clock = clock


def check(name: str, torchs: Watch, ours: Watch, x: Tensor) -> float:
    """The difference of the outputs, relative to their peak. Raises SystemExit if it is large."""
    kinds = (fracstride.torch.Conv1d, fracstride.torch.ConvTranspose1d)
    layers = [m for m in ours.model.modules() if isinstance(m, CONVOLUTIONS)]
    if not all(isinstance(layer, kinds) for layer in layers):
        raise SystemExit(f"{name}: a layer was left alone")
    want, got = torchs(x), ours(x)
    difference = float((got - want).abs().max() / want.abs().max())
    if not difference < CLOSE:
        raise SystemExit(f"{name}: the outputs differ by {difference:.1e} of their peak")
    return difference


def measure(model: Model, seconds: float, rounds: int, threads: int, table: Table) -> list[float]:
    """Add rows to the table; torch's time over ours of the whole model, by kind of lengths."""
    torch.manual_seed(0)
    made = model.make()
    mine = fracstride.torch.accelerate(copy.deepcopy(made))  # a copy without the hooks
    torchs, ours = Watch(made), Watch(mine)
    clock = time.process_time if threads == 1 else time.perf_counter
    frames = max(1, round(seconds * model.frames_a_second / model.step)) * model.step
    x = torch.randn(model.shape(frames))
    difference, ratios = check(model.name, torchs, ours, x), []
    for lengths in LENGTHS:
        for watch in (torchs, ours):
            watch.forget(clock)
        for i in range(rounds):
            if lengths == "new":
                x = torch.randn(model.shape(frames + (i + 1) * model.step))
            for watch in (torchs, ours) if i % 2 else (ours, torchs):
                watch(x)
        cells = []
        for times in ("layers", "whole"):
            theirs, own = (median(getattr(watch, times)) for watch in (torchs, ours))
            cells += [f"{theirs * 1e3:.1f}", f"{own * 1e3:.1f}", f"{theirs / own:.2f}"]
        ratios.append(theirs / own)
        table.add_row(model.name, str(threads), lengths, *cells, f"{difference:.0e}")
    return ratios


def main() -> None:
    """Compare on all models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2, help="of audio in a call")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--models", default="", help="only those that have this in their name")
    parser.add_argument("--small", action="store_true", help="models of few channels: a test")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers.logging.set_verbosity_error()
    console = Console(width=140)
    table = Table(
        title=f"milliseconds, medians of {options.rounds} rounds, {options.seconds} s of audio"
    )
    for name in ("model", "threads", "length"):
        table.add_column(name, no_wrap=True)
    for part in ("convolutions", "whole"):
        for column in (f"{part}: torch", "ours", "torch/ours"):
            table.add_column(column, justify="right", no_wrap=True)
    table.add_column("difference", justify="right")
    summary = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        fs.set_num_threads(threads)
        ratios: list[list[float]] = []
        for model in models(options.small):
            if options.models in model.name:
                with torch.inference_mode():
                    ratios.append(measure(model, options.seconds, options.rounds, threads, table))
        for lengths, of_models in zip(LENGTHS, zip(*ratios, strict=True), strict=True):
            mean = math.exp(sum(map(math.log, of_models)) / len(of_models))
            summary.append(
                f"whole models, threads: {threads}, lengths {lengths}: torch / ours is {mean:.2f} "
                f"(geometric mean), {min(of_models):.2f} at the least"
            )
    console.print(table)
    for line in summary:
        print(line)


if __name__ == "__main__":
    main()
