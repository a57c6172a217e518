"""Train a small network to make speech four times as dense in time; the result is train.png.

Every layer is a transposed convolution: two of them double the sampling rate, the others keep it.
The network adds what straight lines between the samples miss. With ``--layer both`` it is trained
twice at the same time, on this library's layer and on torch's: same seed, same batches, same curve.
"""

import argparse
import wave
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich import print
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

import fracstride.torch

FACTOR = 4
HELD_OUT = 0.2  # of the speech, at its end: never trained on
LAYERS = {"fracstride": fracstride.torch.ConvTranspose1d, "torch": nn.ConvTranspose1d}


class Upsampler(nn.Module):
    """Straight lines between the samples, and a learned correction."""

    def __init__(self, layer: type[nn.ConvTranspose1d], channels: int) -> None:
        super().__init__()
        self.correction = nn.Sequential(
            layer(1, channels, kernel_size=9, padding=4),
            nn.LeakyReLU(0.1),
            layer(channels, channels, kernel_size=8, stride=2, padding=3),
            nn.LeakyReLU(0.1),
            layer(channels, channels // 2, kernel_size=8, stride=2, padding=3),
            nn.LeakyReLU(0.1),
            layer(channels // 2, 1, kernel_size=9, padding=4),
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, 1, L) to (batch, 1, 4*L)."""
        return interpolate(x) + self.correction(x)


class Run:
    """One network on its way through the training, with its losses and the time that it took."""

    def __init__(self, layer: type[nn.ConvTranspose1d], args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.model = Upsampler(layer, args.channels)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=args.rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, args.steps)
        self.losses: list[float] = []
        self.seconds = 0.0

    def step(self, x: Tensor, target: Tensor) -> None:
        """Learn from one batch."""
        start = perf_counter()
        loss = F.mse_loss(self.model(x), target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        self.seconds += perf_counter() - start


def interpolate(x: Tensor) -> Tensor:
    """Straight lines."""
    return F.interpolate(x, scale_factor=FACTOR, mode="linear")


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Read 16-bit mono PCM, scaled to a mean square of 1."""
    if not path.exists():
        raise SystemExit(f"{path} is not there: `make demo` writes demo.wav, or name another file.")
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2 or file.getnchannels() != 1:
            raise SystemExit(f"{path} is not 16-bit mono.")
        audio = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
        rate = file.getframerate()
    return audio / np.sqrt(np.mean(audio**2)), rate


def decimate(audio: np.ndarray, half_width: int = 16) -> np.ndarray:
    """Keep one sample of four, after a low-pass: a sinc under a Hann window.

    Frame t stands in the middle of samples 4*t to 4*t + 3, as in ``interpolate``.
    """
    t = (np.arange(2 * half_width * FACTOR) + 0.5) / FACTOR - half_width
    low_pass = np.sinc(t) * np.cos(np.pi * t / (2 * half_width)) ** 2
    padded = np.pad(audio, (t.size - FACTOR) // 2)
    smooth = np.convolve(padded, low_pass / low_pass.sum(), mode="valid")
    return smooth[::FACTOR].astype(np.float32)


def snr(model: Callable[[Tensor], Tensor], x: Tensor, target: Tensor) -> float:
    """Signal over error, in dB."""
    with torch.no_grad():
        error = model(x) - target
    return 10 * float(torch.log10(target.square().sum() / error.square().sum()))


def train(runs: dict[str, Run], x: Tensor, target: Tensor, args: argparse.Namespace) -> None:
    """Give all runs the same random crops."""
    generator = torch.Generator().manual_seed(args.seed)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}")
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("training", total=args.steps, loss="")
        for _ in range(args.steps):
            starts = torch.randint(x.size(2) - args.crop, (args.batch,), generator=generator)
            crops = starts[:, None] + torch.arange(args.crop)
            batch = x[0, :, crops].transpose(0, 1)
            wanted = target.view(1, -1, FACTOR)[:, crops].reshape(1, args.batch, -1).transpose(0, 1)
            for run in runs.values():
                run.step(batch, wanted)
            recent = (f"{name} {np.mean(run.losses[-50:]):.4f}" for name, run in runs.items())
            progress.update(task, advance=1, loss="loss " + ", ".join(recent))


def draw(runs: dict[str, Run], path: Path) -> None:
    """Save the loss curves, each step's and smoothed, as a picture."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, run), style in zip(runs.items(), ("-", "--"), strict=False):
        width = max(1, len(run.losses) // 40)
        smooth = np.convolve(run.losses, np.ones(width) / width, mode="valid")
        axes.plot(run.losses, "0.85", linewidth=0.5, zorder=0)
        axes.plot(np.arange(smooth.size) + width // 2, smooth, style, linewidth=2, label=name)
    axes.set(xlabel="step", ylabel="mean squared error", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path, nargs="?", default=Path("demo.wav"))
    parser.add_argument("--layer", choices=[*LAYERS, "both"], default="both")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=256, help="frames of input")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3, help="of learning, at first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("train.png"))
    args = parser.parse_args()

    audio, rate = read_wav(args.speech)
    audio = audio[: audio.size // FACTOR * FACTOR]
    x, target = (torch.from_numpy(a)[None, None] for a in (decimate(audio), audio))
    cut = round(x.size(2) * (1 - HELD_OUT))
    unheard = x[..., cut:], target[..., cut * FACTOR :]

    runs = {name: Run(LAYERS[name], args) for name in LAYERS if args.layer in (name, "both")}
    train(runs, x[..., :cut], target[..., : cut * FACTOR], args)
    draw(runs, args.picture)
    print(f"{args.speech}: {rate / FACTOR:g} to {rate} Hz, {args.steps} steps, {args.picture}")
    table = Table("", "seconds", "SNR on unheard speech")
    table.add_row("straight lines", "", f"{snr(interpolate, *unheard):.2f} dB")
    for name, run in runs.items():
        table.add_row(name, f"{run.seconds:.1f}", f"{snr(run.model, *unheard):.2f} dB")
    print(table)
    if args.layer == "both":
        ours, theirs = (np.array(run.losses) for run in runs.values())
        print(f"largest relative difference of the curves: {np.max(abs(ours / theirs - 1)):.1e}")


if __name__ == "__main__":
    main()
