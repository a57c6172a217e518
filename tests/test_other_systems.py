"""The compiled code compiles for macOS, Windows and musl, with the headers that ziglang brings.

`make test-compilers` installs ziglang. Nothing is linked or run. (It cannot check
syntax alone: it does not come to an end.)
"""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytest.importorskip("ziglang", reason="ziglang is not installed")
from test_build import LINES, NATIVE, UNITS, WARNINGS

TARGETS = [
    f"{cpu}-{system}"
    for system in ("macos", "windows-gnu", "linux-musl")
    for cpu in ("x86_64", "aarch64")
]


def compile_for(target: str, unit: str, folder: Path, *options: object) -> None:
    command = [sys.executable, "-m", "ziglang", "c++", "-target", target, "-c", NATIVE / unit]
    flags = ["-o", folder / "unit.o", "-std=c++20", "-Werror", *WARNINGS, *options]
    done = subprocess.run(
        [str(word) for word in (*command, *flags)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit(unit: str, target: str, tmp_path: Path) -> None:
    include = []
    if "bindings" in unit:
        if "windows" in target or platform.system() != "Linux":
            pytest.skip("the headers of this Python are for another system")
        nanobind = pytest.importorskip("nanobind")
        include = ["-isystem", nanobind.include_dir(), "-isystem", sysconfig.get_path("include")]
    (tmp_path / "instruction_sets.inc").write_text("FS_INSTRUCTION_SET(baseline, true)\n")
    compile_for(target, unit, tmp_path, *include, "-I", tmp_path, '-DFRACSTRIDE_VERSION="1"')


SETS = [(line[0], target) for target in TARGETS for line in LINES if target.startswith(line[1])]


@pytest.mark.parametrize(("name", "target"), SETS)
@pytest.mark.parametrize("unit", ["kernels.cpp", "pointwise_kernels.cpp"])
def test_an_instruction_set(unit: str, name: str, target: str, tmp_path: Path) -> None:
    architecture, vector, registers, *words = next(
        rest for each, *rest in LINES if each == name and target.startswith(rest[0])
    )
    options = [word for word in words if word.startswith("-D")]
    features = [word for word in words if not word.startswith("-")]
    # (Zig spells the CPU in its own way.)
    cpu = {"x86_64": "x86_64", "aarch64": "generic"}[architecture]
    compile_for(
        target,
        unit,
        tmp_path,
        f"-mcpu={'+'.join([cpu, *features])}",
        *(f"-DFS_ISA={name}", f"-DFS_VECTOR_BYTES={vector}", f"-DFS_VECTOR_REGISTERS={registers}"),
        *options,
    )
