"""fracstride for PyTorch: ``torch.nn``'s ``ConvTranspose1d`` and ``Conv1d``, complete and fast.

>>> import torch, fracstride.torch
>>> layer = fracstride.torch.ConvTranspose1d(8, 4, kernel_size=16, stride=8, padding="same")
>>> layer(torch.zeros(1, 8, 100)).shape
torch.Size([1, 4, 800])
"""

from typing import Any

from fracstride.torch import dtensor_calls
from fracstride.torch.accelerate import accelerate
from fracstride.torch.compile import CompiledModule, compile
from fracstride.torch.functional import conv1d, conv_transpose1d
from fracstride.torch.gpu import use_triton
from fracstride.torch.module import Conv1d, ConvTranspose1d
from fracstride.torch.restore import restore
from fracstride.torch.streaming import stream

__all__ = [
    "CompiledModule",
    "Conv1d",
    "ConvTranspose1d",
    "accelerate",
    "compile",
    "conv1d",
    "conv_transpose1d",
    "restore",
    "stream",
    "use_triton",
]


def _dtensors() -> Any:
    from fracstride.torch.distributed import dtensor

    return dtensor


dtensor_calls.register(_dtensors)
