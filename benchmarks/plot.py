"""A picture of one run: what fraction of the machine's limit each library reaches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from results import OURS, Result


def save(results: Sequence[Result], peers: Sequence[str], about: str, path: Path) -> None:
    """Draw the fraction of the limit by layer. The ending of the name is the format."""
    plt.rcParams["svg.hashsalt"] = "fracstride"  # the same run gives the same file
    figure, axes = plt.subplots(figsize=(8, 0.26 * len(results) + 1.6), layout="constrained")
    rows = range(len(results))
    for name in peers:
        shares = [r.of_limit(name) for r in results]
        axes.scatter(shares, rows, s=18, alpha=0.75, label=name, linewidths=0)
    ours = [r.of_limit(OURS) for r in results]
    axes.scatter(ours, rows, s=42, color="black", marker="D", label=OURS, zorder=3)
    axes.set_yticks(list(rows), [r.layer.name for r in results])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("time that the machine needs at least, over the time taken")
    axes.set_title(about, fontsize=9)
    axes.grid(axis="both", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(peers) + 1, frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
