"""The network that speak.py has saved speaks by itself: NumPy, fracstride and safetensors alone."""

import sys
import wave
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from time import perf_counter

begin = perf_counter()
import numpy as np  # noqa: E402

import fracstride as fs  # noqa: E402

FRAMEWORKS = {"torch", "onnx", "onnxruntime", "jax"}
NEEDED = ("fracstride", "numpy", "safetensors")


def installed(*packages: str) -> float:
    """The megabytes of their files."""
    files = (file.locate() for name in packages for file in distribution(name).files or ())
    return sum(path.stat().st_size for path in map(Path, files) if path.is_file()) / 1e6


def main() -> None:
    """Load the network, speak, and compare with what was spoken before."""
    saved, audio = map(Path, sys.argv[1:])
    net = fs.load(saved)
    ready = perf_counter() - begin
    channels = net.graph.inputs[0].channels
    frames = np.fromfile(saved.with_suffix(".frames"), np.float32).reshape(1, channels, -1)
    samples = net(frames, np.ones((1, 1, frames.shape[-1]), np.float32))
    if FRAMEWORKS & sys.modules.keys():
        raise SystemExit("A framework was loaded.")
    with wave.open(str(audio)) as file:
        wanted = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    if not np.array_equal(np.rint(samples.ravel().clip(-1, 1) * 32767).astype("<i2"), wanted):
        raise SystemExit(f"Not the samples of {audio}.")
    size = saved.stat().st_size / 1e6
    print(
        f"{saved} ({size:.0f} MB): the same samples in a process of its own, without onnx or a "
        f"framework, {ready:.2f} s after its start"
    )
    with suppress(PackageNotFoundError):
        print(f"Installed, {', '.join(NEEDED)}: {installed(*NEEDED):.0f} MB", end="")
        print(f"; onnxruntime and NumPy: {installed('onnxruntime', 'numpy'):.0f} MB", end="")
    print()


if __name__ == "__main__":
    main()
