"""The compiled kernels, and how torch.compile sees them, without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from packaging.version import Version

from fracstride.geometry import Geometry
from fracstride.torch.gpu import maps
from fracstride.torch.gpu.capture import recorded
from fracstride.torch.gpu.resources import compile_for

HERE = Path(__file__).parent


def run(script: str, *arguments: str) -> str:
    """Run the program in a process in which Triton compiles instead of interpreting."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_for_each_architecture(capability: int) -> None:
    """No registers spilt; products on tensor cores; weights by wide asynchronous loads."""
    if capability == 100 and Version(triton.__version__) < Version("3.7"):
        pytest.skip("this Triton cannot compile for it")
    found: list[list[Any]] = json.loads(run("compile_kernels.py", str(capability)))
    names = {entry[2] for entry in found}
    assert names >= {f"dense_{m}" for m in ("forward", "input_grad", "weight_grad")}
    assert names >= {f"direct_{m}" for m in ("forward", "input_grad", "weight_grad")}
    for layer, dtype, name, registers, spilt, counts in found:
        case = f"{name} of {layer} in {dtype}"
        assert 0 < registers <= 255, case
        assert spilt <= 64, f"{case} spills {spilt} bytes"  # more than around the loop
        if name.startswith("dense_") and dtype != "torch.float64":
            products = counts["wgmma"] + counts["mma"] + counts["tcgen05"]
            assert products > 0, f"{case} multiplies without tensor cores"
        if capability == 90 and layer == "dense" and name == "dense_forward":
            if dtype != "torch.float64":
                assert counts["wgmma"] > 0, case
            assert counts["wide stores"] >= 8, case
            if dtype == "torch.bfloat16":
                assert counts["wide async loads"] > 0, case


def test_interpreted_kernels_are_not_compiled() -> None:
    if torch.cuda.is_available():
        pytest.skip("they are compiled here")
    x, w = torch.empty(1, 2, 3), torch.empty(2, 2, 4)
    with recorded() as launches:
        maps.forward(x, w, None, Geometry(4), 1)
    assert len(launches) == 1
    with pytest.raises(TypeError, match="TRITON_INTERPRET"):
        compile_for(launches[0], 90)


def test_a_compiler_sees_the_kernels() -> None:
    """In a graph of fake CUDA tensors, whose length is a symbol, and stays one."""
    graph, guards = json.loads(run("capture_graph.py"))
    assert graph.count("triton_kernel_wrapper_functional") == 3
    assert "fracstride" not in graph.replace("fracstride_", "")
    assert all("==" not in guard and "Eq" not in guard for guard in guards), guards
