"""Networks to files: safetensors, with the graph as JSON in its metadata.

A file holds numbers and names, and nothing that is run.
"""

from __future__ import annotations

import json
import os
from typing import Any

from fracstride.arrays import Array
from fracstride.network.encoding import Encoder
from fracstride.network.graph import Graph
from fracstride.network.layout import Axes, Split
from fracstride.network.layouts import Layouts
from fracstride.network.operations import OPERATIONS
from fracstride.network.value import Value

__all__ = ["FORMAT", "KINDS", "VERSION", "safetensors", "save"]

FORMAT, VERSION = "fracstride.network", 1
#: The operations that a file can hold, by name.
KINDS = {kind.__name__: kind for kind in OPERATIONS}


def save(
    path: str | os.PathLike[str], graph: Graph, dtype: str, least: int, layouts: Layouts | None
) -> None:
    """Write what a network is made of.

    Raises:
        OSError: the file cannot be written.
    """
    numpy_files = safetensors()
    from safetensors import SafetensorError

    tensors, written = _written(graph.without_unused())
    written |= {"dtype": dtype, "least": least}
    if layouts is not None:
        sides = layouts.inputs, layouts.outputs
        written["layouts"] = [[_named(axes) for axes in side] for side in sides]
    metadata = {"format": FORMAT, "version": str(VERSION), "graph": json.dumps(written)}
    try:
        numpy_files.save_file(tensors, str(path), metadata)
    except SafetensorError as error:
        raise OSError(f"{str(path)!r} cannot be written: {error}") from None


def safetensors() -> Any:
    """The package's module for arrays."""
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "safetensors":
            raise
        raise ModuleNotFoundError(
            "networks in files need the package safetensors: pip install 'fracstride[files]'",
            name="safetensors",
        ) from None
    return safetensors.numpy


def _written(graph: Graph) -> tuple[dict[str, Array], dict[str, Any]]:
    encode = Encoder()
    numbers = {value: place for place, value in enumerate(graph.values())}

    def number_of(value: Value) -> int:
        if value not in numbers:  # a constant
            numbers[value] = len(numbers)
            constants.append([numbers[value], encode(value.constant)])
        return numbers[value]

    constants: list[Any] = []
    nodes = []
    for node in graph.nodes:
        kind = type(node.operation)
        if KINDS.get(kind.__name__) is not kind:
            where = node.path or "the network"
            raise ValueError(
                f"{where} ({node.operation.name}) is computed by another library or is an "
                "operation of your own: a file cannot hold it"
            )
        inputs = [number_of(value) for value in node.inputs]
        nodes.append([kind.__name__, encode.fields(node.operation), inputs, node.path])
    inputs_written = [
        [v.name, v.channels, encode(v.extent), *(["codes"] if v.is_codes else [])]
        for v in graph.inputs
    ]
    written: dict[str, Any] = {
        "inputs": inputs_written,
        "constants": constants,
        "nodes": nodes,
        "outputs": [number_of(value) for value in graph.outputs],
    }
    return encode.tensors, written


def _named(axes: Axes) -> list[Any]:
    return [[a.size, a.step] if isinstance(a, Split) else repr(a) for a in axes]
