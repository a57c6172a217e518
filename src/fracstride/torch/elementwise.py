"""Modules of torch that do the same to every sample, whatever its neighbours are."""

from __future__ import annotations

from torch import nn

__all__ = ["ELEMENTWISE", "ELEMENTWISE_IN_EVAL", "elementwise_in_eval"]

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
ELEMENTWISE_IN_EVAL: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.Dropout)


def elementwise_in_eval(module: nn.Module) -> bool:
    """Whether it is one of those that are elementwise in eval mode, and is in it.

    (Not a BatchNorm that keeps no statistics: it takes those of its input then, too.)
    """
    if type(module) not in ELEMENTWISE_IN_EVAL or module.training:
        return False
    return not isinstance(module, nn.BatchNorm1d) or module.running_mean is not None
