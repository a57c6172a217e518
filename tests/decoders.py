"""Random compositions of streams, with the same compositions of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fracstride as fs
from fracstride.extension import STREAMING_MODES
from fracstride.streaming import Chain, Identity, Pointwise, Stream, Sum

# A function from a number of rows to a stream, and the offline function of that stream.
Both = tuple[Callable[[int], Stream], Callable[[Any], Any]]


def leaky(x: Any) -> Any:
    return np.where(x.real > 0, x, x * x.dtype.type(0.1))


def both_signs(x: Any) -> Any:
    return np.concatenate([x, -x], -2)


def gate(x: Any) -> Any:
    a, b = np.split(x, 2, -2)
    return np.where(b.real > 0, leaky(a), b)


def layer_both(layer: fs.ConvTranspose1d) -> Both:
    return layer.stream, layer


def chain_both(parts: list[Both]) -> Both:
    def offline(x: Any) -> Any:
        for _, function in parts:
            x = function(x)
        return x

    return lambda batch: Chain(*(make(batch) for make, _ in parts)), offline


def sum_both(parts: list[Both]) -> Both:
    def offline(x: Any) -> Any:
        total = parts[0][1](x)
        for _, function in parts[1:]:
            total = total + function(x)
        return total

    return lambda batch: Sum(*(make(batch) for make, _ in parts)), offline


def decoder(pick: Callable[[int, int], int], dtype: Any, depth: int = 2) -> Both:
    """A random decoder of 3 channels: layers, activations and blocks of both, nested."""
    rng = np.random.default_rng(pick(0, 1000))

    def one_of(values: Any) -> Any:
        return values[pick(0, len(values) - 1)]

    def conv(keeps_length: bool = False) -> Both:
        k, d = pick(1, 7), pick(1, 3)
        room = d * (k - 1)
        left = pick(0, room)
        right = room - left if keeps_length else pick(0, room)
        w = (rng.standard_normal((3, 3, k)) / 3).astype(dtype)  # float16 should not overflow
        layer = fs.ConvTranspose1d.from_conv1d(
            w, None, (left, right), dilation=d, padding_mode=one_of(STREAMING_MODES)
        )
        return layer_both(layer)

    def up() -> Both:
        k, s = pick(1, 9), pick(1, 4)
        padding = one_of(("same", "causal", 0, (pick(0, k), pick(0, k))))
        w = (rng.standard_normal((3, 3, k)) / 3).astype(dtype)
        layer = fs.ConvTranspose1d.from_weights(
            w,
            rng.standard_normal(3).astype(dtype),
            s,
            padding,
            padding_mode=one_of(STREAMING_MODES),
        )
        return layer_both(layer)

    def pointwise() -> Both:
        if pick(0, 1):
            return lambda _: Pointwise(leaky), leaky
        gates: list[Both] = [
            (lambda _: Pointwise(both_signs, out_channels=6), both_signs),
            (lambda _: Pointwise(gate, out_channels=3, in_channels=6), gate),
        ]
        return chain_both(gates)

    def detour() -> Both:
        """An offline function whose output is as long as its input, unless that is too short."""
        left, right = pick(0, 3), pick(0, 3)
        w = (rng.standard_normal((3, 3, 1 + left + right)) / 3).astype(dtype)
        crop = fs.ConvTranspose1d.from_weights(w[..., :1], padding=(left, right))
        return chain_both([layer_both(crop), layer_both(fs.ConvTranspose1d.from_weights(w))])

    def block(depth: int) -> Both:
        branches: list[Both] = [(lambda _: Identity(), lambda x: x)] if pick(0, 1) else []
        for _ in range(pick(1, 2)):
            parts = [conv(keeps_length=True) for _ in range(pick(1, 2))]
            if pick(0, 3) == 0:
                parts.append(detour())
            if depth and pick(0, 1):
                parts.append(block(depth - 1))
            if pick(0, 1):
                parts.insert(pick(0, 1), pointwise())
            branches.insert(pick(0, len(branches)), chain_both(parts))
        return sum_both(branches)

    parts: list[Both] = []
    for _ in range(pick(1, 4)):
        kind = pick(0, 3)
        if kind == 0:
            parts.append(up())
        elif kind == 1:
            parts.append(conv())
        elif kind == 2:
            parts.append(pointwise())
        else:
            parts.append(block(depth))
    return chain_both(parts)
