"""``accelerate``: this library computes the 1-D convolutions of a model as it is.

A layer gets another class and stays the object that it is. Where a subclass stands above torch's
class, the new class has this library's between the two. :mod:`fracstride.torch.restore` undoes it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import cache
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from fracstride.torch.forwards import convolutions_called, reaches_forward_of
from fracstride.torch.module import Conv1d, ConvTranspose1d

__all__ = ["OURS", "accelerate", "original_class", "own_attributes", "torchs_layer_below"]

#: The layer of this library for each layer of torch.
OURS: dict[Any, Any] = {nn.ConvTranspose1d: ConvTranspose1d, nn.Conv1d: Conv1d}

Model = TypeVar("Model", bound=nn.Module)

# Methods that the forward of torch's layers calls and ours does not.
_PASSED_BY = {nn.ConvTranspose1d: "_output_padding", nn.Conv1d: "_conv_forward"}
_ATTRIBUTES_OF_THE_CLASS_ITSELF = ("__dict__", "__weakref__")


def accelerate(model: Model) -> Model:
    """Let this library compute every ``nn.ConvTranspose1d`` and ``nn.Conv1d`` in a model.

    Each becomes a :class:`ConvTranspose1d` or :class:`Conv1d` in place: the same object with the
    same parameters, buffers, hooks and training mode, wherever it is referred to. So optimisers go
    on, ``state_dict`` has the same keys, weight_norm and spectral_norm (old hooks and
    parametrisations) stay, and doing it twice does nothing. :func:`fracstride.torch.restore` is
    the way back: before quantising, and before saving a model whole for someone who does not have
    this library. To accelerate a quantised model, quantise first.

    A subclass of either stays what it is, with this library's class below it: a ``forward`` that
    calls ``super().forward`` computes what it did. The following stays torch's, and one
    ``UserWarning`` names it: a layer whose ``forward`` or ``__call__`` does not get to
    ``super().forward``, or with an ``_output_padding`` or ``_conv_forward`` of its own; a scripted
    or traced layer; and calls of ``conv_transpose1d`` and ``conv1d`` of ``torch.nn.functional`` in
    a module's own ``forward``, or in a function of the same package that it calls.

    Args:
        model: any module, possibly itself such a layer.

    Returns:
        The model.

    Raises:
        TypeError: ``model`` is no module.

    >>> model = accelerate(nn.Sequential(nn.ConvTranspose1d(2, 2, 4, stride=2), nn.Conv1d(2, 1, 7)))
    >>> isinstance(model[0], ConvTranspose1d), isinstance(model[1], Conv1d)
    (True, True)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    left = _accelerate_parts(model)
    if left:
        warnings.warn(
            "accelerate leaves to torch: "
            + "; ".join(f"{', '.join(names)}: {reason}" for reason, names in left.items()),
            stacklevel=2,
        )
    return model


def torchs_layer_below(cls: Any) -> Any:
    """Of :data:`OURS` the layer of torch that a class is or derives from, else None."""
    return next((layer for layer in OURS if issubclass(cls, layer)), None)


def _accelerate_parts(model: nn.Module) -> dict[str, list[str]]:
    """Change the classes of a model's layers; the rest by the reason why it stays torch's."""
    left: dict[str, list[str]] = {}
    calling: dict[Any, list[str]] = {}  # the modules of each class that calls torch's functions
    called: dict[Any, list[str]] = {}  # the functions
    for name, module in model.named_modules():
        cls: Any = type(module)
        where = name or "the model itself"
        layer = torchs_layer_below(cls)
        if layer is not None:
            if issubclass(_class_to_come(module), OURS[layer]):
                continue
            reason = _why_not(module, layer)
            if reason is not None:
                left.setdefault(reason, []).append(f"{where} ({cls.__name__})")
                continue
            _put_ours_below(module)
        elif isinstance(module, torch.jit.ScriptModule):
            if getattr(module, "original_name", None) in [layer.__name__ for layer in OURS]:
                left.setdefault("scripted or traced", []).append(where)
            continue
        if cls not in called:
            called[cls] = convolutions_called(cls)
        if called[cls]:
            calling.setdefault(cls, []).append(where)
    for cls, names in calling.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        functions = " and ".join(f"torch.nn.functional.{name}" for name in called[cls])
        left.setdefault(f"calls {functions} itself", []).append(
            f"{names[0]}{more} ({cls.__name__})"
        )
    return left


