"""Recordings of real model families, run again with torch's operators: eager's bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from capture_models import MODELS, model
from capture_replay import replay

from fracstride.network.recording import Conditions, Input, Recording
from fracstride.torch.capture.align import align
from fracstride.torch.capture.running import Runner

pytest.importorskip("transformers")

# Lengths are multiples of the product of the encoders' strides: the replay knows no other sizes.
UNIT = {"encodec_encoder": 8, "dac_encoder": 8}
ONE_ROW = {"bigvgan"}  # it squeezes its result


def recorded(name: str) -> tuple[Any, Any, Recording, int]:
    module, make, time = model(name)
    runner, unit, runs = Runner(module), UNIT.get(name, 1), []
    for ticks, batch in [(9, 1), (9, 1), (10, 1), (14, 2), (21, 3)]:
        clock, rows = ticks * unit, 1 if name in ONE_ROW else batch
        runs.append(runner.run([make(rows, clock)], Conditions(clock, rows)))
    time %= make(1, 1).ndim
    return module, make, align(runs, [Input(0, time, None if name in ONE_ROW else 0, 1)]), unit


@pytest.mark.parametrize("name", MODELS)
def test_replayed_elsewhere(name: str) -> None:
    module, make, recording, unit = recorded(name)
    for ticks, batch in [(17, 2), (12, 1), (40, 4)]:
        rows = 1 if name in ONE_ROW else batch
        given = make(rows, ticks * unit)
        with torch.inference_mode():
            expected = module(given)
        (result,) = replay(recording, [given], ticks * unit, rows)
        assert torch.equal(result, expected)
