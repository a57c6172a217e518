"""What an operator is: one record of everything that torch asks about it.

An operator is called in two forms. ``torch.ops.fracstride`` takes *arguments*: tensors, then sizes
as plain integers, in the order in which saved graphs have them. The code here takes *operands*: the
same tensors, then a geometry (:class:`~fracstride.Geometry` or :class:`~fracstride.Conv1dGeometry`)
and the number of groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch.dispatch import forward_mode_possible, needs_derivative, plain, transforming
from fracstride.torch.operators.function import apply_here, below_autograd
from fracstride.torch.profiling import profiling, recorded

__all__ = ["Cut", "Operator", "add", "call", "of_layer"]

#: How one tensor is cut over a line of processes: the axis along which each has a part, ``"whole"``
#: if each has all of it, ``"sum"`` if each has a term of it.
Cut = int | str


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator ``torch.ops.fracstride.<name>``. Calling it goes the shortest way there is.

    Ordinary CPU tensors go to the kernel at once, through the Function if a derivative is needed.
    ``torch.func`` transforms meet the Function, which has rules for them. Everything else (other
    devices, subclasses, modes, autocast, compilers) goes through torch's dispatcher.
    """

    name: str
    #: The arguments in the language of ``torch.library``; the result is one tensor.
    schema: str
    #: How many arguments are tensors, two or three. They come first, and so among the operands;
    #: the third may be None.
    tensors: int

    #: ``operands(*arguments)`` and ``arguments(*operands)``. The last two operands are the geometry
    #: and the groups, those before them are the first arguments.
    operands: Callable[..., tuple[Any, ...]]
    arguments: Callable[..., tuple[Any, ...]]
    #: ``shape(*operands)``: the result's, or a ``RuntimeError`` if the operands do not fit.
    shape: Callable[..., tuple[int, ...]]

    #: ``kernel(*operands)``: the map of CPU tensors. It checks its operands.
    kernel: Callable[..., Tensor]
    #: ``fallback(*operands)``: the map of any tensors, by torch's own operators.
    fallback: Callable[..., Tensor]

    #: The map of operands with its derivatives of both modes, and the rule for ``torch.func.vmap``.
    function: type[Function]
    #: ``vmap_rule(to, n, dims, *operands)`` computes ``n`` calls at once. An operand whose entry in
    #: ``dims`` is an axis is ``n`` operands along that axis; the others are shared. The rule calls
    #: ``to``, which takes operands, once. It returns the result and the axis of the ``n``.
    vmap_rule: Callable[..., tuple[Tensor, int]]

    #: ``flops(*shapes and other arguments)``, as torch counts its own operators.
    flops: Callable[..., int]

    #: ``channels(*arguments)``: of the weight's axes 0 and 1, and of the part of axis 0 that is one
    #: group.
    channels: Callable[..., tuple[int, int, int]]
    #: For each way to cut a layer, how the tensors and at last the result are cut.
    #: (``distributed/rules.py`` says which ways there are, and when each is possible.)
    cuts: Mapping[str, tuple[Cut, ...]]

    #: ``triton(*operands)``: the map of CUDA tensors by Triton, where that is asked for. It checks
    #: its operands. None: the fallback.
    triton: Callable[..., Tensor] | None = None
    #: ``function`` of plain tensors without forward mode, where that can be had at a lower cost.
    reverse_only: type[Function] | None = None
    #: Whether autocast computes it in its own dtype.
    autocast: bool = False

    def __call__(self, *operands: Any) -> Tensor:
        """The result, by the shortest way, differentiable to any order."""
        tensors = operands[: self.tensors]
        if plain(*tensors):
            if needs_derivative(*tensors):
                return self.differentiable(*operands)
            return self.run(*operands)
        if transforming():
            result: Tensor = self.function.apply(*operands)
            return result
        return self.dispatch(*operands)

    def differentiable(self, *operands: Any) -> Tensor:
        """The result for plain tensors of which some need a derivative."""
        if self.reverse_only is not None and not forward_mode_possible():
            return apply_here(self.reverse_only, *operands)
        return apply_here(self.function, *operands)

    def run(self, *operands: Any) -> Tensor:
        """The kernel's result for plain tensors, seen by the profiler, unseen by autograd."""
        if profiling():
            result: Tensor = recorded(self.name, self.kernel, *operands)
            return result
        return self.kernel(*operands)

    def dispatch(self, *operands: Any) -> Tensor:
        """The result by way of ``torch.ops``."""
        return self.of_arguments(*self.arguments(*operands))

    def of_arguments(self, *arguments: Any) -> Tensor:
        """``torch.ops.fracstride.<name>``."""
        result: Tensor = getattr(torch.ops.fracstride, self.name)(*arguments)
        return result

    def undifferentiated(self, *operands: Any) -> Tensor:
        """The result inside the operator's own Function: below the autograd that called it."""
        if plain(*operands[: self.tensors]):
            return self.run(*operands)
        with below_autograd():
            return self.dispatch(*operands)


_operators: dict[str, Operator] = {}


def add(operator: Operator) -> None:
    """Let :func:`call` find it."""
    _operators[operator.name] = operator


def call(name: str, *operands: Any) -> Tensor:
    """The operator of this name, by the shortest way.

    This is how a derivative calls other operators. Derivatives refer to each other in circles,
    which the imports of their files must not do.
    """
    return _operators[name](*operands)


def of_layer(geometry: AnyGeometry, adjoint: str = "") -> Operator:
    """The map of a layer with this geometry; or its adjoint ``"_input_grad"``, ``"_weight_grad"``.

    Both kinds of layers have the same derivatives, with maps of their own in them.
    """
    return _operators[("conv_transpose1d" if geometry.is_transposed else "conv1d") + adjoint]
