"""``restore``: give an accelerated model torch's own classes back; undoes ``accelerate``."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from fracstride.conv1d_geometry import conv1d_geometry_of
from fracstride.geometry import Geometry
from fracstride.torch.accelerate import (
    OURS,
    original_class,
    own_attributes,
    torchs_layer_below,
)
from fracstride.torch.module import Conv1d, ConvTranspose1d
from fracstride.torch.module_geometry import geometry_of_module

__all__ = ["restore"]

Model = TypeVar("Model", bound=nn.Module)

_OUR_CLASSES = tuple(OURS.values())
_OUR_FORWARDS = (ConvTranspose1d.forward, Conv1d.forward, Conv1d._conv_forward)


def restore(model: Model) -> Model:
    """Give an accelerated model torch's own classes back: the inverse of ``accelerate``.

    In place: the same objects with the same parameters, buffers, hooks and training mode. Nothing
    of this library stays in the model, which can then be quantised, saved whole for someone who
    does not have the library, and accelerated again. A model that was never accelerated is not
    changed.

    A :class:`ConvTranspose1d` or :class:`Conv1d` of this library that was put in by hand becomes
    torch's, if torch's computes the same. (A model under the styles of
    ``fracstride.torch.distributed`` needs this library, and is not for ``restore``.)

    Args:
        model: any module, possibly itself such a layer.

    Returns:
        The model.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: torch has no such layer: a padding mode, another padding on each side, a
            subclass of this library's class. The message names all of them; the model is as it was.

    >>> model = nn.Sequential(ConvTranspose1d(2, 2, 4, stride=2, padding="same"), nn.ReLU())
    >>> restore(model)
    Sequential(
      (0): ConvTranspose1d(2, 2, kernel_size=(4,), stride=(2,), padding=(1,))
      (1): ReLU()
    )
    >>> type(model[0])
    <class 'torch.nn.modules.conv.ConvTranspose1d'>
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    changes: list[tuple[Any, Any, dict[str, Any]]] = []
    refused = []
    for name, module in model.named_modules():
        if isinstance(module, LazyModuleMixin):
            changes.append((module, type(module), {}))
        elif isinstance(module, _OUR_CLASSES):
            cls, form = (
                _restored_class(type(module), _parametrized_names(module)),
                _torchs_form(module),
            )
            changes.append((module, cls, form if isinstance(form, dict) else {}))
            if issubclass(cls, _OUR_CLASSES):
                ours = OURS[torchs_layer_below(cls)].__name__
                form = f"{cls.__name__} is a subclass of fracstride.torch.{ours}"
            if isinstance(form, str):
                refused.append(f"{name or 'the model itself'} ({form})")
    if refused:
        raise ValueError("torch has no layer that does the same: " + ", ".join(refused))
    for module, cls, form in changes:
        module.__class__ = cls
        own = vars(module)
        own.update(form)
        own.pop("_packed_weights", None)
        _rebind(module)
        _restore_class_to_come(module)
    return model


def _rebind(module: Any) -> None:
    """Attributes that hold our ``forward``, as wrappers of a module keep it, hold the class's own.

    (A wrapper that holds it in a closure goes on calling it, and gets the same numbers.)
    """
    own = vars(module)
    for name, value in own.items():
        function = getattr(value, "__func__", None)
        if function in _OUR_FORWARDS and value.__self__ is module:
            own[name] = getattr(type(module), function.__name__).__get__(module)


def _parametrized_names(module: Any) -> tuple[str, ...]:
    """The tensors of a module that its class has properties for."""
    return tuple(module.parametrizations) if parametrize.is_parametrized(module) else ()


def _restored_class(cls: Any, names: tuple[str, ...] = ()) -> Any:
    """The class with torch's below it; a class that a user wrote on top of ours stays."""
    if cls in _OUR_CLASSES:
        return torchs_layer_below(cls)
    before = original_class(cls)
    if before is not None:
        return before
    by_torch = cls.__module__.partition(".")[0] == "torch" or any(
        name in vars(cls) for name in names
    )
    if issubclass(cls, _OUR_CLASSES) and by_torch:
        # Made by parametrisations or FSDP for this module, before accelerate or afterwards.
        bases = tuple(_restored_class(base, names) for base in cls.__bases__)
        return type(cls)(cls.__name__, bases, own_attributes(cls))
    return cls


def _torchs_form(module: Any) -> dict[str, Any] | str:
    """The sizes as attributes of torch's layer; a str names the arguments that it does not have."""
    padding: Any = module.padding
    lacking = []
    if isinstance(module, nn.Conv1d):
        if padding in ("same", "valid") or len(padding) == 1:
            return {}
        if isinstance(padding, str):
            g = conv1d_geometry_of(
                module.kernel_size, module.stride, padding, module.dilation, "zeros"
            )
            if g.padding_left == g.padding_right:
                pair = (g.padding_left, g.padding_right)
                return {"padding": pair[:1], "_reversed_padding_repeated_twice": pair}
        return f"padding={padding!r}"
    if module.padding_mode != "zeros":
        lacking.append(f"padding_mode={module.padding_mode!r}")
    if type(padding) is tuple and len(padding) == 1:
        return ", ".join(lacking) or {}
    geometry = geometry_of_module(module)
    assert isinstance(geometry, Geometry)
    if geometry.padding_left != geometry.padding_right:
        lacking.append(f"padding={padding!r}")
    return ", ".join(lacking) or {
        "padding": (geometry.padding_left,),
        "output_padding": (geometry.total_output_padding,),
    }


def _restore_class_to_come(module: Any) -> None:
    """Restore ``cls_to_become`` of a module that is lazy, or was until its first call."""
    become = getattr(module, "cls_to_become", None)
    own = vars(module)
    if become is None or not issubclass(become, _OUR_CLASSES):
        return
    own.pop("cls_to_become", None)
    restored = _restored_class(become)
    if getattr(module, "cls_to_become", restored) is not restored:
        own["cls_to_become"] = restored
