"""The tables that show results."""

from __future__ import annotations

from collections.abc import Sequence

import layers
from peers import OUR_MODULE, OURS, PEERS, TORCHS_MODULE
from results import LEAST, MODULE_SECONDS, MODULE_SHARE, Result, Summary, by_kind
from rich.table import Table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    table.add_column("layer")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def speed_table(results: Sequence[Result], peers: Sequence[str]) -> Table:
    """A row per layer: both our times, each peer's over ours, the best's, parts of the limit."""
    columns = ("ms", "torch face", *peers, "best / ours", "of the limit", "best's")
    table = _table(
        "One forward pass: our milliseconds, and the times of others divided by ours", *columns
    )
    for kind, members in by_kind(results).items():
        if kind == "all":
            continue
        for r in members:
            table.add_row(
                r.layer.name,
                _time(r, OURS, 1e3),
                _module(r),
                *(_cell(r, name) for name in peers),
                _ratio(r, r.best),
                _share(r, OURS),
                _share(r, r.best),
            )
        table.add_section()
    table.caption = (
        "best / ours: with quartiles; limit: the time of the multiply-adds at this machine's peak, "
        "or of the bytes (m) where that is longer"
    )
    return table


def summary_table(results: Sequence[Result], peers: Sequence[str]) -> Table:
    """A row per kind of layers: geometric means, and the worst layer against the best peer."""
    columns = (*peers, "best", f"below {LEAST}", "lowest", "of the limit", "best's", "torch face")
    table = _table("Geometric means of the times of others divided by ours", "layers", *columns)
    table.columns[0].header, table.columns[0].no_wrap = "kind", True
    for kind, members in by_kind(results).items():
        s = Summary.of(members)
        means = (_number(s.means.get(name)) for name in (*peers, "best"))
        shares = (_number(s.of_limit.get(name)) for name in ("ours", "best"))
        lowest = f"{s.lowest[1]:.2f} {s.lowest[0]}" if s.lowest else ""
        row = (str(s.layers), *means, str(s.below), lowest, *shares, _number(s.module))
        table.add_row(kind, *row, style="bold" if kind == "all" else None)
    return table


def tiny_table(result: Result) -> Table:
    """The time of calls that compute almost nothing."""
    table = _table("A tiny call (1 to 1 channel, 4 frames)", "microseconds", "/ ours")
    table.columns[0].header = ""
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
    table = _table(
        "Largest error in float32 epsilons of the sum |x| |w| + |bias|"
        f" (right up to {layers.TOLERANCE:g})",
        OURS,
        OUR_MODULE,
        *peers,
    )
    for r in results:
        table.add_row(r.layer.name, *(_error(r, name) for name in (OURS, OUR_MODULE, *peers)))
    return table


def slower(results: Sequence[Result], peer: str | None, least: float) -> str:
    """The layers on which a peer (None: the best) takes less than ``least`` times our time."""
    lost = [
        f"{r.layer.name} ({ratio:.2f} {'' if peer else r.best}".rstrip() + ")"
        for r in results
        if (ratio := r.ratio(peer)) is not None and ratio < least
    ]
    return ", ".join(lost) or "no layer"


def far_from_limit(results: Sequence[Result]) -> str:
    """The layers whose fraction of the limit is below the target."""
    short = [
        f"{r.layer.name} ({r.of_limit(OURS):.2f}{'' if r.computing else ' m'})"
        for r in results
        if r.far_from_limit
    ]
    return ", ".join(short) or "no layer"


def slow_modules(results: Sequence[Result]) -> str:
    """The layers on which the torch face takes longer than it may, with torch face / ours."""
    slow = [f"{r.layer.name} ({r.ratio(OUR_MODULE):.2f})" for r in results if r.module_is_slow]
    return ", ".join(slow) or "no layer"


def targets(results: Sequence[Result]) -> list[str]:
    """Where the project's own targets are missed: a line of text for each."""
    means = Summary.of(results).means
    lines = [
        f"below {LEAST} of the best peer: {slower(results, None, LEAST)}",
        f"torch face above {MODULE_SHARE} of the arrays' time + {MODULE_SECONDS * 1e6:.0f} us: "
        f"{slow_modules(results)}",
        "below 0.85 of the multiply-adds' limit (50 MFLOP and more) or 0.75 of the bytes' (m): "
        f"{far_from_limit(results)}",
    ]
    if "best" in means:
        lines.append(f"geometric mean: {means['best']:.2f} of the best peer's time (wanted: 1.25)")
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _time(result: Result, name: str, unit: float) -> str:
    if name in result.wrong:
        return "[bold red]wrong"
    return f"{result.seconds[name].median * unit:.3f}" if name in result.seconds else ""


def _error(result: Result, name: str) -> str:
    if name not in result.errors:
        return "[dim]cannot" if name in result.failed else ""
    error = result.errors[name]
    return f"[bold red]{error:.3g} wrong" if name in result.wrong else f"{error:.2f}"


def _module(result: Result) -> str:
    shown = _cell(result, OUR_MODULE)
    return f"[red]{shown}[/red]" if result.module_is_slow else shown


def _cell(result: Result, name: str) -> str:
    if name not in result.ratios:
        return _error(result, name) if name in result.wrong or name in result.failed else ""
    median = result.ratios[name].median
    return f"[red]{median:.2f}[/red]" if name in PEERS and median < LEAST else f"{median:.2f}"


def _ratio(result: Result, name: str | None) -> str:
    if name not in result.ratios:
        return ""
    r = result.ratios[name]
    shown = f"{r.median:.2f} [dim]({r.low:.2f}-{r.high:.2f})[/dim]"
    return f"[red]{shown}[/red]" if name in PEERS and r.median < LEAST else shown


def _share(result: Result, name: str | None) -> str:
    share = result.of_limit(name)
    return "" if share is None else f"{share:.2f}" + ("  " if result.computing else " m")
