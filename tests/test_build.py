"""The compiled code builds with other compilers and flags."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[1] / "native"
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]
SETS = {"baseline": 16, "avx2": 32, "avx512": 64}

pytestmark = pytest.mark.skipif(not COMPILERS, reason="neither g++ nor clang++ is installed")
on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="flags of x86-64")


def run(*arguments: object) -> str:
    done = subprocess.run(
        [str(a) for a in arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[:2000]
    return done.stdout


@pytest.mark.parametrize("compiler", COMPILERS)
def test_two_units_link(compiler: str, tmp_path: Path) -> None:
    """types.hpp in two units: Clang once emitted the same strong symbols in both."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.cpp").write_text('#include "types.hpp"\n')
    main = tmp_path / "main.cpp"
    main.write_text("int main() {}\n")
    units = sorted(tmp_path.glob("*.cpp"))
    run(compiler, "-std=c++20", "-I", NATIVE, *units, "-o", tmp_path / "linked")


@on_x86_64
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("isa", SETS)
def test_flags_beyond_the_instruction_set(compiler: str, isa: str) -> None:
    """-march in the compiler's flags must not widen the vectors of a unit."""
    run(
        compiler,
        *("-std=c++20", "-fsyntax-only", "-march=x86-64-v4", "-mavx512bf16"),
        *(f"-DFS_ISA={isa}", f"-DFS_VECTOR_BYTES={SETS[isa]}", "-DFS_VECTOR_REGISTERS=16"),
        NATIVE / "kernels.cpp",
    )
