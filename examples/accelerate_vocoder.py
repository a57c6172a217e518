"""One line makes a vocoder of transformers faster: run this to see by how much, on your machine.

The vocoder is SpeechT5's HiFi-GAN in its full size with random weights, which take as long as
trained ones. Its transposed convolutions are timed inside the model, before and after.
"""

import argparse
import time

import torch
from torch import nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

import fracstride.torch


def measure(
    model: nn.Module, frames: torch.Tensor, rounds: int
) -> tuple[torch.Tensor, float, list[float]]:
    """The output, and the best seconds of the whole and of each transposed convolution."""
    layers = [m for m in model.modules() if isinstance(m, nn.ConvTranspose1d)]
    best, started = [float("inf")] * len(layers), [0.0] * len(layers)

    def watch(i: int) -> None:
        def before(*_: object) -> None:
            started[i] = time.perf_counter()

        def after(*_: object) -> None:
            best[i] = min(best[i], time.perf_counter() - started[i])

        handles.extend(
            [layers[i].register_forward_pre_hook(before), layers[i].register_forward_hook(after)]
        )

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for i in range(len(layers)):
        watch(i)
    whole = float("inf")
    with torch.inference_mode():
        for _ in range(rounds):
            start = time.perf_counter()
            wave = model(frames)
            whole = min(whole, time.perf_counter() - start)
    for handle in handles:
        handle.remove()
    return wave, whole, best


def main() -> None:
    """Measure, accelerate, measure again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200, help="of 16 ms each")
    parser.add_argument("--rounds", type=int, default=5, help="the best one counts")
    options = parser.parse_args()

    torch.manual_seed(0)
    model = SpeechT5HifiGan(SpeechT5HifiGanConfig()).eval()
    frames = torch.randn(options.frames, model.config.model_in_dim)

    before, whole_before, layers_before = measure(model, frames, options.rounds)
    fracstride.torch.accelerate(model)
    after, whole_after, layers_after = measure(model, frames, options.rounds)

    print(f"{'milliseconds':<36}{'torch':>9}{'fracstride':>12}{'ratio':>8}")
    names = [repr(m) for m in model.modules() if isinstance(m, nn.ConvTranspose1d)]
    rows = list(zip(names, layers_before, layers_after, strict=True))
    rows.append(("these layers together", sum(layers_before), sum(layers_after)))
    rows.append(("the whole model", whole_before, whole_after))
    for name, torchs, ours in rows:
        name = name.removeprefix("ConvTranspose1d").split(", padding")[0].strip("()")
        name = name.replace("kernel_size=(", "k=").replace(",), stride=(", ", s=")
        name = name.removesuffix(",")
        print(f"{name:<36}{torchs * 1e3:>9.2f}{ours * 1e3:>12.2f}{torchs / ours:>8.2f}")
    difference = float((after - before).abs().max() / before.abs().max())
    print(f"The waves differ by {difference:.1e} of their peak: float32 rounding.")


if __name__ == "__main__":
    main()
