"""What one ONNX node gives: its result where all that it reads is known, else its shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import defs, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from fracstride.onnx.model import described, domain_of, single

__all__ = ["Live", "Node", "Unknown"]

_MOST = 1 << 27  # elements of a constant that is computed: beyond, a file asks for too much
# Operators that onnx evaluates from this opset on only, and that meant the same before.
_EVALUATED_FROM = {"DequantizeLinear": 19}
_FEW = 16, 1024  # floats and ints of a constant on which the shape of a result may depend
_LARGE = 1 << 14  # bytes of a node that holds a weight itself
_HALVES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


class Unknown(ValueError):  # noqa: N818 (its text becomes one)
    """A node that cannot be read, with the reason."""


@dataclass(frozen=True)
class Live:
    """A tensor that depends on the inputs of the network."""

    index: int
    shape: tuple[int, ...]
    dtype: str


Known = NDArray[Any]


class Node:
    """A node of a graph, prepared once for all runs.

    ``inferred`` is what ONNX's rules have given for all nodes so far, and the results of those on
    few numbers. Models repeat few kinds of nodes on few shapes, and both take most of the time.
    """

    def __init__(
        self, proto: onnx.NodeProto, opsets: Mapping[str, int], inferred: dict[Any, Any]
    ) -> None:
        self.proto = _without_halves(proto)
        self.op_type, self.text = proto.op_type, described(proto)
        self._opsets, self._inferred, self._kind = opsets, inferred, _kind(self.proto)
        domain = domain_of(proto)
        try:
            self._schema = defs.get_schema(proto.op_type, opsets.get(domain, 1), domain)
        except defs.SchemaError:
            where = f" of {domain}" if domain else ""
            raise Unknown(f"{self.text}: ONNX has no such operator{where}") from None
        self.attributes = {a.name: _value(a) for a in self.proto.attribute}
        self._evaluator: Any = None
        self._last: tuple[list[Known], list[Known]] | None = None

    def arguments(self, given: Sequence[Any]) -> dict[str, Any]:
        """All that the node is given, by the names of the schema.

        Where a name has several values, each of them has that name with its number behind it, too.
        """
        formal = self._schema.inputs
        found: dict[str, Any] = dict(self.attributes)
        variadic = defs.OpSchema.FormalParameterOption.Variadic
        for place, value in enumerate(given):
            own = formal[min(place, len(formal) - 1)]
            if own.option == variadic:
                values = found.setdefault(own.name, [])
                found[f"{own.name}{len(values)}"] = value
                values.append(value)
            else:
                found[own.name] = value
        return found

    def known(self, given: Sequence[Known | None]) -> list[Known]:
        """The results, of arrays."""
        arrays = [array for array in given if array is not None]
        if self._last is not None and list(map(id, self._last[0])) == list(map(id, arrays)):
            return self._last[1]  # of weights, which are the same in each run
        small = all(map(_tells_sizes, arrays))
        key = "results", self._kind, tuple(map(_told, given)) if small else object()
        if key in self._inferred:
            results: list[Known] = self._inferred[key]
            return results
        try:
            types = self._types(given)
        except Unknown:
            types = []
        for shape, _ in types:
            if shape is not None and prod(shape) > _MOST:
                raise Unknown(f"{self.text}: it asks for {prod(shape)} numbers")
        names = [name for name in self.proto.input if name]
        try:
            if self._evaluator is None:
                self._evaluator = self._make_evaluator(names)
            computed = self._evaluator.run(None, dict(zip(names, arrays, strict=True)))
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            raise Unknown(f"{self.text}: {type(error).__name__}: {text}") from None
        if not all(isinstance(result, (np.ndarray, np.generic)) for result in computed):
            raise Unknown(f"{self.text}: its result is no tensor")
        self._last = arrays, [single(np.asarray(result)) for result in computed]
        if small:
            self._inferred[key] = self._last[1]
        return self._last[1]

    def shapes(self, given: Sequence[Any]) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each result, some of the inputs being live."""
        found = []
        for shape, dtype in self._types(given):
            if shape is None:
                raise Unknown(
                    f"{self.text}: the sizes of its result do not follow from those of its inputs"
                )
            found.append((shape, dtype))
        return found

    def _types(self, given: Sequence[Any]) -> list[tuple[tuple[int, ...] | None, str]]:
        """Shape, if it follows, and dtype of each result that has a name."""
        key = self._kind, tuple(map(_told, given))
        if key not in self._inferred:
            types = self._infer(given)
            self._inferred[key] = [_type(types.get(name)) for name in self.proto.output if name]
        found: list[tuple[tuple[int, ...] | None, str]] = self._inferred[key]
        return found

    def _infer(self, given: Sequence[Any]) -> dict[str, onnx.TypeProto]:
        types, data = {}, {}
        for name, value in zip(self.proto.input, given, strict=True):
            if value is None:
                continue
            dtype = np.dtype(value.dtype)
            kind = helper.np_dtype_to_tensor_dtype(dtype)
            types[name] = helper.make_tensor_type_proto(kind, value.shape)
            if _tells_sizes(value):
                data[name] = numpy_helper.from_array(value, name)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self._opsets.items()]
        try:
            found: dict[str, onnx.TypeProto] = shape_inference.infer_node_outputs(
                self._schema, self.proto, types, data, opset_imports=opsets
            )
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            raise Unknown(f"{self.text}: its inputs do not fit: {text}") from None
        return found

    def _make_evaluator(self, names: Sequence[str]) -> Any:
        def info(name: str) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None)

        outputs = [info(name) for name in self.proto.output if name]
        graph = helper.make_graph([self.proto], "one", [info(n) for n in names], outputs)
        least = _EVALUATED_FROM.get(self.op_type, 1)
        opsets = [
            helper.make_opsetid(domain, version if domain else max(version, least))
            for domain, version in self._opsets.items()
        ]
        return ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets))


