"""A model whose signals are cut along time: a style for torch's ``parallelize_module``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_module
from torch.distributed.tensor.parallel import ParallelStyle
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from fracstride.torch.accelerate import accelerate
from fracstride.torch.distributed.assemble import assemble
from fracstride.torch.distributed.conv1d_modules import compute_conv1d
from fracstride.torch.distributed.exchange import share
from fracstride.torch.distributed.meshes import check_mesh
from fracstride.torch.module_kinds import Kind, classify

__all__ = ["TimeParallel"]

#: Kinds of modules that are left as they are: DTensor sees what they call.
_LEFT_ALONE = (Kind.TRANSPOSED, Kind.SEQUENTIAL, Kind.CONTAINER, Kind.CUSTOM)
#: Kept out of compiled graphs: a compiler does not see the messages.
_assemble: Any = torch.compiler.disable(assemble)


class TimeParallel(ParallelStyle):
    """Each rank has some of the time of every signal, and all parameters.

    Every ``ConvTranspose1d`` and every ``Conv1d``, torch's own too, gets from other ranks the
    frames that its samples need, and no others; the bits are those of one process. All operations
    between these layers go through DTensor: elementwise functions, sums of signals and scalings
    stay on the rank, others may gather the signal first.

    A rank calls the model with its piece of the signal, as ``Shard`` cuts it: ``ceil(L/ranks)``
    frames, fewer on the last ranks. Parameters become replicated DTensors, with the values of the
    mesh's first rank. The loss and the gradients are sums over the ranks: each rank computes the
    loss of its own samples, and calls ``backward`` even if it has none.

    Args:
        input_layouts: the placement of each positional argument of the model, by default
            ``Shard(-1)`` for the first and ``Replicate()`` for the others. Keyword arguments are
            passed on as they are.
        elementwise: classes of torch.nn that you know to treat every sample by itself.
        use_local_output: whether the outputs are ordinary tensors, not DTensors: the rank's piece,
            or the whole of what the model has gathered.

    ``parallelize_module`` raises ``TypeError`` for a module of torch that looks at neighbouring
    samples in another way (a norm, a pooling, an RNN), naming it, and ``ValueError`` for a mesh of
    several dimensions. The model raises ``ValueError``, on every rank, if the ranks' inputs are not
    the pieces of one signal.

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
        forwards = self._forwards(module)
        accelerate(module)
        compute_conv1d(module)
        for replaced, forward in forwards.items():
            replaced.__dict__["forward"] = forward
        places = _places_of_parameters(module)
        distribute_module(module, device_mesh, None, self._take, self._give)
        for (owner, key), *others in places:
            for other, name in others:
                other.register_parameter(name, owner.get_parameter(key))
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.register_hook(_complete_gradient)
        return module

    def _forwards(self, module: nn.Module) -> dict[nn.Module, Callable[..., Any]]:
        """The modules inside that get another forward; ``TypeError`` if one cannot be cut."""
        forwards: dict[nn.Module, Callable[..., Any]] = {}
        for name, part in module.named_modules():
            found = classify(part, self.elementwise)
            if found.kind is Kind.CONV1D:
                continue  # of any sizes, whatever is refused to others
            if found.declared or found.elementwise:
                forwards[part] = partial(_compute_own_samples, part)
            elif found.refusal or found.kind not in _LEFT_ALONE:
                why = f": {found.refusal}" if found.refusal else ""
                raise TypeError(
                    f"{name or 'the module itself'} ({type(part).__name__}) cannot be cut along "
                    f"time{why}; modules of torch.nn must be ConvTranspose1d, Conv1d, elementwise "
                    "(others that you know to be: elementwise=(Class,)), or Dropout or "
                    "BatchNorm1d in eval mode"
                )
        return forwards

    def _take(self, module: nn.Module, inputs: tuple[Any, ...], mesh: DeviceMesh) -> Any:
        layouts = (*self.input_layouts, *[Replicate()] * len(inputs))
        return tuple(_distribute(x, p, mesh) for x, p in zip(inputs, layouts, strict=False))

    def _give(self, module: nn.Module, outputs: Any, mesh: DeviceMesh) -> Any:
        return (
            tree_map_only(DTensor, self._local_output, outputs)
            if self.use_local_output
            else outputs
        )

    @staticmethod
    def _local_output(y: DTensor) -> Tensor:
        return _reduce_partial(y).to_local()


def _places_of_parameters(module: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Where each parameter is used: tied ones have several places, of which torch makes copies."""
    places: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
    for m in module.modules():
        for key, parameter in m._parameters.items():
            if parameter is not None:
                places.setdefault(parameter, []).append((m, key))
    return list(places.values())


def _complete_gradient(g: Tensor) -> Tensor:
    """A parameter's gradient with the sum over the ranks done, which DTensor leaves to do later."""
    return _reduce_partial(g) if isinstance(g, DTensor) else g


def _reduce_partial(x: DTensor) -> DTensor:
    """The same DTensor, with sums over the ranks that are still to do done."""
    return x.redistribute(placements=[Replicate() if p.is_partial() else p for p in x.placements])


class _Forward(nn.Module):
    """The forward of a module's class, without the module's hooks, which have been called."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input: Tensor) -> Any:
        return type(self.module).forward(self.module, input)


def _compute_own_samples(module: nn.Module, input: Any) -> Any:
    """An elementwise module's forward on the rank's own samples: DTensor lacks rules for some."""
    cut = isinstance(input, DTensor) and input.dim() == 3 and input.placements == (Shard(2),)
    if not cut or getattr(module, "inplace", False):  # DTensor writes to the whole
        return _Forward(module)(input)
    found = classify(module)
    if found.kind is Kind.ELEMENTWISE and found.refusal:  # train() may have been called since
        raise RuntimeError(
            f"{type(module).__name__} must be in eval mode where time is cut: in training mode it "
            "takes neighbouring samples together"
        )
    mesh, placements = input.device_mesh, input.placements
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    own = {
        f"module.{name}": share(_full_tensor(tensor), mesh.get_group())
        for name, tensor in tensors.items()
    }
    y = functional_call(_Forward(module), own, input.to_local(grad_placements=placements))
    return DTensor.from_local(
        y, mesh, placements, run_check=False, shape=input.shape, stride=input.stride()
    )


def _full_tensor(parameter: Tensor) -> Tensor:
    """A parameter, replicated or ordinary, as an ordinary tensor."""
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


def _distribute(x: Any, layout: Placement, mesh: DeviceMesh) -> Any:
    """An argument of the model as a DTensor; what is no tensor stays as it is."""
    if isinstance(x, DTensor):
        return x.redistribute(mesh, [layout])
    if isinstance(layout, Shard):
        return _assemble(x, layout.dim, mesh)
    return DTensor.from_local(x, mesh, [layout], run_check=False) if isinstance(x, Tensor) else x
