"""What the ``torch.autograd.Function`` of every operator needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from fracstride.torch.dispatch import forward_mode_possible

__all__ = ["BelowAutograd", "apply_here", "below_autograd", "conjugate", "save", "total"]

#: A context in which the dispatcher skips autograd.
BelowAutograd: Any = torch._C._AutoDispatchBelowAutograd


def apply_here(function: Any, *operands: Any) -> Tensor:
    """``function.apply`` where no ``torch.func`` transform waits, at a fraction of its cost.

    It is the method of Function's base, without what Function does around it for transforms.
    """
    result: Tensor = super(Function, function).apply(*operands)
    return result


def save(ctx: Any, *tensors: Tensor) -> None:
    """Keep tensors for the derivatives of both modes."""
    ctx.save_for_backward(*tensors)
    # A second copy of the references, which hooks on saved tensors do not see: only if needed.
    if forward_mode_possible():
        ctx.save_for_forward(*tensors)


@contextmanager
def below_autograd() -> Iterator[None]:
    """Below the level of autograd that called; other levels of ``torch.func`` go on recording."""
    with BelowAutograd():
        if not torch._C._are_functorch_transforms_active():
            yield
        else:
            with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
                yield


def conjugate(tensor: Tensor) -> Tensor:
    """The operand that stays in a derivative of reverse mode, as torch's autograd has it."""
    return tensor.conj() if tensor.is_complex() else tensor


def total(terms: list[Tensor]) -> Tensor:
    """The sum of one tensor or more, from the first to the last."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result
