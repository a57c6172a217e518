"""What torch is doing at this moment: whether a tensor's memory may be handed to the kernels."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet
from torch.autograd import forward_ad

__all__ = [
    "exporting",
    "forward_mode_possible",
    "needs_derivative",
    "plain",
    "tracing",
    "transforming",
]

_TORCHS: Any = torch._C
_included = _TORCHS._dispatch_tls_local_include_set
_key_included = _TORCHS._dispatch_tls_is_dispatch_key_included
_key_excluded = _TORCHS._dispatch_tls_is_dispatch_key_excluded
_keys_of = _TORCHS._dispatch_keys
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # torch 2.7


def _all_but(*keys: DispatchKey) -> int:
    bits = 0
    for key in keys:
        bits |= cast(Any, DispatchKeySet(key)).raw_repr()
    return ~bits


_TRANSFORMS = DispatchKey.FuncTorchDynamicLayerFrontMode
# Of a thread while nothing happens (any other key is a mode, a tracer or a transform), and of a
# tensor in this machine's memory (any other key says that its numbers are not simply there).
_NOT_PLAIN = _all_but(
    DispatchKey.BackendSelect,
    DispatchKey.CPU,
    DispatchKey.ADInplaceOrView,
    DispatchKey.AutogradCPU,
    DispatchKey.AutocastCPU,
)


def plain(x: Tensor, w: Tensor | None = None, b: Tensor | None = None) -> bool:
    """Whether these are ordinary tensors in this machine's memory, and nothing watches the call.

    No subclass with a dispatch of its own, no fake tensor, no dispatch mode, no tracer, no
    ``torch.func`` transform, no autocast, nothing that stands for conjugated or negated numbers.
    """
    keys = _included().raw_repr() | _keys_of(x).raw_repr()
    if w is not None:
        keys |= _keys_of(w).raw_repr()
    if b is not None:
        keys |= _keys_of(b).raw_repr()
    return not keys & _NOT_PLAIN and not torch.is_autocast_enabled("cpu")


def needs_derivative(x: Tensor, w: Tensor, b: Tensor | None = None) -> bool:
    """Whether a result computed from these tensors may have to have derivatives."""
    if forward_mode_possible():
        return True
    return torch.is_grad_enabled() and (
        x.requires_grad or w.requires_grad or (b is not None and b.requires_grad)
    )


def forward_mode_possible() -> bool:
    """Whether tensors may carry tangents (a transform's do not show in torch's level)."""
    return forward_ad._current_level >= 0 or _TORCHS._are_functorch_transforms_active()


def transforming() -> bool:
    """Whether a ``torch.func`` transform waits for the call: none is carrying it out already."""
    return _key_included(_TRANSFORMS) and not _key_excluded(_TRANSFORMS)


def exporting() -> bool:
    """Whether the call becomes part of a graph that may hold torch's own operators only."""
    return bool(_is_exporting() or tracing())


def tracing() -> bool:
    """Whether ``torch.jit.trace``, or the ONNX exporter that is built on it, is recording."""
    return _TORCHS._get_tracing_state() is not None
