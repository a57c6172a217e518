"""Programs of elementwise instructions, which the compiled module runs in one pass over memory.

An elementwise operation writes its instructions into a :class:`Program`. Registers are numbered as
they are written, each once; :meth:`Program.compiled` gives them the few that the module has. Each
instruction rounds its result to the program's dtype, so a chain of operations has the same bits in
one program and in several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NewType, TypeAlias

import numpy as np

from fracstride._load import native
from fracstride.arrays import Array, DType
from fracstride.kernel_table import KERNELS

__all__ = [
    "MOST_CONSTANTS",
    "MOST_INSTRUCTIONS",
    "MOST_REGISTERS",
    "Operand",
    "Program",
    "Register",
]

#: Of a program of the compiled module.
MOST_REGISTERS, MOST_INSTRUCTIONS, MOST_CONSTANTS = 16, 64, 64

Register = NewType("Register", int)

#: A register, one number, or an array with one number per channel.
Operand: TypeAlias = "Register | float | Array"


@dataclass(frozen=True, eq=False)
class _Instruction:
    operation: str
    operands: tuple[Operand, ...]
    numbers: tuple[float, ...]


@dataclass(eq=False)
class Program:
    """Instructions in their order; the result is that of the last one.

    Args:
        inputs: registers that hold signals at the start: ``Register(0)``, ``Register(1)``, ...
    """

    inputs: int
    instructions: list[_Instruction] = field(default_factory=list)

    def add(self, operation: str, *operands: Operand, numbers: tuple[float, ...] = ()) -> Register:
        """Write an instruction with one or two operands, and return the register of its result."""
        self.instructions.append(_Instruction(operation, operands, numbers))
        return Register(self.inputs + len(self.instructions) - 1)

    def registers(self) -> list[int]:
        """For each input and instruction, the place in the module's registers that it gets."""
        last: dict[int, int] = {}
        for index, instruction in enumerate(self.instructions):
            for operand in instruction.operands:
                if isinstance(operand, int):
                    last[operand] = index
        places = list(range(self.inputs))
        free: list[int] = []
        most = self.inputs
        for index, instruction in enumerate(self.instructions):
            read = {o for o in instruction.operands if isinstance(o, int)}
            free += sorted({places[r] for r in read if last[r] == index}, reverse=True)
            if not free:
                free.append(most)
                most += 1
            places.append(free.pop())
        return places

    @property
    def fits(self) -> bool:
        """Whether the module can run it."""
        constants = sum(
            isinstance(operand, np.ndarray)
            for instruction in self.instructions
            for operand in instruction.operands
        )
        return (
            len(self.instructions) <= MOST_INSTRUCTIONS
            and constants <= MOST_CONSTANTS
            and max(self.registers(), default=0) < MOST_REGISTERS
        )

    def compiled(self, dtype: DType) -> Any:
        """The program as the compiled module runs it."""
        numbers = {name: n for n, name in enumerate(native.pointwise_operations())}
        places, channels, encoded = self.registers(), [], []
        sums = np.dtype(KERNELS[dtype.name].sums)
        for index, instruction in enumerate(self.instructions):
            operands, scalars = [], list(instruction.numbers)
            for operand in instruction.operands:
                if isinstance(operand, int):
                    operands.append(places[operand])
                elif isinstance(operand, np.ndarray):
                    # What the network's dtype holds, in the dtype of sums.
                    channels.append(operand.astype(dtype).astype(sums))
                    operands.append(-1 - len(channels))
                else:
                    operands.append(-1)
                    scalars = [float(operand), *scalars]
            a, b = (*operands, -1)[:2]
            first, second = (*scalars, 0.0, 0.0)[:2]
            target = places[self.inputs + index]
            encoded.append((numbers[instruction.operation], target, a, b, first, second))
        constants = [(native.signal_of(array)[0], array.size) for array in channels]
        return native.pointwise_program(dtype.name, self.inputs, encoded, constants)
