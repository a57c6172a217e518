"""examples/long_signal.py under torchrun, undisturbed and with a process that dies."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "long_signal.py"


def run(folder: Path, ranks: int, *more: str, restarts: int = 0) -> str:
    """The output of the processes, which compare their samples with those of one process."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    how_many = ["--nproc-per-node", str(ranks), "--max-restarts", str(restarts)]
    what = [str(EXAMPLE), "--minutes", "0.1", "--folder", str(folder), *more]
    done = subprocess.run(
        torchrun + how_many + what, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("ranks", "bytes_between"), [(2, [512, 256, 128, 64])])
def test_the_bits_of_one_process(tmp_path: Path, ranks: int, bytes_between: list[int]) -> None:
    printed = run(tmp_path, ranks)
    found = re.findall(r"; ([\d,]+) bytes between", printed)
    assert [int(count.replace(",", "")) for count in found] == bytes_between
    assert "0.1 minutes: the bits of one process" in printed


def test_a_process_that_dies(tmp_path: Path) -> None:
    printed = run(tmp_path, 2, "--kill", "1", "--at", "4", restarts=1)
    assert "rank 1 dies before layer 4" in printed
    assert "restart 1: layers 1 to 3 are read from the checkpoint" in printed
    assert re.findall(r"layer (\d):", printed) == ["1", "2", "3", "4"]  # each once
    assert "0.1 minutes: the bits of one process" in printed
