"""The results on whole models, and what they are in the mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from statistics import geometric_mean
from typing import Any

from model_peers import ORT, OURS, PEERS, TORCH
from timing import Spread

SEEN, NEW = "seen", "new"  # lengths: one that was seen before, or another one at each call


@dataclass
class Case:
    """The results on one model in one dtype, by the names of the candidates."""

    model: str
    dtype: str
    threads: int
    lengths: str
    frames: int  # of the input; of new lengths about
    step: int  # of which lengths are multiples
    audio: float  # seconds
    rounds: int = 0
    seconds: dict[str, Spread] = field(default_factory=dict)  # per call; not of wrong candidates
    ratios: dict[str, Spread] = field(default_factory=dict)  # other / ours
    differences: dict[str, float] = field(default_factory=dict)  # see model_preparation
    allowed: float = 0.0  # the largest difference of a correct output
    failed: dict[str, str] = field(default_factory=dict)  # candidates that cannot, and why
    ready: dict[str, float] = field(default_factory=dict)  # seconds until the first call
    memory: dict[str, int | None] = field(default_factory=dict)  # bytes, until after that call
    forms: dict[str, str] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        """Candidates whose output is wrong."""
        return [name for name, d in self.differences.items() if not d <= self.allowed]

    @property
    def best(self) -> str | None:
        """The fastest peer."""
        peers = {name: self.seconds[name].median for name in PEERS if name in self.ratios}
        return min(peers, key=lambda name: peers[name]) if peers else None

    @property
    def peer(self) -> str:
        """The one that short inputs are compared with: ONNX Runtime where torch is left out."""
        return TORCH if TORCH in {**self.ratios, **self.differences, **self.failed} else ORT

    def ratio(self, peer: str | None) -> float | None:
        """Time of a peer, of the best one for None, over ours."""
        name = peer or self.best
        return self.ratios[name].median if name in self.ratios else None

    def speed(self, name: str) -> float | None:
        """Seconds of audio per second."""
        return self.audio / self.seconds[name].median if name in self.seconds else None

    def as_json(self) -> dict[str, Any]:
        """All fields, for JSON."""
        differences = {n: d if isfinite(d) else str(d) for n, d in self.differences.items()}
        speeds = {name: self.speed(name) for name in self.seconds}
        added = {
            "differences": differences,
            "wrong": self.wrong,
            "audio_seconds_per_second": speeds,
        }
        return {**asdict(self), **added, "best": self.best, "peer": self.peer}


@dataclass(frozen=True)
class Mean:
    """The geometric mean of a ratio over models, and the model with the least."""

    models: int
    mean: float
    least: float
    where: str

    @classmethod
    def of(cls, ratios: Iterable[tuple[str, float | None]]) -> Mean | None:
        """Of pairs of a model's name and a ratio; None if there is no ratio."""
        known = [(ratio, name) for name, ratio in ratios if ratio is not None]
        if not known:
            return None
        return cls(len(known), geometric_mean([r for r, _ in known]), *min(known))


def groups(cases: Sequence[Case]) -> dict[tuple[str, int, str], list[Case]]:
    """The cases by dtype, threads and kind of lengths, in their order."""
    found: dict[tuple[str, int, str], list[Case]] = {}
    for case in cases:
        found.setdefault((case.dtype, case.threads, case.lengths), []).append(case)
    return found


def means(cases: Sequence[Case]) -> dict[str, dict[str, Mean | None]]:
    """For each group: the best peer's time over ours, and each peer's."""
    columns = ["best", *(p for p in PEERS if any(p in case.ratios for case in cases))]
    return {
        f"{dtype}, {threads} thread{'s' * (threads > 1)}, {lengths}": {
            name: Mean.of((c.model, c.ratio(None if name == "best" else name)) for c in members)
            for name in columns
        }
        for (dtype, threads, lengths), members in groups(cases).items()
    }


def own_gains(cases: Sequence[Case]) -> dict[str, Mean]:
    """How much our own time falls with more threads, and with bfloat16, over all cases that say."""

    def gain(of: Callable[[Case], bool], base: dict[str, Any]) -> Mean | None:
        pairs = []
        for case in filter(of, cases):
            wanted = {**_key(case), **base}
            before = next((c for c in cases if _key(c) == wanted), None)
            if before is not None and OURS in case.seconds and OURS in before.seconds:
                where = f"{case.model}, {case.dtype}, {case.threads}, {case.lengths}"
                pairs.append((where, before.seconds[OURS].median / case.seconds[OURS].median))
        return Mean.of(pairs)

    found = {
        f"{n} threads over one": gain(lambda c, n=n: c.threads == n, {"threads": 1})
        for n in sorted({case.threads for case in cases} - {1})
    }
    found["bfloat16 over float32"] = gain(lambda c: c.dtype == "bfloat16", {"dtype": "float32"})
    return {name: mean for name, mean in found.items() if mean is not None}


def _key(case: Case) -> dict[str, Any]:
    names = ("model", "dtype", "threads", "lengths", "frames")
    return {name: getattr(case, name) for name in names}
