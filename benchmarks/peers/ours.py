"""Our two faces: the layer on arrays, and the torch module."""

from __future__ import annotations

from functools import partial
from typing import Any

from layers import Problem

import fracstride as fs
import fracstride.torch
from peers.candidate import Candidate
from peers.torch_eager import Module


def layer_of(problem: Problem) -> Any:
    """The layer of a problem, on arrays. It packs its weights on the first call."""
    kind = getattr(fs, problem.layer.class_name)
    return kind.from_weights(problem.weight, problem.bias, **problem.layer.sizes)


class Fracstride(Candidate):
    """The layer on arrays, its weights packed."""

    package = "fracstride"

    def __init__(self, problem: Problem, threads: int) -> None:
        fs.set_num_threads(threads)
        self.call = partial(layer_of(problem), problem.x)


class FracstrideModule(Module):
    """The module on tensors."""

    library = fracstride.torch

    def __init__(self, problem: Problem, threads: int) -> None:
        fs.set_num_threads(threads)
        super().__init__(problem, threads)
