"""torch without a compiler: the function, and the module."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import torch
from layers import Problem

from peers.candidate import Candidate


class Torch(Candidate):
    """The function, in inference mode."""

    package = "torch"

    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        operands = map(torch.from_numpy, (problem.x, problem.weight, problem.bias))
        function = getattr(torch.nn.functional, problem.layer.function)
        self.call = partial(function, *operands, *problem.layer.sizes.values())

    def running(self) -> AbstractContextManager[Any]:
        """Inference mode, entered once and not on every call."""
        return torch.inference_mode()


def module_of(problem: Problem, library: Any) -> torch.nn.Module:
    """The module of a problem, from ``torch.nn`` or ``fracstride.torch``."""
    n = problem.layer
    module = getattr(library, n.class_name)(n.C_in, n.C_out, n.k, **n.sizes)
    state = {"weight": torch.from_numpy(problem.weight), "bias": torch.from_numpy(problem.bias)}
    module.load_state_dict(state)
    return module


class Module(Candidate):
    """A module in eval mode, called in inference mode."""

    package = "torch"
    library: ClassVar[Any]

    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        module = module_of(problem, self.library).eval()
        self.call = partial(module, torch.from_numpy(problem.x))

    def running(self) -> AbstractContextManager[Any]:
        """Inference mode, entered once and not on every call."""
        return torch.inference_mode()


class TorchModule(Module):
    """torch's own module."""

    library = torch.nn
