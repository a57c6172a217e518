"""The chunks that a network's stream takes, and the pieces that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fracstride.arguments import as_size
from fracstride.arrays import Array, DType
from fracstride.network.codes import as_numbers
from fracstride.network.graph import Graph
from fracstride.network.layout import BATCH, is_plain
from fracstride.network.layouts import Layouts
from fracstride.network.streaming.schedule import has_time
from fracstride.network.value import Value

__all__ = ["Chunks"]


class Chunks:
    """What a caller gives at each push, and how it lies.

    Args:
        graph: of the network.
        dtype: of the signals.
        layouts: axes of the inputs and outputs, where they are not ``(B, channels, L)``.
        batch_size: rows, or None for chunks without a batch.
    """

    def __init__(
        self, graph: Graph, dtype: DType, layouts: Layouts | None, batch_size: int | None
    ) -> None:
        if layouts is not None and all(map(is_plain, (*layouts.inputs, *layouts.outputs))):
            layouts = None
        if layouts is not None and batch_size is None:
            raise ValueError("batch_size must be a number for a network with axes of its own")
        self._dtype, self._layouts = dtype, layouts
        #: Rows of each chunk; None for chunks without a batch, which have one.
        self.batch_size = None if batch_size is None else as_size("batch_size", batch_size, 1)
        self.rows = 1 if self.batch_size is None else self.batch_size
        #: The inputs with time, and those without.
        self.values = [value for value in graph.inputs if has_time(value)]
        self._per_tick = [int(value.rate) for value in self.values]
        self._timeless = [value for value in graph.inputs if not has_time(value)]
        axes = zip(graph.inputs, layouts.inputs if layouts else (), strict=layouts is not None)
        #: Axes of the inputs whose own are not ``(B, channels, L)``.
        self._turned = {value: each for value, each in axes if not is_plain(each)}
        # (Of a native dtype most arrays have the same object, which is compared faster.)
        turned = self.values[0] in self._turned
        self._plain_dtype = None if turned else np.dtype(self._dtype.type)

    def signals(self, given: Sequence[Any]) -> tuple[list[Array], int]:
        """The chunks as ``(B, channels, L)``, and the ticks that they last.

        Raises:
            ValueError, TypeError: one does not fit, with what would.
        """
        if len(given) != len(self.values):
            wanted = f"{len(self.values)} chunks" if len(self.values) > 1 else "one chunk"
            raise TypeError(f"a push takes {wanted}, got {len(given)}")
        arrays = self._arrays(self.values, given, "chunk")
        return arrays, self._ticks(arrays)

    def ordinary(self, chunk: Any) -> Array | None:
        """The one chunk as ``(B, channels, L)``, whole ticks, if it is as it should be; or None.

        (Its rows and channels are not looked at: the push itself refuses others than its own.)
        """
        if type(chunk) is not np.ndarray or self._plain_dtype is None:
            return None
        if chunk.dtype is not self._plain_dtype and chunk.dtype != self._plain_dtype:
            return None
        signal = chunk if self.batch_size is not None else chunk[None]
        return signal if signal.ndim == 3 and not signal.shape[2] % self._per_tick[0] else None

    def _ticks(self, arrays: Sequence[Array]) -> int:
        """The ticks that the chunks last."""
        ticks: int | None = None
        for value, per_tick, array in zip(self.values, self._per_tick, arrays, strict=True):
            length = array.shape[2]
            count, rest = divmod(length, per_tick)
            if rest or ticks not in (None, count):
                wanted = f"a multiple of {per_tick}" if ticks is None else str(per_tick * ticks)
                raise ValueError(
                    f"the length of the chunk of {value.name or 'the input'} must be {wanted}, "
                    f"got {length}"
                )
            ticks = count
        assert ticks is not None
        return ticks

    def empty(self) -> tuple[list[Array], int]:
        """Chunks of no ticks."""
        shapes = [((self.rows, v.channels, 0), v.dtype(self._dtype)) for v in self.values]
        return [np.empty(shape, dtype) for shape, dtype in shapes], 0

    def constants(self, given: Sequence[Any]) -> dict[Value, Array]:
        """The inputs without time.

        Raises:
            ValueError, TypeError: one does not fit, with what would.
        """
        if not isinstance(given, (list, tuple)):
            raise TypeError(f"constants must be a list or tuple, got {type(given).__name__}")
        if len(given) != len(self._timeless):
            names = ", ".join(value.name or "an input" for value in self._timeless)
            shown = f" ({names})" if names else ""
            raise TypeError(
                f"constants must be the {len(self._timeless)} inputs without time{shown}, got "
                f"{len(given)}"
            )
        arrays = self._arrays(self._timeless, given, "constants")
        assert all(len(array) == self.rows for array in arrays)
        return {v: np.array(x) for v, x in zip(self._timeless, arrays, strict=True)}

    #: Whether :meth:`check_end` may raise.
    may_refuse_end = False

    def check_end(self, ticks: int) -> None:
        """Raise ``ValueError`` if a signal of so many ticks is refused, though not as too short."""

    def check_longer(self, ticks: int) -> None:
        """The same, if it is refused also a little longer."""

    def results(self, outs: Sequence[Array]) -> Any:
        """The outputs as the caller has them: one, or a tuple."""
        if self._layouts is not None:
            outs = self._layouts.arrays(outs)
        elif self.batch_size is None:
            outs = [out[0] for out in outs]
        return outs[0] if len(outs) == 1 else tuple(outs)

    def result(self, out: Array) -> Any:
        """The only output as the caller has it."""
        plain = self._layouts is None and self.batch_size is not None
        return out if plain else self.results((out,))

    def _arrays(self, values: Sequence[Value], given: Sequence[Any], what: str) -> list[Array]:
        return [self._array(v, x, what) for v, x in zip(values, given, strict=True)]

    def _array(self, value: Value, x: Any, what: str) -> Array:
        name, axes = self._named(value, what), self._turned.get(value)
        if axes is not None:
            ((_, array),) = Layouts((axes,), ()).signals([value], self._dtype, [x])
            if BATCH not in axes:
                array = np.broadcast_to(array, (self.rows, *array.shape[1:]))
            if len(array) != self.rows:
                raise ValueError(f"{name} must have a batch of {self.rows}, got {len(array)}")
            return array
        array, dtype = x, value.dtype(self._dtype)
        if type(x) is not np.ndarray or x.dtype != dtype or not x.dtype.isnative:
            array = as_numbers(name, dtype, x)
        lead = (value.channels,) if self.batch_size is None else (self.rows, value.channels)
        if array.ndim != len(lead) + 1 or array.shape[:-1] != lead:
            shape = ", ".join([*map(str, lead), "T" if value.rate else "1"])
            raise ValueError(f"{name} must have the shape ({shape}), got shape {array.shape}")
        return array if self.batch_size is not None else array[None]

    def _named(self, value: Value, what: str) -> str:
        """A chunk in messages: by its input, where there are several."""
        if what == "chunk" and len(self.values) == 1:
            return what
        return (
            f"{what} of {value.name or 'an input'}" if what == "chunk" else f"{what}: {value.name}"
        )
