"""The printed form of a network: a table of its operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from fracstride.network.graph import Graph, Node
from fracstride.network.value import Value

__all__ = ["aligned", "look_ahead", "table"]

_HEAD = (
    "operation",
    "in the model",
    "channels",
    "sizes",
    "rate",
    "look-ahead",
    "parameters",
    "multiply-adds",
)
_LEFT = 4  # columns of text


def look_ahead(graph: Graph) -> dict[Value, Fraction | None]:
    """For each value, ticks that must be known beyond a position; None: all of the signal."""
    ahead: dict[Value, Fraction | None] = {value: Fraction(0) for value in graph.inputs}
    for node in graph.nodes:
        signals = [value for value in node.inputs if value.constant is None]
        before = [ahead[value] for value in signals]
        own = node.operation.delay(*signals)
        known = [each for each in before if each is not None]
        reach = None
        if own is not None and len(known) == len(before):
            reach = max(known, default=Fraction(0)) + own
        ahead.update(dict.fromkeys(node.outputs, reach))
    return ahead


def table(graph: Graph, streams: str, memory: str = "") -> str:
    """One line for each operation, and what all of them cost.

    Rates are positions per tick of the clock (a position of the first input, if the inputs have
    one rate), look-ahead is in ticks, multiply-adds are those of one tick.

    Args:
        graph: of the network.
        streams: whether it can stream.
        memory: that it needs.
    """
    ahead = look_ahead(graph)
    rows = [_HEAD, *(_input_row(value) for value in graph.inputs)]
    parameters, products = 0, Fraction(0)
    for node in graph.nodes:
        cost = _Cost(node)
        parameters, products = parameters + cost.parameters, products + cost.products
        rows.append(_row(node, ahead[node.outputs[0]], cost))
    rows.append(("all", *[""] * 5, f"{parameters:,}", f"{round(products):,}"))
    return "\n".join([*aligned(rows, _LEFT), streams, *([memory] if memory else [])])


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of cells in columns, of which so many are of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


@dataclass
class _Cost:
    """Parameters of a node, and multiply-adds for each tick."""

    node: Node

    @property
    def parameters(self) -> int:
        return self.node.operation.parameters

    @property
    def products(self) -> Fraction:
        out = self.node.outputs[0]
        return self.node.operation.multiply_adds * out.rate if out.shape else Fraction(0)


def _input_row(value: Value) -> tuple[str, ...]:
    if value.shape is None:
        return ("input", value.name, *[""] * 6)
    kind = "codes" if value.is_codes else ""
    return ("input", value.name, str(value.channels), kind, str(value.rate), *[""] * 3)


def _row(node: Node, ahead: Fraction | None, cost: _Cost) -> tuple[str, ...]:
    out = node.outputs[0]
    channels = rate = ""
    if out.shape is not None:
        channels, rate = str(out.channels), str(out.rate)
        first = node.inputs[0] if node.inputs else out
        if first.shape is not None and first.channels != out.channels:
            channels = f"{first.channels} to {channels}"
    return (
        node.operation.name,
        node.path,
        channels,
        node.operation.details,
        rate,
        "all" if ahead is None else f"{float(ahead):.6g}",
        f"{cost.parameters:,}" if cost.parameters else "",
        f"{round(cost.products):,}" if cost.products else "",
    )
