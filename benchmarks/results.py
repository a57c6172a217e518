"""The results on each layer, and what they are in the mean over a kind of layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from statistics import geometric_mean
from typing import Any

import layers
from layers import Layer
from peers import OUR_MODULE, OURS, PEERS
from roofline import Roofline
from timing import Spread

LARGE = 25e6  # multiply-adds of a layer whose fraction of the limit is held against a target
LEAST = 0.97  # of the best peer's time over ours: the target of every layer
MODULE_SHARE, MODULE_SECONDS = 1.05, 5e-6  # the torch face may take that share of ours, and that


@dataclass
class Result:
    """The results on one layer, by the names of the candidates."""

    layer: Layer
    errors: dict[str, float] = field(default_factory=dict)  # see Problem.error
    failed: dict[str, str] = field(default_factory=dict)  # candidates that cannot do the layer
    rounds: int = 0
    seconds: dict[str, Spread] = field(default_factory=dict)  # per call; not of wrong candidates
    ratios: dict[str, Spread] = field(default_factory=dict)  # other / ours
    module_excess: float | None = None  # seconds of the torch face beyond MODULE_SHARE of ours
    limit: float = 0.0  # the least seconds that the machine allows
    computing: bool = True  # the multiply-adds set the limit, not the bytes

    @property
    def wrong(self) -> list[str]:
        """Candidates whose output is wrong."""
        return [name for name, error in self.errors.items() if not error <= layers.TOLERANCE]

    @property
    def best(self) -> str | None:
        """The peer that is fastest on this layer."""
        peers = {name: self.seconds[name].median for name in self.ratios if name in PEERS}
        return min(peers, key=lambda name: peers[name]) if peers else None

    def ratio(self, peer: str | None) -> float | None:
        """Time of a peer, of the best one for None, over ours."""
        name = peer or self.best
        return self.ratios[name].median if name in self.ratios else None

    def of_limit(self, name: str | None) -> float | None:
        """The limit divided by the time of a candidate: 1 is the best possible."""
        return self.limit / self.seconds[name].median if name in self.seconds else None

    @property
    def far_from_limit(self) -> bool:
        """Below 85 % of a limit set by 25 million multiply-adds or more, or 75 % of the bytes'."""
        share, wanted = self.of_limit(OURS), 0.85 if self.computing else 0.75
        counts = self.layer.products >= LARGE if self.computing else True
        return share is not None and counts and share < wanted

    @property
    def module_is_slow(self) -> bool:
        """Whether the torch face takes longer than it may."""
        return self.module_excess is not None and self.module_excess > MODULE_SECONDS

    def set_limit(self, roofline: Roofline) -> None:
        """Compute the limit of the layer on this machine."""
        self.limit = roofline.limit(self.layer)
        self.computing = roofline.computing(self.layer) >= roofline.moving(self.layer)

    def as_json(self) -> dict[str, Any]:
        """All fields, for JSON."""
        errors = {name: e if isfinite(e) else str(e) for name, e in self.errors.items()}
        of_limit = {name: self.of_limit(name) for name in self.seconds}
        return {
            **asdict(self),
            "errors": errors,
            "wrong": self.wrong,
            "best": self.best,
            "of_limit": of_limit,
        }


@dataclass(frozen=True)
class Summary:
    """Geometric means over some layers, and how many miss a target."""

    layers: int
    means: dict[str, float]  # peer / ours; of each layer's best peer under "best"
    lowest: tuple[str, float] | None  # the layer with the lowest best peer / ours
    below: int  # layers with less than LEAST of it
    of_limit: dict[str, float]  # of ours, and of each layer's best peer
    module: float | None  # torch face / ours
    slow_modules: int

    @classmethod
    def of(cls, results: Sequence[Result]) -> Summary:
        """Of these layers."""
        peers = [name for name in PEERS if any(name in r.ratios for r in results)]
        ratios = {peer or "best": _known(r.ratio(peer) for r in results) for peer in (*peers, None)}
        shares = {
            "ours": _known(r.of_limit(OURS) for r in results),
            "best": _known(r.of_limit(r.best) for r in results),
        }
        best = [(r.layer.name, ratio) for r in results if (ratio := r.ratio(None)) is not None]
        modules = _known(r.ratio(OUR_MODULE) for r in results)
        return cls(
            layers=len(results),
            means={name: geometric_mean(values) for name, values in ratios.items() if values},
            lowest=min(best, key=lambda pair: pair[1]) if best else None,
            below=sum(ratio < LEAST for _, ratio in best),
            of_limit={name: geometric_mean(values) for name, values in shares.items() if values},
            module=geometric_mean(modules) if modules else None,
            slow_modules=sum(r.module_is_slow for r in results),
        )


def by_kind(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each kind of layers, in their order; of all together if there are several."""
    kinds: dict[str, list[Result]] = {}
    for result in results:
        kinds.setdefault(result.layer.kind, []).append(result)
    return kinds if len(kinds) == 1 else {**kinds, "all": list(results)}


def _known(values: Any) -> list[float]:
    return [value for value in values if value is not None]
