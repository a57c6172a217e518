"""The workflows name commands, files and extras that exist. (`make lint` checks their syntax.)"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# First-party ones, PyPA's, and no other.
ACTION = re.compile(r"(actions|pypa)/[a-z-]+@(v\d+(\.\d+\.\d+)?|release/v1)")

# The source distribution has no .github.
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="no workflows here")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_names_is_there(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\bmake ([\w-]+)", text):
        assert target in TARGETS
    for name in re.findall(r"(?:tests|packaging|docs|native|src)/[\w/.-]+\.\w+", text):
        assert (ROOT / name).is_file()
    actions = re.findall(r"uses: (\S+)", text)
    assert actions
    for action in actions:
        assert ACTION.fullmatch(action)
    assert "secrets." not in text


def test_every_change_is_linted_tested_and_sanitized() -> None:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    assert {"lint", "test", "sanitize", "wheel-check"} <= set(re.findall(r"make ([\w-]+)", text))


def test_what_cibuildwheel_runs_is_there() -> None:
    section = (ROOT / "pyproject.toml").read_text().partition("[tool.cibuildwheel]")[2]
    named = re.findall(r"\{project\}/(\S+\.py)", section)
    assert sorted(named) == ["packaging/check_wheel.py", "packaging/try_installed.py"]
    for name in named:
        assert (ROOT / name).is_file()
    tried = (ROOT / "packaging" / "try_installed.py").read_text().partition("TESTS = [")[2]
    for name in re.findall(r'"([\w/.]+)"', tried.partition("]")[0]):
        assert (ROOT / "tests" / name).exists()


@pytest.mark.parametrize("repairs", ["pyproject.toml", "Makefile"])
def test_no_second_openmp_in_a_wheel(repairs: str) -> None:
    commands = re.findall(r"auditwheel repair .*", (ROOT / repairs).read_text())
    assert commands
    assert all("--exclude libgomp.so.1" in command for command in commands)