def _kind(proto: onnx.NodeProto) -> Any:
    """What a node is, beside its name and those of its values; equal of equal nodes."""
    if proto.ByteSize() > _LARGE:
        return object()
    bare = onnx.NodeProto()
    bare.CopyFrom(proto)
    for field in ("name", "doc_string", "metadata_props"):
        bare.ClearField(field)
    for names in (bare.input, bare.output):
        for place, name in enumerate(names):
            names[place] = "x" if name else ""
    return bare.SerializeToString(deterministic=True)


def _tells_sizes(value: Any) -> bool:
    """Whether it is a constant on whose numbers the shape of a result may depend."""
    return isinstance(value, np.ndarray) and value.size <= _FEW[value.dtype.kind in "iub"]


def _told(value: Any) -> Any:
    """What a shape may depend on."""
    if value is None:
        return None
    told = value.dtype, value.shape
    return (*told, value.tobytes()) if _tells_sizes(value) else told


def _type(found: onnx.TypeProto | None) -> tuple[tuple[int, ...] | None, str]:
    if found is None:
        return None, ""
    kind = found.tensor_type.elem_type
    return _shape(found), str(helper.tensor_dtype_to_np_dtype(kind).name) if kind else ""


def _shape(found: onnx.TypeProto | None) -> tuple[int, ...] | None:
    if found is None or not found.tensor_type.HasField("shape"):
        return None
    dims = found.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)


def _value(attribute: onnx.AttributeProto) -> Any:
    """An attribute in Python."""
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return single(numpy_helper.to_array(value))
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    return value


def _without_halves(proto: onnx.NodeProto) -> onnx.NodeProto:
    """The same node, giving float32 where it gives half precision."""
    changed = onnx.NodeProto()
    changed.CopyFrom(proto)
    changed.domain = domain_of(proto)
    for attribute in changed.attribute:
        if attribute.name in ("to", "dtype") and attribute.i in _HALVES:
            attribute.i = onnx.TensorProto.FLOAT
    return changed
