"""fracstride: the 1-D transposed convolution, complete, and the Conv1d whose adjoint it is.

>>> import numpy as np, fracstride as fs
>>> layer = fs.ConvTranspose1d(8, 4, kernel_size=16, stride=8, padding="same", rng=0)
>>> layer(np.zeros((1, 8, 100), np.float32)).shape
(1, 4, 800)
>>> fs.Conv1d(4, 2, kernel_size=7, stride=2, padding=3, rng=0)(np.zeros((1, 4, 800), "f4")).shape
(1, 2, 400)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fracstride import _load as _load  # first: says plainly where there is no compiled module
from fracstride import streaming
from fracstride.config import config, get_num_threads, set_num_threads, show_config
from fracstride.conv1d import Conv1d, conv1d
from fracstride.conv1d_geometry import Conv1dGeometry
from fracstride.functional import (
    conv1d_adjoint,
    conv_transpose1d,
    conv_transpose1d_input_grad,
    conv_transpose1d_weight_grad,
)
from fracstride.geometry import Geometry
from fracstride.layer import ConvTranspose1d

if TYPE_CHECKING:
    from fracstride.drawing import draw
    from fracstride.network.loading import load

__version__ = _load.native.version

__all__ = [
    "Conv1d",
    "Conv1dGeometry",
    "ConvTranspose1d",
    "Geometry",
    "config",
    "conv1d",
    "conv1d_adjoint",
    "conv_transpose1d",
    "conv_transpose1d_input_grad",
    "conv_transpose1d_weight_grad",
    "draw",
    "get_num_threads",
    "load",
    "set_num_threads",
    "show_config",
    "streaming",
]


def __getattr__(name: str) -> Any:
    if name == "draw":  # what these need is loaded with them
        from fracstride.drawing import draw

        return draw
    if name == "load":
        from fracstride.network.loading import load

        return load
    raise AttributeError(f"module 'fracstride' has no attribute {name!r}")
