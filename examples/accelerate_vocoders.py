"""Accelerate two vocoders of transformers with one line, and print by how much on your machine.

The models are the HiFi-GAN of SpeechT5, and VITS, in their full size. Their weights are random, and
take as long as trained ones. The transposed convolutions are timed inside each model, in turns with
those of a copy that ``fracstride.torch.accelerate`` was called on. The outputs are compared.

`make accelerate` has malloc keep freed memory (see the Makefile). By default, glibc returns blocks
of a few megabytes to the system and faults them in again. How many depends on where they lie: this
takes up to a third of torch's time, and makes one of two equal models up to a tenth slower.
"""

import argparse
import copy
import time
from collections.abc import Callable
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig, VitsConfig, VitsModel

import fracstride.torch

CLOSE = 1e-4  # of the output's peak: float32 sums in another order, through a whole model


class Watch:
    """Runs a model, and records the seconds of the whole and of each transposed convolution."""

    def __init__(self, model: nn.Module, run: Callable[[nn.Module], Tensor]) -> None:
        self.model, self.run = model, run
        self.layers = [m for m in model.modules() if isinstance(m, nn.ConvTranspose1d)]
        self.whole: list[float] = []
        self.each: list[list[float]] = [[] for _ in self.layers]
        for layer, times in zip(self.layers, self.each, strict=True):
            self._watch(layer, times)

    def _watch(self, layer: nn.Module, times: list[float]) -> None:
        started = 0.0

        def before(*_: object) -> None:
            nonlocal started
            started = time.perf_counter()

        def after(*_: object) -> None:
            times.append(time.perf_counter() - started)

        layer.register_forward_pre_hook(before)
        layer.register_forward_hook(after)

    def __call__(self) -> Tensor:
        """Run once. A model that draws noise draws the same each time."""
        torch.manual_seed(1)
        start = time.perf_counter()
        wave = self.run(self.model)
        self.whole.append(time.perf_counter() - start)
        return wave


def hifigan(frames: int) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """SpeechT5's vocoder and a spectrogram for it."""
    model = SpeechT5HifiGan(SpeechT5HifiGanConfig()).eval()
    spectrogram = torch.randn(frames, model.config.model_in_dim)
    return model, lambda m: m(spectrogram)


def vits(frames: int) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """The whole of VITS, from a few symbols to the wave, with random durations."""
    model = VitsModel(VitsConfig()).eval()
    symbols = torch.randint(0, model.config.vocab_size, (1, max(1, frames // 2)))
    return model, lambda m: m(symbols).waveform


def compare(name: str, model: nn.Module, run: Callable[[nn.Module], Tensor], rounds: int) -> Table:
    """Time the model and its accelerated copy in turns. Raises SystemExit if they differ."""
    mine = fracstride.torch.accelerate(copy.deepcopy(model))  # a copy without the hooks
    torchs, ours = Watch(model, run), Watch(mine, run)
    if not all(isinstance(layer, fracstride.torch.ConvTranspose1d) for layer in ours.layers):
        raise SystemExit(f"{name}: a layer was left alone")
    with torch.inference_mode():
        torchs(), ours()  # to warm up
        for watch in (torchs, ours):
            for times in (watch.whole, *watch.each):
                times.clear()
        waves = [(torchs(), ours()) for _ in range(rounds)][-1]
    difference = float((waves[1] - waves[0]).abs().max() / waves[0].abs().max())

    table = Table(title=f"{name}: milliseconds, medians of {rounds} rounds")
    table.add_column("")
    for column in ("torch", "fracstride", "torch / ours"):
        table.add_column(column, justify="right")

    def row(label: str, theirs: float, own: float) -> None:
        table.add_row(label, f"{theirs * 1e3:.2f}", f"{own * 1e3:.2f}", f"{theirs / own:.2f}")

    each = [[median(times) for times in watch.each] for watch in (torchs, ours)]
    for layer, theirs, own in zip(torchs.layers, *each, strict=True):
        sizes = f"{layer.in_channels} -> {layer.out_channels}, "
        row(f"{sizes}k={layer.kernel_size[0]} s={layer.stride[0]}", theirs, own)
    table.add_section()
    row("these layers together", *map(sum, each))
    row("the whole model", median(torchs.whole), median(ours.whole))
    table.caption = (
        f"{waves[0].shape[-1]} samples; the waves differ by {difference:.1e} of their peak"
    )
    if not difference < CLOSE:
        raise SystemExit(f"{name}: the waves differ by {difference:.1e} of their peak")
    return table


def main() -> None:
    """Compare on both models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200, help="about how much to synthesise")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    console = Console()
    for name, make in (("SpeechT5HifiGan", hifigan), ("VitsModel", vits)):
        torch.manual_seed(0)
        model, run = make(options.frames)
        console.print(compare(name, model, run, options.rounds))


if __name__ == "__main__":
    main()
