"""Operands as JAX's arrays, and lengths that may be symbols.

The checks are those of the NumPy face (:mod:`fracstride.checks`), which look at shapes and dtypes
only, and so work on what JAX traces.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import is_symbolic_dim

from fracstride import lengths
from fracstride.arguments import as_size
from fracstride.arrays import DType, agreed_dtype
from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry

__all__ = ["as_operands", "length_of", "samples_of"]


def as_operands(**operands: Any) -> list[Any]:
    """The operands as JAX's arrays of one dtype; a bias may be None.

    NumPy's arrays become JAX's, whose dtypes depend on ``jax_enable_x64``. Numbers and lists are
    refused, as by JAX's own functions. ``TypeError`` names the first operand that does not fit.
    """
    arrays: list[Any] = []
    dtype: DType | None = None
    decided_by = ""
    for name, operand in operands.items():
        if operand is None and name == "bias":
            arrays.append(None)
            continue
        array = operand
        if not isinstance(operand, jax.Array):
            if not isinstance(operand, np.ndarray) and not hasattr(operand, "__jax_array__"):
                raise TypeError(f"{name} must be an array of JAX or NumPy, got {_shown(operand)}")
            array = jnp.asarray(operand)
        dtype, decided_by = agreed_dtype(name, array.dtype, dtype, decided_by)
        arrays.append(array)
    return arrays


def _shown(operand: object) -> str:
    return "None" if operand is None else type(operand).__name__


def length_of(name: str, length: Any) -> Any:
    """A length that a caller gives: a symbol, or what ``as_size`` accepts."""
    return length if is_symbolic_dim(length) else as_size(name, length, 1)


def samples_of(
    geometry: AnyGeometry, L: Any, output_size: Any = None, name: str = "input length L"
) -> Any:
    """``L_out`` of ``L`` frames, or ``ValueError``; ``L`` and ``output_size`` may be symbols.

    ``name`` is what the message for a Conv1d calls ``L``.
    """
    wanted = output_size
    if isinstance(output_size, (tuple, list)) and output_size:  # one of nothing is refused below
        wanted = output_size[-1]
    if is_symbolic_dim(L) or is_symbolic_dim(wanted):
        return _symbolic_samples_of(geometry, L, output_size, wanted)
    if isinstance(geometry, Conv1dGeometry):
        pads = geometry.padding_left, geometry.padding_right
        k, s, d = geometry.kernel_size, geometry.stride, geometry.dilation
        return lengths.conv1d_output_length(as_size(name, L, 1), k, s, pads, d, name)
    return geometry.output_length(L, output_size)


def _symbolic_samples_of(geometry: AnyGeometry, L: Any, output_size: Any, wanted: Any) -> Any:
    if geometry.padding_mode != "zeros":
        raise ValueError(
            f"padding_mode must be 'zeros' where the length {L} is a symbol, got "
            f"{geometry.padding_mode!r}"
        )
    if isinstance(geometry, Conv1dGeometry):
        padded = L + geometry.padding_left + geometry.padding_right
        return lengths.conv1d_positions(padded, geometry.stride, geometry.span)
    if output_size is None:
        return lengths.output_length(L, geometry.stride, geometry.overhang)
    lengths.check_no_output_size(geometry.padding, output_size)
    # Where JAX cannot tell how the two lengths compare, its error says which constraint is missing.
    lengths.output_padding_for(L, wanted, geometry.stride, geometry.bare_overhang)
    return wanted
