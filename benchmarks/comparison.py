"""Candidates on one layer: checked against float64, then timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import timing
from layers import Layer, Problem
from peers import OUR_MODULE, OURS, OWN, Candidate
from results import MODULE_SHARE, Result
from timing import Spread


def compare(
    layer: Layer,
    kinds: Mapping[str, type[Candidate]],
    threads: int,
    seconds: float | None,
    clock: Callable[[], float],
) -> Result:
    """Check the candidates on a layer; time the correct ones unless ``seconds`` is None."""
    problem, result = Problem(layer), Result(layer)
    candidates: dict[str, Candidate] = {}
    for name, kind in kinds.items():
        try:
            candidates[name] = kind(problem, threads)
            result.errors[name] = problem.error(candidates[name].output())
        except Exception as error:  # that a peer cannot do the layer is a result too
            if name in OWN:
                raise
            result.failed[name] = f"{type(error).__name__}: {error}"
            candidates.pop(name, None)
    right = {name: c for name, c in candidates.items() if name not in result.wrong}
    if seconds is None or not right:
        return result
    times = timing.measure(list(right.values()), seconds, clock)
    column = dict(zip(right, times.T, strict=True))
    result.rounds = len(times)
    result.seconds = {name: Spread.of(column[name]) for name in right}
    if OURS in right:
        ratios = {name: column[name] / column[OURS] for name in right if name != OURS}
        result.ratios = {name: Spread.of(ratio) for name, ratio in ratios.items()}
    if {OURS, OUR_MODULE} <= right.keys():
        excess = column[OUR_MODULE] - MODULE_SHARE * column[OURS]
        result.module_excess = float(np.median(excess))
    return result
