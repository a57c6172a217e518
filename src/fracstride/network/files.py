"""Networks in files: safetensors, with the graph as JSON in its metadata.

A file holds numbers and names, and nothing that is run. All that it says is checked when the graph
is built anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fracstride.arrays import Array, as_dtype
from fracstride.network.encoding import Decoder, Encoder
from fracstride.network.graph import Graph
from fracstride.network.layout import BATCH, TIME, Axes, Axis, Split
from fracstride.network.layouts import Layouts
from fracstride.network.network import Network
from fracstride.network.operations import OPERATIONS
from fracstride.network.value import Value, constant

__all__ = ["load", "save"]

FORMAT, VERSION = "fracstride.network", 1
_KINDS = {kind.__name__: kind for kind in OPERATIONS}
_AXES = {"batch": BATCH, "time": TIME}


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file; :meth:`Network.save` says more."""
    tensors, graph = _written(network)
    metadata = {"format": FORMAT, "version": str(VERSION), "graph": json.dumps(graph)}
    _safetensors().save_file(tensors, str(path), metadata)


def load(path: str | os.PathLike[str]) -> Network:
    """The network that :meth:`Network.save` wrote: it needs NumPy and safetensors, and no more.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no network, or one that a newer version wrote, or is damaged.
        ModuleNotFoundError: safetensors is not installed.

    >>> import tempfile, numpy as np
    >>> from fracstride.network import Graph, Network
    >>> from fracstride.network.operations.leaky_relu import LeakyReLU
    >>> graph = Graph()
    >>> graph.outputs.append(graph.add(LeakyReLU(0.5), graph.add_input("x", channels=1)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Network(graph).save(f"{folder}/net.safetensors")
    ...     net = load(f"{folder}/net.safetensors")
    >>> net(np.array([[[-2, 4]]], np.float32))
    array([[[-1.,  4.]]], dtype=float32)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    tensors, metadata = _opened(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} holds no network of fracstride")
    if metadata.get("version") != str(VERSION):
        found = str(metadata.get("version"))[:20]
        raise ValueError(
            f"{str(path)!r} has version {found} of the format, and this is version {VERSION}: "
            "a newer fracstride reads it"
        )
    try:
        return _read(json.loads(metadata["graph"]), tensors)
    except Exception as error:  # a file from elsewhere may be wrong in any way
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{str(path)!r} is damaged: {type(error).__name__}: {text}") from error


def _safetensors() -> Any:
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


def _opened(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{str(path)!r} is no safetensors file, or damaged: {error}") from None


# --- writing --------------------------------------------------------------------------------------


def _written(network: Network) -> tuple[dict[str, Array], dict[str, Any]]:
    encode, graph = Encoder(), network.graph.without_unused()
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
        if _KINDS.get(kind.__name__) is not kind:
            where = node.path or "the network"
            raise ValueError(
                f"{where} ({node.operation.name}) is computed by another library or is an "
                "operation of your own: a file cannot hold it"
            )
        inputs = [number_of(value) for value in node.inputs]
        nodes.append([kind.__name__, encode.fields(node.operation), inputs, node.path])
    inputs_written = [[v.name, v.channels, encode(v.extent)] for v in graph.inputs]
    written: dict[str, Any] = {
        "dtype": network.dtype.name,
        "least": network.least,
        "inputs": inputs_written,
        "constants": constants,
        "nodes": nodes,
        "outputs": [number_of(value) for value in graph.outputs],
    }
    if network.layouts is not None:
        sides = network.layouts.inputs, network.layouts.outputs
        written["layouts"] = [[_named(axes) for axes in side] for side in sides]
    return encode.tensors, written


def _named(axes: Axes) -> list[Any]:
    return [[a.size, a.step] if isinstance(a, Split) else repr(a) for a in axes]


# --- reading --------------------------------------------------------------------------------------


def _read(written: dict[str, Any], tensors: dict[str, Array]) -> Network:
    decode, graph, dtype = Decoder(tensors), Graph(), as_dtype(written["dtype"])
    values: dict[int, Value] = {}
    for name, channels, extent in written["inputs"]:
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f"an input has {channels} channels")
        values[len(values)] = graph.add_input(str(name), channels, decode.extent(extent))
    for number, array in written["constants"]:
        values[number] = constant(decode.tensor(array))
    first = len(graph.inputs)
    for place, (kind, fields, inputs, path) in enumerate(written["nodes"]):
        operation = _KINDS[kind](**decode.fields(_KINDS[kind], fields)).astype(dtype)
        given = [values[number] for number in inputs]
        values[first + place] = graph.add(operation, *given, path=str(path))
    graph.outputs = [values[number] for number in written["outputs"]]
    if not graph.outputs or not all(value.is_signal for value in graph.outputs):
        raise ValueError("it has no outputs")
    layouts = _layouts(written["layouts"], graph) if "layouts" in written else None
    return Network(graph, dtype, int(written["least"]), layouts=layouts)


def _layouts(written: Any, graph: Graph) -> Layouts:
    inputs, outputs = written
    return Layouts(_side(inputs, graph.inputs), _side(outputs, graph.outputs))


def _side(written: Sequence[Any], values: Sequence[Value]) -> tuple[Axes, ...]:
    if len(written) != len(values):
        raise ValueError("it has axes for other signals")
    return tuple(_axes(each, value) for each, value in zip(written, values, strict=True))


def _axes(written: Sequence[Any], value: Value) -> Axes:
    """Axes that show channels which the signal has."""
    make: Callable[[Any], Axis] = lambda a: _AXES[a] if isinstance(a, str) else Split(*map(int, a))  # noqa: E731
    axes = tuple(map(make, written))
    named = [axis for axis in axes if not isinstance(axis, Split)]
    furthest = 0
    for axis in axes:
        if isinstance(axis, Split):
            if axis.size < 1 or axis.step < 0:
                raise ValueError(f"no such axis: {axis}")
            furthest += axis.step * (axis.size - 1)
    if len(set(named)) < len(named) or furthest >= value.channels:
        raise ValueError("its axes do not fit its signals")
    return axes
