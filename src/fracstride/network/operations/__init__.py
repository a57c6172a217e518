"""The operations of networks, a file a kind. A new one is its file and its line in this list."""

from __future__ import annotations

from importlib import import_module

from fracstride.network.operation import Operation

__all__ = ["FILES", "OPERATIONS"]

#: The files here whose classes are operations.
FILES = (
    "arithmetic",
    "atan2",
    "channels",
    "choices",
    "clamp",
    "code_arithmetic",
    "concatenate",
    "conv1d",
    "conv_transpose1d",
    "crop",
    "dft",
    "divided_by",
    "einsum",
    "elu",
    "embedding",
    "envelope",
    "expanded",
    "fold",
    "functions",
    "gelu",
    "interpolate",
    "leaky_relu",
    "lstm",
    "pad",
    "piecewise",
    "power",
    "reversed_subtract",
    "softplus",
    "stft",
    "sums",
    "swish",
)


def _operations_of(file: str) -> list[type[Operation]]:
    module = import_module(f"{__name__}.{file}")
    named = [getattr(module, name) for name in module.__all__]
    return [each for each in named if isinstance(each, type)]


#: All of them.
OPERATIONS: tuple[type[Operation], ...] = tuple(
    kind for file in FILES for kind in _operations_of(file)
)
