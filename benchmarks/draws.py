"""Random layers by kind: sizes that no list names, so that no kernel is fitted to a list.

The layers depend on the seed only, and those of a kind not on the other kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from layers import Layer

LEAST, MOST = 10**6, 10**9  # multiply-adds


class Dice:
    """Random choices, from one seed."""

    def __init__(self, *seeds: int) -> None:
        self._rng = np.random.default_rng(seeds)

    def one_of(self, *values: Any) -> Any:
        """One of the values, each with the same chance."""
        return values[int(self._rng.integers(len(values)))]

    def between(self, low: int, high: int) -> int:
        """An integer whose logarithm is spread evenly, both ends included."""
        return int(np.exp(self._rng.uniform(np.log(low), np.log(high + 1))))


def _transposed(dice: Dice, s: int, **sizes: int) -> Layer:
    """With twice the stride as its kernel, or a little more; cropped to ``L*s`` where that fits."""
    k = 2 * s + dice.one_of(0, 0, 0, 1)
    return _cropped(Layer("", k=k, s=s, **sizes))


def _cropped(layer: Layer) -> Layer:
    span = layer.dilation * (layer.k - 1) + 1
    return replace(layer, p=min(max(0, (span - layer.s) // 2), (span - 1) // 2))


def _conv1d(**sizes: int) -> Layer:
    """Padded so that ``L`` samples give about ``L/s``."""
    layer = Layer("", transposed=False, **sizes)
    return replace(layer, p=layer.dilation * (layer.k - 1) // 2)


def _many_short(dice: Dice) -> Layer:
    """Hundreds of entries of some frames and few channels: windows of sensors, training crops."""
    sizes = dict(L=dice.between(8, 32), B=dice.between(64, 1024))
    sizes |= dict(C_in=dice.between(8, 64), C_out=dice.between(8, 64))
    if dice.one_of(True, False):
        return _transposed(dice, dice.one_of(2, 2, 4), **sizes)
    return _conv1d(k=dice.one_of(3, 5, 7, 15, 25), **sizes)


def _wide(dice: Dice) -> Layer:
    """Megabytes of weights for some frames: codec decoders, a second or less at a time."""
    channels = 128 * dice.between(4, 16)
    sizes = dict(C_in=channels, L=dice.between(8, 50))
    if dice.one_of(True, False):
        return _transposed(dice, dice.one_of(2, 4, 5, 8), C_out=channels // 2, **sizes)
    return _conv1d(k=dice.one_of(3, 5, 7), C_out=channels // dice.one_of(1, 2), **sizes)


def _odd_strides(dice: Dice) -> Layer:
    """Transposed convolutions whose stride no power of two divides, nor always the kernel."""
    s = dice.one_of(3, 5, 6, 7, 9, 10)
    channels = 32 * dice.between(2, 20)
    layer = Layer("", channels, channels // 2, dice.between(s, 3 * s), s, L=dice.between(50, 1200))
    return _cropped(layer)


def _stride_1(dice: Dice) -> Layer:
    """Conv1ds of vocoders, ConvNeXt blocks and flows."""
    channels = _channels(dice, dense=4)
    k, dilation = dice.one_of(1, 3, 3, 5, 7, 11), dice.one_of(1, 1, 1, 3, 5)
    return _conv1d(k=k, dilation=dilation, L=dice.between(100, 32_000), **channels)


def _strided(dice: Dice) -> Layer:
    """Conv1ds of encoders and anti-aliased downsampling."""
    s = dice.one_of(2, 2, 2, 3, 4, 5, 8)
    k = dice.one_of(3, 2 * s, 2 * s, 2 * s + 1, 6 * s)
    return _conv1d(s=s, k=k, L=dice.between(500, 32_000), **_channels(dice, dense=5))


def _any_sizes(dice: Dice) -> Layer:
    """Transposed convolutions of all sizes at once, dilated, grouped and depthwise ones too."""
    s = dice.one_of(1, 2, 2, 3, 4, 4, 5, 6, 8, 8, 10, 16)
    k = s * dice.one_of(1, 2, 2, 2, 3) + dice.one_of(0, 0, 0, 1) if s > 1 else dice.one_of(3, 7, 11)
    sizes = dict(dilation=dice.one_of(1, 1, 1, 1, 2, 3), L=dice.between(2, 20_000))
    return _cropped(
        Layer("", k=k, s=s, B=dice.one_of(1, 1, 1, 4), **sizes, **_channels(dice, dense=4))
    )


def _channels(dice: Dice, dense: int) -> dict[str, int]:
    """``C_in``, ``C_out`` and groups: ``dense`` times of ``dense + 2`` one group."""
    kind = dice.one_of(*["dense"] * dense, "grouped", "depthwise")
    if kind == "dense":
        C_in, C_out = (
            2 ** dice.one_of(4, 5, 6, 7, 8, 9) + dice.one_of(0, 0, 0, 5) for _ in range(2)
        )
        return dict(C_in=C_in, C_out=C_out)
    channels = 2 ** dice.one_of(4, 5, 6, 7, 8, 9)
    groups = channels if kind == "depthwise" else dice.one_of(2, 4, 8)
    return dict(C_in=channels, C_out=channels, groups=groups)


KINDS: dict[str, Callable[[Dice], Layer]] = {
    "many short": _many_short,
    "wide and few frames": _wide,
    "odd strides": _odd_strides,
    "stride-1 convolutions": _stride_1,
    "strided convolutions": _strided,
    "any sizes": _any_sizes,
}


def draw(count: int, seed: int) -> list[Layer]:
    """So many layers, about as many of each kind, each of 1 to 1000 million multiply-adds."""
    drawn = []
    for number, (kind, one) in enumerate(KINDS.items()):
        dice = Dice(seed, number)
        wanted = count // len(KINDS) + (number < count % len(KINDS))
        for i in range(wanted):
            layer = one(dice)
            while not LEAST <= layer.products <= MOST:
                layer = one(dice)
            shown = f"{kind.split()[0]} {i}: {sizes_of(layer)}"
            drawn.append(replace(layer, name=shown, kind=kind, source=f"seed {seed}"))
    return drawn


def sizes_of(layer: Layer) -> str:
    """Such as ``64->32 k4 s2 L100``, with what is not 1."""
    rest = (("d", layer.dilation), ("g", layer.groups), ("L", layer.L), ("B", layer.B))
    shown = [f"k{layer.k}", f"s{layer.s}", *(f"{name}{value}" for name, value in rest if value > 1)]
    return f"{'T' if layer.transposed else 'C'} {layer.C_in}->{layer.C_out} {' '.join(shown)}"
