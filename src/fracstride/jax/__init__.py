"""fracstride for JAX: the transposed convolution, the Conv1d, and derivatives of every order.

>>> import jax, jax.numpy as jnp, fracstride.jax
>>> up = jax.jit(lambda x, w: fracstride.jax.conv_transpose1d(x, w, stride=8, padding="same"))
>>> up(jnp.zeros((1, 8, 100)), jnp.zeros((8, 4, 16))).shape
(1, 4, 800)
"""

from __future__ import annotations

from fracstride.jax import installed as installed  # first: says plainly where there is no JAX
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
