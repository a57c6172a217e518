"""Layers for the tests of the JAX face: of random cases, and for comparing derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case

import fracstride.jax as fj
from fracstride.conv1d_geometry import conv1d_geometry_of
from fracstride.geometry import geometry_of
from fracstride.jax import fallback

TRANSPOSED, CONV1D = "conv_transpose1d", "conv1d"
KINDS = (TRANSPOSED, CONV1D)


def ready(array: Any) -> Any:
    """The numbers of a case in the machine's byte order, which is all that JAX takes."""
    if array is None:
        return None
    return np.ascontiguousarray(
        array if array.dtype.kind == "V" else array.astype(array.dtype.newbyteorder("="))
    )


def operands_of(case: Case) -> tuple[Any, ...]:
    return tuple(map(ready, (case.x, case.w, case.b, case.gy)))


def assert_same_bits(got: Any, wanted: Any) -> None:
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert got.tobytes() == wanted.tobytes()


def assert_close(got: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    """Trees of arrays whose largest difference is that share of the largest number."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True)
    for one, other in pairs:
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        wide = [np.asarray(a).astype(np.complex128) for a in (one, other)]
        assert np.isfinite(wide[1]).all()
        assert abs(wide[0] - wide[1]).max(initial=0) <= tolerance * abs(wide[1]).max(initial=0)


@dataclass(frozen=True)
class Layer:
    """A layer with every size other than its default, for operands of ``shapes``."""

    kind: str
    mode: str = "zeros"

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the input, the weight and the bias."""
        if self.kind == TRANSPOSED:
            return (2, 4, 5), (4, 3, 4), (6,)
        return (2, 4, 9), (6, 2, 3), (6,)

    @property
    def sizes(self) -> dict[str, Any]:
        sizes = {"stride": 3, "padding": (4, 1), "groups": 2, "dilation": 2}
        if self.kind == TRANSPOSED:
            sizes["output_padding"] = 1
        return {**sizes, "padding_mode": self.mode}

    def operands(self, dtype: str = "float64", seed: int = 0) -> tuple[Any, ...]:
        return tuple(random(shape, dtype, seed + i) for i, shape in enumerate(self.shapes))

    def __call__(self, x: Any, w: Any, b: Any = None) -> Any:
        """The function under test."""
        return getattr(fj, self.kind)(x, w, b, **self.sizes)

    def by_lax(self, x: Any, w: Any, b: Any = None) -> Any:
        """The same by ``lax.conv_general_dilated``, with lax's own derivatives."""
        k, sizes = w.shape[2], self.sizes
        s, padding, d = sizes["stride"], sizes["padding"], sizes["dilation"]
        geometry: Any
        if self.kind == TRANSPOSED:
            geometry, way = geometry_of(k, s, padding, 1, d, self.mode), fallback.forward
        else:
            geometry, way = conv1d_geometry_of(k, s, padding, d, self.mode), fallback.conv1d
        size = geometry.output_length(x.shape[-1])
        y = way(x, w, geometry=geometry, groups=sizes["groups"], size=size)
        return y if b is None else y + b[:, None]


def random(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        numbers = numbers + 1j * rng.standard_normal(shape)
    return jnp.asarray(numbers).astype(dtype)


def primitives_in(function: Callable[..., Any], *operands: Any) -> list[str]:
    """The names of this library's primitives in the jaxpr of a call, with their groups."""
    found = []
    for equation in jax.make_jaxpr(function)(*operands).eqns:
        name = equation.primitive.name
        if name.startswith("fracstride_"):
            found.append(f"{name.removeprefix('fracstride_')}[{equation.params['groups']}]")
    return found
