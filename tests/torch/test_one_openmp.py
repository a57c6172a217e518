"""The compiled module and torch share one OpenMP runtime, whichever is imported first."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fracstride

CODE = """
    import {first}
    import {second}
    import numpy as np
    torch.ones(1 << 16).exp().sum()
    fracstride.conv_transpose1d(np.ones((1, 8, 4096), np.float32), np.ones((8, 8, 4), np.float32))
    runtimes = [line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line]
    torch.set_num_threads(1)
    one = fracstride.get_num_threads()
    torch.set_num_threads(2)
    print(len(set(runtimes)), one, fracstride.get_num_threads())
    """


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
@pytest.mark.skipif(
    not (fracstride.config()["openmp"] and fracstride.config()["compiler"].startswith("GCC")),
    reason="not built with GCC's OpenMP",
)
@pytest.mark.parametrize(("first", "second"), [("fracstride", "torch"), ("torch", "fracstride")])
def test_one_runtime_and_one_number_of_threads(first: str, second: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE).format(first=first, second=second)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1 1 2\n"), done.stderr
