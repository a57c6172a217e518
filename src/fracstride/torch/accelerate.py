"""``accelerate``: a model's own transposed convolutions, computed by this library."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import cache
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from fracstride.torch.module import ConvTranspose1d

__all__ = ["accelerate"]

Model = TypeVar("Model", bound=nn.Module)
_Class = type[nn.ConvTranspose1d]

_COMPUTE = ("forward", "__call__", "_output_padding")
_OF_THE_CLASS_ITSELF = ("__dict__", "__weakref__")


def accelerate(model: Model) -> Model:
    """Let this library compute every ``nn.ConvTranspose1d`` in a model.

    Each becomes a :class:`ConvTranspose1d` in place: the same object with the same parameters,
    buffers, hooks and training mode, wherever it is referred to. So optimisers go on,
    ``state_dict`` has the same keys, weight_norm and spectral_norm (old hooks and
    parametrisations) stay, and doing it twice does nothing.

    A subclass of ``nn.ConvTranspose1d`` with a ``forward`` of its own is left alone, since nobody
    knows what it computes, and a ``UserWarning`` names it. Other subclasses stay what they are,
    with this library's class below them.

    Args:
        model: any module, possibly itself an ``nn.ConvTranspose1d``.

    Returns:
        The model.

    Raises:
        TypeError: ``model`` is no module.

    >>> model = nn.Sequential(nn.ConvTranspose1d(2, 2, 4, stride=2), nn.ReLU())
    >>> isinstance(accelerate(model)[0], ConvTranspose1d)
    True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    left_alone = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ConvTranspose1d) or isinstance(module, ConvTranspose1d):
            continue
        if _computes_something_of_its_own(module):
            left_alone.append(f"{name or 'the model itself'} ({type(module).__name__})")
        elif isinstance(module, LazyModuleMixin):
            module.cls_to_become = ConvTranspose1d
        else:
            made: Any = module.parametrizations if parametrize.is_parametrized(module) else ()
            module.__class__ = _accelerated(type(module), list(made))
    if left_alone:
        warnings.warn(
            "accelerate leaves alone what has a forward of its own: " + ", ".join(left_alone),
            stacklevel=2,
        )
    return model


def _computes_something_of_its_own(module: nn.ConvTranspose1d) -> bool:
    cls = type(module)
    lazy = isinstance(module, LazyModuleMixin)
    return any(
        name in vars(module)
        or (not lazy and getattr(cls, name) is not getattr(nn.ConvTranspose1d, name))
        for name in _COMPUTE
    )


def _accelerated(cls: _Class, made: Collection[str]) -> type[ConvTranspose1d]:
    """``cls`` on top of our class; ``made`` are the tensors that it has properties for."""
    if cls is nn.ConvTranspose1d:
        return ConvTranspose1d
    if not any(name in vars(c) for c in cls.__mro__ for name in made):
        subclass: Any = cls  # for mypy, to which the classes of modules have no hash
        return _combined(subclass)
    # What parametrisations (and FSDP above them) make for one module. When the last property goes,
    # torch gives the module the base of the class that has it: so that base has to be ours.
    own = {key: value for key, value in vars(cls).items() if key not in _OF_THE_CLASS_ITSELF}
    bases = (
        _accelerated(base, made) if issubclass(base, nn.ConvTranspose1d) else base
        for base in cls.__bases__
    )
    return type(cls.__name__, tuple(bases), own)


@cache
def _combined(cls: Any) -> type[ConvTranspose1d]:
    """A subclass of torch's class and of ours, which stands between the two."""

    def reduce(self: Any, protocol: Any) -> Any:  # pickle does not find a class made here
        return _new, (cls,), self.__getstate__()

    return type(cls.__name__, (cls, ConvTranspose1d), {"__reduce_ex__": reduce})


def _new(cls: Any) -> ConvTranspose1d:
    combined = _combined(cls)
    return combined.__new__(combined)
