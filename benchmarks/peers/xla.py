"""XLA, through JAX."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import lax
from layers import Array, Layer, Problem

from peers.candidate import Candidate, fastest


class Xla(Candidate):
    """Its convolution; for a transposed one dilated, and the phases composed by hand."""

    package = "jax"

    def __init__(self, problem: Problem, threads: int) -> None:
        # XLA's pool has as many threads as the process has cores to run on.
        n, w = problem.layer, problem.weight
        x, b = jax.device_put(problem.x), jax.device_put(problem.bias)
        if n.transposed:
            forms = [partial(_dilated, n, jax.device_put(swapped(n, w)), b)]
            if n.dilation == 1:
                wide, rows = _phases_layer(n, w)
                forms.append(partial(_phases, n, wide, jax.device_put(swapped(wide, rows)), b))
        else:
            forms = [partial(_convolution, n, jax.device_put(w), b)]

        def call(form: Any) -> Any:
            return form(x).block_until_ready()

        self.call = fastest([partial(call, jax.jit(form)) for form in forms])


def _convolution(n: Layer, w: Any, b: Any, x: Any) -> Any:
    y = lax.conv_general_dilated(
        x,
        w,
        window_strides=(n.s,),
        padding=[(n.p, n.p)],
        rhs_dilation=(n.dilation,),
        feature_group_count=n.groups,
        dimension_numbers=("NCH", "OIH", "NCH"),
    )
    return y + b[:, None]


def swapped(n: Layer, w: Array) -> Array:
    """The weight as an ordinary convolution has it: (C_out, C_in/g, k), taps flipped."""
    by_group = w.reshape(n.groups, n.C_in // n.groups, n.C_out // n.groups, n.k)
    swapped = by_group.transpose(0, 2, 1, 3)[..., ::-1]
    return np.ascontiguousarray(swapped.reshape(n.C_out, n.C_in // n.groups, n.k))


def _dilated(n: Layer, swapped: Any, b: Any, x: Any) -> Any:
    reach = n.dilation * (n.k - 1) - n.p
    y = lax.conv_general_dilated(
        x,
        swapped,
        window_strides=(1,),
        padding=[(reach, reach + n.output_padding)],
        lhs_dilation=(n.s,),
        rhs_dilation=(n.dilation,),
        feature_group_count=n.groups,
        dimension_numbers=("NCH", "OIH", "NCH"),
    )
    return y + b[:, None]


def _phases_layer(n: Layer, w: Array) -> tuple[Layer, Array]:
    """``s`` interleaved convolutions as one of ``s`` times the channels, and its weight."""
    shifts = -(-n.k // n.s)
    w = np.pad(w, ((0, 0), (0, 0), (0, shifts * n.s - n.k)))
    rows = w.reshape(n.C_in, n.C_out // n.groups, shifts, n.s).transpose(0, 1, 3, 2)
    wide = Layer("", n.C_in, n.C_out * n.s, shifts, groups=n.groups)
    return wide, rows.reshape(wide.weight_shape)


def _phases(n: Layer, wide: Layer, swapped: Any, b: Any, x: Any) -> Any:
    y = _dilated(wide, swapped, jax.numpy.zeros(wide.C_out, x.dtype), x)
    y = y.reshape(n.B, n.C_out, n.s, -1).transpose(0, 1, 3, 2).reshape(n.B, n.C_out, -1)
    length = n.output_shape[2]
    y = jax.numpy.pad(y, ((0, 0), (0, 0), (0, max(0, n.p + length - y.shape[2]))))
    return y[:, :, n.p : n.p + length] + b[:, None]
