"""Random compositions of streams that go down and up in rate, with the same of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from decoders import Both, chain_both, layer_both, leaky

import fracstride as fs
from fracstride.extension import STREAMING_MODES
from fracstride.streaming import Identity, Pad, Pointwise, Sum, Upsample

IDENTITY: Both = (lambda _: Identity(), lambda x: x)


def summed(parts: list[Both]) -> Both:
    """A sum whose offline function refuses branches of different length, of one sample too."""

    def offline(x: Any) -> Any:
        total, *others = (function(x) for _, function in parts)
        for other in others:
            if other.shape != total.shape:
                raise ValueError(f"branches differ: {total.shape} and {other.shape}")
            total = total + other
        return total

    return lambda batch: Sum(*(make(batch) for make, _ in parts)), offline


def rates_of_all_kinds(pick: Callable[[int, int], int], dtype: Any, depth: int = 2) -> Both:
    """A random net of 2 channels: strided layers, upsampling, pads, U-Nets, nested.

    Its offline function raises ValueError where branches of a sum differ in length.
    """
    rng = np.random.default_rng(pick(0, 1000))

    def one_of(values: Any) -> Any:
        return values[pick(0, len(values) - 1)]

    def weight(k: int) -> Any:
        return (rng.standard_normal((2, 2, k)) / 2).astype(dtype)

    def conv(stride: int, own: bool = True) -> Both:
        k, d = pick(1, 6), pick(1, 2)
        span = d * (k - 1) + 1
        paddings: Any = ["causal", "valid", (pick(0, span), pick(0, span))]
        padding = one_of(paddings) if own else (pick(0, span - 1), 0)
        if not own:  # as long as its input, divided by the stride
            k = max(k, -(-stride // d))
            span = d * (k - 1) + 1
            left = pick(0, max(0, span - stride))
            padding = (left, max(0, span - stride - left))
        layer = fs.Conv1d.from_weights(
            weight(k), None, stride, padding, d, padding_mode=one_of(STREAMING_MODES)
        )
        return layer_both(layer)

    def up(stride: int, own: bool = True) -> Both:
        if pick(0, 3) == 0:
            scale = stride
            return lambda _: Upsample(scale), lambda x: np.repeat(x, scale, -1)
        k = pick(1, 9)
        padding = one_of(("same", "causal", 0) if own else ("same", "causal"))
        layer = fs.ConvTranspose1d.from_weights(
            weight(k), None, stride, padding, padding_mode=one_of(STREAMING_MODES)
        )
        return layer_both(layer)

    def pad() -> Both:
        left, right = pick(0, 4), pick(0, 4)

        def offline(x: Any) -> Any:
            return np.pad(x, ((0, 0), (0, 0), (left, right)))

        return lambda _: Pad(left, right), offline

    def u_net(depth: int) -> Both:
        strides = [pick(1, 4) for _ in range(pick(1, 2))]
        parts = [conv(s, own=pick(0, 3) == 0) for s in strides]
        if depth:
            parts += [u_net(depth - 1) for _ in range(pick(0, 1))]
        parts += [up(s, own=pick(0, 5) == 0) for s in reversed(strides)]
        straight = IDENTITY if pick(0, 1) else conv(1, own=False)
        branches = [straight, chain_both(parts)]
        return summed(branches if pick(0, 1) else branches[::-1])

    def part(depth: int) -> Both:
        kind = pick(0, 6)
        if kind < 2:
            return conv(pick(1, 5))
        if kind == 2:
            return up(pick(1, 5))
        if kind == 3:
            return pad() if pick(0, 1) else (lambda _: Pointwise(leaky), leaky)
        return u_net(depth) if depth else conv(pick(2, 3))

    return chain_both([part(depth) for _ in range(pick(1, 4))])
