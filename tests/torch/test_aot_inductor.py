"""AOTInductor: a package that runs on torch's own operators, from Python and without it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils import cpp_extension

import fracstride.torch as ft

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="Inductor needs a C++ compiler to make a package"
)

SOURCE = Path(__file__).with_name("run_package.cpp")
LENGTHS = (20, 55)


class Both(ft.ConvTranspose1d):
    """A transposed convolution, and a Conv1d of its output."""

    def __init__(self) -> None:
        super().__init__(4, 6, 5, 2, "same", groups=2, padding_mode="reflect")
        self.conv1d = ft.Conv1d(6, 6, 4, 3, "causal", padding_mode="circular")

    def forward(self, input: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        y: torch.Tensor = self.conv1d(super().forward(input, output_size))
        return y


@pytest.fixture(scope="module")
def layer() -> Both:
    torch.manual_seed(0)
    return Both().eval()


@pytest.fixture(scope="module")
def package(layer: Both, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The layers for any length from 8 to 1000."""
    lengths = {"input": {2: torch.export.Dim("L", min=8, max=1000)}, "output_size": None}
    program = torch.export.export(layer, (torch.randn(2, 4, 20), None), dynamic_shapes=lengths)
    path = tmp_path_factory.mktemp("package") / "layer.pt2"
    return torch._inductor.aoti_compile_and_package(program, package_path=str(path))


def test_from_python(layer: Both, package: str) -> None:
    run = torch._inductor.aoti_load_package(package)
    for length in LENGTHS:
        x = torch.randn(2, 4, length)
        torch.testing.assert_close(run(x, None), layer(x))


def test_without_python(layer: Both, package: str, tmp_path: Path) -> None:
    program = tmp_path / "run_package"
    (library,) = cpp_extension.library_paths()
    subprocess.run(
        ["g++", "-std=c++20", str(SOURCE), "-o", str(program)]
        + [f"-I{path}" for path in cpp_extension.include_paths()]
        + [f"-L{library}", f"-Wl,-rpath,{library}", "-ltorch", "-ltorch_cpu", "-lc10"],
        check=True,
        timeout=300,
    )
    linked = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True)
    assert "libtorch_cpu" in linked.stdout
    assert "python" not in linked.stdout.replace(library, "")
    for length in LENGTHS:
        x = torch.randn(2, 4, length)
        done = subprocess.run(
            [str(program), package, *map(str, x.shape)],
            input=x.numpy().tobytes(),
            capture_output=True,
            check=True,
            timeout=120,
        )
        y = torch.from_numpy(np.frombuffer(done.stdout, np.float32).reshape(2, 6, -1).copy())
        torch.testing.assert_close(y, layer(x))
