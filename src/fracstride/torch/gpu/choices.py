"""Which kernel and which tile a product gets: what was measured, else what the model says.

Measurements are kept by *bucket*: the layer's sizes, and the power of two that its length is next
to, so that a new length needs no new measurement. They come from ``measured.json`` beside this
file, which ``benchmarks/gpu.py --tune`` writes, and where ``FRACSTRIDE_TUNE=1`` is set from
measuring the first call in each bucket, kept in ``~/.cache/fracstride`` (``XDG_CACHE_HOME``).

A choice may be ``"torch"``: where cuDNN was measured to be faster, by algorithms that give the same
bits from run to run, it does the work.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from fracstride.geometry import Geometry
from fracstride.torch.gpu.shapes import Product
from fracstride.torch.gpu.tiles import (
    Direct,
    Machine,
    Tile,
    best_tiles,
    clocks,
    direct_clocks,
)

__all__ = ["Choice", "Problem", "as_json", "candidates", "choose", "forget", "measured"]

Choice = Tile | Direct | Literal["torch"]
MEASURED = Path(__file__).with_name("measured.json")
TRIED = 8  # of the model's best tiles, where they are measured


@dataclass(frozen=True)
class Problem:
    """A call of one of the maps ``T``, ``C`` and ``R``, as far as the choice depends on it.

    ``kind`` is what multiplies: ``half``, ``tf32``, ``float32`` or ``float64``.
    """

    map: Literal["T", "C", "R"]
    product: Product
    geometry: Geometry
    in_channels: int
    out_channels: int
    kind: str
    size: int
    length: int  # frames, of all entries of the batch

    @property
    def bucket(self) -> str:
        """The name under which measurements of it and its like are kept.

        >>> p = Problem("T", Product(8, 100, 4), Geometry(4, stride=2), 8, 4, "half", 2, length=100)
        >>> p.bucket
        'T 8>4 g1 k4 s2 d1 half 2^7'
        """
        g = self.geometry
        near = max(0, (self.length - 1)).bit_length()
        return (
            f"{self.map} {self.in_channels}>{self.out_channels} g{self.product.groups} "
            f"k{g.kernel_size} s{g.stride} d{g.dilation} {self.kind} 2^{near}"
        )

    @property
    def products(self) -> int:
        """Multiply-adds, without those that padding crops."""
        p = self.product
        return p.rows * p.columns * p.terms * p.groups


def choose(
    problem: Problem, machine: Machine, measure: Callable[[Choice], float] | None = None
) -> Choice:
    """The choice for a problem. ``measure`` gives the seconds of a choice, where that is wanted."""
    known = measured(machine.name).get(problem.bucket)
    if known is not None:
        return known
    if measure is None or os.environ.get("FRACSTRIDE_TUNE") != "1":
        return candidates(problem, machine, 1)[0]
    tried: list[Choice] = [*candidates(problem, machine, TRIED), "torch"]
    best = min(tried, key=measure)
    _keep(machine.name, problem.bucket, best)
    return best


def candidates(problem: Problem, machine: Machine, count: int) -> list[Choice]:
    """The best so many choices among our own kernels, by the model."""
    sizes = problem.product, problem.kind, problem.size, machine
    best = best_tiles(*sizes)[:count]
    tiles: list[Choice] = [*best]
    dense = clocks(best[0], *sizes)
    direct: list[Choice] = [Direct(elements) for elements in (1024, 512, 2048)]
    few = problem.in_channels * problem.out_channels <= 16  # of a group
    if few and direct_clocks(problem.products, machine) <= dense:
        return [*direct, *tiles][:count]
    return [*tiles, *direct] if few and count > 1 else tiles


def forget() -> None:
    """Read the files again at the next call."""
    measured.cache_clear()


@lru_cache
def measured(machine: str) -> dict[str, Choice]:
    """What is known of a machine: the package's own table, then the user's."""
    known: dict[str, Choice] = {}
    for file in (MEASURED, _cache(machine)):
        try:
            table = json.loads(file.read_text())
            known |= {bucket: _from_json(entry) for bucket, entry in table[machine].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # there is none, or nobody can read it: then nothing is known
    return known


def _cache(machine: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "fracstride" / f"{machine}.json"


def _keep(machine: str, bucket: str, choice: Choice) -> None:
    """Add a measurement to the user's file, which other processes may be reading."""
    measured(machine)[bucket] = choice
    file = _cache(machine)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            table = json.loads(file.read_text())
            table[machine][bucket] = as_json(choice)
        except (OSError, ValueError, KeyError, TypeError):
            table = {machine: {bucket: as_json(choice)}}
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as part:
            json.dump(table, part, indent=1)
        os.replace(part.name, file)
    except OSError:
        pass  # it cannot be kept: the next process measures again


def as_json(choice: Choice) -> Any:
    """A choice as the files have it."""
    return choice if isinstance(choice, str) else asdict(choice)


def _from_json(entry: Any) -> Choice:
    if entry == "torch":
        return "torch"
    return Direct(**entry) if "elements" in entry else Tile(**entry)
