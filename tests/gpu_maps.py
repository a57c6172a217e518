"""The maps of the GPU as functions of arrays, on a GPU or in Triton's interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import torch

from fracstride.geometry import geometry_of
from fracstride.torch.gpu import maps
from fracstride.torch.gpu.choices import Choice

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def tensor(array: Any) -> torch.Tensor:
    """The array as a tensor on the device, with its strides where a tensor can have them."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype == ml_dtypes.bfloat16:
        return tensor(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array.copy() if any(s < 0 for s in array.strides) else array).to(DEVICE)


def array(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


@dataclass(frozen=True)
class Maps:
    """Functions named as in the package, for :func:`cases.check_maps`, with a chosen kernel."""

    choice: Choice | None = None

    def conv_transpose1d(self, x: Any, w: Any, b: Any, *, groups: int, **sizes: Any) -> Any:
        bias = None if b is None else tensor(b)
        geometry = _geometry(w.shape[2], sizes)
        y = maps.forward(_batched(x), tensor(w), bias, geometry, groups, self.choice)
        return _like(x, y)

    def conv_transpose1d_input_grad(
        self, gy: Any, w: Any, length: int, *, groups: int, **sizes: Any
    ) -> Any:
        geometry = _geometry(w.shape[2], sizes)
        gx = maps.input_grad(_batched(gy), tensor(w), length, geometry, groups, self.choice)
        return _like(gy, gx)

    def conv_transpose1d_weight_grad(
        self, x: Any, gy: Any, k: int, *, groups: int, **sizes: Any
    ) -> Any:
        geometry = _geometry(k, sizes)
        return array(maps.weight_grad(_batched(x), _batched(gy), geometry, groups, self.choice))


def _geometry(k: int, sizes: dict[str, Any]) -> Any:
    names = "stride", "padding", "output_padding", "dilation", "padding_mode"
    return geometry_of(k, *(sizes[name] for name in names))


def _batched(x: Any) -> torch.Tensor:
    return tensor(x if x.ndim == 3 else x[None])


def _like(x: Any, y: torch.Tensor) -> Any:
    return array(y if x.ndim == 3 else y[0])
