"""The three maps as products of matrices, in integers.

Taps of a frame whose numbers are ``step = s/gcd(s, d)`` apart land on the same phase, ``shift =
d/gcd(s, d)`` frames later. They are named by their *first tap*, which is below ``step``. Sample
``n = u*s + first*d - p_l`` takes tap ``first + j*step`` from frame ``u - j*shift``. So the maps are

    T   rows (c, first)   columns (b, u)   terms (i, j)
    C   rows i            columns (b, t)   terms (c, m)
    R   rows i            columns (c, m)   terms (b, t)

with an entry ``b`` of the batch, an input channel ``i``, an output channel ``c``, a frame ``t`` and
a tap ``m``. First taps below ``k % step`` have one tap more than the others: two *classes* of rows,
so that no class multiplies zeros.

Lengths may be symbols of ``torch.compile`` here, which :class:`fracstride.geometry.Geometry`, that
checks its sizes, does not take. So the phases are a twin of :meth:`Geometry.taps`, and the frames
one of :meth:`Geometry.frames_reached`. A test holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

from fracstride.geometry import Geometry

__all__ = [
    "Phases",
    "Product",
    "of_forward",
    "of_input_grad",
    "of_weight_grad",
    "reached",
    "summed",
]


@dataclass(frozen=True)
class Phases:
    """How taps fall on phases: a phase's taps are ``step`` apart, their frames ``shift``.

    >>> Phases.of(Geometry(11, stride=5)).classes
    ((0, 1, 3), (1, 4, 2))
    """

    step: int
    shift: int
    #: ``(lowest first tap, number of first taps, taps of each)``; those with more taps first.
    classes: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, geometry: Geometry) -> Phases:
        """The phases of a geometry."""
        return _phases(geometry)

    @property
    def firsts(self) -> int:
        """Number of first taps, of all classes."""
        return sum(phases for _, phases, _ in self.classes)


@lru_cache(maxsize=1024)
def _phases(geometry: Geometry) -> Phases:
    k, s, d = geometry.kernel_size, geometry.stride, geometry.dilation
    common = gcd(s, d)
    step = s // common
    each, more = divmod(k, step)
    classes = ((0, more, each + 1), (more, step - more, each))
    return Phases(step, d // common, tuple(c for c in classes if c[1] and c[2]))


@dataclass(frozen=True)
class Product:
    """Sizes of the product of one group, by which tiles are chosen."""

    rows: int
    columns: int
    terms: int
    groups: int = 1


def reached(geometry: Geometry, length: int) -> tuple[int, int]:
    """The first frame ``u`` that has some first tap on a sample, and the number up to the last.

    ``length`` is that of the output. A frame between them may have none.

    >>> reached(Geometry(4, stride=2, padding=1), 6)
    (0, 4)
    """
    s, d, p = geometry.stride, geometry.dilation, geometry.padding_left
    first = -(((Phases.of(geometry).firsts - 1) * d - p) // s)
    return first, (length - 1 + p) // s + 1 - first


def summed(geometry: Geometry, frames: int, length: int) -> tuple[int, int]:
    """The first frame that R sums over, extended ones included, and the number up to the last.

    Twin of :meth:`fracstride.geometry.Geometry.frames_reached`, but for gaps between frames.

    >>> summed(Geometry(4, stride=2, padding=1, padding_mode="circular"), 3, 6)
    (-1, 5)
    """
    s, p = geometry.stride, geometry.padding_left
    first = -((geometry.span - 1 - p) // s)
    stop = (length - 1 + p) // s + 1
    if geometry.padding_mode == "zeros":
        first, stop = max(first, 0), min(stop, frames)
    return first, max(stop - first, 0)


def of_forward(
    geometry: Geometry, batch: int, in_channels: int, out_channels: int, length: int, groups: int
) -> Product:
    """The product that T is; channels are those of a group."""
    phases = Phases.of(geometry)
    most = phases.classes[0][2]
    columns = batch * reached(geometry, length)[1]
    return Product(out_channels * phases.firsts, columns, in_channels * most, groups)


def of_input_grad(
    geometry: Geometry, batch: int, in_channels: int, out_channels: int, frames: int, groups: int
) -> Product:
    """The product that C is."""
    return Product(in_channels, batch * frames, out_channels * geometry.kernel_size, groups)


def of_weight_grad(
    geometry: Geometry,
    batch: int,
    in_channels: int,
    out_channels: int,
    frames: int,
    length: int,
    groups: int,
) -> Product:
    """The product that R is."""
    terms = batch * summed(geometry, frames, length)[1]
    return Product(in_channels, out_channels * geometry.kernel_size, terms, groups)
