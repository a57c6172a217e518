"""A picture of one run on whole models: seconds of audio per second of each library.

``python benchmarks/model_plot.py build/models.json build/models.svg`` draws a run again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter
from model_peers import OURS, PEERS


def save(numbers: dict[str, Any], path: Path) -> None:
    """Draw a panel for each dtype, number of threads and kind of lengths.

    ``numbers`` are those that ``models.py --json`` writes; the ending of the name is the format.
    """
    plt.rcParams["svg.hashsalt"] = "fracstride"  # the same run gives the same file
    panels: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {}
    for case in numbers["cases"]:
        if case["seconds"]:
            row = panels.setdefault((case["dtype"], case["threads"]), {})
            row.setdefault(case["lengths"], []).append(case)
    if not panels:
        return
    columns = max(map(len, panels.values()))
    most = max(len(cases) for row in panels.values() for cases in row.values())
    size = (5.5 * columns, (0.24 * most + 0.9) * len(panels) + 0.8)
    figure, axes = plt.subplots(
        len(panels), columns, figsize=size, layout="constrained", squeeze=False, sharex=True
    )
    for line, ((dtype, threads), row) in zip(axes, panels.items(), strict=True):
        for panel in line[len(row) :]:
            panel.set_axis_off()
        for panel, (lengths, cases) in zip(line, row.items(), strict=False):
            _draw(panel, cases)
            many = "s" * (threads > 1)
            panel.set_title(f"{dtype}, {threads} thread{many}, {lengths} lengths", fontsize=10)
    for panel in axes[-1]:
        panel.set_xlabel("seconds of audio per second", fontsize=8)
        panel.set_xscale("log")  # of all panels, which share it
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
    found: dict[str, Any] = {}
    for panel in axes.flat:
        handles, labels = panel.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    names = [name for name in (*PEERS, OURS) if name in found]
    figure.legend(
        [found[name] for name in names],
        names,
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
    )
    versions = ", ".join(f"{n} {v}" for n, v in numbers["versions"].items() if n != "python")
    figure.suptitle(f"{versions}\n{numbers['isa']}", fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _draw(axes: Any, cases: list[dict[str, Any]]) -> None:
    rows = range(len(cases))
    for name in (*PEERS, OURS):
        speeds = [case["audio_seconds_per_second"].get(name) for case in cases]
        if any(speed is not None for speed in speeds):
            own = {"s": 36, "color": "black", "marker": "D", "zorder": 3}
            style = own if name == OURS else {"s": 18, "alpha": 0.75, "linewidths": 0}
            place = f"C{PEERS.index(name)}" if name in PEERS else None
            axes.scatter(speeds, rows, label=name, **({"color": place} if place else {}), **style)
    axes.set_yticks(list(rows), [case["model"] for case in cases], fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="both", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    save(json.loads(source.read_text()), target)
