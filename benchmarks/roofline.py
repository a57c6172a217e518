"""The machine's limits: multiply-adds per second, and bytes per second by size.

A layer takes at least the time of its multiply-adds at the first rate, and at least the time of
reading its input and weight and writing its output once at the second. The larger of the two times
is its limit. Both rates are measured in the run that uses them, with as many threads: the first by
a loop in the compiled module that works in registers only, the second by copies. Copies that fit
into a cache are faster, so a layer is compared with a copy of about as many bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from layers import Layer

from fracstride._load import native

COPIES = tuple(4**i for i in range(7, 14))  # bytes: 16 KB to 64 MB
REPEATS = 15


@dataclass
class Roofline:
    """The highest rates measured so far; each :meth:`measure` may find higher ones."""

    peak: float = 0.0  # multiply-adds per second
    copied: dict[int, float] | None = None  # bytes read and written per second, by their number

    def measure(self) -> None:
        """Measure once more."""
        native.multiply_adds(100_000)
        for _ in range(REPEATS):
            start = perf_counter()
            done = native.multiply_adds(1_000_000)
            self.peak = max(self.peak, done / (perf_counter() - start))
        self.copied = self.copied or {}
        source = np.ones(COPIES[-1], np.uint8)
        target = np.ones_like(source)
        for size in COPIES:
            times = max(1, COPIES[-1] // 4 // size)
            best = float("inf")
            for _ in range(REPEATS):
                start = perf_counter()
                native.copy_bytes(source.ctypes.data, target.ctypes.data, size, times)
                best = min(best, (perf_counter() - start) / times)
            self.copied[2 * size] = max(self.copied.get(2 * size, 0), 2 * size / best)

    @property
    def text(self) -> str:
        """Both rates, for people."""
        sizes, rates = zip(*sorted((self.copied or {}).items()), strict=True)
        return (
            f"peak {2e-9 * self.peak:.0f} GFLOP/s, copies "
            f"{', '.join(f'{rate * 1e-9:.0f}' for rate in rates)} GB/s of "
            f"{', '.join(str(size >> 10) for size in sizes)} KB"
        )

    def bandwidth(self, size: float) -> float:
        """Bytes per second for something that touches ``size`` bytes."""
        assert self.copied
        sizes = sorted(self.copied)
        rates = [self.copied[s] for s in sizes]
        return float(np.interp(np.log(size), np.log(sizes), rates))

    def computing(self, layer: Layer) -> float:
        """The least seconds for the multiply-adds."""
        return layer.products / self.peak

    def moving(self, layer: Layer) -> float:
        """The least seconds for the bytes."""
        return layer.bytes / self.bandwidth(layer.bytes)

    def limit(self, layer: Layer) -> float:
        """The least seconds that the machine allows."""
        return max(self.computing(layer), self.moving(layer))
