"""Layers on more than one process, on torch's own DTensor and device meshes.

A :class:`torch.distributed.tensor.DTensor` comes out of :class:`fracstride.torch.ConvTranspose1d`
and :func:`fracstride.torch.conv_transpose1d` right whatever its placements are: cut along the
batch, channels, groups or time, or several of these. The styles here cut models. DDP and FSDP2 need
nothing of all this. ``docs/scaling.md`` says which to use when.
"""

from fracstride.torch.distributed import guard as _guard  # noqa: F401 - takes effect
from fracstride.torch.distributed import rules as _rules  # noqa: F401 - registers them
from fracstride.torch.distributed.channels import ColwiseConvTranspose1d, RowwiseConvTranspose1d
from fracstride.torch.distributed.exchange import Traffic, traffic
from fracstride.torch.distributed.halo import messages, shard_bounds
from fracstride.torch.distributed.time_parallel import TimeParallel

__all__ = [
    "ColwiseConvTranspose1d",
    "RowwiseConvTranspose1d",
    "TimeParallel",
    "Traffic",
    "messages",
    "shard_bounds",
    "traffic",
]
