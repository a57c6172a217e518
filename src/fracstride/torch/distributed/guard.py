"""torch's own convolutions of an input that is cut along time: refused, for they are wrong.

DTensor (2.13) has each rank convolve its piece as if that were the whole input, and calls the
outcome whatever the input was. Nobody is told. So a model that calls ``torch.nn.functional.conv1d``
between our layers gets an error here in place of such numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor

__all__: list[str] = []

_TIME = 2
_convolution = torch.ops.aten.convolution.default
# torch has no other way to say it; where a version has none of this, its convolutions are its own.
_handlers: dict[Any, Any] = getattr(
    getattr(DTensor, "_op_dispatcher", None), "_custom_op_handlers", {}
)
_torchs_own = _handlers.get(_convolution)


def _refuse_time(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    cut = isinstance(x, DTensor) and any(getattr(p, "dim", None) == _TIME for p in x.placements)
    if cut and x.dim() == 3:
        raise NotImplementedError(
            "torch's own convolution of an input that is cut along time would be wrong: use "
            "fracstride.torch.conv_transpose1d or a ConvTranspose1d or Conv1d module, or "
            "redistribute the input"
        )
    return _torchs_own(op, args, kwargs)  # type: ignore[misc]


if _torchs_own is not None:
    _handlers[_convolution] = _refuse_time
