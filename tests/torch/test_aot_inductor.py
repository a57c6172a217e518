"""AOTInductor: a package that runs on torch's own operators."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import fracstride.torch as ft

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="Inductor needs a C++ compiler to make a package"
)


def test_package(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = ft.ConvTranspose1d(4, 6, 5, 2, "same", groups=2, padding_mode="reflect").eval()
    lengths = {"input": {2: torch.export.Dim("L", min=8, max=1000)}, "output_size": None}
    x = torch.randn(2, 4, 20)
    program = torch.export.export(layer, (x, None), dynamic_shapes=lengths)
    package = torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "layer.pt2")
    )
    run = torch._inductor.aoti_load_package(package)
    for length in (20, 55):
        x = torch.randn(2, 4, length)
        torch.testing.assert_close(run(x, None), layer(x))
