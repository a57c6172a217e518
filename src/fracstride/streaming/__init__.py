"""Exact streaming: chunks in, and what comes out is the offline output, bit for bit.

>>> import numpy as np, fracstride as fs
>>> from fracstride.streaming import Chain, Identity, Pointwise, Sum
>>> up = fs.ConvTranspose1d(2, 4, kernel_size=8, stride=4, padding="same", rng=0)
>>> conv = fs.ConvTranspose1d.from_conv1d(np.ones((4, 4, 3), np.float32), padding="same")
>>> block = Sum(Identity(), Chain(Pointwise(np.tanh), conv.stream()))
>>> decoder = Chain(up.stream(), block)
>>> x = np.ones((1, 2, 10), np.float32)
>>> pieces = [decoder.push(x[..., :3]), decoder.push(x[..., 3:]), decoder.flush()]
>>> [piece.shape[-1] for piece in pieces], decoder.latency
([9, 28, 3], 3)
>>> y = up(x)
>>> bool((np.concatenate(pieces, -1) == y + conv(np.tanh(y))).all())
True
"""

from fracstride.streaming.compose import Chain
from fracstride.streaming.layer import LayerStream
from fracstride.streaming.pad import Pad
from fracstride.streaming.pointwise import Identity, Pointwise
from fracstride.streaming.stream import Stream
from fracstride.streaming.sum import Sum
from fracstride.streaming.upsample import Upsample
from fracstride.streaming.window import WindowStream

__all__ = [
    "Chain",
    "Identity",
    "LayerStream",
    "Pad",
    "Pointwise",
    "Stream",
    "Sum",
    "Upsample",
    "WindowStream",
]
