"""Decomposes the operators as torch.compile does; test_compiled.py runs it in a new process.

The tensors are fake CUDA tensors, so no GPU is needed.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import torch
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._subclasses.functional_tensor import dispatch_functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

logging.disable(logging.WARNING)  # which operands a kernel writes to is found out on a GPU
torch.version.cuda = torch.version.cuda or "13.0"
if not torch.cuda.is_available():
    torch.cuda.get_device_capability = lambda device=None: (9, 0)

import fracstride.torch  # noqa: E402
from fracstride.torch.gpu.tiles import Machine  # noqa: E402

fracstride.torch.use_triton()
Machine.of = classmethod(lambda cls, device: cls())  # type: ignore[method-assign, assignment]
SIZES: Any = (2, 1, 1, 0, 8, 1, "replicate")


def maps(x: Any, w: Any, gy: Any) -> Any:
    ops = torch.ops.fracstride
    return (
        ops.conv_transpose1d(x, w, None, *SIZES),
        ops.conv_transpose1d_input_grad(gy, w, x.shape[2], *SIZES),
        ops.conv_transpose1d_weight_grad(x, gy, 4, *SIZES),
    )


environment = ShapeEnv()
symbol = environment.create_symbol(20, ConstantSource("L"), DimDynamic.DYNAMIC)
length = environment.create_symintnode(symbol, hint=20)
with FakeTensorMode(shape_env=environment):
    x = torch.empty(2, 8, length, device="cuda")
    w = torch.empty(8, 4, 4, device="cuda")
    gy = torch.empty(2, 4, 2 * length, device="cuda")
    graph = make_fx(dispatch_functionalize(maps))(x, w, gy)
targets = " ".join(str(node.target) for node in graph.graph.nodes)
json.dump([targets, [str(guard.expr) for guard in environment.guards]], sys.stdout)
