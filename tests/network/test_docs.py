"""The operation of docs/operations.md works as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fracstride._load import native
from fracstride.network import Graph, Network
from fracstride.network.operations import FILES

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")


def example() -> Any:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module = sys.modules["log_sigmoid"] = ModuleType("log_sigmoid")  # where dataclasses look
    exec(compile(code, "docs/operations.md", "exec"), vars(module))
    return vars(module)["LogSigmoid"]


def test_the_operation_computes() -> None:
    graph = Graph()
    graph.outputs.append(graph.add(example()(), graph.add_input("x", channels=3)))
    x = np.linspace(-30, 30, 60, dtype=np.float32).reshape(1, 3, 20)
    wanted = -np.log1p(np.exp(-x.astype(float)))
    assert np.allclose(np.asarray(Network(graph)(x)), wanted, rtol=1e-5, atol=1e-9)


def test_torch_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    if not hasattr(torch, "nn"):
        pytest.skip("torch is not installed")
    import fracstride.torch
    from fracstride.torch.capture.reading import lower

    monkeypatch.setitem(lower._READERS, "log_sigmoid", example())
    module = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 3), torch.nn.LogSigmoid())
    net = fracstride.torch.compile(module, torch.randn(1, 3, 20))
    assert "LogSigmoid" in str(net)
    x = torch.randn(2, 3, 31)
    assert torch.allclose(net(x), module(x), atol=1e-6)


def test_names_in_the_text() -> None:
    assert "log_sigmoid" not in FILES
    for name in ("exp", "tanh", "sin", "clamp", "leaky_relu"):
        assert f"`{name}`" in PAGE
        assert name in native.pointwise_operations()
