"""Tensors that are spread over processes: which they are, and who takes calls with them.

The code for them needs ``torch.distributed``, which most programs never load. So it is not imported
here; :mod:`fracstride.torch` says where it is to be found once the first DTensor comes along.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["dtensors", "is_spread", "take_from"]


def _nowhere() -> Any:
    raise RuntimeError("no module takes DTensors")


_module: Callable[[], Any] = _nowhere


def take_from(module: Callable[[], Any]) -> None:
    """Let ``module()`` be the module that takes calls with DTensors."""
    global _module
    _module = module


def dtensors() -> Any:
    """The module that takes calls with DTensors, imported now if it was not."""
    return _module()


def is_spread(*tensors: Any) -> bool:
    """Whether one of them is a DTensor; there are none before their module is imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and any(isinstance(t, module.DTensor) for t in tensors)
