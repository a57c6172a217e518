"""Codes of a chunk are looked at before anything is computed: one that no table has is found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from fracstride.arrays import Array
from fracstride.network.codes import CODES, naming
from fracstride.network.graph import Graph
from fracstride.network.operations.embedding import Embedding
from fracstride.network.value import Value

__all__ = ["check_codes"]


def check_codes(graph: Graph, values: Sequence[Value], chunks: Sequence[Array]) -> None:
    """Look up all codes of these chunks, of inputs, as far as operations read single positions.

    Raises:
        CodeError: a table does not have one; the operation is named.
    """
    known = {v: x for v, x in zip(values, chunks, strict=True) if v.is_codes}
    for node in graph.nodes if known else ():
        if not node.reads_codes or not all(value in known for value in node.inputs):
            continue
        operation, arrays = node.operation, [known[value] for value in node.inputs]
        if isinstance(operation, Embedding):
            naming(partial(operation.check, arrays[0]), node.where)()
        elif node.output.is_codes and node.output.extent == node.inputs[0].extent:
            length = arrays[0].shape[2]
            if operation.is_view:
                known[node.output] = operation.view(arrays[0], length)
            else:
                out = np.empty((len(arrays[0]), node.output.channels, length), CODES)
                operation.bind([each.astype(CODES) for each in arrays], out)()
                known[node.output] = out
