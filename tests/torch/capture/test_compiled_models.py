"""Small models of transformers, compiled, against eager: short, odd and long, batch 1 to 3."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from capture_agreement import assert_agrees
from capture_models import MODELS, model
from other_models import OTHER_MODELS

import fracstride.torch

pytest.importorskip("transformers")

ROUNDING = 2e-5
ONE_ROW = {"bigvgan"}  # it squeezes its result
NORMS_OVER_TIME = {"encodec_48k_decoder", "wav2vec2_group_norm"}
FRAMES = {"encodec_encoder": 80, "dac_encoder": 80}  # whose inputs are samples
LAYERS = ("Conv1d", "ConvTranspose1d", "LSTM")


def check(compiled: Any, module: Any, make: Any, length: int, one_row: bool) -> None:
    tick = make(1, length)[0].numel() // make(1, 1)[0].numel() // length
    shortest = -(-compiled.least // tick)
    for short in range(shortest, shortest + 3):
        for batch in (1,) if one_row else (1, 2, 3):
            assert_agrees(compiled, module, make(batch, short), ROUNDING)
    for longer, batch in ((length + 1, 1), (2 * length + 3, 2), (5 * length, 1)):
        assert_agrees(compiled, module, make(1 if one_row else batch, longer), ROUNDING)


@pytest.mark.parametrize("name", MODELS)
def test_models_of_the_benchmark(name: str) -> None:
    module, make, time = model(name)
    length = FRAMES.get(name, 12)
    compiled = fracstride.torch.compile(module, make(1, length), time=time)
    foreign = [n.operation.name for n in compiled.network.graph.nodes]
    assert not [name for name in foreign if name.startswith("torch")]
    check(compiled, module, lambda b, n: (make(b, n),), length, name in ONE_ROW)


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_other_models(name: str) -> None:
    torch.manual_seed(0)
    module, make, time = OTHER_MODELS[name]()
    module.eval()
    compiled = fracstride.torch.compile(module, *make(1, 12), time=time)
    foreign = [n.operation.name for n in compiled.network.graph.nodes]
    assert any(name.startswith("torch") for name in foreign) == (name in NORMS_OVER_TIME)
    check(compiled, module, make, 12, one_row=False)
