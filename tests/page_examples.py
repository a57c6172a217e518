"""Running the examples of a page: all its Python blocks, in one namespace, from top to bottom.

`python tests/page_examples.py docs/guides/padding-modes.md` writes the pictures of a page anew.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "python_blocks", "run_page"]

ROOT = Path(__file__).parents[1]
# A comment that begins with a literal gives the value of the line's expression, or the shape of
# what the line assigns. A word may follow: "7 samples of latency", "(1, 4, 9): nine samples". Of a
# number with a point, the expression has that value when it is rounded to as many places.
VALUE = re.compile(r"(\(\d.*?\)|\[.*\]|\d+\.\d+|\d+|True|False|'[^']*')(?=$|:| )")


def python_blocks(page: str) -> list[str]:
    """The blocks of a page of the repository."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def run_page(page: str, names: dict[str, Any] | None = None) -> int:
    """Run the blocks in the current folder. Returns how many values were compared.

    Args:
        page: its path in the repository.
        names: what the page takes for granted; the names that its blocks give are added.
    """
    names = {} if names is None else names
    names["__name__"] = page
    compared = 0
    for block in python_blocks(page):
        exec(compile(block, page, "exec"), names)
        for line in block.splitlines():
            code, _, comment = line.partition("  # ")
            literal = VALUE.match(comment.strip())
            if literal is None:
                continue
            target, assigns, _ = code.partition(" = ")
            got = eval((target if assigns else code).strip(), names)
            wanted = ast.literal_eval(literal[1])
            if isinstance(wanted, float):
                got = round(float(got), len(literal[1].partition(".")[2]))
            assert (got.shape if assigns else got) == wanted, line
            compared += 1
    return compared


if __name__ == "__main__":
    for name in sys.argv[1:]:
        os.chdir((ROOT / name).parent)
        run_page(name)
