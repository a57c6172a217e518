"""Threads, versions and the output of ``python -m fracstride``."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fracstride as fs
from fracstride import config as package_config
from fracstride._load import native

module = sys.modules["fracstride.config"]
LOWEST = "neon" if platform.machine() in ("aarch64", "arm64") else "baseline"


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = fs.get_num_threads()
    yield
    fs.set_num_threads(before)


def python(*arguments: str, **environment: str) -> str:
    """The output of a new Python process."""
    kept = {key: value for key, value in os.environ.items() if key != "FRACSTRIDE_ISA"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


# --- threads ------------------------------------------------------------------------------------


def threads(n: int) -> int:
    """What is left of a number that was set."""
    return n if native.has_openmp() else 1


@pytest.mark.parametrize("n", [1, 2, 3, 1024, np.int64(4), np.uint8(5)])
def test_set_and_get(n: int) -> None:
    assert fs.set_num_threads(n) is None
    assert fs.get_num_threads() == threads(n)
    assert type(fs.get_num_threads()) is int
    assert package_config()["threads"] == threads(n)


@pytest.mark.parametrize(
    ("n", "error", "text"),
    [
        (0, ValueError, "n must be a positive int, got 0"),
        (-1, ValueError, "n must be a positive int, got -1"),
        (1025, ValueError, "n must be at most 1024 threads, got 1025"),
        (10**9, ValueError, "n must be at most 1024 threads, got 1000000000"),
        (2**63, ValueError, "n must be at most 2**62, got 9223372036854775808"),
        (True, TypeError, "n must be a positive int, got True"),
        (False, TypeError, "n must be a positive int, got False"),
        (1.5, TypeError, "n must be a positive int, got 1.5"),
        (2.0, TypeError, "n must be a positive int, got 2.0"),
        ("2", TypeError, "n must be a positive int, got '2'"),
        (None, TypeError, "n must be a positive int, got None"),
        ((2,), TypeError, "n must be a positive int, got (2,)"),
    ],
)
def test_refused_numbers(n: Any, error: type[Exception], text: str) -> None:
    fs.set_num_threads(3)
    with pytest.raises(error) as caught:
        fs.set_num_threads(n)
    assert str(caught.value) == text
    assert fs.get_num_threads() == threads(3)


def test_openmp_decides_until_a_number_is_set() -> None:
    code = "import fracstride as fs; print(fs.get_num_threads())"
    assert python("-c", code, OMP_NUM_THREADS="3").strip() == ("3" if native.has_openmp() else "1")
    code = f"import fracstride as fs; fs.set_num_threads(2); {code}"
    assert python("-c", code, OMP_NUM_THREADS="3").strip() == str(threads(2))


# --- config -------------------------------------------------------------------------------------


def test_config() -> None:
    fs.set_num_threads(2)
    c = fs.config()
    assert list(c) == [
        "version",
        "isa",
        "isa_available",
        "isa_built",
        "threads",
        "openmp",
        "compiler",
        "numpy",
        "python",
        "machine",
    ]
    assert c["version"] == version("fracstride")
    assert c["isa"] in c["isa_available"]
    assert set(c["isa_available"]) <= set(c["isa_built"])
    assert c["isa_built"][0] == c["isa_available"][0] == LOWEST
    assert c["threads"] == threads(2)
    assert type(c["openmp"]) is bool
    assert re.fullmatch(r"(GCC|Clang) \S.*\S", c["compiler"])
    assert c["numpy"] == np.__version__
    assert c["python"] == platform.python_version()
    assert c["machine"] == f"{platform.system()} {platform.machine()}"


def test_config_is_the_callers_to_change() -> None:
    fs.config()["isa_available"].clear()
    assert fs.config()["isa_available"]


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    fs.show_config()
    lines = capsys.readouterr().out.splitlines()
    assert all(line[:17].rstrip().endswith(":") and line[17] != " " for line in lines)
    return {line[:17].rstrip(" :"): line[17:] for line in lines}


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    fs.set_num_threads(2)
    lines, c = shown(capsys), fs.config()
    assert list(lines) == [
        "fracstride",
        "instruction set",
        "threads",
        "compiler",
        "numpy",
        "python",
    ]
    assert lines["fracstride"] == c["version"]
    assert lines["instruction set"].startswith(f"{c['isa']} (FRACSTRIDE_ISA forces one of: ")
    for name in c["isa_available"]:
        words = re.findall(r"\w+", lines["instruction set"])
        assert words.count(name) == (2 if name == c["isa"] else 1)
    assert lines["threads"] == ("2" if c["openmp"] else "1 (built without OpenMP)")
    assert lines["compiler"] == c["compiler"]
    assert lines["numpy"] == c["numpy"]
    assert lines["python"] == f"{c['python']} on {c['machine']}"


def test_show_config_without_openmp(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("version", "instruction_set", "available_instruction_sets", "built_instruction_sets")
    rest = {name: getattr(native, name) for name in (*names, "get_num_threads", "compiler")}
    stub = SimpleNamespace(**rest, has_openmp=lambda: False, set_num_threads=lambda n: None)
    with monkeypatch.context() as patch:
        patch.setattr(module, "native", stub)
        assert shown(capsys)["threads"] == "1 (built without OpenMP)"


def test_python_m_fracstride() -> None:
    printed = python("-m", "fracstride", FRACSTRIDE_ISA=LOWEST, OMP_NUM_THREADS="3")
    same = "import fracstride; fracstride.show_config()"
    lines = printed.splitlines()[:6]  # packages follow
    assert lines == python("-c", same, FRACSTRIDE_ISA=LOWEST, OMP_NUM_THREADS="3").splitlines()
    assert lines[0].split() == ["fracstride:", version("fracstride")]
    assert lines[1].startswith(f"instruction set: {LOWEST} (FRACSTRIDE_ISA forces one of: ")
