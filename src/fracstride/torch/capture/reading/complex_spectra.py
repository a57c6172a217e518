"""Fourier transforms of torch, with the real and the imaginary parts of complex tensors.

A transform over channels is a product with a matrix; one over time is an STFT or its inverse, which
their operations read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fracstride.network import fourier
from fracstride.network.reading import Unreadable
from fracstride.network.recording import Call, Constant, Size
from fracstride.torch.capture.reading.complex_calls import Part, Splitting

__all__ = ["SPECTRA"]


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

    @property
    def has_number(self) -> bool:
        """Whether a part is one number everywhere, which is not 0."""
        return any(isinstance(part, float) and part != 0.0 for part in self.parts)

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
        count = sum(self._write.shape(part)[self._axis] for part in parts)
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
    end = min(fourier.imaginary_end(size), bins)
    rows, first = fourier.real_inverse(size, transform.norm), fourier.bins_of(size)
    parts, used = [], []
    if not isinstance(real, float):
        parts.append(transform.some(real, 0, bins))
        used.append(rows[:bins])
    if not isinstance(imaginary, float) and end > 1:
        parts.append(transform.some(imaginary, 1, end))
        used.append(rows[first : first + end - 1])
    if not parts or transform.has_number:
        return False
    matrix = np.concatenate(used).T
    return write.give_real(call, transform.product(transform.joined(parts), matrix))


def _fft(*, inverse: bool) -> Callable[[Splitting, Call], bool]:
    def read(write: Splitting, call: Call) -> bool:
        transform = _Transform(write, call)
        used = min(transform.given, transform.points)
        matrix = fourier.between_complex(transform.points, transform.norm, inverse=inverse)[:used]
        places = [i for i, part in enumerate(transform.parts) if not isinstance(part, float)]
        if not places or transform.has_number:
            return False
        x = transform.joined([transform.some(transform.parts[i], 0, used) for i in places])
        results = []
        for result in (0, 1):
            rows = np.concatenate([matrix[:, place, result] for place in places])
            results.append(transform.product(x, rows.T))
        return write.give(call, (results[0], results[1]))

    return read


#: By operator, what writes its calls anew.
SPECTRA: dict[str, Callable[[Splitting, Call], bool]] = {
    "stft": _stft,
    "istft": _istft,
    "fft_rfft": _rfft,
    "fft_irfft": _irfft,
    "fft_fft": _fft(inverse=False),
    "fft_ifft": _fft(inverse=True),
}
