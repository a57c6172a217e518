"""What every stream can do, and the little that pieces of a signal have to be able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any

import numpy as np

from fracstride.arrays import Array, as_dtype
from fracstride.extension import MODES, streamed
from fracstride.geometry import Geometry
from fracstride.streaming.rows import check_mask

__all__ = [
    "Stream",
    "blank",
    "check_mode",
    "check_state",
    "cut",
    "detached",
    "given",
    "integers_like",
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
    #: Whether rows of the batch may begin and end on their own, at any latency. False without a
    #: batch only; and for streams of your own that do not implement ``_advance_rows``.
    independent_rows: bool = False

    @abstractmethod
    def push(self, chunk: Any, *, active: Any = None) -> Any:
        """All samples that ``chunk`` makes final, perhaps none; a chunk may have no frames.

        ``active``: a mask ``(B,)`` of the rows that the chunk is for. The others are not read and
        stay as they are. The result is as long as that of the row which has most;
        :attr:`lengths` says how many samples of each row count, and nothing is said of the others.
        """

    @abstractmethod
    def finish(self, chunk: Any, *, rows: Any = None) -> Any:
        """``push(chunk)`` and :meth:`flush` at once; ``rows`` as ``active`` and ``rows`` there."""

    @abstractmethod
    def flush(self, *, rows: Any = None) -> Any:
        """The samples that are left, perhaps none; the stream is then as new.

        None, too, where the offline layer would refuse so short an input. ``rows``: a mask ``(B,)``
        of the rows that end. They are then as new, and may begin again; the others go on.
        """

    @abstractmethod
    def reset(self, *, rows: Any = None) -> None:
        """Make the stream as new; or the ``rows`` of a mask ``(B,)``, as in :meth:`flush`."""

    @property
    def lengths(self) -> Array:
        """How many samples of each row count in the last result, from its beginning on.

        An int64 array of the shape of the batch: ``(B,)``, or ``()`` without a batch. All are the
        length of the result while rows are at the same progress. A row that was not active has 0.
        Zeros before the first result and after :meth:`reset`; where the batch may have any number
        of rows, they are then a single one, ``()``.

        >>> import fracstride as fs
        >>> stream = fs.ConvTranspose1d(1, 1, kernel_size=4, stride=2, padding=1).stream(3)
        >>> chunk = np.ones((3, 1, 5), np.float32)
        >>> y = stream.push(chunk, active=[True, True, False])
        >>> y = stream.push(chunk)
        >>> y.shape, stream.lengths
        ((3, 1, 10), array([10, 10,  9]))
        """
        last = self._last
        if isinstance(last, tuple):  # a shape
            return np.full(last[:-2], last[-1] if last else 0, np.int64)
        if isinstance(last, np.ndarray):
            return last.astype(np.int64)  # a copy
        return np.full(() if self.batch_size is None else self.batch_size, last, np.int64)

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

    # For compositions, and for streams that are written elsewhere.

    #: Whether a push changes anything.
    _carries = True
    #: Whether chunks come from a caller, and not from a composition that this is a part of.
    _outermost = True
    #: Attributes that a push of no frames may change.
    _memory: tuple[str, ...] = ("_last",)
    #: Whether the rows are at different progress: a push without a mask then gives each its own.
    _uneven = False
    #: Whether every frame of every row gives its samples at once.
    _at_once = False
    #: Whether as many channels come out as went in, however many these are.
    _keeps_channels = False
    #: What :attr:`lengths` is made of, when somebody asks: the length of the last result, or its
    #: shape (a tuple) where any number of rows will do, or an array of the samples of each row.
    _last: Any = 0

    def _advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        """Push into each row its own number of frames, and flush some rows.

        Args:
            chunk: ``(B, C, T)``; None where no row has a frame and nobody knows channels or dtype.
                It is the caller's and may not be trusted: it is checked as in a push.
            frames: int64 ``(B,)``, at most ``T``: of row b the first ``frames[b]`` are read. What
                comes after them is not part of the signal.
            ends: bool ``(B,)``: rows that end after these frames, and are then as new.

        Returns:
            The samples ``(B, C_out, max(counts))``, and the int64 array ``counts`` ``(B,)``: of
            row b the first ``counts[b]`` count, the others are zeros or whatever a function makes
            of zeros. None for the samples only where ``chunk`` is None. The bits of a row are those
            of the row alone.

        A failure before anything has changed leaves the stream as it was. Afterwards ``_uneven``
        and ``_last`` (``counts``) are up to date.
        """
        raise ValueError(
            f"a mask of rows must be None for {self!r}, whose rows cannot begin or end on their own"
        )

    def _mask(self, name: str, rows: Any, chunk: Any = None) -> Array:
        """A caller's mask; all rows for None, which takes a stream that knows their number."""
        if rows is None and (known := self._rows_now()) is not None:
            return np.ones(known, np.bool_)
        if not self.independent_rows:
            why = "that has no batch" if self.batch_size is None else "whose rows go together"
            raise ValueError(f"{name} must be None for a stream {why}, got {rows!r}: {self!r}")
        count, shape = self._rows_now(), np.shape(chunk)
        if self.batch_size is None and chunk is not None:
            if len(shape) != 3:
                raise ValueError(
                    f"{name} must be None for a chunk without a batch, got {rows!r} for a chunk of "
                    f"shape {tuple(shape)}"
                )
            count = shape[0]
        return check_mask(name, rows, count)

    def _rows_now(self) -> int | None:
        """The rows of the batch, or of the signal that has begun; None where there is neither."""
        return self.batch_size

    def _push_rows(self, chunk: Any, active: Any) -> Any:
        """Push with a mask, or without one where the rows are at different progress."""
        given(chunk)
        mask = self._mask("active", active, chunk)
        frames = (np.shape(chunk) or (0,))[-1]
        piece, _ = self._advance_rows(chunk, frames * mask.astype(np.int64), np.zeros_like(mask))
        if self._at_once and not mask.any():  # as long as if it were for somebody
            piece = blank(piece, len(mask), frames * self.stride)
        return piece

    def _end_rows(self, chunk: Any, rows: Any) -> Any:
        """Finish, or flush where ``chunk`` is None, as :meth:`_push_rows` does."""
        mask = self._mask("rows", rows, chunk)
        frames = 0 if chunk is None else (np.shape(chunk) or (0,))[-1]
        return self._advance_rows(chunk, frames * mask.astype(np.int64), mask)[0]

    def _flush(self) -> Any:
        """As flush; None where nobody knows the shape of an array of no samples."""
        return self.flush()

    def _no_samples(self) -> Any:
        """What kind of array comes out, where that is known before any chunk: one of no samples.

        Only its type, dtype and device count, and None stands for not known. It is asked for where
        :meth:`_flush` gives None. A stream of tensors that takes any number of rows and channels
        overrides it, such as a ``Pointwise`` of a torch module, so that it and its compositions
        flush a tensor before they have seen a chunk. Where such a stream sets :attr:`batch_size`,
        that is the batch of what it flushes.
        """
        return None

    def _nothing(self) -> Any:
        """What a flush gives where :meth:`_flush` does not know."""
        kind = self._no_samples()
        if kind is None:
            kind = np.empty(0, np.float32)
        return kind.reshape(self.batch_size or 0, self.out_channels or 0, 0)

    def _push_onto(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Any, bool]:
        """As push; and whether as many samples of another signal have been added to the result.

        Of ``waiting``, unless that is None, and of ``piece`` after it.
        """
        return self.push(chunk), False

    def _ready(self) -> None:  # noqa: B027 - most are
        """Raise RuntimeError where a push would be refused now, whatever the chunk is.

        A composition asks all that it is composed of before it pushes into the first of them.
        """

    def _adds(self) -> bool:
        """Whether that is ever so."""
        return False

    def _nested(self) -> list[Stream]:
        """Itself and all that it is composed of."""
        return [self]


