"""The results on each layer, and the tables that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from statistics import geometric_mean
from typing import Any

import layers
from layers import Layer
from peers import CANDIDATES, MODULES
from rich.table import Table
from roofline import Roofline
from timing import Spread

OURS, *_ = (candidate.name for candidate in CANDIDATES)
OUR_MODULE, TORCHS_MODULE = (candidate.name for candidate in MODULES)
LARGE = 25e6  # multiply-adds of a layer whose fraction of the limit is held against a target


@dataclass
class Result:
    """The results on one layer, by the names of the candidates."""

    layer: Layer
    errors: dict[str, float] = field(default_factory=dict)  # see Problem.error
    failed: dict[str, str] = field(default_factory=dict)  # candidates that cannot do the layer
    rounds: int = 0
    seconds: dict[str, Spread] = field(default_factory=dict)  # per call; not of wrong candidates
    ratios: dict[str, Spread] = field(default_factory=dict)  # peer / ours
    limit: float = 0.0  # the least seconds that the machine allows
    computing: bool = True  # the multiply-adds set the limit, not the bytes

    @property
    def wrong(self) -> list[str]:
        """Candidates whose output is wrong."""
        return [name for name, error in self.errors.items() if not error <= layers.TOLERANCE]

    @property
    def best(self) -> str | None:
        """The peer that is fastest on this layer."""
        peers = {name: s.median for name, s in self.seconds.items() if name in self.ratios}
        return min(peers, key=lambda name: peers[name]) if peers else None

    def of_limit(self, name: str) -> float | None:
        """The limit divided by the time of a candidate: 1 is the best possible."""
        return self.limit / self.seconds[name].median if name in self.seconds else None

    def set_limit(self, roofline: Roofline) -> None:
        """Compute the limit of the layer on this machine."""
        self.limit = roofline.limit(self.layer)
        self.computing = roofline.computing(self.layer) >= roofline.moving(self.layer)

    def as_json(self) -> dict[str, Any]:
        """All fields, for JSON."""
        errors = {name: e if isfinite(e) else str(e) for name, e in self.errors.items()}
        of_limit = {name: self.of_limit(name) for name in self.seconds}
        return {
            **asdict(self),
            "errors": errors,
            "wrong": self.wrong,
            "best": self.best,
            "of_limit": of_limit,
        }


def mean(results: Sequence[Result], peer: str | None) -> float | None:
    """Geometric mean of a peer's time over ours; of each layer's best peer for None."""
    values = [r.ratios[name].median for r in results if (name := peer or r.best) in r.ratios]
    return geometric_mean(values) if values else None


def mean_ratios(results: Sequence[Result], peers: Sequence[str]) -> dict[str, float | None]:
    """:func:`mean` of each peer, and of the best."""
    return {**{peer: mean(results, peer) for peer in peers}, "best": mean(results, None)}


def speed_table(results: Sequence[Result], peers: Sequence[str]) -> Table:
    """A row per layer: our time, each peer's over ours, the best peer's, fraction of the limit."""
    table = Table(
        title="One forward pass: our milliseconds, and the times of peers divided by ours"
    )
    table.add_column("layer")
    for name in ("ms", *peers, "best / ours", "of the limit", "best's"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in results:
        ratios = (_cell(r, name) for name in peers)
        best = r.best or ""
        table.add_row(
            r.layer.name,
            _time(r, OURS, 1e3),
            *ratios,
            _ratio(r, best),
            _share(r, OURS),
            _share(r, best),
        )
    table.add_section()
    means = mean_ratios(results, peers).values()
    shown = ("" if value is None else f"{value:.2f}" for value in means)
    table.add_row("geometric mean", "", *shown, *_mean_shares(results), style="bold")
    table.caption = (
        "best / ours: with quartiles; limit: the time of the multiply-adds at this machine's peak, "
        "or of the bytes (m) where that is longer"
    )
    return table


def tiny_table(result: Result) -> Table:
    """The time of calls that compute almost nothing."""
    table = Table(title="A tiny call (1 to 1 channel, 4 frames)")
    table.add_column("")
    table.add_column("microseconds", justify="right")
    table.add_column("/ ours", justify="right")
    for name in result.errors:
        table.add_row(name, _time(result, name, 1e6), _ratio(result, name))
    return table


def module_overhead(result: Result) -> str:
    """The time that the torch module adds to that of the layer on arrays, as text."""
    times = {name: spread.median * 1e6 for name, spread in result.seconds.items()}
    if not {OURS, OUR_MODULE, TORCHS_MODULE} <= times.keys():
        return ""
    return (
        f"in inference mode our torch module takes {times[OUR_MODULE] - times[OURS]:.1f} us more "
        f"than our layer on arrays, and {times[OUR_MODULE] / times[TORCHS_MODULE]:.2f} of torch's "
        "module"
    )


def check_table(results: Sequence[Result], peers: Sequence[str]) -> Table:
    """The error of each output against float64."""
    table = Table(
        title="Largest error in float32 epsilons of the sum |x| |w| + |bias|"
        f" (right up to {layers.TOLERANCE:g})"
    )
    table.add_column("layer")
    for name in (OURS, *peers):
        table.add_column(name, justify="right")
    for r in results:
        errors = (_error(r, name) for name in (OURS, *peers))
        table.add_row(r.layer.name, *errors)
    return table


def slower(results: Sequence[Result], peer: str | None, least: float = 1.0) -> str:
    """The layers on which a peer (None: the best) takes less than ``least`` times our time."""
    lost = [
        f"{r.layer.name} ({r.ratios[name].median:.2f} {'' if peer else name}".rstrip() + ")"
        for r in results
        if (name := peer or r.best) in r.ratios and r.ratios[name].median < least
    ]
    return ", ".join(lost) or "no layer"


def far_from_limit(results: Sequence[Result]) -> str:
    """Layers below 85 % of a limit set by multiply-adds, or below 75 % of one set by bytes."""
    short = []
    for r in results:
        share, wanted = r.of_limit(OURS), 0.85 if r.computing else 0.75
        counts = r.layer.products >= LARGE if r.computing else True
        if share is not None and counts and share < wanted:
            short.append(f"{r.layer.name} ({share:.2f}{'' if r.computing else ' m'})")
    return ", ".join(short) or "no layer"


def _time(result: Result, name: str, unit: float) -> str:
    if name in result.wrong:
        return "[bold red]wrong"
    return f"{result.seconds[name].median * unit:.3f}" if name in result.seconds else ""


def _error(result: Result, name: str) -> str:
    if name not in result.errors:
        return "[dim]cannot" if name in result.failed else ""
    error = result.errors[name]
    return f"[bold red]{error:.3g} wrong" if name in result.wrong else f"{error:.2f}"


def _cell(result: Result, name: str) -> str:
    if name not in result.ratios:
        return _error(result, name) if name in result.wrong or name in result.failed else ""
    median = result.ratios[name].median
    return f"[red]{median:.2f}[/red]" if median < 1 else f"{median:.2f}"


def _ratio(result: Result, name: str) -> str:
    if name not in result.ratios:
        return ""
    r = result.ratios[name]
    shown = f"{r.median:.2f} [dim]({r.low:.2f}-{r.high:.2f})[/dim]"
    return f"[red]{shown}[/red]" if r.median < 1 else shown


def _share(result: Result, name: str) -> str:
    share = result.of_limit(name)
    return "" if share is None else f"{share:.2f}" + ("  " if result.computing else " m")


def _mean_shares(results: Sequence[Result]) -> list[str]:
    shown = []
    for name_of in (lambda r: OURS, lambda r: r.best or ""):
        shares = [s for r in results if (s := r.of_limit(name_of(r))) is not None]
        shown.append(f"{geometric_mean(shares):.2f}  " if shares else "")
    return shown
