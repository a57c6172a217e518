"""native/README.md names files, functions and tests: each is where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "native" / "README.md").read_text("utf-8")
CODE = {path.name: path.read_text("utf-8") for path in (ROOT / "native").glob("*.[chit]*")}
PYTHON = {path.name: path.read_text("utf-8") for path in (ROOT / "src" / "fracstride").glob("*.py")}
OTHERS = [*(ROOT / "tests").rglob("*.py"), ROOT / "CMakeLists.txt", ROOT / "Makefile"]
ALL = "\n".join([*CODE.values(), *(path.read_text("utf-8") for path in OTHERS)])


def rows(section: str) -> list[str]:
    """The rows of the table below a heading, as they are written."""
    text = README[README.index(f"\n## {section}\n") :].split("\n## ")[1]
    return [row for row in re.findall(r"^\| (.*) \|$", text, re.MULTILINE) if "`" in row]


def is_defined(name: str, source: str) -> bool:
    """Whether C++ source defines a function, a type or a member of this name, not only uses it."""
    before, after = rf"^[^/\n]*(?<!return)(?<!else)(?<!&&)(?<=[\w>&*]) {name}", r"[(;{ ]"
    return re.search(before + after, source, re.MULTILINE) is not None


def check_definitions(cell: str) -> None:
    """Of a cell like "`name`, `other`, `file`; `third`, `file`"."""
    for part in cell.split(";"):
        *names, file = re.findall(r"`(\w[\w.]*)`", part)
        for name in names:
            assert is_defined(name, CODE[file]), f"{name} is not defined in {file}"


@pytest.mark.parametrize("name", sorted(CODE))
def test_every_file_is_in_the_tour(name: str) -> None:
    if name != "dispatch.hpp" and not (name.endswith(".hpp") and name[:-3] + "cpp" in CODE):
        assert f"`{name}`" in README


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`(?:\w+::)?(\w\w[\w.]*)(?:=\S+)?`", README)))
)
def test_names_exist(name: str) -> None:
    if name.endswith((".cpp", ".hpp", ".txt")):
        assert name in CODE or (ROOT / name).exists()
    elif not name.endswith((".py", ".pyi")) and "..." not in name:
        assert re.search(rf"\b{name}\b", ALL)


@pytest.mark.parametrize("row", rows("Terms that are absent"))
def test_absent_terms_are_handled_where_it_says(row: str) -> None:
    check_definitions(row.split(" | ")[0])


@pytest.mark.parametrize("row", rows("Formulas that Python has too"))
def test_twins_are_where_it_says(row: str) -> None:
    here, python, tests = row.split(" | ")
    check_definitions(here)
    *names, file = [name for name in re.findall(r"`([\w.]+)`", python) if name != "within"]
    for name in names:
        assert f"\ndef {name}(" in PYTHON[file]
    for name in re.findall(r"`(\w+)`", tests):
        assert f"\ndef {name}(" in ALL


def test_a_use_is_not_a_definition() -> None:
    source = """
      static inline bool inside(const Run& run) {
        return finite(run) && bounds(run).all;
      // A comment about a shift uses (it)
      std::vector<Copy> copies_of(int n);
      struct Inside {
        bool skip_absent;
    """
    defined = ["inside", "copies_of", "Inside", "skip_absent"]
    assert all(is_defined(name, source) for name in defined)
    assert not any(is_defined(name, source) for name in ["finite", "bounds", "all", "uses"])
