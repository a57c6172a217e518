"""A model whose signals are cut along time: a style for torch's ``parallelize_module``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_module
from torch.distributed.tensor.parallel import ParallelStyle
from torch.func import functional_call
from torch.nn.modules import container
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_map_only

from fracstride.torch.accelerate import accelerate
from fracstride.torch.conv1d import TurnedWeights, geometry_of_module
from fracstride.torch.distributed.assemble import of_pieces
from fracstride.torch.distributed.dtensor import eagerly
from fracstride.torch.distributed.exchange import shared
from fracstride.torch.distributed.meshes import check_mesh
from fracstride.torch.elementwise import ELEMENTWISE, ELEMENTWISE_IN_EVAL, elementwise_in_eval
from fracstride.torch.functional import apply
from fracstride.torch.module import ConvTranspose1d

__all__ = ["TimeParallel"]

_CONTAINERS = (
    container.Sequential,
    container.ModuleList,
    container.ModuleDict,
    container.ParameterList,
    container.ParameterDict,
)
_of_pieces: Any = eagerly(of_pieces)


class TimeParallel(ParallelStyle):
    """Each rank has some of the time of every signal, and all parameters.

    Every ``ConvTranspose1d`` (torch's own too) and every ``Conv1d`` of stride 1 asks the neighbours
    for the frames that its samples need, and for no others; the bits are those of one process.
    Whatever the model does between them goes through DTensor: elementwise functions, sums of
    signals and scalings stay on the rank, anything else is as DTensor has it.

    A rank calls the model with its piece of the signal, as ``Shard`` cuts it: ``ceil(L/ranks)``
    frames, the last ranks less. Parameters become replicated DTensors, with the values of the
    mesh's first rank. Their gradients, and so the loss, are sums over the ranks: each rank adds up
    the loss of its own samples, and calls ``backward`` even if it has none.

    Args:
        input_layouts: what each positional argument of the model is, by default ``Shard(-1)`` for
            the first and ``Replicate()`` for the others. Keyword arguments are left alone.
        elementwise: classes of torch.nn that you know to treat every sample by itself.
        use_local_output: whether ordinary tensors come out, not DTensors: the rank's piece, or all
            of what the model has gathered.

    ``parallelize_module`` raises ``TypeError`` for a module of torch that looks at neighbouring
    samples in another way (a Conv1d with a stride, a norm, an RNN), naming it, and ``ValueError``
    for a mesh of several dimensions. The model raises ``ValueError``, on every rank, if the pieces
    are not those of one signal.

    >>> from torch.distributed.tensor.parallel import parallelize_module
    >>> def spread(vocoder, mesh):
    ...     return parallelize_module(vocoder, mesh, TimeParallel())
    """

    def __init__(
        self,
        *,
        input_layouts: Sequence[Placement] = (Shard(-1),),
        elementwise: tuple[type[nn.Module], ...] = (),
        use_local_output: bool = True,
    ) -> None:
        super().__init__()
        self.input_layouts = tuple(input_layouts)
        self.elementwise = elementwise
        self.use_local_output = use_local_output

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        check_mesh(device_mesh)
        forwards = {m: partial(_conv1d, m, TurnedWeights()) for m in self._conv1ds(module)}
        forwards |= {m: partial(_local, m) for m in module.modules() if self._is_elementwise(m)}
        accelerate(module)
        for replaced, forward in forwards.items():
            replaced.__dict__["forward"] = forward
        tied = _tied(module)
        distribute_module(module, device_mesh, None, self._take, self._give)
        for (owner, key), *others in tied:
            for other, name in others:
                other.register_parameter(name, owner.get_parameter(key))
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.register_hook(_summed)
        return module

    def _conv1ds(self, module: nn.Module) -> list[nn.Module]:
        return [m for name, m in module.named_modules() if self._is_conv1d(name, m)]

    def _is_conv1d(self, name: str, module: nn.Module) -> bool:
        """Whether it is one; ``TypeError`` if it cannot be cut along time."""
        author = next(c for c in type(module).__mro__ if "forward" in vars(c))
        why = ""
        if author is nn.Conv1d:
            try:
                geometry_of_module(module)
                return True
            except ValueError as error:
                why = f": {error}"
        elif (
            author in (ConvTranspose1d, nn.ConvTranspose1d)
            or self._is_elementwise(module)
            or self._is_somebodys(module, author)
        ):
            return False
        where = name or "the module itself"
        raise TypeError(
            f"{where} ({type(module).__name__}) cannot be cut along time{why}; modules of torch.nn "
            "must be ConvTranspose1d, Conv1d of stride 1, elementwise (others that you know to be: "
            "elementwise=(Class,)), or Dropout or BatchNorm1d in eval mode"
        )

    def _is_elementwise(self, module: nn.Module) -> bool:
        return elementwise_in_eval(module) or isinstance(module, (*ELEMENTWISE, *self.elementwise))

    def _is_somebodys(self, module: nn.Module, author: type) -> bool:
        """Whether it is made of others, or somebody else's work, who may know about DTensors."""
        if isinstance(module, _CONTAINERS) or author is nn.Module:
            return True
        by_torch = author.__module__.startswith("torch.nn.modules.")
        return not by_torch and not isinstance(module, _ConvNd)

    def _take(self, module: nn.Module, inputs: tuple[Any, ...], mesh: DeviceMesh) -> Any:
        layouts = (*self.input_layouts, *[Replicate()] * len(inputs))
        return tuple(_distributed(x, p, mesh) for x, p in zip(inputs, layouts, strict=False))

    def _give(self, module: nn.Module, outputs: Any, mesh: DeviceMesh) -> Any:
        return tree_map_only(DTensor, self._one, outputs) if self.use_local_output else outputs

    @staticmethod
    def _one(y: DTensor) -> Tensor:
        return _no_partial(y).to_local()


def _tied(module: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """The places of each parameter: torch makes a new one for each place."""
    places: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
    for m in module.modules():
        for key, parameter in m._parameters.items():
            if parameter is not None:
                places.setdefault(parameter, []).append((m, key))
    return list(places.values())


def _summed(g: Tensor) -> Tensor:
    """A parameter's gradient as optimisers like it: DTensor leaves sums over the ranks undone."""
    return _no_partial(g) if isinstance(g, DTensor) else g


def _no_partial(x: DTensor) -> DTensor:
    return x.redistribute(placements=[Replicate() if p.is_partial() else p for p in x.placements])


def _conv1d(module: Any, kept: TurnedWeights, input: Tensor) -> Tensor:
    """A Conv1d's forward on this library's kernels, whose halos go from rank to rank."""
    weight = kept.transposed(_whole(module.weight), module.groups)
    bias = None if module.bias is None else _whole(module.bias)
    g = geometry_of_module(module)
    sizes = g.stride, g.padding, g.output_padding, g.dilation, g.padding_mode
    return apply(input, weight, bias, sizes, module.groups, None, kept)


class _Forward(nn.Module):
    """What a module's class computes, without the module's hooks, which have been called."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input: Tensor) -> Any:
        return type(self.module).forward(self.module, input)


def _local(module: nn.Module, input: Any) -> Any:
    """An elementwise module's forward, on the rank's own samples: DTensor has not all of them."""
    cut = isinstance(input, DTensor) and input.dim() == 3 and input.placements == (Shard(2),)
    if not cut or getattr(module, "inplace", False):  # which may not be done to a part of it
        return _Forward(module)(input)
    if type(module) in ELEMENTWISE_IN_EVAL and not elementwise_in_eval(module):
        raise RuntimeError(
            f"{type(module).__name__} must be in eval mode where time is cut: in training mode it "
            "takes neighbouring samples together"
        )
    mesh, placements = input.device_mesh, input.placements
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    own = {
        f"module.{name}": shared(_whole(tensor), mesh.get_group())
        for name, tensor in tensors.items()
    }
    y = functional_call(_Forward(module), own, input.to_local(grad_placements=placements))
    return DTensor.from_local(
        y, mesh, placements, run_check=False, shape=input.shape, stride=input.stride()
    )


def _whole(parameter: Tensor) -> Tensor:
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


def _distributed(x: Any, layout: Placement, mesh: DeviceMesh) -> Any:
    if isinstance(x, DTensor):
        return x.redistribute(mesh, [layout])
    if isinstance(layout, Shard):
        return _of_pieces(x, layout.dim, mesh)
    return DTensor.from_local(x, mesh, [layout], run_check=False) if isinstance(x, Tensor) else x
