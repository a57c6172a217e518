"""native/README.md names files, functions and tests: each is where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "native" / "README.md").read_text("utf-8")
CODE = {path.name: path.read_text("utf-8") for path in (ROOT / "native").glob("*.[chit]*")}
OTHERS = [*(ROOT / "tests").rglob("*.py"), ROOT / "CMakeLists.txt", ROOT / "Makefile"]
ALL = "\n".join([*CODE.values(), *(path.read_text("utf-8") for path in OTHERS)])
ABSENT = README[README.index("## Terms that are absent") :]


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


@pytest.mark.parametrize("row", re.findall(r"^\| (`.*?) \|", ABSENT, re.MULTILINE))
def test_absent_terms_are_handled_where_it_says(row: str) -> None:
    for part in row.split(";"):
        *names, file = re.findall(r"`(\w[\w.]*)`", part)
        for name in names:
            assert re.search(rf"\b{name}\b", CODE[file]), file
