"""The discrete Fourier transform as matrices of real numbers, in float64.

A complex number is two real ones: axes of size 2 are its real and its imaginary part.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from fracstride.arrays import Array

__all__ = ["between_complex", "bins_of", "forward", "imaginary_end", "real_inverse"]

_VANISHES = 1e-12


def bins_of(size: int) -> int:
    """Frequencies of a real signal of so many points, from 0 to the highest."""
    return size // 2 + 1


def forward(size: int, bins: int, norm: str = "backward") -> Array:
    """``(bins, 2, size)``: each frequency of a real signal."""
    cos, sin = _waves(size, bins)
    factor = _forward_factor(size, norm)
    return np.stack([cos, 0.0 - sin], axis=1) * factor


def between_complex(size: int, norm: str = "backward", *, inverse: bool) -> Array:
    """``(size, 2, 2, size)``: what each part of each number gives to each part of each result."""
    cos, sin = _waves(size, size)
    if not inverse:
        sin = 0.0 - sin
        factor = _forward_factor(size, norm)
    else:
        factor = _inverse_factor(size, norm)
    parts = [np.stack([cos, sin], axis=1), np.stack([0.0 - sin, cos], axis=1)]
    return np.stack(parts, axis=1) * factor


def real_inverse(size: int, norm: str = "backward") -> Array:
    """``(bins + others, size)``: rows of the real parts, then of the imaginary parts that count.

    The signal is real, so each frequency stands for its negative too. The imaginary part of the
    first, and for an even size of the last, does not count: ``others`` are those between.
    """
    bins = bins_of(size)
    cos, sin = _waves(size, bins)
    alone = [0, bins - 1] if size % 2 == 0 else [0]
    twice = np.full((bins, 1), 2.0)
    twice[alone] = 1.0
    others = slice(1, imaginary_end(size))
    rows = np.concatenate([twice * cos, -2 * sin[others]])
    return np.asarray(rows * _inverse_factor(size, norm))


def imaginary_end(size: int) -> int:
    """The frequency behind the last one whose imaginary part counts."""
    return (size + 1) // 2


def _forward_factor(size: int, norm: str) -> float:
    return {"backward": 1.0, "ortho": 1 / sqrt(size), "forward": 1 / size}[norm]


def _inverse_factor(size: int, norm: str) -> float:
    return {"backward": 1 / size, "ortho": 1 / sqrt(size), "forward": 1.0}[norm]


def _waves(size: int, bins: int) -> tuple[Array, Array]:
    """``(bins, size)``: cosine and sine, of angles within one turn; exactly 0 where they vanish."""
    turns = np.outer(np.arange(bins), np.arange(size)) % size
    angles = 2 * np.pi * np.arange(size) / size
    waves = np.stack([np.cos(angles), np.sin(angles)])
    waves[np.abs(waves) < _VANISHES] = 0.0  # the next larger ones are about 1 / size
    return waves[0][turns], waves[1][turns]
