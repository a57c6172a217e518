"""Torch modules by both of torch's exporters, read back: random ones and models of transformers."""

from __future__ import annotations

import io
import os
import random
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from dynamo_exports import export_by_dynamo
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import torch
from network_streams import check_streams
from onnx_models import assert_close, run

import fracstride.onnx

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "6"))
KINDS = ("chain", "encoder", "mixed_rates", "rearranged", "u_net")


def _axes(x: Any, time: int) -> tuple[int, ...]:
    """Those of an input whose size is left open."""
    return (0, time) if x.dim() > 2 else (0,)


def by_tracing(module: Any, inputs: tuple[Any, ...], opset: int, time: int = 2) -> onnx.ModelProto:
    """By the older exporter."""
    names = [f"x{place}" for place in range(len(inputs))]
    axes = {
        name: {axis: f"axis{axis}_{name}" if axis else "batch" for axis in _axes(x, time)}
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


def by_dynamo(module: Any, inputs: tuple[Any, ...], opset: int, time: int = 2) -> onnx.ModelProto:
    """By the exporter of today, which has an opset of its own."""
    shapes = tuple(dict.fromkeys(_axes(x, time), torch.export.Dim.DYNAMIC) for x in inputs)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = export_by_dynamo(module, inputs, dynamic_shapes=shapes)
    model: onnx.ModelProto = program.model_proto
    return model


def check_random(kind: str, seed: int, export: Callable[..., onnx.ModelProto], opset: int) -> None:
    torch.manual_seed(seed)
    from drawn_modules import KINDS, examples

    module = KINDS[kind](random.Random(seed).randint).eval()
    model = export(module, examples(kind, module, 2, 12), opset)
    time = (-1, -1, None) if kind == "mixed_rates" else None
    try:
        net = fracstride.onnx.load(model, time=time)
    except ValueError:
        if kind == "u_net":  # its export holds for some lengths
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
    # What it gives as a whole it gives in pieces.
    ticks = max(net.least, 19)
    inputs = [x.numpy() for x in examples(kind, module, 2, ticks * step)]
    check_streams(net, inputs, ticks, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), opset=st.integers(13, 20))
def test_random_modules_by_tracing(kind: str, seed: int, opset: int) -> None:
    check_random(kind, seed, by_tracing, opset)


needs_dynamo = pytest.mark.skipif(find_spec("onnxscript") is None, reason="not installed")


@needs_dynamo
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=max(1, EXAMPLES // 6), deadline=None, database=None)
@given(seed=st.integers(0, 2**32))
def test_random_modules_by_dynamo(kind: str, seed: int) -> None:
    check_random(kind, seed, by_dynamo, 0)


@needs_dynamo
@pytest.mark.skipif(find_spec("transformers") is None, reason="not installed")
@pytest.mark.parametrize(
    ("name", "export"),
    [
        ("encodec_24k_encoder", by_tracing),
        ("speecht5_hifigan", by_dynamo),
    ],
)
def test_small_models(
    name: str, export: Callable[..., onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the modules themselves."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
    import model_zoo

    (chosen,) = model_zoo.load([name])
    assert isinstance(chosen, model_zoo.TorchModel)
    module = chosen.build(small=True)
    x = torch.from_numpy(chosen.example(12 * chosen.step))
    net = fracstride.onnx.load(export(module, (x,), 17, chosen.time))
    for length in (net.least, net.least + 1, 23 * chosen.step, 17 * chosen.step + 1):
        example = chosen.example(length)
        with torch.no_grad():
            wanted = module(torch.from_numpy(example)).numpy()
        assert_close(net(example), wanted)
