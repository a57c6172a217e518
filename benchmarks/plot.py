"""A picture of one run: what fraction of the machine's limit each library reaches.

``python benchmarks/plot.py build/bench.json build/bench.svg`` draws a run again from its numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from peers import OURS, PEERS


def save(numbers: dict[str, Any], path: Path) -> None:
    """Draw the fraction of the limit by layer, a panel for each kind of layers.

    ``numbers`` are those that ``bench.py --json`` writes; the ending of the name is the format.
    """
    plt.rcParams["svg.hashsalt"] = "fracstride"  # the same run gives the same file
    kinds: dict[str, list[dict[str, Any]]] = {}
    for layer in numbers["layers"]:
        kinds.setdefault(layer["layer"]["kind"], []).append(layer)
    columns = min(2, len(kinds))
    rows = -(-len(kinds) // columns)
    height = (0.24 * max(map(len, kinds.values())) + 0.8) * rows + 0.8
    figure, panels = plt.subplots(
        rows, columns, figsize=(5.5 * columns, height), layout="constrained", squeeze=False
    )
    for axes in panels.flat[len(kinds) :]:
        axes.set_axis_off()
    for axes, (kind, members) in zip(panels.flat, kinds.items(), strict=False):
        _draw(axes, members)
        axes.set_title(kind, fontsize=10)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(_about(numbers), fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _draw(axes: Any, members: list[dict[str, Any]]) -> None:
    rows = range(len(members))
    for name in (*PEERS, OURS):
        shares = [layer["of_limit"].get(name) for layer in members]
        if any(share is not None for share in shares):
            own = {"s": 36, "color": "black", "marker": "D", "zorder": 3}
            style = own if name == OURS else {"s": 18, "alpha": 0.75, "linewidths": 0}
            axes.scatter(shares, rows, label=name, **style)
    axes.set_yticks(list(rows), [layer["layer"]["name"] for layer in members], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("time that the machine needs at least, over the time taken", fontsize=8)
    axes.grid(axis="both", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _about(numbers: dict[str, Any]) -> str:
    versions = ", ".join(f"{n} {v}" for n, v in numbers["versions"].items() if n != "python")
    return f"{versions}\n{numbers['dtype']}, {numbers['isa']}, threads: {numbers['threads']}"


if __name__ == "__main__":
    import json

    source, target = map(Path, sys.argv[1:])
    save(json.loads(source.read_text()), target)
