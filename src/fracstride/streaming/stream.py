"""What every stream can do, and the little that pieces of a signal have to be able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.geometry import Geometry

__all__ = [
    "Stream",
    "check_mode",
    "check_state",
    "cut",
    "detached",
    "join",
    "loaded",
    "shown_shape",
]


class Stream(ABC):
    """A layer, or a composition of layers, that is fed chunk by chunk.

    Everything that comes out, one after the other, is what the offline layer makes of everything
    that went in, one after the other: the same samples with the same bits, however the input is
    cut. Pieces are ``(B, C, T)``, or ``(C, T)`` for a stream without a batch.

    A stream belongs to one thread at a time; any number of streams may share a layer.
    """

    #: Samples per frame.
    stride: int = 1
    #: Samples by which the output trails ``stride`` times the frames that went in.
    latency: int = 0
    #: Samples of the whole output beyond ``stride`` times its frames, negative where that many are
    #: missing: ``latency + overhang`` samples are left for :meth:`flush`.
    overhang: int = 0
    #: Channels of a chunk, if only one number of them will do.
    in_channels: int | None = None
    #: Channels of what comes out, if they do not depend on the chunk.
    out_channels: int | None = None
    #: Rows of the batch; None without a batch, or where any number of them will do.
    batch_size: int | None = None
    #: Whether rows of the batch may be pushed, flushed and reset on their own.
    independent_rows: bool = False

    @abstractmethod
    def push(self, chunk: Any, *, active: Any = None) -> Any:
        """All samples that ``chunk`` makes final, perhaps none; a chunk may have no frames.

        ``active``: of a stream with :attr:`independent_rows`, a mask ``(B,)`` of the rows that the
        chunk is for. The others are not read and stay as they are; nothing is said of their output.
        """

    @abstractmethod
    def finish(self, chunk: Any, *, rows: Any = None) -> Any:
        """``push(chunk)`` and :meth:`flush` at once; ``rows`` as ``active`` and ``rows`` there."""

    @abstractmethod
    def flush(self, *, rows: Any = None) -> Any:
        """The samples that are left, perhaps none; the stream is then as new.

        None, too, where the offline layer would refuse so short an input. ``rows``: of a stream
        with :attr:`independent_rows`, a mask ``(B,)`` of the rows that end; the others go on.
        """

    @abstractmethod
    def reset(self, *, rows: Any = None) -> None:
        """Make the stream as new; or the ``rows`` of a mask ``(B,)``, as in :meth:`flush`."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that is carried from chunk to chunk, as new arrays that ``numpy.savez`` takes."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state` of any stream of the same make, as often as wanted.

        Raises:
            ValueError, TypeError: it is no such state. The stream stays as it was.
        """
        self._checked(state)()

    @abstractmethod
    def _checked(self, state: Mapping[str, Any]) -> Callable[[], None]:
        """What takes the state over, once it is known to fit; it does not fail half way."""

    def detach(self) -> None:  # noqa: B027 - arrays have no graph
        """Cut what is carried from the graph of its derivatives, where tensors have one."""

    # For compositions.

    #: Whether a push changes anything.
    _carries = True

    def _flush(self, rows: Any = None) -> Any:
        """As flush; None where nobody knows the shape of an array of no samples."""
        return self.flush(rows=rows)

    def _push_onto(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Any, bool]:
        """As push; and whether as many samples of another signal have been added to the result.

        Of ``waiting``, unless that is None, and of ``piece`` after it.
        """
        return self.push(chunk), False

    def _adds(self) -> bool:
        """Whether that is ever so."""
        return False

    def _nested(self) -> list[Stream]:
        """Itself and all that it is composed of."""
        return [self]


def check_mode(geometry: Geometry) -> None:
    """Raise ValueError for a padding mode that cannot stream."""
    if geometry.padding_mode == "circular":
        raise ValueError(
            "padding_mode must be 'zeros', 'reflect' or 'replicate' for a stream, got 'circular': "
            "its first samples are made of the last frames, which a stream does not have yet"
        )


def check_state(state: object, keys: set[str]) -> Mapping[str, Any]:
    """The state, if it is a mapping with these keys; else TypeError or ValueError."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be what a stream's state() gave, got {type(state).__name__}")
    if set(state) != keys:
        raise ValueError(
            f"state must have the keys {sorted(keys)}, as this stream's own has, "
            f"got {sorted(map(str, state))}"
        )
    return state


def loaded(piece: Any) -> Any:
    """An array of bfloat16 that ``numpy.load`` knew as one of two bytes each, as it was."""
    if isinstance(piece, np.ndarray) and piece.dtype.kind in "OSUM":
        raise ValueError(f"state must hold arrays of numbers, got dtype {piece.dtype}")
    if isinstance(piece, np.ndarray) and piece.dtype == np.dtype("V2"):
        return piece.view(as_dtype("bfloat16"))
    return piece


def shown_shape(lead: tuple[int, ...]) -> str:
    """The shape of a chunk for messages; ``lead`` is ``(B, C_in)``, or ``(C_in,)`` without a batch.

    >>> shown_shape((2, 64))
    '(batch_size, in_channels, frames) = (2, 64, T)'
    """
    names = ("batch_size", "in_channels")[-len(lead) :]
    return f"({', '.join(names)}, frames) = ({', '.join(map(str, lead))}, T)"


@singledispatch
def join(first: Any, second: Any) -> Any:
    """Two pieces of a signal, one after the other in time."""
    raise TypeError(f"a piece of a signal must be an array, got {type(first).__name__}")


@join.register
def _(first: np.ndarray, second: Array) -> Array:
    joined: Array = np.concatenate([first, second], -1)
    return joined


@singledispatch
def cut(piece: Any, start: int) -> Any:
    """A piece from ``start`` on, which keeps no more memory than its own alive."""
    raise TypeError(f"a piece of a signal must be an array, got {type(piece).__name__}")


@cut.register
def _(piece: np.ndarray, start: int) -> Array:
    copy: Array = piece[..., start:].copy()
    return copy


@singledispatch
def detached(piece: Any) -> Any:
    """The piece without the graph that it is part of; arrays are part of none."""
    return piece
