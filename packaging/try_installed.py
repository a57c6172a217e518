"""Tests of the installed package, wherever it came from: what each wheel has to pass.

`python packaging/try_installed.py [pytest options]` runs tests of this repository that need neither
torch, JAX, ONNX nor a compiler, with fewer random layers than `make test`. The package, pytest,
hypothesis, ml_dtypes and rich must be installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    *("test_reference.py", "test_geometry.py", "test_conv1d_geometry.py", "test_extension.py"),
    *("test_arrays.py", "test_functional.py", "test_layer.py", "test_conv1d_layer.py"),
    *("test_against_reference.py", "test_invariances.py", "test_weight_memory.py"),
    *("test_config.py", "test_import.py", "test_free_threads.py", "streaming", "drawing"),
    *("network/test_graph.py", "network/test_steps.py", "network/test_streams.py"),
]
# Long, or of many parameters: `make test` runs them.
SLOW = "million or real_sizes or long_chunks or random_decoders or any_rates"


def main(options: list[str]) -> int:
    """Run the tests from the repository, on the installed package; returns pytest's exit status."""
    environment = {"FRACSTRIDE_TEST_EXAMPLES": "2", **os.environ}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tests = [str(Path("tests", name)) for name in TESTS]
    done = subprocess.run(
        [*command, "-k", f"not ({SLOW})", *options, *tests], cwd=ROOT, env=environment, check=False
    )
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
