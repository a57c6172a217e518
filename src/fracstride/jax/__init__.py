"""fracstride for JAX: the transposed convolution, the Conv1d, and derivatives of every order.

>>> import jax, jax.numpy as jnp, fracstride.jax
>>> up = jax.jit(lambda x, w: fracstride.jax.conv_transpose1d(x, w, stride=8, padding="same"))
>>> up(jnp.zeros((1, 8, 100)), jnp.zeros((8, 4, 16))).shape
(1, 4, 800)
"""

from __future__ import annotations

_NEEDED = "fracstride.jax needs JAX 0.6.2 or later: pip install 'fracstride[jax]'"

try:
    import jax as _jax
except ImportError as error:
    raise ImportError(f"{_NEEDED}. Importing it said: {error}") from error
if _jax.__version_info__ < (0, 6, 2):
    raise ImportError(f"{_NEEDED}. Installed is {_jax.__version__}.")

from fracstride.jax.functional import (
    conv1d,
    conv1d_adjoint,
    conv_transpose1d,
    conv_transpose1d_input_grad,
    conv_transpose1d_weight_grad,
)
from fracstride.jax.kernels import register

__all__ = [
    "conv1d",
    "conv1d_adjoint",
    "conv_transpose1d",
    "conv_transpose1d_input_grad",
    "conv_transpose1d_weight_grad",
    "register",
]
