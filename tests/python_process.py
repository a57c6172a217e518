"""New processes of Python, for what only a process can show."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

__all__ = ["printed", "python"]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the code in a new Python process."""
    kept = {key: value for key, value in os.environ.items() if key != "FRACSTRIDE_ISA"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def printed(code: str, **environment: str) -> str:
    done = python(code, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()
