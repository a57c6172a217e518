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

from fracstride import Geometry

Array = NDArray[Any]

TRANSPOSED, CONV1D = "transposed convolutions", "Conv1d"
LISTS = {TRANSPOSED: "layers.json", CONV1D: "conv1d_layers.json"}
TOLERANCE = (
    8.0  # largest error of a correct result, in float32 epsilons of the sum |x| |w| + |bias|
)


@dataclass(frozen=True)
class Layer:
    """One transposed convolution or Conv1d with the size of its input, named as in the lists."""

    name: str
    C_in: int
    C_out: int
    k: int
    s: int = 1
    p: int = 0
    output_padding: int = 0  # always 0 for a Conv1d
    groups: int = 1
    dilation: int = 1
    L: int = 1
    B: int = 1
    transposed: bool = True
    shared_filter: bool = False  # all channels of a depthwise layer have the same taps
    kind: str = TRANSPOSED  # the list, or the kind of random layers, with which it is reported
    source: str = ""

    @property
    def function(self) -> str:
        """Name of the function, in torch and here."""
        return "conv_transpose1d" if self.transposed else "conv1d"

    @property
    def class_name(self) -> str:
        """Name of the layer's class, in torch and here."""
        return "ConvTranspose1d" if self.transposed else "Conv1d"

    @property
    def sizes(self) -> dict[str, int]:
        """Arguments after the bias, in the order of torch's function."""
        first = {"stride": self.s, "padding": self.p}
        if not self.transposed:
            return {**first, "dilation": self.dilation, "groups": self.groups}
        last = {"groups": self.groups, "dilation": self.dilation}
        return {**first, "output_padding": self.output_padding, **last}

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """As torch lays it out."""
        first, second = (self.C_in, self.C_out) if self.transposed else (self.C_out, self.C_in)
        return first, second // self.groups, self.k

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """``(B, C_out, L_out)``."""
        if self.transposed:
            geometry = Geometry(self.k, self.s, self.p, self.output_padding, self.dilation)
            return self.B, self.C_out, geometry.output_length(self.L)
        span = self.dilation * (self.k - 1) + 1
        return self.B, self.C_out, (self.L + 2 * self.p - span) // self.s + 1

    @property
    def meetings(self) -> Array:
        """How many frames meet a sample, by tap; padding crops others away, or adds their zeros.

        Tap ``m`` connects position ``t`` of the shorter signal with position ``t*s + m*d - p`` of
        the longer one. A transposed convolution reads the shorter signal, a Conv1d writes it.
        """
        shorter, longer = self.L, self.output_shape[2]
        if not self.transposed:
            shorter, longer = longer, shorter
        taps = np.arange(self.k) * self.dilation - self.p
        first = np.maximum(-(taps // self.s), 0)
        last = np.minimum((longer - 1 - taps) // self.s, shorter - 1)
        return np.maximum(last - first + 1, 0)

    @property
    def products(self) -> int:
        """Multiply-adds, without those that padding crops away or that meet its zeros."""
        return self.B * self.C_in * (self.C_out // self.groups) * int(self.meetings.sum())

    @property
    def bytes(self) -> int:
        """Of input, weight (taps that meet something) and output in float32, each touched once."""
        filters, per_filter, _ = self.weight_shape
        taps = int((self.meetings > 0).sum())
        weight = (1 if self.shared_filter else filters) * per_filter * taps
        return 4 * (self.B * self.C_in * self.L + weight) + self.written

    @property
    def written(self) -> int:
        """Bytes of the output in float32."""
        return 4 * int(np.prod(self.output_shape))


TINY = Layer("tiny call", C_in=1, C_out=1, k=2, s=2, L=4)


def load(names: Sequence[str] = (), kinds: Sequence[str] = tuple(LISTS)) -> list[Layer]:
    """The layers of the lists, or those of the given names.

    Raises ``ValueError`` for a name that is in no list.
    """
    layers = [
        Layer(**entry, kind=kind, transposed=kind == TRANSPOSED)
        for kind in kinds
        for entry in json.loads(Path(__file__).with_name(LISTS[kind]).read_text())["layers"]
    ]
    known = [layer.name for layer in layers]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no layer {', '.join(unknown)}; there are {', '.join(known)}")
    return [layer for layer in layers if not names or layer.name in names]


class Problem:
    """A layer with its operands in float32, the same in every run."""

    def __init__(self, layer: Layer) -> None:
        rng = np.random.default_rng(0)
        filters, *filter_shape = layer.weight_shape
        drawn = 1 if layer.shared_filter else filters
        self.layer = layer
        self.x = rng.standard_normal((layer.B, layer.C_in, layer.L), np.float32)
        weight = rng.standard_normal((drawn, *filter_shape), np.float32)
        self.weight = weight.repeat(filters // drawn, axis=0)
        self.bias = rng.standard_normal(layer.C_out, np.float32)

    def error(self, output: Array) -> float:
        """Largest error in float32 epsilons of the sum |x| |w| + |bias| behind each value.

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
        function = getattr(torch.nn.functional, self.layer.function)
        sizes = self.layer.sizes
        exact = function(x, w, b, **sizes)
        return exact.numpy(), function(x.abs(), w.abs(), b.abs(), **sizes).numpy()
