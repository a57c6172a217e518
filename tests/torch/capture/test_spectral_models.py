"""Vocoders that end in an inverse STFT, whole: results, files, other dtypes, the printed table."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from network_streams import check_streams
from networks import check_invariances, inputs_of, outputs_of
from spectral_models import MODELS, Case

import fracstride as fs
import fracstride.torch
from fracstride.network import Network


def case_of(name: str, seed: int) -> Case:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    module, make, time = MODELS[name](lambda low, high: int(rng.integers(low, high)))
    return module.eval(), make, time


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_what_torch_computes(name: str, dtype: torch.dtype) -> None:
    module, make, time = case_of(name, 0 if dtype == torch.float32 else 1)
    module.to(dtype)
    network = fracstride.torch.compile(module, *(x.to(dtype) for x in make(1, 20)), time=time)
    names = [node.operation.name for node in network.network.graph.nodes]
    assert not any(each.startswith("torch ") for each in names)
    rounding = 1e-12 if dtype == torch.float64 else 2e-5
    least = network.least
    for batch, length in [(1, least), (3, least + 1), (2, least + 2), (1, 19), (1, 70)]:
        inputs = [x.to(dtype) for x in make(batch, length)]
        with torch.no_grad():
            expected = module(*inputs)
        found = network(*inputs)
        assert found.shape == expected.shape
        difference = float((found - expected).abs().max())
        assert difference <= rounding * float(expected.abs().max())


@pytest.mark.parametrize("name", ["vocos center", "vocos same", "istftnet", "mel encoder"])
def test_bits(name: str) -> None:
    module, make, time = case_of(name, 3)
    network = fracstride.torch.compile(module, *make(1, 20), time=time).network
    # As it is: Vocos has scales and windows that fusing folds into weights.
    check_invariances(Network(network.graph, network.dtype, network.least, fused=False))


@pytest.mark.parametrize("name", MODELS)
def test_streams(name: str) -> None:
    module, make, time = case_of(name, 5)
    compiled = fracstride.torch.compile(module, *make(1, 20), time=time)
    network, rng = compiled.network, np.random.default_rng(0)
    for ticks in (network.least, network.least + 1, 40):
        check_streams(network, inputs_of(network.graph, ticks, 2), ticks, rng)


@pytest.mark.parametrize("name", MODELS)
def test_files_dtypes_and_tables(name: str, tmp_path: Path) -> None:
    module, make, time = case_of(name, 4)
    network = fracstride.torch.compile(module, *make(1, 20), time=time)
    inputs = make(2, 21)
    expected = network(*inputs)
    network.save(tmp_path / "net.safetensors")
    loaded: Any = fs.load(tmp_path / "net.safetensors")
    arrays = [x.numpy() for x in inputs]
    np.testing.assert_array_equal(loaded(*arrays), expected.numpy())
    copy = pickle.loads(pickle.dumps(network.network))
    for found, wanted in zip(
        outputs_of(copy, arrays), outputs_of(network.network, arrays), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    table = str(network)
    assert ("DividedByEnvelope" in table) == (name != "mel encoder")
    assert "look-ahead" in table
    low = network.astype("bfloat16")(*(x.bfloat16() for x in inputs))
    assert low.dtype == torch.bfloat16
    error = (low.float() - expected).abs().mean() / expected.abs().mean()
    assert float(error) < 0.2


def test_the_look_ahead_of_an_inverse_is_that_of_its_convolution() -> None:
    """The envelope waits for nothing: no frame that would change it comes later."""
    for name in ("vocos center", "vocos same"):
        module, make, time = case_of(name, 0)
        network = fracstride.torch.compile(module, *make(1, 20), time=time)
        (envelope,) = (
            node.operation
            for node in network.network.graph.nodes
            if node.operation.name == "DividedByEnvelope"
        )
        assert envelope.ahead == 0
        assert len(envelope.end) or name == "vocos center"


def test_the_head_of_xcodec2() -> None:
    """transformers' own code."""
    name = "transformers.models.xcodec2.modeling_xcodec2"
    xcodec2 = pytest.importorskip(name) and importlib.import_module(name)
    config = SimpleNamespace(n_fft=64, hop_length=16, hidden_size=24)
    torch.manual_seed(0)
    head = xcodec2.Xcodec2ISTFTHead(config).eval()
    network = fracstride.torch.compile(head, torch.randn(1, 30, 24), time=1)
    assert "torch " not in str(network)
    x = torch.randn(3, 47, 24)
    with torch.no_grad():
        expected = head(x)
    torch.testing.assert_close(
        network(x), expected, rtol=0, atol=2e-5 * float(expected.abs().max())
    )
