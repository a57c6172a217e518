"""Random modules by kind, compiled, against torch eager at other lengths and batches."""

from __future__ import annotations

import os
import random

import pytest
import torch
from capture_agreement import assert_agrees
from drawn_modules import KINDS, examples
from hypothesis import given, settings
from hypothesis import strategies as st

import fracstride.torch

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "12"))
ROUNDING = 2e-5


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_modules(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    module = KINDS[kind](random.Random(seed).randint).eval()
    time = (-1, -1, None) if kind == "mixed_rates" else -1
    compiled = fracstride.torch.compile(module, *examples(kind, module, 1, 12), time=time)
    assert compiled.network.least <= 12
    for clock in (*range(compiled.network.least, compiled.network.least + 3), 23, 50):
        for batch in (1, 2, 3):
            assert_agrees(compiled, module, examples(kind, module, batch, clock), ROUNDING)
