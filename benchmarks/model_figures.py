"""The tables in docs/models.md, from the numbers of runs.

``python benchmarks/model_figures.py build/models.json build/models-short.json`` replaces the lines
between ``<!-- figures: NAME -->`` and ``<!-- end -->``. The sentences around are written by people.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from figures import filled, number, table
from model_peers import OURS, PEERS, TORCH

DOCS = Path(__file__).resolve().parent.parent / "docs" / "models.md"


def about(runs: list[dict[str, Any]]) -> str:
    """What was run, and its picture."""
    versions = ", ".join(f"{name} {version}" for name, version in runs[0]["versions"].items())
    picture = "![Seconds of audio per second by model, ours and each peer's](models.svg)"
    return f"{picture}\n\nVersions: {versions}. Kernels: {runs[0]['isa']}."


def means(runs: list[dict[str, Any]]) -> str:
    """A row for each dtype, number of threads and kind of lengths: times of others over ours."""
    peers = [p for p in PEERS if any(p in of_group for of_group in runs[0]["means"].values())]
    head = ["", "best peer", "the least"]
    for peer in peers:
        head += [peer, "the least"] if peer == TORCH else [peer]
    rows = []
    for group, of_group in runs[0]["means"].items():
        row = [group]
        for name in ("best", *peers):
            mean = of_group.get(name)
            row.append(number(mean and mean["mean"]))
            if name in ("best", TORCH):
                row.append(f"{mean['least']:.2f} `{mean['where']}`" if mean else "")
        rows.append(row)
    gains = [
        f"Ours, {name}: {gain['mean']:.2f}, the least {gain['least']:.2f} ({gain['where']})."
        for name, gain in runs[0]["own_gains"].items()
    ]
    return "\n\n".join([table(head, rows), *gains])


def speeds(runs: list[dict[str, Any]]) -> str:
    """A row for each case: seconds of audio per second, and the best peer's time over ours."""
    names = [n for n in (OURS, *PEERS) if any(n in c["seconds"] for c in runs[0]["cases"])]
    rows = []
    for case in runs[0]["cases"]:
        speed = case["audio_seconds_per_second"]
        spread = case["ratios"].get(case["best"])
        rows.append(
            (
                f"`{case['model']}`",
                f"{case['dtype']}, {case['threads']}, {case['lengths']}",
                *(number(speed.get(name)) for name in names),
                case["best"] or "",
                f"{spread['median']:.2f} ({spread['low']:.2f} to {spread['high']:.2f})"
                if spread
                else "",
            )
        )
    return table(("model", "", *names, "best peer", "its time / ours"), rows)


def memory(runs: list[dict[str, Any]]) -> str:
    """A row for each model and dtype: the largest difference, and megabytes at the peak."""
    names = [n for n in (OURS, *PEERS) if any(n in c["seconds"] for c in runs[0]["cases"])]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for case in runs[0]["cases"]:
        groups.setdefault((case["model"], case["dtype"]), []).append(case)
    rows = []
    for (model, dtype), cases in groups.items():
        cells = []
        for name in names:
            differences = [float(c["differences"][name]) for c in cases if name in c["differences"]]
            held = [c["memory"][name] for c in cases if c["memory"].get(name)]
            parts = [f"{max(differences):.0e}"] if differences else []
            parts += [f"{max(held) / 1e6:.0f} MB"] if held else []
            cells.append(", ".join(parts))
        rows.append((f"`{model}`", dtype, *cells))
    return table(("model", "", *names), rows)


def absent(runs: list[dict[str, Any]]) -> str:
    """Which candidates cannot run which models, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for case in (case for run in runs for case in run["cases"]):
        for name, reason in case["failed"].items():
            models = reasons.setdefault((name, reason[:200]), [])
            if f"`{case['model']}`" not in models:
                models.append(f"`{case['model']}`")
    rows = [(name, ", ".join(models), reason) for (name, reason), models in reasons.items()]
    return table(("", "models", "reason"), rows) if rows else "All run all models."


def short(runs: list[dict[str, Any]]) -> str:
    """A row for each model, dtype and number of threads: the peer's time over ours, by frames."""
    cases = runs[1]["cases"]
    lengths = sorted({case["frames"] // case["step"] for case in cases})
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    for case in cases:
        peer = case.get("peer", TORCH)  # which runs of before do not name
        key = f"`{case['model']}`", f"{case['dtype']}, {case['threads']}", peer
        spread = case["ratios"].get(peer)
        rows.setdefault(key, {})[case["frames"] // case["step"]] = number(
            spread and spread["median"]
        )
    cells = [(*key, *(row.get(n, "") for n in lengths)) for key, row in rows.items()]
    return table(("model", "", "peer", *map(str, lengths)), cells)


TABLES = {
    "about": about,
    "means": means,
    "speeds": speeds,
    "memory": memory,
    "absent": absent,
    "short": short,
}


if __name__ == "__main__":
    found = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    DOCS.write_text(filled(DOCS.read_text(), found, TABLES))
