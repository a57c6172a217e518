"""What every stream can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.extension import MODES, streamed
from fracstride.streaming.pieces import filled
from fracstride.streaming.rows import check_mask
from fracstride.streaming.schedule import Scheduled

__all__ = ["Stream", "check_state", "check_streams", "not_none", "shown_shape"]


class Stream(Scheduled, ABC):
    """A layer, or a composition of layers, that is fed chunk by chunk.

    Everything that comes out, one after the other, is what the offline layer makes of everything
    that went in, one after the other: the same samples with the same bits, however the input is
    cut. Pieces are ``(B, C, T)``, or ``(C, T)`` for a stream without a batch.

    A stream belongs to one thread at a time; any number of streams may share a layer.

    **To write a stream of your own**, derive a class from :class:`WindowStream` if it carries
    frames of its input: that class carries them, saves states and keeps rows apart. For anything
    else, derive a class from this one. Set the attributes that differ from those below, ``stride``
    (or ``rate``, where a sample takes several frames), ``latency`` and ``overhang`` among them.
    Implement

    - :meth:`advance`: a chunk in, samples out, perhaps the end of the signal;
    - :meth:`clear`: make the stream as new;
    - :meth:`state` and :meth:`prepare_restore`: what is carried, and taking it over;
    - with a ``rate``, :meth:`final_length` and :meth:`length_at_end`: how many samples there are.

    For rows that begin and end on their own, set ``independent_rows`` and implement
    :meth:`advance_rows`, :meth:`clear_rows`, :attr:`rows_differ` and :attr:`current_batch`.
    :meth:`check_ready`, :meth:`check_chunk`, :meth:`detach`, :meth:`output_kind`,
    :meth:`empty_output` and :meth:`advance_adding` may be implemented. A stream that remembers what
    its first chunk was like names these attributes in ``set_by_first_chunk``: a :class:`Chain` or
    :class:`Sum` tries a first chunk without its frames, and sets them back if a part refuses it.
    Callers use ``push``, ``finish``, ``flush``, ``reset``, ``restore`` and ``lengths``, which check
    masks and call the methods above. A stream of your own does not override these.
    (:class:`LayerStream` and compositions do.)
    :func:`fracstride.streaming.testing.assert_streams_exactly` tests the result.

    >>> class Difference(Stream):  # each frame less the one before it
    ...     before = None
    ...     set_by_first_chunk = ("before",)
    ...     def advance(self, chunk, last):
    ...         if chunk is None:
    ...             if self.before is None:
    ...                 return None
    ...             chunk = self.before[..., :0]
    ...         if self.before is None:
    ...             self.before = np.zeros((*chunk.shape[:-1], 1), chunk.dtype)
    ...         frames = np.concatenate([self.before, chunk], -1)
    ...         self.before = frames[..., -1:].copy()
    ...         if last:
    ...             self.clear()
    ...         return np.diff(frames)
    ...     def clear(self):
    ...         self.before = None
    ...     def state(self):
    ...         return {} if self.before is None else {"before": self.before.copy()}
    ...     def prepare_restore(self, state):
    ...         before = np.array(state["before"]) if "before" in state else None
    ...         return lambda: setattr(self, "before", before)
    >>> stream = Difference()
    >>> stream.push(np.array([[[1, 4, 9]]])), stream.finish(np.array([[[16, 25]]]))
    (array([[[1, 3, 5]]]), array([[[7, 9]]]))
    """

    #: The number of channels that a chunk must have; None if any.
    in_channels: int | None = None
    #: Channels of the samples, if they do not depend on the chunk.
    out_channels: int | None = None
    #: Whether as many channels come out as went in, however many these are.
    keeps_channels: bool = False
    #: Rows of the batch; None without a batch, or where any number of them will do.
    batch_size: int | None = None
    #: Whether rows of the batch may begin and end on their own, at any latency. False for a layer
    #: without a batch, and for streams of your own that do not implement :meth:`advance_rows`.
    independent_rows: bool = False
    #: Whether every frame of every row gives its ``stride`` samples at once. (False where the rate
    #: is no whole number.)
    at_once: bool = False
    #: Whether a push takes or gives several signals, which no composition passes on.
    has_several: bool = False
    #: Whether nothing is carried from chunk to chunk, as in an elementwise function.
    stateless: bool = False
    #: Whether :meth:`advance_adding` may add in place.
    can_add: bool = False
    #: Names of the attributes in which a stream keeps what its first chunk was like (dtype, batch).
    #: A composition sets them back where another of its parts refuses that chunk.
    set_by_first_chunk: tuple[str, ...] = ()

    #: What :attr:`lengths` is made of: the length of the last result, or its shape (a tuple), or
    #: the samples of each row (an array).
    _last: Any = 0

    # What callers use.

    def push(self, chunk: Any, *, active: Any = None) -> Any:
        """All samples that ``chunk`` makes final, perhaps none; a chunk may have no frames.

        Args:
            chunk: ``(B, C, T)``, or ``(C, T)`` for a stream without a batch. It is not written to,
                and may be written to afterwards.
            active: a mask ``(B,)`` of the rows that the chunk is for. The others are not read and
                stay as they are. The result is as long as that of the row which has most;
                :attr:`lengths` says how many samples of each row count, the others mean nothing.

        Raises:
            ValueError, TypeError, RuntimeError: an argument does not fit. The stream stays as it
                was.
        """
        self.check_ready()
        if active is None and not self.rows_differ:
            samples = self.advance(not_none(chunk), last=False)
            self._last = samples.shape
            return samples
        return self._advance_masked("active", not_none(chunk), active, last=False)

    def finish(self, chunk: Any, *, rows: Any = None) -> Any:
        """``push(chunk)`` and :meth:`flush` at once; ``rows`` as ``active`` and ``rows`` there."""
        self.check_ready()
        return self._end(not_none(chunk), rows)

    def flush(self, *, rows: Any = None) -> Any:
        """The samples that are left, perhaps none; the stream is then as new.

        None, too, where the offline layer would refuse so short an input. ``rows``: a mask ``(B,)``
        of the rows that end. They are then as new, and may begin again; the others go on.
        """
        self.check_ready()
        return self._end(None, rows)

    def reset(self, *, rows: Any = None) -> None:
        """Make the stream as new; or the ``rows`` of a mask ``(B,)``, as in :meth:`flush`."""
        if rows is None:
            self.clear()
            self._last = 0
        else:
            self.clear_rows(self.checked_mask("rows", rows))

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
            return np.full(last[:-2], last[-1], np.int64)
        if isinstance(last, np.ndarray):
            return last.astype(np.int64)  # a copy
        return np.full(() if self.batch_size is None else self.batch_size, last, np.int64)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state` of any stream of the same make, as often as wanted.

        Raises:
            ValueError, TypeError: it is no such state. The stream stays as it was.
        """
        self.prepare_restore(state)()
        self._last = 0

    # What a subclass implements.

    @abstractmethod
    def advance(self, chunk: Any, last: bool) -> Any:
        """The samples that a chunk makes final; with ``last``, all that are left of the signal.

        All rows are at the same progress. A chunk that does not fit raises before anything has
        changed. After ``last`` the stream is as new.

        Args:
            chunk: a chunk of any number of frames, of any kind: it is checked here. The stream
                copies what it carries on. With ``last`` it may be None, which stands for no frames
                of the shape of those before.
            last: whether the signal ends after the chunk.

        Returns:
            The samples, in memory that the stream does not use again; None only where ``chunk`` is
            None and no chunk of this signal came before it, so that their shape is unknown.
        """

    @abstractmethod
    def clear(self) -> None:
        """Make the stream as new."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that is carried from chunk to chunk, as new arrays that ``numpy.savez`` takes."""

    @abstractmethod
    def prepare_restore(self, state: Mapping[str, Any]) -> Callable[[], None]:
        """Check a state, and return the function that takes it over.

        Raises ValueError or TypeError for a state that does not fit. The function does not fail,
        and the stream is unchanged until it is called: a composition restores all parts or none.
        """

    # What a subclass implements if its rows may begin and end on their own.

    def advance_rows(self, chunk: Any, frames: Array, ends: Array) -> tuple[Any, Array]:
        """Push into each row its own number of frames, and end some rows.

        A chunk that does not fit raises before anything has changed. Afterwards
        :attr:`rows_differ` is up to date.

        Args:
            chunk: ``(B, C, T)``, checked here as in :meth:`advance`; None where no row has a frame
                and the shape is that of the chunks before.
            frames: int64 ``(B,)``, at most ``T``: of row b the first ``frames[b]`` are read. The
                frames after them are not part of the signal.
            ends: bool ``(B,)``: rows that end after these frames, and are then as new.

        Returns:
            The samples ``(B, C_out, max(counts))``, and the int64 array ``counts`` ``(B,)``: of
            row b the first ``counts[b]`` count, the others are zeros or whatever a function makes
            of zeros. None for the samples only where ``chunk`` is None. The bits of a row are those
            of the row alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has independent_rows but no advance_rows")

    def clear_rows(self, rows: Array) -> None:
        """Make the rows of a checked mask as new. The others stay as they are."""
        raise NotImplementedError(f"{type(self).__name__} has independent_rows but no clear_rows")

    @property
    def rows_differ(self) -> bool:
        """Whether rows are at different progress.

        A push without a mask then gives each row its own number of samples.
        """
        return False

    @property
    def current_batch(self) -> tuple[int, ...] | None:
        """``(B,)``, or ``()`` without a batch; None where any number of rows may come next."""
        return None if self.batch_size is None else (self.batch_size,)

    # What a subclass may implement.

    def check_ready(self) -> None:
        """Raise RuntimeError where a push would be refused now, whatever the chunk is.

        ``push``, ``finish`` and ``flush`` ask first. A composition asks all of its parts before it
        advances the first of them.
        """

    def check_chunk(self, chunk: Any) -> None:
        """Raise unless the chunk fits. Nothing changes.

        A composition refuses a chunk before any part has advanced by a trial with a chunk of no
        frames. It then asks the part for the refusal of the chunk that the caller sent.
        """

    def detach(self) -> None:
        """Cut the carried frames from the graph of their derivatives, where tensors have one."""

    def output_kind(self) -> Any:
        """An array of no samples that has the type, dtype and device of those to come; or None.

        It is asked for where a flush has never seen a chunk, and :meth:`advance` returned None. A
        stream of tensors that takes any number of rows and channels overrides it, so that it and
        its compositions flush a tensor.
        """
        return None

    def empty_output(self) -> Any:
        """The result of a flush where :meth:`advance` returned None: no samples."""
        kind = self.output_kind()
        if kind is None:
            kind = np.empty(0, np.float32)
        return kind.reshape(self.batch_size or 0, self.out_channels or 0, 0)

    def advance_adding(self, chunk: Any, waiting: Any, piece: Any) -> tuple[Any, bool]:
        """Advance, and add ``waiting`` followed by ``piece`` to the samples in place.

        ``waiting`` may be None. Only as many of them are added as there are samples. Returns
        (samples, added?); a stream that cannot add them returns the samples alone and False.
        """
        return self.advance(chunk, last=False), False

    def nested(self) -> list[Stream]:
        """The stream itself and all those that it is composed of."""
        return [self]

    # Helpers of the methods above.

    def checked_mask(self, name: str, rows: Any, chunk: Any = None) -> Array:
        """A caller's mask as an array of bools; all rows for None, if their number is known.

        ``ValueError`` with the argument's ``name`` for anything else. ``chunk``: the chunk that
        came with the mask, whose rows count where any number of them will do.
        """
        batch = self.current_batch
        if rows is None and batch:
            return np.ones(batch, np.bool_)
        if not self.independent_rows:
            why = "that has no batch" if self.batch_size is None else "whose rows go together"
            raise ValueError(f"{name} must be None for a stream {why}, got {rows!r}: {self!r}")
        if self.batch_size is None and chunk is not None:
            shape = tuple(np.shape(chunk))
            if len(shape) != 3:
                raise ValueError(
                    f"{name} must be None for a chunk without a batch, got {rows!r} for a chunk of "
                    f"shape {shape}"
                )
            batch = shape[:1]
        if batch == ():
            raise ValueError(f"{name} must be None for a signal without a batch, got {rows!r}")
        return check_mask(name, rows, batch[0] if batch else None)

    def _end(self, chunk: Any, rows: Any) -> Any:
        """End the signal, or some rows of it, after a chunk; None stands for no frames."""
        if rows is None and not self.rows_differ:
            samples = self.advance(chunk, last=True)
            self._last = 0 if samples is None else samples.shape
        else:
            samples = self._advance_masked("rows", chunk, rows, last=True)
        return self.empty_output() if samples is None else samples

    def _advance_masked(self, name: str, chunk: Any, rows: Any, last: bool) -> Any:
        """Advance some rows, or all of them where they differ; ``last``: these rows end."""
        mask = self.checked_mask(name, rows, chunk)
        if len(mask) and mask.all() and not self.rows_differ:
            samples = self.advance(chunk, last)
            self._last = np.zeros(len(mask), np.int64) if samples is None else samples.shape
            return samples
        frames = 0 if chunk is None else (np.shape(chunk) or (0,))[-1]
        samples, self._last = self.advance_rows(chunk, frames * mask.astype(np.int64), mask & last)
        if self.at_once and not last and not mask.any():  # as long as if a row were active
            length = frames * int(self.rate)
            samples = filled(samples, (len(mask), samples.shape[-2], length), 0)
        return samples


def not_none(chunk: Any) -> Any:
    """The chunk; TypeError for None, which inside stands for no frames of an unknown shape."""
    if chunk is None:
        raise TypeError("chunk must be an array or tensor, got None")
    return chunk


def check_streams(geometry: AnyGeometry) -> None:
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


def shown_shape(lead: tuple[int | None, ...]) -> str:
    """The shape of a chunk for messages; ``lead`` is ``(B, C_in)``, or ``(C_in,)`` without a batch.

    ``C_in`` may be None for any number of channels.

    >>> shown_shape((2, 64)), shown_shape((None,))
    ('(batch_size, in_channels, frames) = (2, 64, T)', '(in_channels, frames) = (C, T)')
    """
    names = ("batch_size", "in_channels")[-len(lead) :]
    sizes = ", ".join("C" if size is None else str(size) for size in lead)
    return f"({', '.join(names)}, frames) = ({sizes}, T)"
