"""Which kernel and which tile a product gets: the one that was measured to be best, or the model's.

A choice is made for a *bucket*: the layer's sizes, and its length rounded up to a power of two. So
a new length needs neither a measurement nor a kernel of its own. Measurements come from two files:

- ``measured.json`` beside this file, which ``benchmarks/gpu.py --tune`` writes;
- the user's, in ``~/.cache/fracstride`` (``XDG_CACHE_HOME``). With ``FRACSTRIDE_TUNE=1`` the first
  call in each bucket that neither file knows is measured and kept there; with
  ``FRACSTRIDE_TUNE=again`` the first call in every bucket.

The choice ``"torch"`` stands for cuDNN, where that was measured to be faster: by algorithms that
give the same bits from run to run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
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

__all__ = ["Choice", "Problem", "as_json", "by_model", "candidates", "choose", "forget", "measured"]

Choice = Tile | Direct | Literal["torch"]
MEASURED = Path(__file__).with_name("measured.json")
TRIED = 8  # how many of the model's best tiles are measured
_TORCH: Choice = "torch"


@dataclass(frozen=True)
class Problem:
    """A call of one of the maps ``T``, ``C`` and ``R``, as far as the choice depends on it.

    ``kind`` is what multiplies: ``half``, ``tf32``, ``float32`` or ``float64``; ``size`` the bytes
    of an element. The product's columns (of ``R`` the terms) are rounded up to a power of two.
    """

    map: Literal["T", "C", "R"]
    product: Product
    geometry: Geometry
    in_channels: int
    out_channels: int
    kind: str
    size: int

    @classmethod
    def of(
        cls,
        map: Literal["T", "C", "R"],
        product: Product,
        geometry: Geometry,
        channels: tuple[int, int],
        kind: str,
        size: int,
    ) -> Problem:
        """The problem of a product of any length: its length is rounded up."""
        if map == "R":
            product = replace(product, terms=_bucket(product.terms))
        else:
            product = replace(product, columns=_bucket(product.columns))
        return cls(map, product, geometry, *channels, kind, size)

    @property
    def bucket(self) -> str:
        """The name under which measurements of this problem and its like are kept.

        >>> g = Geometry(4, stride=2)
        >>> Problem.of("T", Product(8, 100, 16), g, (8, 4), "half", 2).bucket
        'T 8>4 g1 k4 s2 d1 zeros half 128'
        """
        g = self.geometry
        along = self.product.terms if self.map == "R" else self.product.columns
        # All kinds of extension take the same time; none takes less.
        mode = "zeros" if g.padding_mode == "zeros" else "extended"
        return (
            f"{self.map} {self.in_channels}>{self.out_channels} g{self.product.groups} "
            f"k{g.kernel_size} s{g.stride} d{g.dilation} {mode} {self.kind} {along}"
        )

    @property
    def products(self) -> int:
        """Number of multiply-adds, without those that padding crops."""
        p = self.product
        return p.rows * p.columns * p.terms * p.groups


def _bucket(length: int) -> int:
    return 1 << max(0, length - 1).bit_length()


def choose(
    problem: Problem, machine: Machine, measure: Callable[[Choice], float] | None = None
) -> Choice:
    """The choice for a problem; ``measure``, if given, returns the seconds that a choice takes."""
    tuning = measure is not None and os.environ.get("FRACSTRIDE_TUNE")
    known = measured(machine.name)
    if known and tuning != "again" and (choice := known.get(problem.bucket)) is not None:
        return choice
    if measure is None or tuning not in ("1", "again"):
        return by_model(problem, machine)
    times = {c: measure(c) for c in (*candidates(problem, machine, TRIED), _TORCH)}
    best = min(times, key=lambda choice: times[choice])
    if times[best] == float("inf"):
        return by_model(problem, machine)
    _keep(machine.name, problem.bucket, best)
    return best


@lru_cache(maxsize=4096)
def by_model(problem: Problem, machine: Machine) -> Choice:
    """The model's best choice among our own kernels."""
    return candidates(problem, machine, 1)[0]


def candidates(problem: Problem, machine: Machine, count: int) -> list[Choice]:
    """The model's best choices among our own kernels, ``count`` at most."""
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
    """Forget what the files said: the next call reads them."""
    measured.cache_clear()


@lru_cache
def measured(machine: str) -> dict[str, Choice]:
    """Choices by bucket for a machine, from the package's table and the user's, which prevails."""
    known: dict[str, Choice] = {}
    for file in (MEASURED, _cache(machine)):
        try:
            table = json.loads(file.read_text())
            known |= {bucket: _from_json(entry) for bucket, entry in table[machine].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # no file, or not one of ours: nothing is known
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
        pass  # nowhere to keep it: the next process measures, too


def as_json(choice: Choice) -> Any:
    """A choice in the form of the files."""
    return choice if isinstance(choice, str) else asdict(choice)


def _from_json(entry: Any) -> Choice:
    if entry == "torch":
        return "torch"
    return Direct(**entry) if "elements" in entry else Tile(**entry)
