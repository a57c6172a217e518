"""Whether a network can stream, and the sentence that says why not."""

from __future__ import annotations

from fracstride.network.extent import Extent
from fracstride.network.graph import Graph
from fracstride.network.streaming.schedule import has_time
from fracstride.network.value import Value

__all__ = ["check_streams", "obstacle_of"]

_WAYS_ON = (
    "Use a model that is causal at this operation, or one without it; or compile and stream the "
    "parts before and after it separately"
)


_ONE = Extent.affine(0, 1)  # the length of an input without time


def obstacle_of(graph: Graph) -> str:
    """The first operation that cannot stream and why, ``"decoder.1 (Pad) ..."``; else empty."""
    timed: set[Value] = {value for value in graph.inputs if has_time(value)}
    graph = graph.without_unused()
    for node in graph.nodes:
        if timed.isdisjoint(node.inputs) and not any(map(has_time, node.outputs)):
            continue
        timed.update(node.outputs)
        why = node.operation.obstacle(*node.inputs)
        if why:
            return f"{node.where} {why}"
    for place, value in enumerate(graph.outputs):
        if not has_time(value):
            return f"output {place} has no time"
    return ""


def check_streams(graph: Graph, more: str = "") -> None:
    """Raise ``ValueError`` unless the network can stream; ``more`` helps with other libraries."""
    if not any(has_time(value) for value in graph.inputs):
        raise ValueError("the network cannot stream: none of its inputs has time")
    for value in graph.inputs:
        if value.is_signal and value.extent not in (value.extent.affine(int(value.rate)), _ONE):
            name = value.name or "an input"
            raise ValueError(
                f"the network cannot stream: {name} lasts {value.extent}, which is no whole number "
                "of positions for each tick"
            )
    obstacle = obstacle_of(graph)
    if obstacle:
        ways = f"{_WAYS_ON}. {more}" if more else _WAYS_ON
        raise ValueError(f"the network cannot stream: {obstacle}. {ways}")
