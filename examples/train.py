"""Train a small network that raises the sampling rate of demo.wav by four; see train.png.

Every layer is a transposed convolution: two of them double the sampling rate, two keep it. The
network learns the difference between the speech and straight lines between its samples. With
``--layer both`` it is trained twice in parallel, with this library's layer and with torch's: from
the same start, on the same batches, and with the same loss curve.
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
from torch.nn.functional import interpolate, mse_loss

import fracstride.torch

FACTOR = 4
CUTOFF = 0.9  # share of the highest frequency that the lower rate can carry
HELD_OUT = 0.2  # share of the speech, at its end, that is never trained on
LAYERS = {"fracstride": fracstride.torch.ConvTranspose1d, "torch": nn.ConvTranspose1d}


def straight_lines(x: Tensor) -> Tensor:
    """Interpolate linearly."""
    return interpolate(x, scale_factor=FACTOR, mode="linear")


class Upsampler(nn.Module):
    """From (batch, 1, L) to (batch, 1, 4*L): straight lines and a learned correction."""

    def __init__(self, layer: type[nn.ConvTranspose1d], channels: int) -> None:
        super().__init__()
        self.correction = nn.Sequential(
            layer(1, channels, kernel_size=9, padding=4),
            nn.SiLU(),  # smooth: at a kink, one rounding error would separate the two curves
            layer(channels, channels, kernel_size=8, stride=2, padding=3),
            nn.SiLU(),
            layer(channels, channels // 2, kernel_size=8, stride=2, padding=3),
            nn.SiLU(),
            layer(channels // 2, 1, kernel_size=9, padding=4),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Straight lines plus the correction."""
        return straight_lines(x) + self.correction(x)


class Run:
    """One network in training, with its losses and the seconds of its steps."""

    def __init__(self, layer: type[nn.ConvTranspose1d], args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.model = Upsampler(layer, args.channels)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, args.steps)
        self.losses: list[float] = []
        self.seconds = 0.0

    def step(self, x: Tensor, target: Tensor) -> None:
        """Learn from one batch."""
        start = perf_counter()
        loss = mse_loss(self.model(x), target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        self.seconds += perf_counter() - start


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Read 16-bit mono PCM, scaled to a mean square of 1."""
    if not path.exists():
        raise SystemExit(f"{path} is not there: `make demo` writes demo.wav; or name another file.")
    with wave.open(str(path)) as file:
        if (file.getsampwidth(), file.getnchannels()) != (2, 1):
            raise SystemExit(f"{path} is not 16-bit mono PCM.")
        audio = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
        return audio / np.sqrt(np.mean(audio**2)), file.getframerate()


def low_pass(audio: np.ndarray, ahead: float, lobes: int = 16) -> np.ndarray:
    """Filter with a windowed sinc below the lower rate's limit, shifted by ``ahead`` samples."""
    t = (np.arange(-lobes * FACTOR, lobes * FACTOR + 1) + ahead) / FACTOR
    taps = np.sinc(CUTOFF * t) * np.cos(np.pi / 2 * np.clip(t / lobes, -1, 1)) ** 2
    return np.convolve(audio, taps / taps.sum(), mode="same").astype(np.float32)


def snr(model: Callable[[Tensor], Tensor], x: Tensor, target: Tensor) -> float:
    """Signal over error, in dB."""
    with torch.no_grad():
        error = model(x) - target
    return 10 * float(torch.log10(target.square().sum() / error.square().sum()))


def train(runs: dict[str, Run], x: Tensor, target: Tensor, args: argparse.Namespace) -> None:
    """Train all runs on the same random crops."""
    n, r, generator = args.crop, FACTOR, torch.Generator().manual_seed(args.seed)
    bar = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*bar) as progress:
        task = progress.add_task("", total=args.steps)
        for _ in range(args.steps):
            starts = torch.randint(x.size(2) - n, (args.batch,), generator=generator)
            crops = [(x[0, :, a : a + n], target[0, :, r * a : r * (a + n)]) for a in starts]
            batch = [torch.stack(part) for part in zip(*crops, strict=True)]
            for run in runs.values():
                run.step(*batch)
            recent = [f"{name} {np.mean(run.losses[-50:]):.1e}" for name, run in runs.items()]
            progress.update(task, advance=1, description="loss: " + ", ".join(recent))


def draw(runs: dict[str, Run], path: Path) -> None:
    """Save the loss curves as a picture, each step's in grey and their local means."""
    figure, axes = plt.subplots(layout="constrained")
    for (name, run), style in zip(runs.items(), ("-", "--"), strict=False):
        width = max(1, len(run.losses) // 40)
        mean = np.convolve(run.losses, np.full(width, 1 / width), mode="valid")
        axes.plot(run.losses, color="0.85", linewidth=0.5, zorder=0)
        axes.plot(np.arange(mean.size) + width // 2, mean, style, linewidth=2, label=name)
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("train.png"))
    args = parser.parse_args()

    audio, rate = read_wav(args.speech)
    audio = audio[: audio.size // FACTOR * FACTOR]
    # A frame stands in the middle of its four samples, as torch's interpolation has it.
    x = torch.from_numpy(low_pass(audio, (FACTOR - 1) / 2)[::FACTOR])[None, None]
    target = torch.from_numpy(low_pass(audio, 0))[None, None]
    cut = round(x.size(2) * (1 - HELD_OUT))
    unheard = x[..., cut:], target[..., FACTOR * cut :]

    runs = {name: Run(LAYERS[name], args) for name in LAYERS if args.layer in (name, "both")}
    train(runs, x[..., :cut], target[..., : FACTOR * cut], args)
    draw(runs, args.picture)
    print(f"{args.speech}, {rate / FACTOR:g} to {rate} Hz, {args.steps} steps: {args.picture}")
    table = Table("", "seconds", "SNR on unheard speech")
    table.add_row("straight lines", "", f"{snr(straight_lines, *unheard):.2f} dB")
    for name, run in runs.items():
        table.add_row(name, f"{run.seconds:.1f}", f"{snr(run.model, *unheard):.2f} dB")
    print(table)
    if args.layer == "both":
        ours, theirs = (np.array(run.losses) for run in runs.values())
        print(f"largest relative difference of the curves: {np.max(abs(ours / theirs - 1)):.1e}")


if __name__ == "__main__":
    main()
