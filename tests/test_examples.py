"""The example programs, run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_speak(tmp_path: Path) -> None:
    wav = tmp_path / "demo.wav"
    run = subprocess.run(
        [sys.executable, EXAMPLES / "speak.py", "--output", wav, "--runs", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    agreement = re.search(r"([\d.]+) dB", run.stdout)
    assert agreement is not None, run.stdout
    assert float(agreement[1]) >= 80
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
