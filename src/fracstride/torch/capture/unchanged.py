"""A module in eval mode for a while, and afterwards as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from fracstride.torch.capture.constants import digest
from fracstride.torch.capture.refusal import RefusedError

__all__ = ["unchanged"]


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """The module in eval mode; afterwards all its submodules have the attributes that they had.

    So what a module keeps between calls, such as a count or a cache, is lost, and so are the random
    numbers that were drawn.

    Raises:
        RefusedError: parameters or buffers have other values afterwards. Buffers get the old ones.
    """
    before = [(part, part.training, _contents(part)) for part in module.modules()]
    buffers = [(name, buffer, buffer.detach().clone()) for name, buffer in module.named_buffers()]
    parameters = [(name, weight, digest(weight)) for name, weight in module.named_parameters()]
    state = _GlobalState()
    module.eval()
    try:
        yield
    finally:
        for part, training, contents in before:
            _restore(part, contents)
            if part.training != training:  # TorchScript keeps it elsewhere
                part.training = training
        state.restore()
        changed = [name for name, weight, old in parameters if digest(weight) != old]
        with torch.no_grad():
            for name, buffer, old in buffers:
                if digest(buffer) != digest(old):
                    buffer.copy_(old)
                    changed.append(name)
    if changed:
        path, _, name = changed[0].rpartition(".")
        raise RefusedError(path, "", f"a call of the module changes {name}")


class _GlobalState:
    """What is neither the module's nor ours."""

    def __init__(self) -> None:
        self._torch, self._python = torch.get_rng_state(), random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002 (what np.random.randn draws from)
        self._dtype = torch.get_default_dtype()

    def restore(self) -> None:
        """As it was."""
        torch.set_rng_state(self._torch)
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        torch.set_default_dtype(self._dtype)


def _contents(part: nn.Module) -> dict[str, tuple[Any, Any]]:
    """The attributes of a module, and copies of those that can change in place."""
    return {name: (value, _copy(value)) for name, value in part.__dict__.items()}


def _copy(value: Any) -> Any:
    return value.copy() if type(value) in _CONTAINERS else None


_CONTAINERS = (dict, list, set, type(nn.Module()._parameters))


def _restore(part: nn.Module, contents: dict[str, tuple[Any, Any]]) -> None:
    part.__dict__.clear()
    for name, (value, copy) in contents.items():
        part.__dict__[name] = value
        if copy is None:
            continue
        value.clear()
        if isinstance(value, list):
            value.extend(copy)
        else:
            value.update(copy)
