"""``vmap`` of the maps: one call for the whole batch, never a loop.

Where only the input is mapped, its new axis joins the batch. Where a weight is mapped too (or the
result is one), each of its entries becomes groups of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["SIGNAL", "VALUES", "WEIGHT", "batched"]

#: What the axes of an operand are: ``(B, C, length)``, ``(first channels, second channels, k)``,
#: ``(C,)``. Groups divide ``C`` and the first channels, group by group.
SIGNAL, WEIGHT, VALUES = "signal", "weight", "values"


def batched(
    primitive: Any,
    kinds: Sequence[str],
    kind_of_result: str,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    **params: Any,
) -> tuple[Any, int]:
    """The result of operands that are mapped over these axes, and the axis of the result.

    Args:
        primitive: the map.
        kinds: of its operands.
        kind_of_result: SIGNAL or WEIGHT.
        operands: with an axis more where they are mapped.
        axes: of each operand, or None.
        params: of the primitive.
    """
    count = next(x.shape[a] for x, a in zip(operands, axes, strict=True) if a is not None)
    if isinstance(count, int) and count == 0:  # nothing to compute, and no layer has 0 groups
        return _of_nothing(primitive, operands, axes, params), 0
    moved = [x if a is None else jnp.moveaxis(x, a, 0) for x, a in zip(operands, axes, strict=True)]
    if axes[0] is not None and not any(a is not None for a in axes[1:]) and kinds[1] == WEIGHT:
        x, *others = moved
        y = primitive.bind(x.reshape(count * x.shape[1], *x.shape[2:]), *others, **params)
        return y.reshape(count, x.shape[1], *y.shape[1:]), 0
    whole = [
        x if a is not None else jnp.broadcast_to(x, (count, *x.shape))
        for x, a in zip(moved, axes, strict=True)
    ]
    grouped = [_as_groups(x, kind) for x, kind in zip(whole, kinds, strict=True)]
    y = primitive.bind(*grouped, **{**params, "groups": count * params["groups"]})
    if kind_of_result == WEIGHT:
        return y.reshape(count, y.shape[0] // count, *y.shape[1:]), 0
    return y.reshape(y.shape[0], count, y.shape[1] // count, y.shape[2]), 1


def _of_nothing(
    primitive: Any, operands: Sequence[Any], axes: Sequence[int | None], params: dict[str, Any]
) -> Any:
    """The result of an axis of size 0: the type of one entry says what it is."""
    entries = [
        jax.ShapeDtypeStruct(x.shape if a is None else x.shape[:a] + x.shape[a + 1 :], x.dtype)
        for x, a in zip(operands, axes, strict=True)
    ]
    one = jax.eval_shape(lambda *xs: primitive.bind(*xs, **params), *entries)
    return jnp.zeros((0, *one.shape), one.dtype)


def _as_groups(x: Any, kind: str) -> Any:
    """An operand with the mapped axis first, as one with so many times the groups."""
    if kind == SIGNAL:
        count, batch, channels, length = x.shape
        return jnp.moveaxis(x, 0, 1).reshape(batch, count * channels, length)
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
