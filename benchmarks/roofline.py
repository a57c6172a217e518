"""The machine's limits: multiply-adds per second, and bytes per second by size.

A layer takes at least the time of its multiply-adds at the first rate, and at least the time of
reading its input and weight and writing its output once at the second. The larger of the two times
is its limit. Both rates are measured in the run that uses them: the first by a loop in the compiled
module that works in registers only, the second by copies, with as many threads, and by reading,
with one thread. What fits into a cache is faster, so a layer is compared with a copy and with
reading of about as many bytes. Half the bytes of a copy are written. A layer that writes less than
it reads, such as one of large weights on some frames, takes time between those of both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from layers import Layer

from fracstride._load import native

COPIES = tuple(4**i for i in range(7, 14))  # bytes: 16 KB to 64 MB
READS = tuple(2**i for i in range(20, 28))  # bytes: 1 MB to 128 MB
REPEATS = 15


@dataclass
class Roofline:
    """The highest rates measured so far; each :meth:`measure` may find higher ones."""

    peak: float = 0.0  # multiply-adds per second
    copied: dict[int, float] = field(default_factory=dict)  # bytes per second, by their number
    read: dict[int, float] = field(default_factory=dict)  # the same

    def measure(self) -> None:
        """Measure once more."""
        native.multiply_adds(100_000)
        for _ in range(REPEATS):
            start = perf_counter()
            done = native.multiply_adds(1_000_000)
            self.peak = max(self.peak, done / (perf_counter() - start))
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
        values = np.ones(READS[-1] // 4, np.float32)
        for size in READS:
            best = float("inf")
            for _ in range(REPEATS):
                start = perf_counter()
                native.read_floats(values.ctypes.data, size // 4)
                best = min(best, perf_counter() - start)
            self.read[size] = max(self.read.get(size, 0), size / best)

    @property
    def text(self) -> str:
        """Both rates, for people."""
        return (
            f"peak {2e-9 * self.peak:.0f} GFLOP/s, copies {_text(self.copied)}, reading "
            f"{_text(self.read)}"
        )

    def computing(self, layer: Layer) -> float:
        """The least seconds for the multiply-adds."""
        return layer.products / self.peak

    def moving(self, layer: Layer) -> float:
        """The least seconds for the bytes."""
        copied = _at(self.copied, layer.bytes)
        read = max(copied, _at(self.read, layer.bytes))
        a_byte_written = max(0.0, 2 / copied - 1 / read)  # what a copy takes beyond reading
        return (layer.bytes - layer.written) / read + layer.written * a_byte_written

    def limit(self, layer: Layer) -> float:
        """The least seconds that the machine allows."""
        return max(self.computing(layer), self.moving(layer))


def _at(rates: dict[int, float], size: int) -> float:
    sizes = sorted(rates)
    return float(np.interp(np.log(size), np.log(sizes), [rates[s] for s in sizes]))


def _text(rates: dict[int, float]) -> str:
    shown, sizes = (f"{rate * 1e-9:.0f}" for rate in rates.values()), (str(s >> 10) for s in rates)
    return f"{', '.join(shown)} GB/s of {', '.join(sizes)} KB"
