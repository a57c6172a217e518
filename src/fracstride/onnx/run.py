"""One run over the sizes of an ONNX model: what is known is computed, the rest has a shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fracstride.network.recording import Conditions
from fracstride.onnx.inputs import Given
from fracstride.onnx.model import Part, described, domain_of, single
from fracstride.onnx.nodes import Live, Node, Unknown

__all__ = ["Run", "Runner", "Step"]

_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
_LOOPS = ("Loop", "Scan", "SequenceMap")
_DEEPEST = 64  # branches within branches


@dataclass(frozen=True)
class Step:
    """A node that reads the inputs, or what descends from them."""

    node: Node
    arguments: dict[str, Any]
    results: tuple[Live, ...]


@dataclass(frozen=True)
class Run:
    """All steps at one length and batch."""

    conditions: Conditions
    inputs: tuple[Live, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Any, ...]
    tensors: tuple[Live, ...]


class Runner:
    """Runs a part of a model at any length and batch."""

    def __init__(self, part: Part, inputs: list[Given]) -> None:
        self._part, self._inputs = part, inputs
        self._nodes: dict[int, Node] = {}
        self._branches: dict[tuple[int, str], _Branch] = {}

    def run(self, conditions: Conditions) -> Run:
        """The run.

        Raises:
            Unknown: a node cannot be read, or does not fit; the node is named.
        """
        return _Running(self._part, self._inputs, conditions, self).run()

    # By identity: the protos of the part live as long as it does, those of a branch as long as it.

    def node(self, proto: onnx.NodeProto) -> Node:
        """A node, prepared."""
        if id(proto) not in self._nodes:
            self._nodes[id(proto)] = Node(proto, self._part.opsets, self._part.shapes)
        return self._nodes[id(proto)]

    def branch(self, proto: onnx.NodeProto, name: str) -> _Branch:
        """A branch of an ``If``."""
        key = id(proto), name
        if key not in self._branches:
            (graph,) = (a.g for a in proto.attribute if a.name == name)
            self._branches[key] = _Branch(
                tuple(graph.node),
                {t.name: single(numpy_helper.to_array(t)) for t in graph.initializer},
                tuple(info.name for info in graph.output),
            )
        return self._branches[key]


@dataclass(frozen=True)
class _Branch:
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Any]
    outputs: tuple[str, ...]


class _Running:
    def __init__(
        self, part: Part, inputs: list[Given], conditions: Conditions, runner: Runner
    ) -> None:
        self._part, self._conditions, self._runner = part, conditions, runner
        self._tensors: list[Live] = []
        self._steps: list[Step] = []
        self._values: dict[str, Any] = dict(part.constants)
        for given in inputs:
            shape = given.shape(conditions.clock, conditions.batch)
            self._values[given.name] = self._new(shape, given.dtype)

    def run(self) -> Run:
        inputs = tuple(self._values[name] for name in self._part.inputs)
        self._nodes(self._part.nodes, self._values, 0)
        outputs = tuple(self._values[name] for name in self._part.outputs)
        return Run(self._conditions, inputs, tuple(self._steps), outputs, tuple(self._tensors))

    def _new(self, shape: tuple[int, ...], dtype: str) -> Live:
        self._tensors.append(Live(len(self._tensors), shape, dtype))
        return self._tensors[-1]

    def _nodes(self, protos: Iterable[onnx.NodeProto], values: dict[str, Any], depth: int) -> None:
        given = set(self._part.inputs)
        for proto in protos:
            for name, value in zip(proto.output, self._results(proto, values, depth), strict=False):
                if name and (depth or name not in given):
                    values[name] = value

    def _results(self, proto: onnx.NodeProto, values: dict[str, Any], depth: int) -> list[Any]:
        """What the outputs of a node are, those without a name included."""
        read = []
        for name in proto.input:
            if name and name not in values:
                raise Unknown(
                    f"{described(proto)} needs {name!r}, which nothing before it gives: the nodes "
                    "are not in order, or form a cycle"
                )
            read.append(values[name] if name else None)
        if proto.op_type == "If" and not domain_of(proto):
            return self._branch(proto, read[0], values, depth)
        if proto.op_type in _LOOPS:
            raise Unknown(f"{described(proto)}: loops cannot be read")
        if proto.op_type in _RANDOM:
            raise Unknown(
                f"{described(proto)} draws random numbers: make the noise an input of the model, "
                "or cut the network behind it with inputs="
            )
        node = self._runner.node(proto)
        live = [value for value in read if isinstance(value, Live)]
        if not live:
            return _spread(proto, node.known(read))
        if proto.op_type in ("Shape", "Size"):
            return [_sizes(node, live[0])]
        return self._live(proto, node, read)

    def _live(self, proto: onnx.NodeProto, node: Node, read: list[Any]) -> list[Any]:
        shapes = node.shapes(read)
        if any(size < 0 for shape, _ in shapes for size in shape):
            raise Unknown(f"{node.text}: its result would have a negative size")
        results = [self._new(*shape) for shape in shapes]
        self._steps.append(Step(node, node.arguments(read), tuple(results)))
        return _spread(proto, results)

    def _branch(
        self, proto: onnx.NodeProto, condition: Any, values: dict[str, Any], depth: int
    ) -> list[Any]:
        """The branch that is taken; sizes may decide about it."""
        if isinstance(condition, Live) or condition.size != 1:
            raise Unknown(f"{described(proto)}: values of the signal decide about its branch")
        if depth > _DEEPEST:
            raise Unknown(f"{described(proto)}: its branches are too deep")
        wanted = "then_branch" if condition.reshape(-1)[0] else "else_branch"
        branch = self._runner.branch(proto, wanted)
        inside = {**values, **branch.constants}
        self._nodes(branch.nodes, inside, depth + 1)
        missing = [name for name in branch.outputs if name not in inside]
        if missing:
            raise Unknown(f"{described(proto)}: nothing gives {missing[0]!r}")
        return [inside[name] for name in branch.outputs]


def _spread(proto: onnx.NodeProto, results: list[Any]) -> list[Any]:
    """A result for each output, None for one without a name."""
    each = iter(results)
    return [next(each, None) if name else None for name in proto.output]


def _sizes(node: Node, tensor: Live) -> Any:
    if node.op_type == "Size":
        return np.array(np.prod(tensor.shape, dtype=np.int64))
    rank = len(tensor.shape)
    start, end, _ = slice(node.attributes.get("start"), node.attributes.get("end")).indices(rank)
    return np.array(tensor.shape[start:end], np.int64)
