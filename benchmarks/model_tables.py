"""The tables that show results on whole models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from model_peers import OURS, RUNNERS, TORCH
from model_results import Case, Mean, groups, means, own_gains
from rich.table import Table
from timing import Spread

MEGABYTE = 1e6


def _table(title: str, first: Sequence[str], *columns: str) -> Table:
    table = Table(title=title)
    for name in first:
        table.add_column(name, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def names_in(cases: Sequence[Case]) -> list[str]:
    """The candidates that any of the cases names, ours first."""
    found = {name for c in cases for name in (*c.seconds, *c.differences, *c.failed)}
    return [name for name in RUNNERS if name in found]


def _by_group(
    title: str, cases: Sequence[Case], columns: Sequence[str], row: Callable[[Case], list[str]]
) -> Table:
    table = _table(title, ("model", "dtype", "threads", "length"), *columns)
    for (dtype, threads, lengths), members in groups(cases).items():
        for case in members:
            table.add_row(case.model, dtype, str(threads), lengths, *row(case))
        table.add_section()
    return table


def speeds(cases: Sequence[Case]) -> Table:
    """Seconds of audio per second of each candidate."""
    names = names_in(cases)
    return _by_group(
        "Seconds of audio per second", cases, names, lambda c: [_speed(c, name) for name in names]
    )


def ratios(cases: Sequence[Case]) -> Table:
    """Our time, the others' over ours."""
    peers = [name for name in names_in(cases) if name != OURS]

    def row(case: Case) -> list[str]:
        ours = f"{case.seconds[OURS].median * 1e3:.1f}" if OURS in case.seconds else ""
        best = case.ratios[case.best] if case.best else None
        return [ours, *(_ratio(case, name) for name in peers), _spread(best), case.best or ""]

    columns = ("our ms", *peers, "best / ours", "best")
    table = _by_group("Times of others divided by ours", cases, columns, row)
    table.caption = "best / ours: the fastest peer of that row, with quartiles"
    return table


def agreement(cases: Sequence[Case]) -> Table:
    """By how much outputs differ, until when a candidate was ready, and the memory it took."""
    names = names_in(cases)

    def cell(case: Case, name: str) -> str:
        if name not in case.ready:
            return _absent(case, name)
        parts = [_difference(case, name), f"{case.ready[name]:.1f} s"]
        memory = case.memory.get(name)
        return ", ".join(parts + ([f"{memory / MEGABYTE:.0f} MB"] if memory else []))

    table = _by_group(
        "Agreement, time until ready, peak memory",
        cases,
        names,
        lambda case: [cell(case, name) for name in names],
    )
    table.caption = (
        "largest difference from the right output in float32, of its peak; the set-up; what the "
        "process holds more at its peak than before it, until after the first call"
    )
    return table


def summary(cases: Sequence[Case]) -> Table:
    """Geometric means over the models, and the model with the least ratio."""
    table = _table("Geometric means of the times of others divided by ours", ("cases",))
    columns = {name: None for of_group in means(cases).values() for name in of_group}
    for name in columns:
        table.add_column(f"{name} / ours", justify="right", no_wrap=True)
        if name in ("best", TORCH):
            table.add_column("least", no_wrap=True)
    for group, of_group in means(cases).items():
        cells = []
        for name in columns:
            mean = of_group.get(name)
            cells.append(_mean(mean))
            if name in ("best", TORCH):
                cells.append(f"{mean.least:.2f} {mean.where}" if mean else "")
        table.add_row(group, *cells)
    return table


def short(cases: Sequence[Case]) -> Table:
    """A column per length: torch's time over ours, or ONNX Runtime's."""
    lengths = sorted({_steps(case) for case in cases})
    table = _table(
        "The peer's time divided by ours, by frames",
        ("model", "dtype", "threads", "peer"),
        *map(str, lengths),
    )
    rows: dict[tuple[str, str, int, str], dict[int, str]] = {}
    for case in cases:
        key = case.model, case.dtype, case.threads, case.peer
        rows.setdefault(key, {})[_steps(case)] = _ratio(case, case.peer)
    for (model, dtype, threads, peer), cells in rows.items():
        table.add_row(model, dtype, str(threads), peer, *(cells.get(n, "") for n in lengths))
    return table


def lines(cases: Sequence[Case], is_short: bool) -> list[str]:
    """What the tables leave to say, a line of text each."""
    slow = [
        f"{_where(c)} ({ratio:.2f} {c.peer if is_short else c.best})"
        for c in cases
        if (ratio := c.ratio(c.peer if is_short else None)) is not None and ratio < 1
    ]
    found = [
        f"slower than {'the peer' if is_short else 'the best peer'}: {'; '.join(slow) or 'nowhere'}"
    ]
    for what, mean in own_gains(cases).items():
        found.append(f"{what}, ours: {mean.mean:.2f}, the least {mean.least:.2f} ({mean.where})")
    return found


def failures(cases: Sequence[Case]) -> list[str]:
    """Which candidates cannot run a model, with the reason, once for each reason."""
    seen: dict[tuple[str, str, str], list[str]] = {}
    for case in cases:
        for name, reason in case.failed.items():
            where = f"{case.dtype}, {case.threads}, {case.lengths}, {case.frames} frames"
            seen.setdefault((name, case.model, reason), []).append(where)
    return [
        f"{name} cannot run {model} ({where[0]}"
        + (f" and {len(where) - 1} more" if where[1:] else "")
        + f"): {reason[:300]}"
        for (name, model, reason), where in seen.items()
    ]


def _where(case: Case) -> str:
    return f"{case.model} {case.dtype} {case.threads} {case.lengths} {case.frames}"


def _steps(case: Case) -> int:
    return case.frames // case.step


def _speed(case: Case, name: str) -> str:
    speed = case.speed(name)
    return _absent(case, name) if speed is None else f"{speed:.2f}"


def _ratio(case: Case, name: str) -> str:
    ratio = case.ratio(name) if name in case.ratios else None
    if ratio is None:
        return _absent(case, name)
    return f"[red]{ratio:.2f}[/red]" if ratio < 1 else f"{ratio:.2f}"


def _absent(case: Case, name: str) -> str:
    if name in case.wrong:
        return "[bold red]wrong"
    return "[dim]cannot" if name in case.failed else ""


def _difference(case: Case, name: str) -> str:
    shown = f"{case.differences[name]:.0e}"
    return f"[bold red]{shown}[/bold red]" if name in case.wrong else shown


def _spread(ratio: Spread | None) -> str:
    if ratio is None:
        return ""
    shown = f"{ratio.median:.2f} [dim]({ratio.low:.2f}-{ratio.high:.2f})[/dim]"
    return f"[red]{shown}[/red]" if ratio.median < 1 else shown


def _mean(mean: Mean | None) -> str:
    return "" if mean is None else f"{mean.mean:.2f}"
