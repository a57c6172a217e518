"""Compiles kernels for GPUs without a GPU; test_compiled.py runs it in a new process."""

from __future__ import annotations

import json
import sys
import warnings

import torch

from fracstride.geometry import Geometry
from fracstride.torch.gpu import maps
from fracstride.torch.gpu.capture import recorded
from fracstride.torch.gpu.choices import Choice
from fracstride.torch.gpu.resources import compile_for
from fracstride.torch.gpu.tiles import Tile

warnings.simplefilter("ignore")  # Triton's own, about a default of its next version
LAYERS = {
    "dense": (256, 128, 16, 8, 4, 1, 1, 800, "zeros"),
    "two classes": (128, 64, 11, 5, 3, 1, 1, 400, "replicate"),
    "depthwise": (256, 256, 12, 2, 5, 256, 1, 4000, "replicate"),
}


def main(capability: int) -> None:
    found = []
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        for name, (ci, co, k, s, p, groups, d, length, mode) in LAYERS.items():
            geometry = Geometry(k, s, p, dilation=d, padding_mode=mode)
            x = torch.empty(1, ci, length, dtype=dtype, device="meta")
            w = torch.empty(ci, co // groups, k, dtype=dtype, device="meta")
            gy = torch.empty(1, co, geometry.output_length(length), dtype=dtype, device="meta")
            choice: Choice | None = Tile(64, 64, 32) if name == "dense" else None
            if dtype == torch.float64:
                choice = None
            with recorded() as launches:
                maps.forward(x, w, None, geometry, groups, choice)
                maps.input_grad(gy, w, length, geometry, groups, choice)
                maps.weight_grad(x, gy, geometry, groups, choice)
            for call in launches:
                made = compile_for(call, capability)
                found.append([name, str(dtype), made.name, made.registers, made.spilt])
                found[-1].append(made.instructions)
    json.dump(found, sys.stdout)


main(int(sys.argv[1]))
