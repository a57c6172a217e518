"""Complex tensors of a recording as their real and imaginary parts.

A graph has real signals only. So calls of complex tensors become calls of the parts, which are
tensors of their own, before a recording is read. Where no such calls are known, the parts are
joined, and the call runs in torch as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from fracstride.network.reading import Unreadable
from fracstride.network.recording import (
    Call,
    Constant,
    Filled,
    Recording,
    Reference,
    Repeated,
    Size,
    Tensor,
    Varying,
)
from fracstride.torch.capture.foreign import resolve

__all__ = ["Part", "Parts", "Splitting"]

#: The real or the imaginary part of a tensor: a tensor, or one number everywhere.
Part: TypeAlias = "Reference | Constant | float"
#: Both.
Parts: TypeAlias = "tuple[Part, Part]"

_REAL = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


class Splitting:
    """A recording that is being written anew, without complex tensors as far as that goes."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._tensors = list(recording.tensors)
        self._calls: list[Call] = []
        self._parts: dict[int, Parts] = {}
        #: Complex tensors that are there as such.
        self._whole: set[int] = set()
        self.path = ""

    def finished(self, read: Callable[[Splitting, Call], bool]) -> Recording:
        """The recording; ``read`` writes a call of complex tensors, or says that it does not."""
        for call in self._recording.calls:
            self.path = call.path
            if not self._is_complex(call):
                self._calls.append(call)
                continue
            written = len(self._calls), len(self._tensors), dict(self._parts)
            try:
                known = read(self, call)
            except Unreadable:
                known = False
            if not known:
                del self._calls[written[0] :], self._tensors[written[1] :]
                self._parts = written[2]
                self._keep(call)
        for output in self._recording.outputs:
            if isinstance(output, Reference):
                self._join(output.index)
        return replace(self._recording, tensors=tuple(self._tensors), calls=tuple(self._calls))

    def _is_complex(self, call: Call) -> bool:
        given = [*operands(list(call.arguments.values())), *map(Reference, call.results)]
        return any(self.is_complex(each) for each in given)

    def is_complex(self, given: Any) -> bool:
        """Whether an argument is a complex tensor or number."""
        if isinstance(given, Reference):
            return self._recording_dtype(given.index) in _REAL
        if isinstance(given, Constant):
            return given.array.dtype.kind == "c"
        return isinstance(given, complex)

    def _recording_dtype(self, index: int) -> str:
        return self._tensors[index].dtype

    # --- parts ----------------------------------------------------------------------------------

    def parts(self, given: Any) -> Parts:
        """Of an argument; those of a real one are itself and 0."""
        if isinstance(given, complex):
            return given.real, given.imag
        if isinstance(given, Repeated):
            raise Unreadable("a constant changes with the length")
        if not self.is_complex(given):
            return (given.number if isinstance(given, Filled) else given), 0.0
        if isinstance(given, Constant):
            return _constant(given.array.real), _constant(given.array.imag)
        if given.index not in self._parts:
            shape = self._tensors[given.index].shape
            self._parts[given.index] = (
                self.call("aten.real.default", shape, self=given),
                self.call("aten.imag.default", shape, self=given),
            )
        return self._parts[given.index]

    def give(self, call: Call, parts: Parts, result: int = 0) -> bool:
        """Make these the parts of a complex result."""
        shape = self.shape_of(call, result)
        index = call.results[result]
        real, imaginary = (self.expanded(part, shape) for part in parts)
        self._parts[index] = real, imaginary
        return True

    def give_real(self, call: Call, part: Part) -> bool:
        """Make this the real result of a call."""
        if isinstance(part, float):
            raise Unreadable("its result is a constant")
        self._calls.append(Call("aten.alias.default", self.path, {"self": part}, call.results))
        return True

    def shape_of(self, call: Call, result: int = 0) -> tuple[Size, ...]:
        """Of a result."""
        return self._tensors[call.results[result]].shape

    def shape(self, part: Any) -> tuple[Size, ...]:
        """Of a tensor or one of its parts; that of a number is empty."""
        if isinstance(part, Reference):
            return self._tensors[part.index].shape
        return part.array.shape if isinstance(part, Constant) else ()

    def filled(self, part: Part, like: Any) -> Any:
        """A part as an operand that has the shape of the tensor that it is a part of."""
        if isinstance(part, float):
            return Filled(part, self.shape(like), self.dtype)
        return part

    @property
    def dtype(self) -> str:
        """Of parts."""
        return next(_REAL[t.dtype] for t in self._recording.tensors if t.dtype in _REAL)

    def _join(self, index: int) -> None:
        """Have a complex tensor as such."""
        if index in self._parts and index not in self._whole:
            self._whole.add(index)
            like = Reference(index)
            real, imaginary = (self.filled(part, like) for part in self._parts[index])
            given = {"real": real, "imag": imaginary}
            self._calls.append(Call("aten.complex.default", self.path, given, (index,)))

    def _keep(self, call: Call) -> None:
        """The call as it is."""
        for given in operands(list(call.arguments.values())):
            if isinstance(given, Reference):
                self._join(given.index)
        self._calls.append(call)
        self._whole.update(call.results)

    # --- calls of parts -------------------------------------------------------------------------

    def call(self, operator: str, shape: Sequence[Size], /, **given: Any) -> Reference:
        """Write a call with one result of real numbers."""
        (result,) = self.calls(operator, [shape], **given)
        return result

    def calls(self, operator: str, shapes: Sequence[Any], /, **given: Any) -> list[Reference]:
        """The same with several results."""
        schema: Any = resolve(operator)
        arguments = {each.name: each.default_value for each in schema._schema.arguments}
        places = []
        for shape in shapes:
            self._tensors.append(Tensor(tuple(shape), self.dtype))
            places.append(len(self._tensors) - 1)
        self._calls.append(Call(operator, self.path, arguments | given, tuple(places)))
        return [Reference(place) for place in places]

    def expanded(self, part: Part, shape: Sequence[Size]) -> Part:
        """A part repeated along the axes along which it has one position."""
        if isinstance(part, float) or self.shape(part) == tuple(shape):
            return part
        return self.call("aten.expand.default", shape, self=part, size=list(shape))

    def unary(self, function: str, part: Part) -> Part:
        """An elementwise function."""
        if isinstance(part, float):
            return float(getattr(np, function)(part))
        return self.call(f"aten.{function}.default", self.shape(part), self=part)

    def negative(self, part: Part) -> Part:
        """``-part``."""
        if isinstance(part, float):
            return -part if part else 0.0
        return self.call("aten.neg.default", self.shape(part), self=part)

    def add(self, a: Part, b: Part, shape: Sequence[Size]) -> Part:
        """``a + b``."""
        if isinstance(a, float) and isinstance(b, float):
            return a + b
        if isinstance(a, float):
            a, b = b, a
        if b == 0.0:
            return self.expanded(a, shape)
        return self.call("aten.add.Tensor", shape, self=a, other=b)

    def multiply(self, a: Part, b: Part, shape: Sequence[Size]) -> Part:
        """``a * b``."""
        if isinstance(a, float) and isinstance(b, float):
            return a * b
        if isinstance(a, float):
            a, b = b, a
        if isinstance(b, float) and b in (0.0, 1.0):
            return self.expanded(a, shape) if b else 0.0
        return self.call("aten.mul.Tensor", shape, self=a, other=b)

    def divide(self, a: Part, b: Part, shape: Sequence[Size]) -> Part:
        """``a / b``."""
        if isinstance(b, float):
            if isinstance(a, float):
                return a / b
            if b == 1.0:
                return self.expanded(a, shape)
        elif isinstance(a, float):
            return self.multiply(a, self.unary("reciprocal", b), shape)
        return self.call("aten.div.Tensor", shape, self=a, other=b)


def _constant(array: Any) -> Part:
    """An array, or the number that it is everywhere."""
    first = array.reshape(-1)[:1]
    if first.size and (array == first).all():
        return float(first[0])
    return Constant(np.ascontiguousarray(array))


def operands(given: Any) -> list[Any]:
    """The tensors and numbers in an argument."""
    if isinstance(given, (list, tuple)):
        return [each for inner in given for each in operands(inner)]
    if isinstance(given, (Reference, Constant, Filled, complex, Varying)):
        return [given]
    return []
