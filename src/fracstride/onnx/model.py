"""An ONNX model as it comes: read, checked, and cut to the part that is wanted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import inliner, numpy_helper, shape_inference

__all__ = ["Part", "described", "domain_of", "name_of", "read_model", "single", "wanted_part"]

OLDEST_OPSET = 11


@dataclass(frozen=True, eq=False)
class Part:
    """Nodes between some values of a graph and others.

    Args:
        nodes: in an order in which they can run.
        constants: initialisers, by name.
        inputs: names of the values that the caller gives.
        outputs: names of the results.
        infos: types of values as far as the file tells them, by name.
        opsets: of each domain.
        shapes: what ONNX's rules have given for nodes so far, by what the nodes are and are given.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, NDArray[Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    infos: dict[str, onnx.TypeProto]
    opsets: dict[str, int]
    shapes: dict[Any, Any] = field(default_factory=dict)


def read_model(model: Any) -> onnx.ModelProto:
    """A model from a path, or the model itself.

    Raises:
        TypeError, FileNotFoundError: it is neither.
        ValueError: the file is no ONNX model, is cut short, or lacks its external data.
    """
    if isinstance(model, (str, os.PathLike)):
        model = _read(Path(model))
    elif not isinstance(model, onnx.ModelProto):
        name = type(model).__name__
        raise TypeError(f"model must be a path or an onnx.ModelProto, got {name}")
    if not model.HasField("graph") or not model.opset_import:
        raise ValueError("model must be an ONNX model, and it has no graph or no opset")
    version = _opsets(model).get("", OLDEST_OPSET)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= version <= newest:
        raise ValueError(
            f"the model has opset {version}; opsets {OLDEST_OPSET} to {newest} can be read: "
            "convert it with onnx.version_converter, or install a newer onnx"
        )
    return inliner.inline_local_functions(model) if model.functions else model


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except DecodeError:
        raise ValueError(f"{str(path)!r} is no ONNX model, or it is cut short") from None
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # of many kinds: a file is missing, too short, outside of the folder
        text = " ".join(str(error).split())
        raise ValueError(f"weights beside {str(path)!r} cannot be read: {text}") from None
    return model


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    return {domain_of(entry): entry.version for entry in model.opset_import}


def domain_of(entry: Any) -> str:
    """The domain of a node or an opset; ONNX's own one has two names, of which "" is one."""
    domain = str(entry.domain)
    return "" if domain == "ai.onnx" else domain


def wanted_part(
    model: onnx.ModelProto, inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> Part:
    """The nodes that lead from these values to those.

    Raises:
        ValueError: a name is none of the graph's, or a node reads what nothing gives.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output if name}
    known = {*constants, *makers, *(info.name for info in graph.input)}
    given = tuple(inputs if inputs is not None else _own_inputs(model))
    results = tuple(outputs if outputs is not None else (info.name for info in graph.output))
    for kind, names in (("inputs", given), ("outputs", results)):
        for name in names:
            if name not in known:
                raise ValueError(f"{kind} must be names of values of the graph, got {name!r}")
    if not given or not results:
        raise ValueError("a network must have an input and an output, and the model has none")
    needed, read = _needed(results, given, makers, constants)
    nodes = tuple(node for node in graph.node if any(name in needed for name in node.output))
    arrays = {name: _array(constants[name]) for name in read if name in constants}
    return Part(nodes, arrays, given, results, _infos(model, given), _opsets(model))


def _own_inputs(model: onnx.ModelProto) -> Iterable[str]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return (info.name for info in model.graph.input if info.name not in constants)


def _needed(
    results: Sequence[str],
    given: Sequence[str],
    makers: dict[str, onnx.NodeProto],
    constants: dict[str, Any],
) -> tuple[set[str], set[str]]:
    """The names that nodes have to give, and all that are read."""
    needed: set[str] = set()
    read: set[str] = set()
    waiting = [(name, "the outputs") for name in results]
    while waiting:
        name, reader = waiting.pop()
        if name in read:
            continue
        read.add(name)
        if name in given or name in constants:
            continue
        if name not in makers:
            raise ValueError(
                f"{reader} needs {name!r}, which is no input of the network and which nothing gives"
            )
        node = makers[name]
        needed.add(name)
        waiting += [(each, described(node)) for each in _reads(node) if each]
    return needed, read


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    """The values that a node reads, those of its branches included."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            inside = {name for each in attribute.g.node for name in each.output}
            inside |= {tensor.name for tensor in attribute.g.initializer}
            inside |= {info.name for info in attribute.g.input}
            for each in attribute.g.node:
                yield from (name for name in _reads(each) if name not in inside)
            yield from (info.name for info in attribute.g.output if info.name not in inside)


def described(node: onnx.NodeProto) -> str:
    """A node in a message."""
    return f"the node {name_of(node)!r} ({node.op_type})"


def name_of(node: onnx.NodeProto) -> str:
    """A node's name, or that of its first output."""
    name = node.name or next(iter(node.output), "")
    return name if isinstance(name, str) else bytes(name).decode("utf-8", "replace")


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ValueError(f"the weight {tensor.name!r} cannot be read: {error}") from None
    return single(array)


def single(array: NDArray[Any]) -> NDArray[Any]:
    """An array, in float32 if it is in half precision."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array


def _infos(model: onnx.ModelProto, given: Sequence[str]) -> dict[str, onnx.TypeProto]:
    """What the file, and ONNX's own rules where they are needed, tell about values."""
    own = {info.name: info.type for info in model.graph.input}
    if own.keys() >= set(given):
        return own
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # what does not fit is found, and named, when the nodes are read
        inferred = model.graph
    infos = {}
    for graph in (inferred, model.graph):
        for info in (*graph.value_info, *graph.output, *graph.input):
            if info.name not in infos or info.type.tensor_type.HasField("shape"):
                infos[info.name] = info.type
    return infos
