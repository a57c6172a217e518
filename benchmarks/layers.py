"""The layers that are timed: sizes, operands, exact results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import conv_transpose1d

from fracstride import Geometry

Array = NDArray[Any]

FILE = Path(__file__).with_name("layers.json")
TOLERANCE = (
    8.0  # largest error of a correct result, in float32 epsilons of the sum |x| |w| + |bias|
)


@dataclass(frozen=True)
class Layer:
    """One transposed convolution with the size of its input, named as in layers.json."""

    name: str
    C_in: int
    C_out: int
    k: int
    s: int = 1
    p: int = 0
    output_padding: int = 0
    groups: int = 1
    dilation: int = 1
    L: int = 1
    B: int = 1
    shared_filter: bool = False  # all channels of a depthwise layer have the same taps
    source: str = ""

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """``(B, C_out, L_out)``."""
        geometry = Geometry(self.k, self.s, self.p, self.output_padding, self.dilation)
        return self.B, self.C_out, geometry.output_length(self.L)

    @property
    def products(self) -> int:
        """Multiply-adds, without those that padding crops away."""
        taps = np.arange(self.k) * self.dilation - self.p  # tap m of frame t is at t*s + taps[m]
        first = np.maximum(-(taps // self.s), 0)
        last = np.minimum((self.output_shape[2] - 1 - taps) // self.s, self.L - 1)
        frames = int(np.maximum(last - first + 1, 0).sum())
        return self.B * self.C_in * (self.C_out // self.groups) * frames

    @property
    def bytes(self) -> int:
        """Of input, weight and output in float32, each touched once."""
        filters = 1 if self.shared_filter else self.C_in
        weight = filters * (self.C_out // self.groups) * self.k
        return 4 * (self.B * self.C_in * self.L + weight + int(np.prod(self.output_shape)))


TINY = Layer("tiny call", C_in=1, C_out=1, k=2, s=2, L=4)


def load(names: Sequence[str] = ()) -> list[Layer]:
    """Return the layers of layers.json, or those of the given names.

    Raises ``ValueError`` for a name that is not there.
    """
    layers = [Layer(**entry) for entry in json.loads(FILE.read_text())["layers"]]
    known = [layer.name for layer in layers]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no layer {', '.join(unknown)}; there are {', '.join(known)}")
    return [layer for layer in layers if not names or layer.name in names]


def draw(count: int, seed: int) -> list[Layer]:
    """Layers that layers.json does not list: random sizes of the kind that decoders have.

    They have 1 to 1000 million multiply-adds, and depend on the seed only.
    """
    rng = np.random.default_rng(seed)

    def one_of(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    drawn: list[Layer] = []
    while len(drawn) < count:
        s = one_of(1, 2, 2, 3, 4, 4, 5, 6, 8, 8, 10, 16)
        k = s * one_of(1, 2, 2, 2, 3) + one_of(0, 0, 0, 1) if s > 1 else one_of(3, 5, 7, 11)
        channels = [2 ** int(rng.integers(4, 11)) + one_of(0, 0, 0, 5) for _ in range(2)]
        kind = one_of("dense", "dense", "dense", "dense", "grouped", "depthwise")
        groups = 1
        if kind != "dense":
            channels = [2 ** int(rng.integers(4, 10))] * 2
            groups = channels[0] if kind == "depthwise" else one_of(2, 4, 8)
        dilation = one_of(1, 1, 1, 1, 2, 3)
        span = dilation * (k - 1) + 1
        layer = Layer(
            name=f"random {len(drawn)}",
            C_in=channels[0],
            C_out=channels[1],
            k=k,
            s=s,
            p=min(max(0, (span - s) // 2), (span - 1) // 2),
            groups=groups,
            dilation=dilation,
            L=int(np.exp(rng.uniform(np.log(2), np.log(20_000)))),
            B=one_of(1, 1, 1, 4),
            source=f"{kind}, seed {seed}",
        )
        if 1e6 <= layer.products <= 1e9:
            drawn.append(layer)
    return drawn


class Problem:
    """A layer with its operands in float32, the same in every run."""

    def __init__(self, layer: Layer) -> None:
        rng = np.random.default_rng(0)
        filters = 1 if layer.shared_filter else layer.C_in
        shape = (filters, layer.C_out // layer.groups, layer.k)
        self.layer = layer
        self.x = rng.standard_normal((layer.B, layer.C_in, layer.L), np.float32)
        self.weight = rng.standard_normal(shape, np.float32).repeat(layer.C_in // filters, axis=0)
        self.bias = rng.standard_normal(layer.C_out, np.float32)

    def error(self, output: Array) -> float:
        """Largest error in float32 epsilons of the sum |x| |w| + |bias| behind each sample.

        NaN where the output has one, infinite if it has another shape or dtype.
        """
        if output.shape != self.layer.output_shape or output.dtype != np.float32:
            return float("inf")
        exact, scale = self._exact
        unit = np.maximum(scale * np.finfo(np.float32).eps, np.finfo(np.float32).tiny)
        return float((np.abs(output - exact) / unit).max())

    @cached_property
    def _exact(self) -> tuple[Array, Array]:
        x, w, b = (torch.from_numpy(a).double() for a in (self.x, self.weight, self.bias))
        sizes = torch_sizes(self.layer)
        exact = conv_transpose1d(x, w, b, *sizes)
        return exact.numpy(), conv_transpose1d(x.abs(), w.abs(), b.abs(), *sizes).numpy()


def torch_sizes(layer: Layer) -> tuple[int, int, int, int, int]:
    """Return the arguments of torch's function after the bias."""
    return layer.s, layer.p, layer.output_padding, layer.groups, layer.dilation
