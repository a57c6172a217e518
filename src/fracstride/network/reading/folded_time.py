"""Reshapes between time and channels: a signal of another rate, made by a convolution.

``(B, C, T, r)`` as ``(B, C, T*r)`` puts r channels between each other (a pixel shuffle of time);
``(B, C, T*r)`` as ``(B, C, T, r)`` takes them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.conv1d import Conv1d as Conv1dLayer
from fracstride.layer import ConvTranspose1d as ConvTranspose1dLayer
from fracstride.network.layout import TIME, Axis, Split, View, split
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.reading.lowering import Lowering
from fracstride.network.recording import Call, Size, Varying

__all__ = ["with_time_of"]


def with_time_of(
    lowering: Lowering, call: Call, view: View, sizes: Sequence[Size]
) -> tuple[View, list[Size]]:
    """A view and its sizes, with time folded as the result of a reshape has it.

    Both are as they were where that has the same length, or no fold gives its length.
    """
    here, found = view.axes.index(TIME) if TIME in view.axes else -1, list(sizes)
    result = lowering.shape(call.results[0])
    whole = here < 0 or not isinstance(sizes[here], Varying) or sizes[here] in result
    if whole or view.value.is_codes:
        return view, found
    lengths = lowering.sizes(sizes[here])
    for place, size in enumerate(result):
        wanted = lowering.sizes(size)
        if not isinstance(size, Varying) or 0 in (*lengths, *wanted):
            continue
        times = {wanted[0] // lengths[0], lengths[0] // wanted[0]} - {0}
        for factor in times - {1}:
            if [n * factor for n in lengths] == list(wanted):
                behind = _taken(view.axes[here + 1 :], factor)
                if behind is not None:
                    return _joined(lowering, call, view, here, behind, found, size)
            splits = _channels_behind(result[place + 1 :]) % factor == 0
            if splits and [n * factor for n in wanted] == list(lengths):
                parted = _parted(lowering, call, view, here, factor)
                return parted, [*found[:here], size, factor, *found[here + 1 :]]
    return view, found


def _channels_behind(sizes: Sequence[Size]) -> int:
    """The product of the first sizes that do not vary."""
    first: list[int] = []
    for size in sizes:
        if not isinstance(size, int):
            break
        first.append(size)
    return prod(first)


def _taken(axes: Sequence[Axis], factor: int) -> tuple[list[Split], list[Axis]] | None:
    """The first axes as those whose sizes have this product, and the others; None without."""
    taken: list[Split] = []
    for place, axis in enumerate(axes):
        if not isinstance(axis, Split):
            break
        if factor % axis.size == 0:
            taken.append(axis)
            factor //= axis.size
            rest = list(axes[place + 1 :])
        elif axis.size % factor == 0:
            inner = axis.size // factor
            taken.append(Split(factor, axis.step * inner))
            factor, rest = 1, [Split(inner, axis.step), *axes[place + 1 :]]
        else:
            break
        if factor == 1:
            return taken, rest
    return None


def _joined(
    lowering: Lowering,
    call: Call,
    view: View,
    here: int,
    behind: tuple[list[Split], list[Axis]],
    sizes: list[Size],
    size: Size,
) -> tuple[View, list[Size]]:
    """Channels of some axes that stand behind time, between each other."""
    taken, rest = behind
    others = [*view.axes[: here + 1], *rest]
    x = lowering.plain(View(view.value, (*others, *taken)), call.path).value
    factor = prod(axis.size for axis in taken)
    layer = ConvTranspose1dLayer.from_weights(
        _places(lowering, x.channels, factor), stride=factor, groups=x.channels // factor
    )
    y = lowering.graph.add(ConvTranspose1d(layer), x, path=call.path)
    joined = View(y, split(*(axis.size if isinstance(axis, Split) else axis for axis in others)))
    kept = sizes[len(sizes) - len(rest) :]
    if rest and isinstance(rest[0], Split):  # of which a part may have been taken
        kept[0] = rest[0].size
    return joined, [*sizes[:here], size, *kept]


def _parted(lowering: Lowering, call: Call, view: View, here: int, factor: int) -> View:
    """So many positions as channels, which stand behind time."""
    x = lowering.plain(view, call.path)
    count = x.value.channels
    weight = _places(lowering, count * factor, factor)
    layer = Conv1dLayer.from_weights(weight, stride=factor, groups=count)
    y = lowering.graph.add(Conv1d(layer), x.value, path=call.path)
    axes = [Split(a.size, a.step * factor) if isinstance(a, Split) else a for a in x.axes]
    return View(y, (*axes[: here + 1], Split(factor, 1), *axes[here + 1 :]))


def _places(lowering: Lowering, rows: int, factor: int) -> Array:
    """A weight with 1 where row ``c*factor + j`` meets tap ``j``."""
    ones = np.tile(np.eye(factor), (rows // factor, 1))
    return np.ascontiguousarray(ones[:, None, :].astype(as_dtype(lowering.dtype)))
