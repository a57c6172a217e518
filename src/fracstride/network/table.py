"""The printed form of a network: a table of its operations."""

from __future__ import annotations

from fracstride.network.graph import Graph

__all__ = ["table"]


def table(graph: Graph) -> str:
    """One line for each operation: name, place in the model, channels, sizes, rate, cost."""
    head = ("operation", "in the model", "channels", "sizes", "rate", "parameters", "MAC/tick")
    rows = [head]
    total_parameters, total_products = 0, 0.0
    for value in graph.inputs:
        channels = str(value.channels) if value.is_signal else ""
        rows.append(
            ("input", value.name, channels, "", str(value.rate) if value.shape else "", "", "")
        )
    for node in graph.nodes:
        operation, out = node.operation, node.outputs[0]
        products = float(operation.multiply_adds * out.rate) if out.is_signal else 0.0
        if out.is_signal and getattr(getattr(operation, "layer", None), "geometry", None):
            products = float(operation.multiply_adds * out.rate)
        total_parameters += operation.parameters
        total_products += products
        rows.append(
            (
                operation.name,
                node.path,
                _channels(node.inputs[0].channels if node.inputs[0].shape else None, out),
                operation.details,
                str(out.rate) if out.shape else "",
                f"{operation.parameters:,}" if operation.parameters else "",
                f"{products:,.0f}" if products else "",
            )
        )
    rows.append(("sum", "", "", "", "", f"{total_parameters:,}", f"{total_products:,.0f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i > 4 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _channels(before: int | None, out: object) -> str:
    after = getattr(out, "channels", None) if getattr(out, "shape", None) else None
    if before is None or after is None:
        return "" if after is None else str(after)
    return str(after) if before == after else f"{before} to {after}"
