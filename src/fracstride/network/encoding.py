"""Fields of operations as JSON and tensors, and back again."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.conv1d import Conv1d
from fracstride.convolution import Convolution
from fracstride.layer import ConvTranspose1d
from fracstride.network.extent import LONGEST_PERIOD, Extent

__all__ = ["Decoder", "Encoder"]

_LAYERS: dict[str, Any] = {kind.__name__: kind for kind in (Conv1d, ConvTranspose1d)}
_SIZES = ("stride", "dilation", "padding_mode")
_PLAIN = (bool, int, float, str, NoneType)
_BFLOAT16 = "bfloat16"  # safetensors has it, NumPy does not: its bits are kept


class Encoder:
    """What fields hold, in JSON; arrays are put into :attr:`tensors`."""

    def __init__(self) -> None:
        self.tensors: dict[str, Array] = {}

    def fields(self, operation: Any) -> dict[str, Any]:
        """Those of a dataclass."""
        return {f.name: self(getattr(operation, f.name)) for f in fields(operation)}

    def __call__(self, value: Any) -> Any:
        """A value."""
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, tuple):
            return [self(each) for each in value]
        if isinstance(value, Extent):
            return [value.step, list(value.offsets)]
        if isinstance(value, np.ndarray):
            return self._tensor(value)
        if isinstance(value, Convolution):
            return self._layer(value)
        raise TypeError(f"{type(value).__name__} cannot be written to a file")

    def _tensor(self, array: Array) -> dict[str, str]:
        name = f"t{len(self.tensors)}"
        bits = array.view(np.uint16) if array.dtype.name == _BFLOAT16 else array
        self.tensors[name] = np.ascontiguousarray(bits)
        return {"tensor": name, "dtype": array.dtype.name}

    def _layer(self, layer: Convolution[Any]) -> dict[str, Any]:
        g = layer.geometry
        written = {name: getattr(g, name) for name in _SIZES}
        if g.is_transposed:
            written["output_padding"] = g.output_padding
        return {
            "kind": type(layer).__name__,
            "weight": self(np.asarray(layer.weight)),
            "bias": None if layer.bias is None else self(np.asarray(layer.bias)),
            "padding": [g.padding_left, g.padding_right],
            "groups": layer.groups,
            **written,
        }


@cache
def _types(kind: type) -> dict[str, Any]:
    """What each field of a dataclass is declared as."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


class Decoder:
    """The values of fields, from JSON and tensors that may be anything.

    Raises:
        ValueError, TypeError, KeyError: something is not what it must be.
    """

    def __init__(self, tensors: dict[str, Array]) -> None:
        self._tensors = tensors

    def fields(self, kind: type, written: dict[str, Any]) -> dict[str, Any]:
        """Those of a dataclass, each of the type that it declares."""
        types = _types(kind)
        if set(written) - set(types):
            raise ValueError(f"{kind.__name__} has no such parameters: {sorted(written)}")
        return {name: self._value(types[name], each) for name, each in written.items()}

    def tensor(self, written: Any) -> Array:
        """An array."""
        array = self._tensors[written["tensor"]]
        if written["dtype"] == _BFLOAT16:
            array = array.view(as_dtype(_BFLOAT16))
        if array.dtype.name != written["dtype"]:
            raise ValueError(f"a tensor has the dtype {array.dtype}, not {written['dtype']}")
        return array

    def extent(self, written: Any) -> Extent:
        """A length as a function of the clock."""
        step, offsets = written
        numbers = [step, *offsets]
        if not all(type(number) is int and abs(number) < 2**40 for number in numbers) or step < 0:
            raise ValueError("an extent must have whole numbers")
        if not 1 <= len(offsets) <= LONGEST_PERIOD:
            raise ValueError("an extent has too many remainders")
        return Extent(step, tuple(offsets))

    def _value(self, hint: Any, written: Any) -> Any:
        origin = get_origin(hint)
        if origin in (Union, UnionType):
            if written is None:
                return None
            (hint,) = (each for each in get_args(hint) if each is not NoneType)
            return self._value(hint, written)
        if origin is tuple:
            return self._tuple(get_args(hint), written)
        if origin is np.ndarray:
            return self.tensor(written)
        if hint is Extent:
            return self.extent(written)
        if isinstance(origin or hint, type) and issubclass(origin or hint, Convolution):
            return self._layer(written)
        if hint is float and type(written) in (int, float):
            return float(written)
        if hint in _PLAIN and type(written) is hint:
            return written
        raise TypeError(f"{written!r} is no {getattr(hint, '__name__', hint)}")

    def _tuple(self, hints: tuple[Any, ...], written: Any) -> Any:
        if not isinstance(written, list):
            raise TypeError(f"{written!r} is no list")
        if hints[-1] is Ellipsis:
            hints = (hints[0],) * len(written)
        return tuple(self._value(h, each) for h, each in zip(hints, written, strict=True))

    def _layer(self, written: dict[str, Any]) -> Any:
        given = dict(written)
        make = _LAYERS[given.pop("kind")].from_weights
        bias, padding = given.pop("bias"), given.pop("padding")
        weight = self.tensor(given.pop("weight"))
        given["bias"] = None if bias is None else self.tensor(bias)
        return make(weight, padding=tuple(padding), **given)
