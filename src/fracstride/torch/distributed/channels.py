"""Layers whose channels are cut over the ranks: styles for torch's ``parallelize_module``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import (
    DTensor,
    Placement,
    Replicate,
    Shard,
    distribute_module,
    distribute_tensor,
)
from torch.distributed.tensor.parallel import ParallelStyle
from torch.nn.utils import parametrize

from fracstride.torch.accelerate import accelerate
from fracstride.torch.distributed.assemble import assemble
from fracstride.torch.distributed.conv1d_modules import compute_conv1d
from fracstride.torch.distributed.halo import shard_bounds, some_for_all
from fracstride.torch.distributed.meshes import check_mesh, line_of
from fracstride.torch.module_kinds import Kind, classify

__all__ = [
    "ColwiseConv1d",
    "ColwiseConvTranspose1d",
    "RowwiseConv1d",
    "RowwiseConvTranspose1d",
]

_CHANNELS = Shard(-2)  # of (B, C, L) and of (C, L)


class _Channelwise(ParallelStyle):
    """The base of the styles. A layer of several groups is cut between the groups."""

    _layer: Any = nn.ConvTranspose1d  # or Conv1d
    _input: Placement  # the placement that the layer needs, and the default of input_layouts
    _weight: Placement
    _bias: Placement
    _output: Placement  # the default of output_layouts

    def __init__(
        self,
        *,
        input_layouts: Placement | None = None,
        output_layouts: Placement | None = None,
        use_local_output: bool = True,
    ) -> None:
        super().__init__()
        self.input_layouts = input_layouts or self._input
        self.output_layouts = output_layouts or self._output
        self.use_local_output = use_local_output

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        check_mesh(device_mesh)
        self._check(module, device_mesh.size())
        accelerate(module)
        compute_conv1d(module)
        return distribute_module(module, device_mesh, self._cut, self._take, self._give)

    def _check(self, module: Any, ranks: int) -> None:
        style, layer = type(self).__name__, self._layer
        cls = type(module)
        if not isinstance(module, layer):
            raise TypeError(f"{style} is for {layer.__name__}, got {cls.__name__}")
        if layer is nn.Conv1d and classify(module).kind is not Kind.CONV1D:
            raise TypeError(f"{style} is for layers with torch's own forward, got {cls.__name__}")
        if parametrize.is_parametrized(module) or "weight" not in module._parameters:
            raise ValueError(
                f"{style} needs a layer whose weight is a parameter, got one whose weight is made "
                "of others (weight_norm and the like): remove the parametrization first"
            )
        if module.groups > 1:
            if module.groups % ranks:
                raise ValueError(
                    f"groups must be a multiple of the mesh's {ranks} ranks, got {module.groups}"
                )
            return
        name = "out_channels" if self._output == _CHANNELS else "in_channels"
        count = getattr(module, name)
        if not some_for_all(count, ranks):
            size = -(-count // ranks)
            raise ValueError(
                f"{name} must leave none of the mesh's {ranks} ranks without any, got {count}, "
                f"{size} to a rank"
            )

    def _cut(self, name: str, module: Any, mesh: DeviceMesh) -> None:
        between_groups = module.groups > 1
        placements = {
            "weight": Shard(0) if between_groups else self._weight,
            "bias": Shard(0) if between_groups else self._bias,
        }
        for key, parameter in list(module._parameters.items()):
            if parameter is not None:
                cut = distribute_tensor(
                    parameter, mesh, [placements[key]], src_data_rank=self.src_data_rank
                )
                module.register_parameter(key, nn.Parameter(cut, parameter.requires_grad))

    def _take(self, module: Any, inputs: tuple[Any, ...], mesh: DeviceMesh) -> Any:
        x, *rest = inputs
        if not isinstance(x, DTensor):
            x = _distribute(x, module.in_channels, self.input_layouts, mesh)
        needed = _CHANNELS if module.groups > 1 else self._input
        return x.redistribute(placements=[needed], async_op=True), *rest

    def _give(self, module: nn.Module, y: Any, mesh: DeviceMesh) -> Any:
        y = y.redistribute(placements=[self.output_layouts], async_op=True)
        return y.to_local() if self.use_local_output else y

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(input_layouts={self.input_layouts!r}, "
            f"output_layouts={self.output_layouts!r}, use_local_output={self.use_local_output})"
        )


class ColwiseConvTranspose1d(_Channelwise):
    """Each rank has some of the output channels, and needs the whole input.

    What torch's ``ColwiseParallel`` is for ``Linear``. Followed by elementwise functions and a
    :class:`RowwiseConvTranspose1d`, the two layers take one all-reduce. A layer of several groups
    is cut between the groups: each rank has some groups, their input and their output.

    Args:
        input_layouts: the placement of an input that is an ordinary tensor, by default
            ``Replicate()``.
        output_layouts: the placement of the output, by default ``Shard(-2)``: the rank's own
            channels.
        use_local_output: whether the output is an ordinary tensor, not a DTensor.

    ``parallelize_module`` raises ``TypeError`` for a module that is no ``ConvTranspose1d``, and
    ``ValueError`` if there are fewer output channels than ranks, if the ranks do not divide the
    groups, if the weight is no parameter, or if the mesh has more than one dimension.

    >>> from torch.distributed.tensor.parallel import parallelize_module
    >>> def spread(block, mesh):  # one of up, activation and out
    ...     styles = {"up": ColwiseConvTranspose1d(), "out": RowwiseConvTranspose1d()}
    ...     return parallelize_module(block, mesh, styles)
    """

    _input, _weight, _bias, _output = Replicate(), Shard(1), Shard(0), _CHANNELS


class RowwiseConvTranspose1d(_Channelwise):
    """Each rank has some of the input channels; outputs are sums over the ranks.

    What torch's ``RowwiseParallel`` is for ``Linear``. Arguments and errors are those of
    :class:`ColwiseConvTranspose1d`. By default an input that is an ordinary tensor has the rank's
    own channels, ``Shard(-2)``, and the output is whole on every rank, ``Replicate()``. With
    ``output_layouts=Shard(-1)`` the all-reduce is a reduce-scatter along time.

    >>> RowwiseConvTranspose1d(use_local_output=False).output_layouts
    Replicate()
    """

    _input, _weight, _bias, _output = _CHANNELS, Shard(0), Replicate(), Replicate()


class ColwiseConv1d(_Channelwise):
    """Each rank has some of the output channels of a ``Conv1d``, and needs the whole input.

    Arguments and errors are those of :class:`ColwiseConvTranspose1d`, and so is the rest.

    >>> ColwiseConv1d().output_layouts
    Shard(dim=-2)
    """

    _layer = nn.Conv1d
    _input, _weight, _bias, _output = Replicate(), Shard(0), Shard(0), _CHANNELS


class RowwiseConv1d(_Channelwise):
    """Each rank has some of the input channels of a ``Conv1d``; outputs are sums over the ranks.

    Arguments and errors are those of :class:`RowwiseConvTranspose1d`, and so is the rest.

    >>> RowwiseConv1d().output_layouts
    Replicate()
    """

    _layer = nn.Conv1d
    _input, _weight, _bias, _output = _CHANNELS, Shard(1), Replicate(), Replicate()


def _distribute(x: Any, channels: int, layout: Placement, mesh: DeviceMesh) -> DTensor:
    """A rank's tensor as a DTensor; the ranks need not divide the channels."""
    if not isinstance(x, Tensor):
        raise TypeError(f"input must be a tensor, got {type(x).__name__}")
    if not layout.is_shard(-2) and not layout.is_shard(x.dim() - 2):
        if isinstance(layout, Shard):
            return assemble(x, layout.dim, mesh)
        return DTensor.from_local(x, mesh, [layout], run_check=False)
    first, stop = shard_bounds(channels, mesh.size(), line_of(mesh).rank)
    if x.dim() not in (2, 3) or x.shape[-2] != stop - first:
        raise RuntimeError(
            f"input must have the shape (B, {stop - first}, L) or ({stop - first}, L), this rank's "
            f"share of {channels} channels, got shape {tuple(x.shape)}"
        )
    shape = torch.Size((*x.shape[:-2], channels, x.shape[-1]))
    stride = (channels * x.shape[-1], x.shape[-1], 1)[3 - x.dim() :]
    return DTensor.from_local(
        x, mesh, [Shard(x.dim() - 2)], run_check=False, shape=shape, stride=stride
    )