def _why_not(module: Any, layer: Any) -> str | None:
    """Why our class below the module's own would not be reached, or would change its results."""
    passed_by = _PASSED_BY[layer]
    for name in ("forward", passed_by):
        if name in vars(module):
            return f"its {name} was set on the object"
    cls: Any = _class_to_come(module)
    for name in ("weight", "bias"):
        own = name in vars(module) or isinstance(getattr(cls, name, None), property)
        if own and module._parameters.get(name) is not None:
            return f"its {name} is not its parameter"
    if getattr(cls, passed_by) is not getattr(layer, passed_by):
        return f"has {'an' if passed_by[1] in 'aeiou' else 'a'} {passed_by} of its own"
    if not reaches_forward_of(layer, cls):
        return "its forward does not call super().forward"
    return None


def _class_to_come(module: Any) -> Any:
    """The module's class; of a lazy module the one that it gets at its first call."""
    become: Any = module.cls_to_become if isinstance(module, LazyModuleMixin) else None
    return type(module) if become is None else become


def _put_ours_below(module: Any) -> None:
    """Give the module a class that has this library's below its own."""
    names: Any = module.parametrizations if parametrize.is_parametrized(module) else ()
    cls = _class_to_come(module)
    if cls is type(module):
        module.__class__ = _accelerated_class(cls, list(names))
    elif not issubclass(cls, OURS[torchs_layer_below(cls)]):
        module.cls_to_become = _accelerated_class(cls, list(names))


def _accelerated_class(cls: Any, names: Collection[str]) -> Any:
    """``cls`` on top of our class; ``names`` are the tensors that it has properties for."""
    if cls in OURS:
        return OURS[cls]
    if not any(name in vars(c) for c in cls.__mro__ for name in names):
        return _combined_class(cls)
    # A class that parametrisations (and FSDP above them) made for one module. When the last
    # property goes, torch gives the module the base of that class: so that base has to be ours.
    own = own_attributes(cls)
    bases = (
        base if torchs_layer_below(base) is None else _accelerated_class(base, names)
        for base in cls.__bases__
    )
    return type(cls.__name__, tuple(bases), own)


def own_attributes(cls: type) -> dict[str, Any]:
    """What a class defines itself, for a copy of it with other bases."""
    excepted = _ATTRIBUTES_OF_THE_CLASS_ITSELF
    return {key: value for key, value in vars(cls).items() if key not in excepted}


def original_class(cls: type) -> Any:
    """The class that ``accelerate`` put ours below, if ``cls`` is what became of it, else None."""
    return vars(cls).get("_before_accelerate")


@cache
def _combined_class(cls: Any) -> Any:
    """A subclass of torch's class and of ours, which stands between the two."""

    def reduce(self: Any, protocol: Any) -> Any:  # pickle does not find a class made here
        return _new, (cls,), self.__getstate__()

    own = {"__reduce_ex__": reduce, "_before_accelerate": cls}
    bases = (_NotASubclassOfTheUsers, cls, OURS[torchs_layer_below(cls)])
    return type(cls)(cls.__name__, bases, own)


class _NotASubclassOfTheUsers:
    """Keeps a class that is made here from ``__init_subclass__`` of those that it is made of."""

    def __init_subclass__(cls, **_: Any) -> None:
        """Do nothing: no registry of classes is to know this one."""


def _new(cls: Any) -> Any:  # pickles know this function by its name
    combined = _combined_class(cls)
    return combined.__new__(combined)
