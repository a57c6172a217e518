"""Modules of torch that do the same to every sample, whatever its neighbours are."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

__all__ = [
    "ELEMENTWISE",
    "ELEMENTWISE_IN_EVAL",
    "check_modes",
    "elementwise_in_eval",
    "only_in_eval",
    "refusal",
]

ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
ELEMENTWISE_IN_EVAL: tuple[type[nn.Module], ...] = (
    nn.AlphaDropout,
    nn.BatchNorm1d,
    nn.Dropout,
    nn.Dropout1d,
    nn.FeatureAlphaDropout,
    nn.RReLU,
)


def only_in_eval(module: nn.Module) -> tuple[nn.Module, ...]:
    """The module and its submodules, as far as they are elementwise in eval mode only.

    Of a class of the user's own, these are the Dropouts and BatchNorms inside.
    """
    kinds: Any = (*ELEMENTWISE_IN_EVAL, _BatchNorm, _DropoutNd)
    return tuple(part for part in module.modules() if isinstance(part, kinds))


def check_modes(modules: tuple[nn.Module, ...]) -> None:
    """Raise RuntimeError if one of :func:`only_in_eval` is not elementwise now."""
    for module in modules:
        if why := refusal(module):
            raise RuntimeError(
                f"{type(module).__name__} is elementwise in eval mode only, and is now {why}: "
                f"{module!r}"
            )


def refusal(module: Any) -> str | None:
    """Why a module of :func:`only_in_eval` is not elementwise now; None if it is."""
    if module.training:
        return "in training mode"
    if isinstance(module, _BatchNorm) and module.running_mean is None:
        return "without running statistics, which takes those of its input"
    return None


def elementwise_in_eval(module: nn.Module) -> bool:
    """Whether it is one of those that are elementwise in eval mode only, and is so now."""
    return type(module) in ELEMENTWISE_IN_EVAL and refusal(module) is None
