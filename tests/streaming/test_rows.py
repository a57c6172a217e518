"""Rows of a batch that begin and end on their own, each against the offline output of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import DTYPES, Case, cases
from decoders import decoder
from hypothesis import given
from hypothesis import strategies as st
from streams import STEPS, check_rows, scheduled
from test_invariances import random_layers

import fracstride as fs

MODES = ("zeros", "reflect", "replicate")


@pytest.mark.usefixtures("isa")
@random_layers
@given(cases(), st.sampled_from(MODES), STEPS)
def test_random_layers(case: Case, mode: str, steps: Any) -> None:
    layer = fs.ConvTranspose1d.from_weights(
        case.w, case.b, **{**case.options, "padding_mode": mode}
    )
    check_rows(
        layer.stream,
        layer,
        case.in_channels,
        case.dtype,
        steps,
        lambda frames: scheduled(layer.geometry, frames),
    )


@pytest.mark.usefixtures("isa")
@random_layers
@given(st.integers(0, 2**32), st.sampled_from(DTYPES), STEPS)
def test_random_compositions(seed: int, dtype: Any, steps: Any) -> None:
    # Drawn evenly: of what Hypothesis draws, most has no branches that wait.
    rng = np.random.default_rng(seed)
    make, offline = decoder(lambda low, high: int(rng.integers(low, high + 1)), dtype)
    alone, due = make(1), [0]
    for _ in range(9 * len(steps)):
        due.append(due[-1] + alone.push(np.zeros((1, 3, 1), dtype)).shape[-1])
    check_rows(make, offline, 3, dtype, steps, due.__getitem__)