def given(chunk: Any) -> Any:
    """The chunk, but for None, which stands for no frames of an unknown shape in here."""
    if chunk is None:
        raise TypeError("chunk must be an array, got None")
    return chunk


def check_mode(geometry: Geometry) -> None:
    """Raise ValueError for a padding mode that cannot stream."""
    mode = MODES[geometry.padding_mode]
    if not mode.streams:
        raise ValueError(
            f"padding_mode must be {streamed()} for a stream, got {mode.name!r}: {mode.obstacle}"
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
def blank(piece: Any, rows: int, length: int) -> Any:
    """Zeros ``(rows, channels, length)`` with the channels, dtype and device of a piece."""
    raise TypeError(f"a piece of a signal must be an array, got {type(piece).__name__}")


@blank.register
def _(piece: np.ndarray, rows: int, length: int) -> Array:
    zeros: Array = np.zeros((rows, piece.shape[-2], length), piece.dtype)
    return zeros


@singledispatch
def integers_like(piece: Any, integers: Array) -> Any:
    """Integers as a state holds them together with such a piece: as an array, or as a tensor."""
    raise TypeError(f"a piece of a signal must be an array, got {type(piece).__name__}")


@integers_like.register
def _(piece: np.ndarray, integers: Array) -> Array:
    copy: Array = integers.copy()
    return copy


@singledispatch
def detached(piece: Any) -> Any:
    """The piece without the graph that it is part of; arrays are part of none."""
    return piece
