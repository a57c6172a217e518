"""What the machine can do at best: multiply-adds per second, and bytes per second by size.

A layer takes at least the time of its multiply-adds at the one rate, and at least that of reading
its input and weight and writing its output once at the other: the larger of the two is its limit.
Both are measured in the run that uses them, with the threads that it uses, by the module's own loop
(registers only) and by copies. Copies of what fits a cache are faster; a layer's bytes are held
against the copy that touches about as many.
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
    """The best that was measured; :meth:`measure` again and again makes it better known."""

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
                native.copy_bytes_at(source.ctypes.data, target.ctypes.data, size, times)
                best = min(best, (perf_counter() - start) / times)
            self.copied[2 * size] = max(self.copied.get(2 * size, 0), 2 * size / best)

    def bandwidth(self, size: float) -> float:
        """Bytes per second for something that touches ``size`` bytes."""
        assert self.copied
        sizes = sorted(self.copied)
        rates = [self.copied[s] for s in sizes]
        return float(np.interp(np.log(size), np.log(sizes), rates))

    def computing(self, layer: Layer) -> float:
        """Seconds that the multiply-adds take at least."""
        return layer.products / self.peak

    def moving(self, layer: Layer) -> float:
        """Seconds that the bytes take at least."""
        return layer.bytes / self.bandwidth(layer.bytes)

    def limit(self, layer: Layer) -> float:
        """Seconds that nobody can be faster than."""
        return max(self.computing(layer), self.moving(layer))
