"""The maps on CPUs: calls from compiled programs into the kernels, as XLA's foreign functions.

The handlers are registered when a program for the CPU is lowered for the first time, not on import:
JAX keeps early registrations until it starts its CPU backend, and a handler that it then refuses
would stop the backend itself. Where they are refused, ``lax`` computes.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fracstride import complex_numbers
from fracstride._load import native
from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry
from fracstride.extension import MODES

__all__ = ["available", "conv1d", "forward", "input_grad", "register", "weight_grad"]

_VERSION = 1  # of what the handlers take; part of their names, under which programs are exported


def available() -> bool:
    """Whether the kernels compute a program for the CPU that is lowered now."""
    try:
        jax.devices("cpu")
    except RuntimeError:  # no such backend here: the program is exported, for another process
        return True
    return register()


@lru_cache(maxsize=1)
def register() -> bool:
    """Make the kernels known to JAX's CPU backend; whether it takes them.

    Calls of this package do so by themselves. Only a process that loads an exported program
    (``jax.export.deserialize``) and calls nothing of this package has to.

    >>> register()
    True
    """
    jax.devices("cpu")  # the backend is there: a refusal is now an exception and nothing more
    try:
        for name, address in native.xla_handlers().items():
            jax.ffi.register_ffi_target(_target(name), jax.ffi.pycapsule(address), platform="cpu")
    except Exception as error:
        warnings.warn(
            f"jax {jax.__version__} refuses the kernels of fracstride, so lax computes in their "
            f"place, which takes longer. A newer version of fracstride may help. ({error})",
            stacklevel=2,
        )
        return False
    return True


def _target(name: str) -> str:
    return f"fracstride_{name}_v{_VERSION}"


def forward(x: Any, w: Any, b: Any = None, *, geometry: Any, groups: int, size: Any) -> Any:
    """T: ``(B, C_in, L)``, ``(C_in, C_out/g, k)`` and perhaps ``(C_out,)``."""
    return _layer("conv_transpose1d", x, w, b, geometry, groups, size)


def conv1d(x: Any, w: Any, b: Any = None, *, geometry: Any, groups: int, size: Any) -> Any:
    """A Conv1d: ``(B, C_in, L)``, ``(C_out, C_in/g, k)`` and perhaps ``(C_out,)``."""
    # The transpose of the real matrix of a complex weight conjugates, and the map does not.
    return _layer("conv1d", x, jnp.conj(w), b, geometry, groups, size)


def _layer(name: str, x: Any, w: Any, b: Any, geometry: AnyGeometry, groups: int, size: Any) -> Any:
    operands = [_real_signal(x, groups), _real_weight(w, groups)]
    if b is not None:
        operands.append(_real_signal(b[None, :, None], groups).reshape(-1))
    channels = operands[1].shape[1] * groups
    if isinstance(geometry, Conv1dGeometry):
        channels = operands[1].shape[0]
    shape = x.shape[0], channels, size
    return _joined(x, _call(name, operands, shape, geometry, groups), groups)


def input_grad(gy: Any, w: Any, *, geometry: Any, groups: int, size: Any) -> Any:
    """C: ``(B, C_out, L_out)`` and the weight of T."""
    operands = [_real_signal(gy, groups), _real_weight(jnp.conj(w), groups)]
    shape = gy.shape[0], operands[1].shape[0], size
    edges = geometry.edges(size, gy.shape[2])
    name = "conv_transpose1d_input_grad"
    return _joined(gy, _call(name, operands, shape, geometry, groups, edges), groups)


def weight_grad(x: Any, gy: Any, *, geometry: Any, groups: int, size: int) -> Any:
    """R: the input of T and a signal of the shape of its output."""
    operands = [_real_signal(x, groups), _real_signal(gy, groups)]
    shape = operands[0].shape[1], operands[1].shape[1] // groups, size
    gw = _call("conv_transpose1d_weight_grad", operands, shape, geometry, groups)
    return complex_numbers.join_weight_grad(gw, groups, lax.complex) if _is_complex(x) else gw


def _call(
    name: str,
    operands: list[Any],
    shape: tuple[Any, ...],
    geometry: AnyGeometry,
    groups: int,
    edges: tuple[int, ...] = (),
) -> Any:
    mode = MODES[geometry.padding_mode].number
    sizes = (geometry.stride, geometry.dilation, groups, geometry.padding_left, mode, *edges)
    result = jax.ShapeDtypeStruct(shape, operands[0].dtype)
    return jax.ffi.ffi_call(_target(name), result)(*operands, sizes=np.array(sizes, np.int64))


def _is_complex(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.complexfloating))


def _real_signal(x: Any, groups: int) -> Any:
    return complex_numbers.split_signal(x, groups, jnp.concatenate) if _is_complex(x) else x


def _real_weight(w: Any, groups: int) -> Any:
    return complex_numbers.split_weight(w, groups, jnp.concatenate) if _is_complex(w) else w


def _joined(like: Any, parts: Any, groups: int) -> Any:
    return complex_numbers.join_signal(parts, groups, lax.complex) if _is_complex(like) else parts
