"""Elementwise operations: a position of the result depends on the same position of the inputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from fracstride._load import native
from fracstride.arrays import Array, DType
from fracstride.network.operation import Operation
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader
from fracstride.network.value import Shape, Value

__all__ = ["Elementwise", "Fused", "broadcast", "program_of"]


class Elementwise(Operation):
    """An operation that instructions of :class:`fracstride.network.pointwise.Program` compute."""

    in_place = True

    #: Names of the arguments of the operator in torch that are its inputs.
    torch_inputs: ClassVar[tuple[str, ...]] = ("self",)
    #: The same in ONNX.
    onnx_inputs: ClassVar[tuple[str, ...]] = ("X",)

    @abstractmethod
    def emit(self, program: Program, *inputs: Operand) -> Register:
        """Write the instructions for these inputs and return the register of the result."""

    def result(self, *inputs: Value) -> Shape:
        return broadcast(self.name, *inputs)

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        raise NotImplementedError("elementwise operations run as parts of a Fused")

    @classmethod
    def from_torch(cls, call: Reader) -> None:
        call.elementwise(cls.of_torch(call), *cls.torch_inputs)

    @classmethod
    def of_torch(cls, call: Reader) -> Elementwise:
        """The operation with the parameters of a call of torch."""
        return cls()

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        call.elementwise(cls.of_onnx(call), *cls.onnx_inputs)

    @classmethod
    def of_onnx(cls, call: Reader) -> Elementwise:
        """The operation with the parameters of a call of ONNX."""
        return cls()


def broadcast(name: str, *inputs: Value) -> Shape:
    """The shape of an elementwise result; one channel or one position fits to any number."""
    channels, extents = 1, []
    for value in inputs:
        if value.channels != 1 and channels not in (1, value.channels):
            raise ValueError(f"{name} of signals with {channels} and {value.channels} channels")
        channels = max(channels, value.channels)
        if value.rate or value.extent(0) != 1:
            extents.append(value.extent)
    for extent in extents[1:]:
        if extent != extents[0]:
            raise ValueError(f"{name} of signals with the lengths {extents[0]} and {extent}")
    return Shape(channels, extents[0] if extents else inputs[0].extent)


def program_of(steps: Sequence[tuple[Elementwise, tuple[Operand, ...]]], inputs: int) -> Program:
    """The instructions of these steps, which are those of :class:`Fused`."""
    program = Program(inputs)
    results: list[Register] = [Register(i) for i in range(inputs)]
    for operation, operands in steps:
        given = [results[o] if isinstance(o, int) else o for o in operands]
        results.append(operation.emit(program, *given))
    return program


class Fused(Operation):
    """A chain of elementwise operations, in one pass over memory.

    Args:
        steps: each operation with its inputs: a number ``i`` below ``inputs`` is a signal,
            ``inputs + j`` the result of step ``j``; anything else is a constant.
        inputs: how many signals it reads.
        dtype: of the signals.
    """

    in_place = True

    def __init__(
        self,
        steps: Sequence[tuple[Elementwise, tuple[Operand, ...]]],
        inputs: int,
        dtype: DType,
    ) -> None:
        self.steps, self.inputs, self.dtype = tuple(steps), inputs, dtype
        self.program = program_of(steps, inputs)
        self.compiled = self.program.compiled(dtype)

    @property
    def name(self) -> str:
        """The names of the operations, joined."""
        return " ".join(operation.name for operation, _ in self.steps)

    def result(self, *inputs: Value) -> Shape:
        return broadcast(self.name, *inputs)

    def bind(self, inputs: Sequence[Array], out: Array) -> Callable[[], object]:
        signals = [number for array in inputs for number in _strides(array)]
        return partial(native.pointwise, self.compiled, *out.shape, *_strides(out), *signals)

    def astype(self, dtype: DType) -> Fused:
        return Fused(self.steps, self.inputs, dtype)


def _strides(array: Array) -> tuple[int, ...]:
    """Address and strides, where an axis of one number has stride 0: it fits to any length."""
    address, *strides, _ = native.signal_of(array)
    pairs = zip(strides, array.shape, strict=True)
    return address, *(stride if size != 1 else 0 for stride, size in pairs)
