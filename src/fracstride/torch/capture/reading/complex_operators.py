"""What operators of torch do to the real and the imaginary parts of complex tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fracstride.network import fourier
from fracstride.network.reading import Unreadable
from fracstride.network.recording import Call, Constant, Recording, Reference, Size
from fracstride.torch.capture.reading.axes import REARRANGING
from fracstride.torch.capture.reading.complex_calls import Part, Splitting

__all__ = ["without_complex"]


def without_complex(recording: Recording) -> Recording:
    """The recording with the parts of complex tensors in their place, as far as that goes."""
    return Splitting(recording).finished(_read)


def _read(write: Splitting, call: Call) -> bool:
    namespace, name, _ = call.operator.split(".")
    if namespace != "aten":
        return False
    if name in _OPERATORS:
        return _OPERATORS[name](write, call)
    return name in _OF_EACH and _of_each(write, call, name)


# --- makers ---------------------------------------------------------------------------------------


def _complex(write: Splitting, call: Call) -> bool:
    return write.give(call, (call.arguments["real"], call.arguments["imag"]))


def _polar(write: Splitting, call: Call) -> bool:
    return _give_polar(write, call, call.arguments["abs"], call.arguments["angle"])


def _give_polar(write: Splitting, call: Call, size: Part, angle: Part) -> bool:
    shape = write.shape_of(call)
    real, imaginary = (
        write.multiply(size, write.unary(wave, angle), shape) for wave in ("cos", "sin")
    )
    return write.give(call, (real, imaginary))


def _view_as_complex(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments["self"], write.shape_of(call)
    real, imaginary = (
        write.call("aten.select.int", shape, self=given, dim=len(shape), index=place)
        for place in (0, 1)
    )
    return write.give(call, (real, imaginary))


def _to(write: Splitting, call: Call) -> bool:
    """From real to complex numbers, or a copy."""
    given = call.arguments["self"]
    return write.is_complex(Reference(call.results[0])) and write.give(call, write.parts(given))


# --- parts ----------------------------------------------------------------------------------------


def _real(write: Splitting, call: Call) -> bool:
    return write.give_real(call, write.parts(call.arguments["self"])[0])


def _imag(write: Splitting, call: Call) -> bool:
    return write.give_real(call, write.parts(call.arguments["self"])[1])


def _view_as_real(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments["self"], write.shape_of(call)
    parts = [write.filled(part, given) for part in write.parts(given)]
    return write.give_real(call, write.call("aten.stack.default", shape, tensors=parts, dim=-1))


def _absolute(write: Splitting, call: Call) -> bool:
    shape, (real, imaginary) = write.shape_of(call), write.parts(call.arguments["self"])
    squares = (write.multiply(part, part, shape) for part in (real, imaginary))
    return write.give_real(call, write.unary("sqrt", write.add(*squares, shape)))


def _angle(write: Splitting, call: Call) -> bool:
    shape, (real, imaginary) = write.shape_of(call), write.parts(call.arguments["self"])
    if not isinstance(real, Reference) or not isinstance(imaginary, Reference):
        return False
    return write.give_real(call, write.call("aten.atan2.default", shape, self=imaginary, other=real))


# --- elementwise ----------------------------------------------------------------------------------


def _sum(sign: int) -> Callable[[Splitting, Call], bool]:
    def read(write: Splitting, call: Call) -> bool:
        given, shape = call.arguments, write.shape_of(call)
        if given.get("alpha", 1) != 1:
            return False
        a, b = (write.parts(_number(given[name])) for name in ("self", "other"))
        if sign < 0:
            b = (write.negative(b[0]), write.negative(b[1]))
        real, imaginary = (write.add(*each, shape) for each in zip(a, b, strict=True))
        return write.give(call, (real, imaginary))

    return read


def _multiply(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments, write.shape_of(call)
    (a, b), (c, d) = (write.parts(_number(given[name])) for name in ("self", "other"))
    return write.give(call, _product(write, (a, b), (c, d), shape))


def _product(
    write: Splitting, one: tuple[Part, Part], other: tuple[Part, Part], shape: Sequence[Size]
) -> tuple[Part, Part]:
    (a, b), (c, d) = one, other

    def times(x: Part, y: Part) -> Part:
        return write.multiply(x, y, shape)

    bd = times(b, d)
    if not isinstance(bd, float) and not isinstance(ac := times(a, c), float):
        real: Part = write.call("aten.sub.Tensor", shape, self=ac, other=bd)
    else:
        real = write.add(times(a, c), write.negative(bd), shape)
    return real, write.add(times(a, d), times(b, c), shape)


def _divide(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments, write.shape_of(call)
    if given.get("rounding_mode") is not None:
        return False
    one, (c, d) = (write.parts(_number(given[name])) for name in ("self", "other"))
    if d == 0.0:
        real, imaginary = (write.divide(part, c, shape) for part in one)
        return write.give(call, (real, imaginary))
    own = write.shape(given["other"])
    size = write.add(write.multiply(c, c, own), write.multiply(d, d, own), own)
    turned = _product(write, one, (c, write.negative(d)), shape)
    return write.give(call, (write.divide(turned[0], size, shape), write.divide(turned[1], size, shape)))


def _negative(write: Splitting, call: Call) -> bool:
    real, imaginary = map(write.negative, write.parts(call.arguments["self"]))
    return write.give(call, (real, imaginary))


def _conjugate(write: Splitting, call: Call) -> bool:
    real, imaginary = write.parts(call.arguments["self"])
    return write.give(call, (real, write.negative(imaginary)))


def _exp(write: Splitting, call: Call) -> bool:
    real, imaginary = write.parts(call.arguments["self"])
    return _give_polar(write, call, write.unary("exp", real), imaginary)


def _number(given: Any) -> Any:
    return float(given) if isinstance(given, (bool, int)) else given


# --- axes -----------------------------------------------------------------------------------------

_OF_EACH = frozenset(REARRANGING) - {"to", "_to_copy", "type_as"} | {"resolve_conj", "resolve_neg"}


def _of_each(write: Splitting, call: Call, name: str) -> bool:
    """The same call of each part."""
    results: list[list[Part]] = []
    shapes = [write.shape_of(call, place) for place in range(len(call.results))]
    for place in (0, 1):
        parts: list[Part] = []

        def part_of(given: Any, place: int = place, parts: list[Part] = parts) -> Any:
            if isinstance(given, (list, tuple)):
                return [part_of(each) for each in given]
            if isinstance(given, (Reference, Constant)):
                parts.append(write.parts(given)[place])
                return write.filled(parts[-1], given)
            return given

        arguments = {key: part_of(given) for key, given in call.arguments.items()}
        if all(part == 0.0 for part in parts) and (place or not arguments.get("value")):
            results.append([0.0] * len(shapes))
            continue
        if place and "value" in arguments:
            arguments["value"] = 0.0 if arguments["value"] is not None else None
        if name.startswith("resolve"):
            results.append(list(parts))
            continue
        results.append(list(write.calls(call.operator, shapes, **arguments)))
    for result, (real, imaginary) in enumerate(zip(*results, strict=True)):
        write.give(call, (real, imaginary), result)
    return True


# --- spectra --------------------------------------------------------------------------------------


def _stft(write: Splitting, call: Call) -> bool:
    given, shape = call.arguments, write.shape_of(call)
    if write.is_complex(given["self"]) or write.is_complex(given["window"]):
        return False
    given = {**given, "return_complex": False}
    packed = write.call(call.operator, (*shape, 2), **given)
    real, imaginary = (
        write.call("aten.select.int", shape, self=packed, dim=len(shape), index=place)
        for place in (0, 1)
    )
    return write.give(call, (real, imaginary))


def _istft(write: Splitting, call: Call) -> bool:
    given = call.arguments
    if given.get("return_complex") or write.is_complex(given["window"]):
        return False
    parts = [write.filled(part, given["self"]) for part in write.parts(given["self"])]
    arguments = {**given, "self": parts}
    return write.give_real(call, write.call(call.operator, write.shape_of(call), **arguments))


class _Transform:
    """A Fourier transform along an axis of a fixed size: products with matrices."""

    def __init__(self, write: Splitting, call: Call) -> None:
        self._write = write
        given = call.arguments
        self.parts, shape = write.parts(given["self"]), write.shape(given["self"])
        self.norm = given.get("norm") or "backward"
        self._axis = given["dim"] % len(shape)
        self._shape = list(shape)
        size = shape[self._axis]
        wanted: Any = size if given.get("n") is None else given["n"]
        if call.operator.startswith("aten.fft_irfft"):
            wanted = write.shape_of(call)[self._axis]
        if not isinstance(size, int) or not isinstance(wanted, int):
            raise Unreadable("it transforms time or the batch")
        self.given, self.points = size, wanted

    def some(self, part: Part, first: int, end: int) -> Part:
        """Some positions along the axis."""
        if isinstance(part, float) or (first, end) == (0, self._write.shape(part)[self._axis]):
            return part
        sizes = self._sizes(end - first)
        given = {"dim": self._axis, "start": first, "end": end, "step": 1}
        return self._write.call("aten.slice.Tensor", sizes, self=part, **given)

    def joined(self, parts: Sequence[Part]) -> Part:
        """Stretches one after the other along the axis."""
        if len(parts) == 1:
            return parts[0]
        count = sum(self._write.shape(part)[self._axis] for part in parts)  # type: ignore[misc]
        sizes = self._sizes(count)
        return self._write.call("aten.cat.default", sizes, tensors=list(parts), dim=self._axis)

    def product(self, part: Part, matrix: Any) -> Part:
        """The matrix times each column along the axis."""
        write, last = self._write, len(self._shape) - 1
        weight = Constant(np.ascontiguousarray(matrix).astype(write.dtype))
        before, after = self._sizes(matrix.shape[1]), self._sizes(matrix.shape[0])
        swap = {"dim0": self._axis, "dim1": last}
        if self._axis == last:
            return write.call("aten.linear.default", after, input=part, weight=weight)
        part = write.call("aten.transpose.int", _swapped(before, self._axis), self=part, **swap)
        part = write.call(
            "aten.linear.default", _swapped(after, self._axis), input=part, weight=weight
        )
        return write.call("aten.transpose.int", after, self=part, **swap)

    def _sizes(self, along: int) -> list[Size]:
        return [*self._shape[: self._axis], along, *self._shape[self._axis + 1 :]]


def _swapped(sizes: Sequence[Size], axis: int) -> list[Size]:
    swapped = list(sizes)
    swapped[axis], swapped[-1] = sizes[-1], sizes[axis]
    return swapped


def _rfft(write: Splitting, call: Call) -> bool:
    transform = _Transform(write, call)
    used = min(transform.given, transform.points)
    bins = write.shape_of(call)[call.arguments["dim"] % len(write.shape_of(call))]
    assert isinstance(bins, int)
    matrix = fourier.forward(transform.points, bins, transform.norm)[:, :, :used]
    x = transform.some(transform.parts[0], 0, used)
    real, imaginary = (transform.product(x, matrix[:, place]) for place in (0, 1))
    return write.give(call, (real, imaginary))


def _irfft(write: Splitting, call: Call) -> bool:
    transform = _Transform(write, call)
    size, (real, imaginary) = transform.points, transform.parts
    bins = min(fourier.bins_of(size), transform.given)
    others = min(fourier.imaginary_end(size), bins)
    rows = fourier.real_inverse(size, transform.norm)
    first = fourier.bins_of(size)
    parts, used = [], []
    if not isinstance(real, float):
        parts.append(transform.some(real, 0, bins))
        used.append(rows[:bins])
    if not isinstance(imaginary, float) and others > 1:
        parts.append(transform.some(imaginary, 1, others))
        used.append(rows[first : first + others - 1])
    if not parts or (isinstance(real, float) and real) or isinstance(imaginary, float) and imaginary:
        return False
    matrix = np.concatenate(used).T
    return write.give_real(call, transform.product(transform.joined(parts), matrix))


def _fft(forward: bool) -> Callable[[Splitting, Call], bool]:
    def read(write: Splitting, call: Call) -> bool:
        transform = _Transform(write, call)
        size = transform.points
        used = min(transform.given, size)
        if forward:  # the conjugate of the inverse of the conjugate
            norm = {"backward": "forward", "forward": "backward"}.get(transform.norm, "ortho")
            matrix = fourier.inverse(size, norm) * np.array([[1, -1], [-1, 1]])[:, :, None]
        else:
            matrix = fourier.inverse(size, transform.norm)
        matrix = matrix[:used]
        real, imaginary = (
            isinstance(part, float) or transform.some(part, 0, used) for part in transform.parts
        )
        kept = [p for p in (real, imaginary) if not isinstance(p, bool)]
        places = [p for p, part in enumerate((real, imaginary)) if not isinstance(part, bool)]
        if not kept or any(isinstance(p, float) and p for p in transform.parts):
            return False
        x = transform.joined(kept)
        results = []
        for result in (0, 1):
            rows = np.concatenate([matrix[:, place, result] for place in places])
            results.append(transform.product(x, rows.T))
        return write.give(call, (results[0], results[1]))

    return read


_OPERATORS: dict[str, Callable[[Splitting, Call], bool]] = {
    "complex": _complex,
    "polar": _polar,
    "view_as_complex": _view_as_complex,
    **dict.fromkeys(("to", "_to_copy"), _to),
    "real": _real,
    "imag": _imag,
    "view_as_real": _view_as_real,
    **dict.fromkeys(("abs", "absolute"), _absolute),
    "angle": _angle,
    "add": _sum(1),
    **dict.fromkeys(("sub", "subtract"), _sum(-1)),
    **dict.fromkeys(("mul", "multiply"), _multiply),
    **dict.fromkeys(("div", "divide", "true_divide"), _divide),
    **dict.fromkeys(("neg", "negative"), _negative),
    **dict.fromkeys(("_conj", "conj", "conj_physical"), _conjugate),
    "exp": _exp,
    "stft": _stft,
    "istft": _istft,
    "fft_rfft": _rfft,
    "fft_irfft": _irfft,
    "fft_fft": _fft(True),
    "fft_ifft": _fft(False),
}
