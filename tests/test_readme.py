"""The examples of README.md and of pages in docs run, and give what their comments say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from page_examples import ROOT, run_page

import fracstride
from fracstride.commands import parser
from fracstride.extension import MODES

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("native/*.md")])


@pytest.mark.parametrize(
    ("page", "values"),
    [("README.md", 5), ("docs/numpy.md", 4), ("docs/pytorch.md", 5), ("docs/your-model.md", 5)],
)
def test_examples(page: str, values: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write files
    pytest.importorskip("torch.nn", reason="some of the examples use torch")
    assert run_page(page) == values


@pytest.mark.parametrize("page", ["docs/layer.md", "docs/guides/padding-modes.md"])
def test_the_pictures_are_those_of_their_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python tests/page_examples.py PAGE` writes them anew, `make pictures` those of layer.md."""
    monkeypatch.chdir(tmp_path)
    run_page(page)
    written = sorted(path.name for path in tmp_path.iterdir())
    text = (ROOT / page).read_text("utf-8")
    assert written == sorted(re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE))
    for name in written:
        assert (tmp_path / name).read_text("utf-8") == (ROOT / page).with_name(name).read_text(
            "utf-8"
        )


def test_the_picture_of_padding_modes() -> None:
    rows = re.findall(r"^(\w+) +(\d{4} 1234 \d{4})$", (ROOT / "README.md").read_text(), re.M)
    assert rows == [(mode.name, mode.picture) for mode in MODES.values()]
    middle = np.zeros((1, 1, 9))
    middle[..., 4] = 1  # nine taps, of which only the middle one counts: the extended input
    for mode, row in rows:
        y = fracstride.conv_transpose1d([[1.0, 2, 3, 4]], middle, padding_mode=mode)
        assert "".join(str(int(value)) for value in y[0]) == row.replace(" ", "")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_the_commands_of_the_pages_are_some() -> None:
    """As the program understands them."""
    lines = [
        line.partition("#")[0]
        for page in PAGES
        for line in re.findall(
            r"^    (?:fracstride|python -m fracstride)(| .*)$", page.read_text(), re.M
        )
    ]
    assert len(lines) >= 6
    for line in lines:
        parser().parse_args(shlex.split(line))


@pytest.mark.parametrize("kind", ["wrong-result", "model", "wish"])
def test_issues_ask_what_is_installed(kind: str) -> None:
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{kind}.md").read_text("utf-8")
    assert "show_config()" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    code = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)  # may hold calls[0](x)
    text = code.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, target


def test_the_files_of_contributing_exist() -> None:
    table = re.search(
        r"## Where things are\n(.*?)\n##", (ROOT / "CONTRIBUTING.md").read_text(), re.S
    )
    assert table
    for row in re.findall(r"^\| (`.*?) \|", table[1], re.M):
        first, *others = re.findall(r"`([^`]+)`", row)
        folder = (ROOT / first).parent
        for name in (first, *others):
            places = (ROOT / name, folder / name)
            assert any(place.exists() for place in places), name


def test_the_make_targets_of_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", page.read_text(), re.M))
        assert named <= targets, (page.name, named - targets)


def test_the_citation_has_the_version() -> None:
    """All three files name the version; pyproject.toml is what pip reads."""
    versions = [
        re.search(pattern, (ROOT / name).read_text(), re.M)
        for name, pattern in (
            ("pyproject.toml", r'^version = "(.*)"$'),
            ("CITATION.cff", r"^version: (.*)$"),
            ("CHANGELOG.md", r"^## ([\d.]+) - \d{4}-\d\d-\d\d$"),
        )
    ]
    assert all(versions)
    assert len({found[1] for found in versions if found}) == 1
