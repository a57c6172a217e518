"""DTensors, tensors that are spread over processes: which they are, and what computes them.

The code for them is :mod:`fracstride.torch.distributed`, which is built on ``functional.py`` and so
cannot be imported by it; and it needs ``torch.distributed``, which most programs never load. So
:mod:`fracstride.torch` registers here how to import it once the first DTensor comes along.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["cut_along_time", "dtensors", "is_dtensor", "ready", "register"]


def _nowhere() -> Any:
    raise RuntimeError("no module takes DTensors")


_module: Callable[[], Any] = _nowhere


def register(module: Callable[[], Any]) -> None:
    """Let ``module()`` import the module whose ``apply`` takes DTensors."""
    global _module
    _module = module


def dtensors() -> Any:
    """The module that takes calls with DTensors, imported now if it was not."""
    return _module()


def ready() -> bool:
    """Have the rules for DTensors that a graph with the operators needs; true."""
    dtensors()
    return True


# To a compiler a constant: it calls the function, and does not look into it.
ready._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_dtensor(*tensors: Any) -> bool:
    """Whether one of them is a DTensor; there are none before their module is imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and any(isinstance(t, module.DTensor) for t in tensors)


def cut_along_time(x: Any) -> bool:
    """Whether a DTensor ``(B, C, L)`` or ``(C, L)`` is cut along its last axis."""
    return any(p.is_shard(x.dim() - 1) for p in x.placements)
