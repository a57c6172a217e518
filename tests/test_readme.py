"""The README's examples run, and say what they say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_examples(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch.nn", reason="some of them use torch")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    compared = 0
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
        # A comment that begins with a literal is the value of an expression, or the shape of what
        # the line assigns.
        for line in block.splitlines():
            code, _, comment = line.partition("  # ")
            literal = re.match(r"(\(\d.*?\)|\[.*?\]|\d+)(?=$|:)", comment.strip())
            if literal is None:
                continue
            target, assigns, _ = code.partition(" = ")
            got = eval((target if assigns else code).strip(), names)
            assert (got.shape if assigns else got) == ast.literal_eval(literal[1]), line
            compared += 1
    assert compared == 8
    assert "instruction set" in capsys.readouterr().out
