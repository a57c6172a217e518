"""Layers on more than one process, on torch's own DTensor and device meshes.

:class:`fracstride.torch.ConvTranspose1d`, :class:`fracstride.torch.Conv1d` and their functions take
a :class:`torch.distributed.tensor.DTensor` with any placements: cut along the batch, channels,
groups or time, or several of these. The styles here cut models. DDP and FSDP2 need nothing of this
package. ``docs/scaling.md`` says which to use when.

Who calls whom, each file only those below it or beside it to the right::

    time_parallel  channels         styles for parallelize_module: what each rank gets of a model
        assemble                    each rank's piece of a signal -> one DTensor
        conv1d_modules              torch's Conv1d modules, computed by this library
    dtensor                         a call on DTensors: how each operand is cut, one rank's tensors
        local                       one rank's samples from its shard and its halo
            exchange                halos as messages between ranks, with derivatives
                halo                which rank needs which frames: integers only
                meshes              the ranks along one dimension of a mesh
        ways                        how a layer may be cut other than along time, and when
    rules                           DTensor's rules for the operators, by these ways
    guard                           an error in place of torch's wrong convolutions

``dtensor`` is called by ``fracstride.torch.functional``, which knows it from
``fracstride.torch.dtensor_calls`` and does not import it. ``rules`` and ``guard`` are called by
torch, once they are imported.
"""

from fracstride.torch.distributed import guard as _guard  # noqa: F401 - registers itself
from fracstride.torch.distributed import rules as _rules  # noqa: F401 - registers them
from fracstride.torch.distributed.channels import (
    ColwiseConv1d,
    ColwiseConvTranspose1d,
    RowwiseConv1d,
    RowwiseConvTranspose1d,
)
from fracstride.torch.distributed.exchange import Traffic, traffic
from fracstride.torch.distributed.halo import messages, shard_bounds
from fracstride.torch.distributed.time_parallel import TimeParallel

__all__ = [
    "ColwiseConv1d",
    "ColwiseConvTranspose1d",
    "RowwiseConv1d",
    "RowwiseConvTranspose1d",
    "TimeParallel",
    "Traffic",
    "messages",
    "shard_bounds",
    "traffic",
]
