"""Constants of a run: what does not descend from the inputs, with equal ones held once."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Folded", "Pool", "digest"]

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Folded:
    """A constant operand, read once.

    Args:
        tensor: contiguous, and written to by nobody.
        key: equal for equal bits, dtypes and shapes.
        name: of the parameter or buffer that it is, or empty.
    """

    def __init__(self, tensor: Tensor, key: Any, name: str = "") -> None:
        self.tensor, self.key, self.name = tensor, key, name

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> str:
        """Such as ``"float32"``."""
        return str(self.tensor.dtype).removeprefix("torch.")

    @cached_property
    def number(self) -> float | None:
        """The number that all elements are, or None."""
        if not self.tensor.numel() or self.tensor.is_complex():
            return None
        flat = _as_integers(self.tensor).reshape(-1)
        if not bool((flat == flat[0]).all()):
            return None
        number = self.tensor.reshape(-1)[0].item()
        return float(number) if float(number) == number or number != number else None

    def repeats_along(self, axis: int) -> bool:
        """Whether all positions along an axis have the same bits."""
        bits = _as_integers(self.tensor)
        return bool((bits == bits.narrow(axis, 0, 1)).all())

    def first_along(self, axes: list[int]) -> Folded:
        """The first position along each of these axes, which keep the size 1."""
        tensor = self.tensor
        for axis in axes:
            tensor = tensor.narrow(axis, 0, 1)
        tensor = tensor.contiguous()
        return Folded(tensor, (digest(tensor), tensor.dtype, tuple(tensor.shape)))


class Pool:
    """Constants by content, for all runs of a module.

    Args:
        module: its parameters and buffers are named.
    """

    def __init__(self, module: nn.Module) -> None:
        self._folded: dict[Any, Folded] = {}
        self._names: dict[Any, str] = {}
        for name, tensor in (*module.named_buffers(), *module.named_parameters()):
            place = _place(tensor)
            if place is not None:
                self._names[place] = name

    def fold(self, tensor: Tensor) -> Folded:
        """A constant with the values that the tensor has now."""
        place = _place(tensor)
        name = self._names.get(place, "") if place is not None else ""
        key = (digest(tensor), tensor.dtype, tuple(tensor.shape), name)
        if key not in self._folded:
            copy = (
                tensor.detach()
                .resolve_conj()
                .resolve_neg()
                .clone(memory_format=torch.contiguous_format)
            )
            self._folded[key] = Folded(copy, key, name)
        return self._folded[key]


def digest(tensor: Tensor) -> bytes:
    """Of the values, in the order of a contiguous tensor."""
    bits = _as_integers(tensor.detach().resolve_conj().resolve_neg().contiguous())
    return hashlib.blake2b(bits.reshape(-1).numpy().data, digest_size=16).digest()


def _as_integers(tensor: Tensor) -> Tensor:
    """The same bits as integers; two for a complex number."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(_INTEGERS[tensor.element_size()])


def _place(tensor: Tensor) -> Any:
    """Where in memory a tensor is, and how it lies there."""
    try:
        address = tensor.data_ptr()
    except RuntimeError:
        return None
    sizes = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
    return address, sizes, tensor.dtype
