"""Tensors that a compiled module is called with, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fracstride.network.recording import Conditions, Reference
from fracstride.torch.capture.example import Layout, check_plain
from fracstride.torch.capture.guards import Guard

__all__ = ["check_guards", "check_inputs", "checked_classes", "shared"]


def check_inputs(layouts: Sequence[Layout], inputs: Sequence[Any], least: int = 0) -> Conditions:
    """Ticks and rows of the inputs of a call, which last so many ticks at least.

    Raises:
        TypeError, ValueError: an input does not fit, with what would.
    """
    if len(inputs) != len(layouts):
        raise TypeError(f"the network takes {len(layouts)} inputs, got {len(inputs)}")
    clock = batch = None
    for place, (layout, tensor) in enumerate(zip(layouts, inputs, strict=True)):
        name = "input" if len(layouts) == 1 else f"input {place}"
        _check_kind(name, layout, tensor)
        if layout.time is not None:
            clock = _ticks(name, layout, tensor.shape[layout.time], clock, least)
        if layout.batched:
            rows = tensor.shape[0]
            if batch not in (None, rows):
                raise ValueError(f"{name} must have the batch of the others, {batch}, got {rows}")
            batch = rows
    return Conditions(clock or 0, 1 if batch is None else batch)


def _check_kind(name: str, layout: Layout, tensor: Any) -> None:
    check_plain(name, tensor)
    if layout.dtype.is_floating_point:
        if tensor.dtype != layout.dtype:
            raise TypeError(f"{name} must have the dtype {layout.dtype}, got {tensor.dtype}")
    elif tensor.dtype not in (torch.int64, torch.int32, layout.dtype):
        raise TypeError(f"{name} must be codes in int64 or int32, got {tensor.dtype}")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{name} must not require derivatives, which a network does not have: call it in "
            "torch.no_grad(), or with a detached tensor"
        )
    fixed = [a for a in range(len(layout.sizes)) if a != layout.time and (a or not layout.batched)]
    if tensor.dim() != len(layout.sizes) or any(
        tensor.shape[axis] != layout.sizes[axis] for axis in fixed
    ):
        shape = tuple(tensor.shape)
        raise ValueError(f"{name} must have the shape {layout.described()}, got {shape}")
    if layout.batched and not tensor.shape[0]:
        raise ValueError(f"{name} must have a batch of at least 1, got {tuple(tensor.shape)}")


def _ticks(name: str, layout: Layout, length: int, clock: int | None, least: int) -> int:
    ticks, rest = divmod(length, layout.per_clock)
    if rest:
        raise ValueError(
            f"{name} must have a multiple of {layout.per_clock} positions of time, got {length}"
        )
    if clock not in (None, ticks):
        raise ValueError(
            f"{name} must have {layout.per_clock * (clock or 0)} positions of time, in proportion "
            f"to the inputs before it, got {length}"
        )
    if ticks < least:
        raise ValueError(
            f"{name} must have at least {layout.per_clock * least} positions of time for this "
            f"module, got {length}"
        )
    return ticks


def check_guards(guards: Sequence[Guard], conditions: Conditions) -> None:
    """Raise ``ValueError`` where the module would take another way than it was recorded on."""
    for guard in guards:
        if not guard.holds(conditions):
            raise ValueError(
                f"with inputs of this size, {guard.described(conditions)} and takes a way through "
                "its code that the network does not have; give compile() an example of such a size"
            )


def shared(outputs: Sequence[Any], results: list[Tensor]) -> list[Tensor]:
    """The results, with one tensor where the module gives the same one twice."""
    first: dict[int, Tensor] = {}
    shared = []
    for output, result in zip(outputs, results, strict=True):
        if isinstance(output, Reference):
            result = first.setdefault(output.index, result)
        shared.append(result)
    return shared


def checked_classes(elementwise: Any) -> tuple[type[nn.Module], ...]:
    """Classes of modules as a tuple; ``TypeError`` for anything else."""
    classes = (elementwise,) if isinstance(elementwise, type) else elementwise
    if not isinstance(classes, (tuple, list)) or not all(isinstance(c, type) for c in classes):
        raise TypeError(f"elementwise must be a tuple of classes of modules, got {elementwise!r}")
    return tuple(classes)
