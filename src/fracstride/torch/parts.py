"""Complex tensors as real ones of twice the channels, as :mod:`fracstride.arrays` has arrays.

[y_re]   [ w_re  -w_im ] [x_re]
[y_im] = [ w_im   w_re ] [x_im]     group by group.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["join_signal", "join_weight_grad", "split_signal", "split_weight"]


def split_signal(x: Tensor, groups: int) -> Tensor:
    """``(B, C, L)`` as ``(B, 2*C, L)``: by group, first the real parts, then the imaginary."""
    batch, channels, length = x.shape
    by_group = x.reshape(batch, groups, 1, channels // groups, length)
    return torch.cat([by_group.real, by_group.imag], 2).reshape(batch, 2 * channels, length)


def join_signal(parts: Tensor, groups: int) -> Tensor:
    """The inverse of :func:`split_signal`."""
    batch, channels, length = parts.shape
    by_part = parts.reshape(batch, groups, 2, channels // (2 * groups), length)
    return torch.complex(by_part[:, :, 0], by_part[:, :, 1]).reshape(batch, channels // 2, length)


def split_weight(weight: Tensor, groups: int) -> Tensor:
    """``(C_in, C_out/g, k)`` as the real matrix above, ``(2*C_in, 2*C_out/g, k)``."""
    channels, out, taps = weight.shape
    w = weight.reshape(groups, 1, channels // groups, 1, out, taps)
    re, im = w.real, w.imag
    rows = torch.cat([torch.cat([re, im], 3), torch.cat([-im, re], 3)], 1)
    return rows.reshape(2 * channels, 2 * out, taps)


def join_weight_grad(parts: Tensor, groups: int) -> Tensor:
    """The bilinear ``R(x, gy)`` from the real one of the split signals."""
    channels, out, taps = parts.shape
    p = parts.reshape(groups, 2, channels // groups // 2, 2, out // 2, taps)
    real = p[:, 0, :, 0] - p[:, 1, :, 1]
    imag = p[:, 0, :, 1] + p[:, 1, :, 0]
    return torch.complex(real, imag).reshape(channels // 2, out // 2, taps)
