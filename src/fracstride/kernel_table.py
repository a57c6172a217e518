"""Which compiled functions compute in which dtype: one table for every face.

A dtype goes by its name, which NumPy and torch agree on. Half precision is stored as it is and
added up in float32; complex numbers go through the kernels by their real parts
(:mod:`fracstride.complex_numbers`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fracstride._load import native

__all__ = ["CONV1D", "FORWARD", "INPUT_GRAD", "KERNELS", "Kernels"]

#: Directions, the maps that a weight can be packed for: the transposed convolution, its adjoint in
#: the input, and the Conv1d that this adjoint is. Twin of Direction in native/packed_weight.hpp
#: (test_native.py, test_native_conv1d.py).
FORWARD, INPUT_GRAD, CONV1D = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels of one dtype."""

    #: Name of the real dtype that the kernels read and write.
    stored: str
    #: Name of the real dtype that they add up in.
    sums: str
    #: ``pack(weight's address, C_in, C_out/g, k, groups, stride, dilation, direction, once)``; a
    #: Conv1d's weight is ``(C_out, C_in/g, k)``.
    pack: Callable[..., Any]
    #: ``fingerprint(weight's address, its three sizes)``: of a weight of the real dtype.
    fingerprint: Callable[..., Any]
    #: ``weight_grad(batch, input's address and strides, L, grad_output's, L_out, result's address,
    #: C_in, C_out/g, k, groups, stride, dilation, padding_left, number of the padding mode)``.
    weight_grad: Callable[..., None]
    #: ``bias_grad(batch, channels, grad_output's address and strides, L_out, result's address)``.
    bias_grad: Callable[..., None]


def _kernels(stored: str, sums: str) -> Kernels:
    names = "pack", "fingerprint", "weight_grad", "bias_grad"
    return Kernels(stored, sums, *(getattr(native, f"{name}_{stored}") for name in names))


#: The kernels by the name of the dtype that an operand has.
KERNELS = {
    "float16": _kernels("float16", "float32"),
    "bfloat16": _kernels("bfloat16", "float32"),
    "float32": _kernels("float32", "float32"),
    "float64": _kernels("float64", "float64"),
    "complex64": _kernels("float32", "float32"),
    "complex128": _kernels("float64", "float64"),
}
