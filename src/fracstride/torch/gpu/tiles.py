"""How a product is cut into programs, and a model of the time that they take.

The model chooses a tile where nothing was measured (:mod:`fracstride.torch.gpu.choices`). It counts
the multiply-adds of whole tiles, the bytes that a program reads through the second-level cache, the
least time that one trip of the loop waits, and the programs that run at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from fracstride.torch.gpu.shapes import Product

__all__ = ["CANDIDATES", "Direct", "Machine", "Tile", "best_tiles", "direct_clocks", "parts_of"]


@dataclass(frozen=True)
class Tile:
    """Rows, columns and terms that a program on tensor cores has at a time.

    With several ``parts``, each program sums one part of the terms, and another kernel adds up the
    parts. ``stages`` are trips of the loop whose operands are on their way at a time.
    """

    rows: int
    columns: int
    terms: int
    warps: int = 4
    stages: int = 3
    parts: int = 1


@dataclass(frozen=True)
class Direct:
    """Results that a program of :mod:`fracstride.torch.gpu.direct` has at a time."""

    elements: int
    warps: int = 4


CANDIDATES = tuple(
    Tile(
        rows,
        columns,
        terms,
        warps=8 if rows * columns >= 128 * 128 or columns == 256 else 4,
        stages=stages,
    )
    for rows in (16, 32, 64, 128)
    for columns in (16, 32, 64, 128, 256)
    for terms in (16, 32, 64)
    for stages in (2, 3, 4)
    if rows * columns <= 128 * 128
)

# Multiply-adds of one multiprocessor in a clock, from NVIDIA's data sheets, by the major number of
# the compute capability: 16-bit and tf32 on tensor cores, float32, float64.
_RATES = {
    8: {"half": 1024, "tf32": 512, "float32": 64, "float64": 64},
    9: {"half": 2048, "tf32": 1024, "float32": 128, "float64": 128},
    10: {"half": 4096, "tf32": 2048, "float32": 128, "float64": 64},
}
_BYTES_PER_CLOCK = 40  # from the second-level cache to one multiprocessor
_CLOCKS_PER_TRIP = 700  # from a load's issue to the product of what it brings, in one stage
_CLOCKS_PER_PROGRAM = 1500  # to start, and to store
_CLOCKS_PER_KERNEL = 3500  # between two kernels
_SHARED_PER_PROGRAM = 2 * 1024


@dataclass(frozen=True)
class Machine:
    """A GPU, as far as the model depends on it."""

    multiprocessors: int = 132
    major: int = 9
    minor: int = 0
    shared: int = 228 * 1024  # bytes of a multiprocessor
    registers: int = 65536

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """The GPU of a CUDA device; for another device, as under the interpreter, an H100."""
        return _machine(device.index) if device.type == "cuda" else cls()

    @property
    def name(self) -> str:
        """The name that compilers have for its architecture.

        >>> Machine().name
        'sm_90'
        """
        return f"sm_{self.major}{self.minor}"

    def rate(self, kind: str) -> int:
        """Multiply-adds of one multiprocessor in a clock."""
        return _RATES[min(max(self.major, min(_RATES)), max(_RATES))][kind]


@lru_cache
def _machine(index: int | None) -> Machine:
    p = torch.cuda.get_device_properties(torch.cuda.current_device() if index is None else index)
    shared = getattr(p, "shared_memory_per_multiprocessor", Machine.shared)
    return Machine(p.multi_processor_count, p.major, p.minor, shared)


def best_tiles(product: Product, kind: str, size: int, machine: Machine) -> list[Tile]:
    """The candidates that fit the machine, fastest first; an element has ``size`` bytes."""
    fitting = [
        replace(tile, parts=parts)
        for tile in CANDIDATES
        if _shared(tile, size) <= machine.shared - 8 * 1024 and _registers(tile, size) < 250
        for parts in sorted({1, parts_of(tile, product, machine)})
    ]
    return sorted(fitting, key=lambda tile: clocks(tile, product, kind, size, machine))


def clocks(tile: Tile, product: Product, kind: str, size: int, machine: Machine) -> float:
    """Clocks that a product takes if it is cut into such tiles.

    >>> long = Product(rows=512, columns=8000, terms=512)
    >>> small, large = Tile(16, 16, 32), Tile(128, 128, 32)
    >>> clocks(large, long, "half", 2, Machine()) < clocks(small, long, "half", 2, Machine())
    True
    """
    programs = _tiles(tile, product) * tile.parts
    trips = -(-product.terms // (tile.terms * tile.parts))
    products = tile.rows * tile.columns * tile.terms
    rate = machine.rate(kind)
    if kind != "float32" and tile.rows < 64:
        rate //= 2  # Hopper's own instructions take 64 rows
    computing = products / rate
    moving = (tile.rows + tile.columns) * tile.terms * size / _BYTES_PER_CLOCK
    at_once = _resident(tile, size, machine)
    rounds = -(-programs // (machine.multiprocessors * at_once))
    busiest = -(-programs // machine.multiprocessors)
    waiting = rounds * trips * max(_CLOCKS_PER_TRIP / max(tile.stages - 1, 1), computing)
    working = busiest * trips * max(computing, moving)
    total = max(waiting, working) + rounds * _CLOCKS_PER_PROGRAM
    if tile.parts > 1:
        sums = product.rows * product.columns * product.groups * (tile.parts + 1) * 4
        total += _CLOCKS_PER_KERNEL + sums / (machine.multiprocessors * _BYTES_PER_CLOCK)
    return total


def direct_clocks(work: float, machine: Machine) -> float:
    """Clocks of ``work`` multiply-adds without tensor cores: a load and a select go with each."""
    return work / (machine.multiprocessors * 32) + _CLOCKS_PER_PROGRAM


def parts_of(tile: Tile, product: Product, machine: Machine) -> int:
    """The number of parts to cut a sum into: enough for all multiprocessors, none of them tiny.

    >>> parts_of(Tile(64, 64, 32), Product(rows=64, columns=128, terms=12_800), Machine())
    100
    """
    programs = _tiles(tile, product)
    wanted = -(-2 * machine.multiprocessors // programs)
    most = max(1, product.terms // (4 * tile.terms))
    room = max(1, (64 << 20) // (4 * product.rows * product.columns * product.groups))
    return max(1, min(wanted, most, room))


def _tiles(tile: Tile, product: Product) -> int:
    """Number of tiles of a product."""
    rows, columns = -(-product.rows // tile.rows), -(-product.columns // tile.columns)
    return rows * columns * product.groups


def _shared(tile: Tile, size: int) -> int:
    """Bytes of shared memory of a program."""
    return tile.stages * (tile.rows + tile.columns) * tile.terms * size + _SHARED_PER_PROGRAM


def _registers(tile: Tile, size: int) -> int:
    """Registers of a thread, about: a fit to what :mod:`fracstride.torch.gpu.resources` finds."""
    words = 2 if size == 8 else 1
    sums = tile.rows * tile.columns / (32 * tile.warps)
    loads = (tile.rows + tile.columns) * tile.terms / (32 * tile.warps)
    return int(50 + words * (sums + 2.8 * loads))


def _resident(tile: Tile, size: int, machine: Machine) -> int:
    """Number of programs that a multiprocessor has room for."""
    by_registers = machine.registers // (32 * tile.warps * _registers(tile, size))
    return max(1, min(machine.shared // _shared(tile, size), by_registers, 64 // tile.warps))
