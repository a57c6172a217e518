"""The compiled code builds with other compilers and flags."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from fracstride._load import native

NATIVE = Path(__file__).parents[1] / "native"
NAMES = os.environ.get("FRACSTRIDE_TEST_COMPILERS", "g++ clang++").split()
COMPILERS = [name for name in NAMES if shutil.which(name)]
BUILD = (NATIVE.parent / "CMakeLists.txt").read_text()
UNITS = re.findall(r"native/(\w+\.cpp)", BUILD[BUILD.index("nanobind_add_module") :].split(")")[0])
WARNINGS = re.findall(r"-W\w+", re.search(r"set\(warnings (.*)\)", BUILD)[1])
LINES = [
    line.split()
    for line in (NATIVE / "instruction_sets.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
ARCHITECTURES = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
ARCHITECTURE = ARCHITECTURES.get(platform.machine(), "other")
SETS = {name: sizes[:2] for name, architecture, *sizes in LINES if architecture == "x86_64"}
ARM_SETS = {name: (*sizes[:2], sizes[2:]) for name, a, *sizes in LINES if a == "aarch64"}
TO_ARM = [["aarch64-linux-gnu-g++"], ["clang++", "--target=aarch64-linux-gnu"]]

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


def test_the_list_is_what_was_built() -> None:
    assert native.built_instruction_sets() == [
        name for name, architecture, *_ in LINES if architecture == ARCHITECTURE
    ]


STUB = """function(nanobind_add_module name)
  add_library(${name} MODULE native/plan.cpp)
endfunction()
"""


@on_x86_64
@pytest.mark.skipif(not shutil.which("cmake"), reason="needs CMake")
def test_a_set_that_the_compiler_does_not_know_is_left_out(tmp_path: Path) -> None:
    """The build goes on without it, says so, and dispatch.cpp does not hear of it."""
    source, build = tmp_path / "source", tmp_path / "build"
    shutil.copytree(NATIVE, source / "native")
    shutil.copy(NATIVE.parent / "CMakeLists.txt", source)
    (source / "nanobindConfig.cmake").write_text(STUB)
    with (source / "native" / "instruction_sets.txt").open("a") as lines:
        lines.write("nosuchset x86_64 64 32 avx2 nosuchfeature\nlater x86_64 32 16 avx2\n")
    told = run(
        *("cmake", "-S", source, "-B", build, f"-Dnanobind_DIR={source}"),
        f"-DPython_EXECUTABLE={sys.executable}",
    )
    assert "Not building the instruction set nosuchset" in told
    assert told.count("Not building") == 1
    dispatched = (build / "instruction_sets.inc").read_text()
    assert "nosuchset" not in dispatched
    for name in (*SETS, "later"):
        assert f"FS_INSTRUCTION_SET({name}, " in dispatched


def cpu_features() -> set[str]:
    """What Linux says that the CPU has, by the names that the compilers use too."""
    text = Path("/proc/cpuinfo").read_text()
    title = "Features" if ARCHITECTURE == "aarch64" else "flags"
    lines = [line.split() for line in text.splitlines() if line.startswith(title)]
    if not lines:
        pytest.skip("an emulator that shows the CPU below it")
    return {flag.replace("_", "") for flag in lines[0]}


@pytest.mark.skipif(ARCHITECTURE == "other", reason="one set for all")
@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc/cpuinfo")
def test_a_set_is_available_if_the_cpu_has_every_feature_of_its_line() -> None:
    """Another witness than the compiler's test of the CPU, for all that each line names."""
    has = cpu_features()
    assert native.available_instruction_sets() == [
        name
        for name, architecture, _, _, *words in LINES
        if architecture == ARCHITECTURE and {w for w in words if w[0] != "-"} <= has
    ]


@on_x86_64
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("unit", ["kernels.cpp", "pointwise_kernels.cpp"])
def test_flags_beyond_the_instruction_set(unit: str, compiler: str, isa: str) -> None:
    """-march in the compiler's flags must not widen the vectors of a unit."""
    vector, registers = SETS[isa]
    run(
        compiler,
        *("-std=c++20", "-fsyntax-only", "-march=x86-64-v4", "-mavx512bf16"),
        *(f"-DFS_ISA={isa}", f"-DFS_VECTOR_BYTES={vector}", f"-DFS_VECTOR_REGISTERS={registers}"),
        NATIVE / unit,
    )


@pytest.mark.parametrize("compiler", TO_ARM, ids=lambda words: words[0])
@pytest.mark.parametrize("isa", ARM_SETS)
@pytest.mark.parametrize("unit", ["kernels.cpp", "pointwise_kernels.cpp"])
def test_the_sets_of_arm(unit: str, compiler: list[str], isa: str, tmp_path: Path) -> None:
    """The options of a line allow what its features are, and take back what CXXFLAGS allow."""
    probe = tmp_path / "probe.cpp"
    probe.write_text("#include <cstdint>\n#include <arm_neon.h>\n")
    tried = shutil.which(compiler[0]) and subprocess.run(
        [*compiler, "-fsyntax-only", probe], capture_output=True, timeout=120, check=False
    )
    if not tried or tried.returncode:
        pytest.skip(f"{' '.join(compiler)} is not installed for Arm")
    vector, registers, words = ARM_SETS[isa]
    features = [word for word in words if word[0] != "-"]
    allow = [word for word in words if word[0] == "-"]
    if features:
        allow.append("-march=" + "+".join(["armv8.2-a", *features]))
    command = (*compiler, "-std=c++20", "-march=armv8.6-a+bf16+fp16fml", *allow)
    run(
        *(*command, "-fsyntax-only"),
        *(f"-DFS_ISA={isa}", f"-DFS_VECTOR_BYTES={vector}", f"-DFS_VECTOR_REGISTERS={registers}"),
        NATIVE / unit,
    )
    macros = run(*command, "-dM", "-E", probe)
    assert ("__ARM_FEATURE_BF16_VECTOR_ARITHMETIC" in macros) == ("bf16" in features)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_has_no_warnings(unit: str, compiler: str, tmp_path: Path) -> None:
    """Those that the build asks for; the headers of Python and nanobind are not ours."""
    include = []
    if "bindings" in unit:
        nanobind = pytest.importorskip("nanobind")
        include = ["-isystem", nanobind.include_dir(), "-isystem", sysconfig.get_path("include")]
    (tmp_path / "instruction_sets.inc").write_text("FS_INSTRUCTION_SET(baseline, true)\n")
    quiet = "-Wno-error=deprecated-declarations"  # of libstdc++, in Clang
    run(
        compiler,
        *("-std=c++20", "-fsyntax-only", "-Werror", *WARNINGS, quiet, '-DFRACSTRIDE_VERSION="1"'),
        *("-fvisibility=hidden", *include, "-I", tmp_path, NATIVE / unit),
    )


@on_x86_64
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("unit", ["kernels.cpp", "pointwise_kernels.cpp"])
def test_kernels_have_no_warnings(unit: str, isa: str, compiler: str) -> None:
    words = next(words for name, _, _, _, *words in LINES if name == isa)
    vector, registers = SETS[isa]
    run(
        compiler,
        *("-std=c++20", "-fsyntax-only", "-Werror", *WARNINGS, "-march=x86-64", "-mno-sse3"),
        *(word if word.startswith("-") else f"-m{word}" for word in words),
        *(f"-DFS_ISA={isa}", f"-DFS_VECTOR_BYTES={vector}", f"-DFS_VECTOR_REGISTERS={registers}"),
        NATIVE / unit,
    )
