"""The examples of docs/streaming.md run, and their assertions hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "streaming.md"


def test_examples() -> None:
    pytest.importorskip("torch.nn", reason="some of them use torch")
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) == 14
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), names)
