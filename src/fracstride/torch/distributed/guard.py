"""An error for torch's own convolutions of an input that is cut along time: DTensor is wrong there.

DTensor (2.13) lets each rank convolve its piece as if that were the whole input, and labels the
result with the input's placements, silently. A model that calls ``torch.nn.functional.conv1d``
between layers of this library gets an error here in place of such numbers.

Importing this module replaces DTensor's handler of ``aten.convolution`` by one that raises for such
an input, and calls ``torch_handler``, the one before, for all others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor

__all__: list[str] = []

_TIME = 2
convolution = torch.ops.aten.convolution.default
# torch has no public way to do this. A version of torch without this table keeps its own handling.
handlers: dict[Any, Any] = getattr(
    getattr(DTensor, "_op_dispatcher", None), "_custom_op_handlers", {}
)
torch_handler = handlers.get(convolution)


def _refuse_time(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    cut = isinstance(x, DTensor) and any(getattr(p, "dim", None) == _TIME for p in x.placements)
    if cut and x.dim() == 3:
        raise NotImplementedError(
            "torch's own convolution of an input that is cut along time would be wrong: use "
            "fracstride.torch.conv1d or conv_transpose1d, a Conv1d or ConvTranspose1d module, or "
            "redistribute the input"
        )
    return torch_handler(op, args, kwargs)  # type: ignore[misc]


if torch_handler is not None:
    handlers[convolution] = _refuse_time
