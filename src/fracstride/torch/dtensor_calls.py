"""Calls on DTensors are computed by :mod:`fracstride.torch.distributed`, imported at the first one.

``functional.py`` knows nothing of that package, which is built on it; and a program without
DTensors does not pay for its import. Importing this module connects the two.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fracstride.torch.functional import take_dtensors

__all__: list[str] = []


def _compute(*operands: Any) -> Tensor:
    from fracstride.torch.distributed.dtensor import conv_transpose1d

    return conv_transpose1d(*operands)


take_dtensors(_compute)
