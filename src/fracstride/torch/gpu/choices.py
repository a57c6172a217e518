"""Which kernel and which tile a product gets: what was measured, else what the model says.

All that is decided is decided by *bucket*: the layer's sizes, and the power of two that its length
is next to, so that a new length needs neither a measurement nor a kernel of its own. Measurements
come from ``measured.json`` beside this file, which ``benchmarks/gpu.py --tune`` writes, and where
``FRACSTRIDE_TUNE=1`` is set from measuring the first call in each bucket (``again``: whatever is
known of it), kept in ``~/.cache/fracstride`` (``XDG_CACHE_HOME``).

A choice may be ``"torch"``: where cuDNN was measured to be faster, by algorithms that give the same
bits from run to run, it does the work.
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
TRIED = 8  # of the model's best tiles, where they are measured
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
        """The problem of a product of any length."""
        if map == "R":
            product = replace(product, terms=_bucket(product.terms))
        else:
            product = replace(product, columns=_bucket(product.columns))
        return cls(map, product, geometry, *channels, kind, size)

    @property
    def bucket(self) -> str:
        """The name under which measurements of it and its like are kept.

        >>> g = Geometry(4, stride=2)
        >>> Problem.of("T", Product(8, 100, 16), g, (8, 4), "half", 2).bucket
        'T 8>4 g1 k4 s2 d1 zeros half 128'
        """
        g = self.geometry
        along = self.product.terms if self.map == "R" else self.product.columns
        # What the extension holds is all the same; that there is one is not.
        mode = "zeros" if g.padding_mode == "zeros" else "extended"
        return (
            f"{self.map} {self.in_channels}>{self.out_channels} g{self.product.groups} "
            f"k{g.kernel_size} s{g.stride} d{g.dilation} {mode} {self.kind} {along}"
        )

    @property
    def products(self) -> int:
        """Multiply-adds, without those that padding crops."""
        p = self.product
        return p.rows * p.columns * p.terms * p.groups


def _bucket(length: int) -> int:
    return 1 << max(0, length - 1).bit_length()


def choose(
    problem: Problem, machine: Machine, measure: Callable[[Choice], float] | None = None
) -> Choice:
    """The choice for a problem. ``measure`` gives the seconds of a choice, where that is wanted."""
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
    """The best of our own kernels, as far as the model knows."""
    return candidates(problem, machine, 1)[0]


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
