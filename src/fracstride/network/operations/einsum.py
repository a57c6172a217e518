"""Sums of products over the channels, as Einstein writes them."""

from __future__ import annotations

import numpy as np

from fracstride.conv1d import Conv1d as Layer
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.expanded import Expanded
from fracstride.network.reading import Reader, Unreadable

__all__ = ["Einsum"]


class Einsum(Expanded):
    """A signal times a matrix, summed over the channels: ``"bct,oc->bot"`` is a Conv1d."""

    onnx = ("Einsum",)

    @classmethod
    def from_onnx(cls, call: Reader) -> None:
        equation = str(call.argument("equation")).replace(" ", "")
        given, arrow, result = equation.partition("->")
        terms = given.split(",")
        call.check(bool(arrow) and len(terms) == 2, f"it has {equation!r}, not two operands")
        matrix_first = _is_constant(call, "Inputs0")
        signal, matrix = terms[::-1] if matrix_first else terms
        names = ["Inputs1", "Inputs0"] if matrix_first else ["Inputs0", "Inputs1"]
        summed = {letter for letter in signal if letter not in result}
        known = (
            len(set(signal)) == len(signal) in (2, 3)
            and len(matrix) == 2
            and len(summed) == 1
            and summed < set(matrix)
            and set(result) == (set(signal) | set(matrix)) - summed
            and len(result) == len(signal)
        )
        call.check(known, f"it is {equation!r}, no product of channels and a matrix")
        (old,) = summed
        new = matrix.replace(old, "")
        weight = call.weight(names[1])
        rows = weight if matrix[1] == old else weight.T
        x, axes = call.signal_of(names[0], *_axes(signal, old))
        layer = Layer.from_weights(np.ascontiguousarray(rows)[:, :, None])
        letters = {**dict(zip(signal, axes, strict=True)), new: "C"}
        call.give(call.add(Conv1d(layer), x), "".join(letters[letter] for letter in result))


def _is_constant(call: Reader, name: str) -> bool:
    try:
        return call.optional_weight(name) is not None
    except Unreadable:
        return False


def _axes(letters: str, channels: str) -> list[str]:
    """The axes that these letters may be: the others are batch and time, in either order."""
    found = []
    for pair in ("BT", "TB") if len(letters) == 3 else ("B",):
        others = iter(pair)
        found.append("".join("C" if each == channels else next(others) for each in letters))
    return found
