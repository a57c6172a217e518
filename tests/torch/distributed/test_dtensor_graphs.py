"""Graphs with calls of DTensors, in one process that believes to be one of two."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

import fracstride.torch as ft
from fracstride.torch.graph import conv1d_in_a_graph

dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
mesh = init_device_mesh("cpu", (2,))


def cut(*shape, dim=1, device="cpu"):
    local = torch.ones(shape, device=device)
    return DTensor.from_local(local, mesh, [Shard(dim)], run_check=False)


assert "fracstride.torch.distributed" not in sys.modules
x = cut(3, 3, 11)
for layer, w, length in (
    (ft.conv1d, cut(7, 3, 5), 5),
    (ft.conv_transpose1d, cut(3, 7, 5, dim=0), 23),
):
    y = torch.compile(lambda x, w: layer(x, w, None, 2, 1), backend="aot_eager")(x, w)
    assert y.placements == (Partial(),), y.placements
    assert y.shape == (3, 7, length)
# Devices without kernels have torch's own operator in a graph, but not for a DTensor.
x, w = cut(3, 3, 11, device="meta"), cut(7, 3, 5, device="meta")
y = conv1d_in_a_graph(x, w, None, (2, 1, 1, "zeros"), 1, None)
assert y.placements == (Partial(),), y.placements
assert y.shape == (3, 7, 5)
"""


def test_a_graph_has_the_rules_of_the_operators() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=150
    )
    assert run.returncode == 0, run.stderr
