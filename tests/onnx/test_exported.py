"""Random torch modules, exported to ONNX and read back, against ONNX Runtime."""

from __future__ import annotations

import io
import os
import random
import warnings
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import torch
from onnx_models import assert_close, run

import fracstride.onnx

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "6"))
KINDS = ("chain", "encoder", "mixed_rates", "rearranged", "u_net")


def exported(module: Any, inputs: tuple[Any, ...], opset: int) -> onnx.ModelProto:
    names = [f"x{place}" for place in range(len(inputs))]
    axes = {
        name: {0: "batch", **({2: f"time_{name}"} if x.dim() > 2 else {})}
        for name, x in zip(names, inputs, strict=True)
    }
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            file,
            dynamo=False,
            input_names=names,
            dynamic_axes=axes,
            opset_version=opset,
        )
    return onnx.load_from_string(file.getvalue())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), opset=st.integers(13, 20))
def test_random_modules(kind: str, seed: int, opset: int) -> None:
    torch.manual_seed(seed)
    from drawn_modules import KINDS, examples

    module = KINDS[kind](random.Random(seed).randint).eval()
    model = exported(module, examples(kind, module, 2, 12), opset)
    time = (-1, -1, None) if kind == "mixed_rates" else None
    try:
        net = fracstride.onnx.load(model, time=time)
    except ValueError as error:
        # A mean over some axes of channels; the export of a U-Net holds for some lengths.
        if "ReduceMean" in str(error) or kind == "u_net":
            return
        raise
    step = int(net.graph.inputs[0].rate)
    for ticks in (net.least, net.least + 1, 23, 50):
        for batch in (1, 3):
            inputs = [x.numpy() for x in examples(kind, module, batch, ticks * step)]
            try:
                wanted = run(model, *inputs)
            except Exception:  # the export takes no such length
                continue
            found = net(*inputs)
            results = found if isinstance(found, tuple) else (found,)
            for one, other in zip(results, wanted, strict=True):
                assert_close(one, other)
