"""The tables in docs/performance.md, from the numbers of runs.

``python benchmarks/figures.py build/bench.json build/random.json`` replaces the lines between
``<!-- figures: NAME -->`` and ``<!-- end -->``. Sentences around the tables are written by people.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from peers import OUR_MODULE, OURS, PEERS
from results import LEAST, MODULE_SECONDS

DOCS = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown."""
    head = list(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def number(value: float | None) -> str:
    """With two decimals."""
    return "" if value is None else f"{value:.2f}"


def kinds(runs: list[dict[str, Any]]) -> str:
    """A row for each kind of layers: geometric means of the others' times over ours."""
    known = {name for run in runs for summary in run["kinds"].values() for name in summary["means"]}
    peers = [name for name in PEERS if name in known]
    head = ("layers", "", "best peer", f"below {LEAST}", *peers, "of the limit", "best peer's")
    rows = []
    for run, all_of in zip(runs, ("all listed", "all random"), strict=False):
        for kind, summary in run["kinds"].items():
            means, shares = summary["means"], summary["of_limit"]
            figures = (means.get("best"), None, *map(means.get, peers), *shares.values())
            row = [all_of if kind == "all" else kind, str(summary["layers"]), *map(number, figures)]
            row[3] = str(summary["below"])
            rows.append([f"**{cell}**" for cell in row] if kind == "all" else row)
    return table(head, rows)


def misses(runs: list[dict[str, Any]]) -> str:
    """The layers on which the best peer needs less than LEAST of our time."""
    rows = []
    for layer in (layer for run in runs for layer in run["layers"]):
        best = layer["best"]
        ratio = layer["ratios"][best] if best else None
        if ratio and ratio["median"] < LEAST:
            shares = (layer["of_limit"][name] for name in (OURS, best))
            spread = f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
            rows.append((f"`{layer['layer']['name']}`", best, spread, *map(number, shares)))
    if not rows:
        return "No layer is below that."
    return table(("layer", "best peer", "its time / ours", "of the limit", "its"), rows)


def faces(runs: list[dict[str, Any]]) -> str:
    """The torch module's time against that of the layer on arrays."""
    layers = [layer for run in runs for layer in run["layers"] if OUR_MODULE in layer["ratios"]]
    slow = sorted(
        (layer["ratios"][OUR_MODULE]["median"], layer["layer"]["name"])
        for layer in layers
        if layer["module_excess"] > MODULE_SECONDS
    )
    if not slow:
        return f"No layer of {len(layers)} exceeds that."
    middle = slow[len(slow) // 2][0]
    most = ", ".join(f"`{name}` {ratio:.2f}" for ratio, name in slow[:-11:-1])
    return (
        f"{len(slow)} of {len(layers)} layers exceed that, by a median ratio of {middle:.2f}. The "
        f"largest ratios: {most}."
    )


TABLES = {"kinds": kinds, "misses": misses, "faces": faces}


def filled(text: str, runs: Any, tables: Mapping[str, Callable[[Any], str]]) -> str:
    """The text with these tables of the runs."""
    for name, made in tables.items():
        pattern = rf"(<!-- figures: {name} -->\n).*?(<!-- end -->)"
        if not re.search(pattern, text, re.DOTALL):
            raise ValueError(f"no place for the figures of {name!r}")
        shown = made(runs)
        text = re.sub(
            pattern, lambda m, shown=shown: f"{m[1]}\n{shown}\n\n{m[2]}", text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    found = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    DOCS.write_text(filled(DOCS.read_text(), found, TABLES))
