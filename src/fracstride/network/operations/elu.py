"""ELU, and what it becomes with factors: SELU and CELU."""

from __future__ import annotations

from dataclasses import dataclass

from fracstride.network.elementwise import Elementwise
from fracstride.network.pointwise import Operand, Program, Register
from fracstride.network.reading import Reader

__all__ = ["ELU"]


@dataclass(frozen=True)
class ELU(Elementwise):
    """``scale`` times ``x`` where it is positive, else ``alpha*(e**(input_scale*x) - 1)``."""

    alpha: float = 1.0
    scale: float = 1.0
    input_scale: float = 1.0

    torch = ("elu", "selu", "celu")
    onnx = ("Elu", "Selu", "Celu")

    def emit(self, program: Program, *inputs: Operand) -> Register:
        if self.input_scale == 1:
            y = program.add("elu", *inputs, numbers=(self.alpha,))
        else:
            power = program.add("expm1", program.add("multiply", *inputs, self.input_scale))
            bent = program.add("minimum", program.add("multiply", power, self.alpha), 0.0)
            y = program.add("add", program.add("relu", *inputs), bent)
        return y if self.scale == 1 else program.add("multiply", y, self.scale)

    @classmethod
    def of_torch(cls, call: Reader) -> ELU:
        if call.operator != "elu":
            return cls.of_onnx(call)
        names = ("alpha", "scale", "input_scale")
        alpha, scale, input_scale = (call.number(name, 1) for name in names)
        call.check(input_scale == 1, f"input_scale must be 1, got {input_scale}")
        return cls(alpha, scale)

    @classmethod
    def of_onnx(cls, call: Reader) -> ELU:
        operator = call.operator.lower()
        if operator == "selu":
            alpha = call.number("alpha", 1.67326319217681884765625)
            return cls(alpha, call.number("gamma", 1.05070102214813232421875))
        alpha = call.number("alpha", 1)
        call.check(operator == "elu" or alpha > 0, f"alpha must be positive, got {alpha}")
        return cls(alpha, input_scale=1 if operator == "elu" else 1 / alpha)
