"""The values of a network that have no time: they are computed once, when a stream is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fracstride.arrays import Array, DType
from fracstride.network.codes import naming
from fracstride.network.foreign import Foreign
from fracstride.network.graph import Graph
from fracstride.network.streaming.schedule import has_time
from fracstride.network.value import Value

__all__ = ["whole_values"]


def whole_values(
    graph: Graph, constants: Mapping[Value, Array], batch: int, dtype: DType
) -> dict[Value, Array]:
    """All signals without time, from the inputs that are."""
    values: dict[Value, Any] = dict(constants)
    for node in graph.nodes:
        if not all(value in values for value in node.inputs):
            continue
        arrays = [values[value] for value in node.inputs]
        operation, output = node.operation, node.outputs[0]
        if isinstance(operation, Foreign):
            results = operation.call(arrays, 0, batch)
            values.update(zip(node.outputs, results, strict=True))
        elif operation.is_view:
            values[output] = operation.view(arrays[0], output.extent(0))
        else:
            shape = batch, output.channels, output.extent(0)
            values[output] = np.empty(shape, output.dtype(dtype))
            step = operation.bind(arrays, values[output])
            (naming(step, node.where) if node.reads_codes else step)()
    return {v: a for v, a in values.items() if v.is_signal and not has_time(v)}
