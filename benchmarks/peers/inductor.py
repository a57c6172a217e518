"""torch.compile with Inductor."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from layers import Problem
from torch import Tensor, nn

from peers.candidate import Candidate, fastest


class Inductor(Candidate):
    """Weights frozen into the graph, so that they are packed beforehand.

    oneDNN's packed weights are for images only. So the layer is tried as a 2-D layer, too.
    """

    package = "torch"

    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        torch._dynamo.reset()
        torch._inductor.config.freezing = True
        x = torch.from_numpy(problem.x)
        with self.running():
            nets = [
                torch.compile(form(problem).eval(), fullgraph=True) for form in (_Net, _FlatNet)
            ]
            self.call = fastest([partial(net, x) for net in nets])

    def running(self) -> AbstractContextManager[Any]:
        """Without gradients: freezing needs that, and does not take inference tensors."""
        return torch.no_grad()


class _Net(nn.Module):
    """The layer as it is."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(problem.weight))
        self.bias = nn.Parameter(torch.from_numpy(problem.bias))
        self.function = getattr(nn.functional, problem.layer.function)
        self.sizes = problem.layer.sizes

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight, self.bias, **self.sizes)


class _FlatNet(nn.Module):
    """The layer as a 2-D layer with a height of 1."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        n = problem.layer
        self.weight = nn.Parameter(torch.from_numpy(problem.weight).unsqueeze(2))
        self.bias = nn.Parameter(torch.from_numpy(problem.bias))
        self.function = nn.functional.conv_transpose2d if n.transposed else nn.functional.conv2d
        at_rest = {"stride": 1, "dilation": 1, "padding": 0, "output_padding": 0}
        self.sizes = {
            name: size if name == "groups" else (at_rest[name], size)
            for name, size in n.sizes.items()
        }

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x[:, :, None], self.weight, self.bias, **self.sizes)[:, :, 0]
