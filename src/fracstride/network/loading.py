"""Networks from files that :mod:`fracstride.network.saving` wrote.

All that a file says is checked when the graph is built anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fracstride.arrays import Array, as_dtype
from fracstride.network.encoding import Decoder
from fracstride.network.graph import Graph
from fracstride.network.layout import BATCH, TIME, Axes, Axis, Split
from fracstride.network.layouts import Layouts
from fracstride.network.network import Network
from fracstride.network.saving import FORMAT, KINDS, VERSION, safetensors
from fracstride.network.value import Value, constant

__all__ = ["load"]

_AXES = {"batch": BATCH, "time": TIME}


def load(path: str | os.PathLike[str]) -> Network:
    """The network that :meth:`Network.save` wrote: it needs NumPy and safetensors, and no more.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no network, or one that a newer version wrote, or is damaged.
        ModuleNotFoundError: safetensors is not installed, or ml_dtypes for a bfloat16 network.

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
        if isinstance(error.__context__, ModuleNotFoundError):  # for bfloat16: the file is healthy
            raise ModuleNotFoundError(str(error)) from None
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{str(path)!r} is damaged: {type(error).__name__}: {text}") from error


def _opened(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        hint = "; fracstride.onnx.load reads ONNX models" if path.suffix == ".onnx" else ""
        raise ValueError(
            f"{str(path)!r} is no safetensors file, or damaged: {error}{hint}"
        ) from None


def _read(written: dict[str, Any], tensors: dict[str, Array]) -> Network:
    decode, graph, dtype = Decoder(tensors), Graph(), as_dtype(written["dtype"])
    values: dict[int, Value] = {}
    for name, channels, extent, *kind in written["inputs"]:
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f"an input has {channels} channels")
        if kind not in ([], ["codes"]):
            raise ValueError(f"an input is of the kind {kind}")
        values[len(values)] = graph.add_input(
            str(name), channels, decode.extent(extent), codes=bool(kind)
        )
    for number, array in written["constants"]:
        values[number] = constant(decode.tensor(array))
    first = len(graph.inputs)
    for place, (kind, fields, inputs, path) in enumerate(written["nodes"]):
        operation = KINDS[kind](**decode.fields(KINDS[kind], fields)).astype(dtype)
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
