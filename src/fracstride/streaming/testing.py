"""A test for streams of your own: that they give the bits of the offline function in any chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np

from fracstride.arrays import Array
from fracstride.streaming.bits import (
    bits,
    bytes_of,
    checked_state,
    compare,
    copied,
    saved,
    scribble,
)
from fracstride.streaming.claims import check_claims, each_frame_alike, may_wait
from fracstride.streaming.stream import Stream

__all__ = ["assert_streams_exactly"]


def assert_streams_exactly(
    stream: Stream,
    offline: Callable[[Any], Any],
    x: Any,
    *,
    chunks: Sequence[Sequence[int]] | None = None,
    due: Callable[[int], int] | None = None,
    another: Stream | None = None,
    seed: int = 0,
) -> None:
    """Push ``x`` into a stream in many ways, and compare every bit with ``offline(x)``.

    ``x`` is pushed in one piece, frame by frame, and cut at random, with chunks of no frames; so
    are its first half and its first frame. Each time it is checked that

    - the samples, put one after the other, have the dtype, the shape and the bits of ``offline(x)``
      (which NaN a NaN is does not matter);
    - after each push, as many samples are out as ``due`` and ``output_length`` say, however the
      frames were cut; ``lengths`` agrees, and the whole has the length that ``overhang`` or
      ``length_at_end`` says;
    - ``rate`` is what ``output_length`` rises by in the long run, and ``latency`` the least number
      that it allows;
    - a ``state()`` taken half way can be restored, and the rest then is the same; pushes do not
      change it, neither before nor after it is restored;
    - ``finish`` gives what ``push`` and ``flush`` give; the stream is as new after these and after
      ``reset()``;
    - chunks are not written to; they and the samples may be overwritten after the push, and no
      later push changes the samples.

    Where ``independent_rows`` is set and ``x`` has a batch, its rows also begin, pause and end on
    their own under random masks, and each must give its row of ``offline(x)``.

    Args:
        stream: the stream to be tested. It is reset first.
        offline: a function of a whole input. An input that it refuses with ``ValueError`` or
            ``RuntimeError``, or of which it makes no samples, must give none in the stream either.
            (Or the stream refuses to end there, as a :class:`Sum` does whose branches differ.)
        x: an array ``(B, C, T)`` or ``(C, T)``; or a tensor, for a stream of tensors.
        chunks: lists of chunk sizes that each add up to ``T``, to be tried in place of all these
            cuts and masks.
        due: the samples that must be out after so many frames. By default this is ``stride*frames -
            latency``, or fewer at the beginning of ``x``, while a mirrored edge waits for frames;
            and what ``output_length`` says, where a number of frames together gives samples.
        another: a stream of the same make, to restore the state in; the same one by default. A
            state of arrays goes there through a file of ``numpy.savez``.
        seed: of the random cuts and masks.

    Raises:
        AssertionError: the stream is not exact. The message says how the input was cut, and which
            sample differs.
        ValueError: ``chunks`` do not add up to the frames of ``x``.

    >>> import fracstride as fs
    >>> layer = fs.ConvTranspose1d(2, 3, kernel_size=8, stride=4, padding=2, rng=0)
    >>> x = np.random.default_rng(0).standard_normal((2, 2, 20), dtype=np.float32)
    >>> assert_streams_exactly(layer.stream(batch_size=2), layer, x)
    >>> assert_streams_exactly(fs.streaming.Identity(), np.square, np.full((2, 2, 9), 3.0))
    Traceback (most recent call last):
    AssertionError: pushed in one piece: sample 0 of row 0, channel 0 is 3.0, but offline makes 9.0
    """
    rng = np.random.default_rng(seed)
    frames = int(x.shape[-1])
    lengths = sorted({1, frames // 2, frames} & set(range(1, frames + 1)), reverse=True)
    if chunks is not None or not lengths:
        lengths = [frames]
    stream.reset()
    for length in lengths:
        check = _Check(stream, offline, x[..., :length], due, another, length == frames)
        for how, sizes, overwrite in _ways(length, rng, chunks):
            check.whole(how, sizes, overwrite)
        if length == frames:
            check_claims(stream)
        if chunks is None and stream.independent_rows and len(x.shape) == 3 and len(x) and length:
            check.rows(rng)


def _ways(
    frames: int, rng: np.random.Generator, chunks: Sequence[Sequence[int]] | None
) -> Iterator[tuple[str, list[int], bool]]:
    """How to cut so many frames: in words, as chunk sizes, and whether to overwrite the chunks."""
    if chunks is not None:
        for sizes in chunks:
            if sum(sizes) != frames:
                raise ValueError(f"chunks must add up to the {frames} frames of x, got {sizes!r}")
            how = f"pushed in chunks of {list(sizes)} frames"
            yield how, list(sizes), False
            yield how + _OVERWRITTEN, list(sizes), True
        return
    yield "pushed in one piece", [frames], False
    for overwrite in (False, True):
        yield "pushed frame by frame" + _OVERWRITTEN * overwrite, [0, *[1] * frames, 0], overwrite
    for _ in range(3):
        edges = np.sort(rng.integers(0, frames + 1, int(rng.integers(1, 8))))
        sizes = np.diff(edges, prepend=0, append=frames).tolist()
        yield f"pushed in chunks of {sizes} frames" + _OVERWRITTEN, sizes, True


_OVERWRITTEN = ", each chunk and its samples overwritten after the push"


class _Check:
    """A stream, an input of some length, and the output that the stream should make of it."""

    def __init__(
        self,
        stream: Stream,
        offline: Callable[[Any], Any],
        x: Any,
        due: Callable[[int], int] | None,
        another: Stream | None,
        whole_x: bool,
    ) -> None:
        self.whole_x = whole_x  # not its first frames only
        self.stream, self.x, self.due = stream, x, due
        self.other = stream if another is None else another
        self.frames = int(x.shape[-1])
        self.out: dict[int, int] = {}  # samples that were out after so many frames
        self.full_after = self.frames  # the first of these numbers where no edge waited any more
        self.alike, self.may_wait = each_frame_alike(stream), may_wait(stream)
        self.promised = [stream.output_length(t) for t in range(self.frames + 1)]
        self.expected, self.refusal, self.refuses_end = None, None, False
        try:
            self.expected = offline(copied(x))
        except (ValueError, RuntimeError) as error:
            self.refusal = error
        self._total()

    def _total(self) -> None:
        length = 0 if self.expected is None else int(self.expected.shape[-1])
        stream = self.stream
        says = {"length_at_end says": stream.length_at_end(self.frames)}
        if stream.stride is not None and stream.overhang is not None:
            total = max(0, self.frames * stream.stride + stream.overhang)
            says = {f"stride {stream.stride} and overhang {stream.overhang} say": total} | says
        for what, wanted in says.items():
            if length not in (0, wanted):
                raise AssertionError(
                    f"offline makes {length} samples of {self.frames} frames, but {what} {wanted}: "
                    f"{stream!r}"
                )
        try:
            stream.check_end(self.frames)
        except ValueError as error:
            if self.expected is not None:
                raise AssertionError(
                    f"offline makes {length} samples of {self.frames} frames, but the stream "
                    f"refuses to end there: {error}"
                ) from None
            self.refuses_end = True

    def _refuses_to_end(self, how: str, sizes: list[int]) -> None:
        """Offline refuses the input, and so does the stream, which stays as it was."""
        edges = np.cumsum([0, *sizes]).tolist()
        self._pushed(self.stream, how, edges, [], False)
        before = bytes_of(self.stream.state())
        finish = partial(self.stream.finish, copied(self.x[..., :0]))
        ends: list[Callable[[], Any]] = [self.stream.flush, finish]
        for end in ends:
            try:
                end()
            except ValueError:
                if bytes_of(self.stream.state()) != before:
                    raise AssertionError(f"{how}: a refused end changed the stream") from None
            else:
                raise AssertionError(
                    f"{how}: the signal ended after {self.frames} frames, but offline refuses it"
                ) from self.refusal
        self.stream.reset()

    def whole(self, how: str, sizes: list[int], overwrite: bool) -> None:
        """Push, flush; go on from the state half way, and finish; reset."""
        if self.refuses_end:
            self._refuses_to_end(how, sizes)
            return
        edges = np.cumsum([0, *(sizes or [0])]).tolist()
        half = (len(edges) - 1) // 2
        stream, other = self.stream, self.other
        new = stream.state()
        early = self._pushed(stream, how, edges[: half + 1], [], overwrite)
        state = checked_state(how, stream.state())
        before, given = bytes_of(state), saved(state)
        stream.prepare_restore(saved(new))
        if bytes_of(stream.state()) != before:
            raise AssertionError(
                f"{how}: prepare_restore() changed the stream, which only the function that it "
                "returns may do"
            )
        late = self._pushed(stream, how, edges[half:], early, overwrite)
        late.append(self._taken(stream, how, stream.flush()))
        self._compare(how, early + late)
        if bytes_of(state) != before:
            raise AssertionError(
                f"{how}: later pushes changed the state() taken after {edges[half]} frames: it "
                "must hold copies"
            )
        self._as_new(stream, how, "flush()")

        how = f"{how}, with the state restored after {edges[half]} frames and finish() at the end"
        before = bytes_of(given)
        other.push(copied(self.x[..., :5]))  # whatever it carries is replaced
        other.restore(given)
        late = self._pushed(other, how, edges[half:-1], early, overwrite)
        last = copied(self.x[..., edges[-2] : edges[-1]])
        late.append(self._taken(other, how, other.finish(last)))
        self._compare(how, early + late)
        if bytes_of(given) != before:
            raise AssertionError(f"{how}: pushes changed the arrays that were given to restore()")
        self._as_new(other, how, "finish()")
        stream.push(copied(self.x[..., :5]))
        stream.reset()
        self._as_new(stream, how, "reset()")

    def _as_new(self, stream: Stream, how: str, after: str) -> None:
        again = copied(stream.finish(copied(self.x)))
        self._compare(f"{how}, then once more in one piece after {after}", [again])
        left = int(stream.flush().shape[-1])
        if left:
            raise AssertionError(f"{how}: {left} samples came from a flush() right after finish()")

    def _pushed(
        self, stream: Stream, how: str, edges: list[int], before: list[Any], overwrite: bool
    ) -> list[Any]:
        """Push the frames between the edges; copies of what came out."""
        copies: list[Any] = []
        results: list[Any] = []
        for start, frames in pairwise(edges):
            chunk = self.x[..., start:frames]
            given = copied(chunk)
            samples = stream.push(given)
            copies.append(self._taken(stream, how, samples))
            if bits(given).tobytes() != bits(chunk).tobytes():
                raise AssertionError(
                    f"{how}: push() wrote into the chunk that ends at frame {frames}"
                )
            if overwrite:  # the memory of both is the caller's
                scribble(samples)
                scribble(given)
            else:
                results.append(samples)
            self._schedule(how, frames, sum(y.shape[-1] for y in [*before, *copies]))
        for frames, samples, copy in zip(edges[1:], results, copies, strict=False):
            if bits(samples).tobytes() != bits(copy).tobytes():
                raise AssertionError(
                    f"{how}: later pushes changed the samples that came out after {frames} frames: "
                    "they must have memory of their own"
                )
        return copies

    def _taken(self, stream: Stream, how: str, samples: Any) -> Any:
        """A copy of what came out last, with ``lengths`` that agree."""
        lengths, length = stream.lengths, int(samples.shape[-1])
        if length and (lengths.shape != tuple(samples.shape[:-2]) or (lengths != length).any()):
            raise AssertionError(
                f"{how}: lengths are {lengths.tolist()} for a result of shape "
                f"{tuple(samples.shape)}"
            )
        return copied(samples)

    def _schedule(self, how: str, frames: int, samples: int) -> None:
        once = self.out.setdefault(frames, samples)
        if samples != once:
            raise AssertionError(
                f"{how}: {samples} samples are out after {frames} frames, but {once} when the "
                "frames were cut otherwise"
            )
        stream = self.stream
        # Fewer only while a left edge waits: not once all were out, nor at the end of `x`.
        full = self.full_after < frames
        if samples > 0 and samples >= self._by_latency(frames):
            self.full_after = min(self.full_after, frames)
        ended = self.whole_x and frames == self.frames and self.expected is not None
        full = full or (self.may_wait and ended)
        promised = self.promised[frames]
        if self.due is not None:
            wanted = self.due(frames)
            fits = samples == wanted
        elif self.may_wait and self.alike:
            wanted = self._by_latency(frames)
            fits = samples == wanted or (samples < wanted and not full)
        else:
            wanted = self._by_latency(frames)
            fits = samples >= wanted or not full
        if not fits:
            raise AssertionError(
                f"{how}: {samples} samples are out after {frames} frames, but {wanted} are due "
                f"(rate {stream.rate}, latency {stream.latency}): {stream!r}"
            )
        if self.may_wait and (self.due is not None or (samples < promised and not full)):
            return
        if samples != promised:
            raise AssertionError(
                f"{how}: {samples} samples are out after {frames} frames, but output_length says "
                f"{promised}: {stream!r}"
            )

    def _by_latency(self, frames: int) -> int:
        """The samples that are out after so many frames at least, once no edge waits any more."""
        least = frames * self.stream.rate - self.stream.latency
        return max(0, ceil(least)) if frames else 0

    def _compare(self, how: str, pieces: list[Any], row: int | None = None) -> None:
        """The pieces are the expected output, or a row of it."""
        total = sum(int(piece.shape[-1]) for piece in pieces)
        if self.expected is None:
            if total:
                raise AssertionError(
                    f"{how}: {total} samples came out, but offline refuses the input"
                ) from self.refusal
            return
        length = int(self.expected.shape[-1]) if self.frames else 0
        if total != length:
            raise AssertionError(f"{how}: {total} samples came out, but offline makes {length}")
        expected = self.expected if row is None else self.expected[row : row + 1]
        first = 0
        for piece in pieces:
            stop = first + int(piece.shape[-1])
            compare(how, piece, expected[..., first:stop], first, row or 0)
            first = stop

    def rows(self, rng: np.random.Generator) -> None:
        """Push with random masks: each row begins, pauses and ends on its own."""
        if self.refuses_end:
            return
        stream, count = self.stream, int(self.x.shape[0])
        odd, read = np.arange(count) % 2 == 1, np.zeros(count, np.int64)
        heard: list[list[Any]] = [[] for _ in range(count)]
        if self.frames > 1:
            self._some(stream.push, "active", 1, np.ones(count, np.bool_), read, heard)
            stream.reset(rows=odd)  # these begin again
            read[odd] = 0
            heard = [[] if odd[row] else pieces for row, pieces in enumerate(heard)]
        while (read < self.frames).any():
            left = self.frames - read
            active = (rng.random(count) < 0.7) & (left > 0)
            size = int(min(rng.integers(1, 4), left[active].min(initial=4)))
            ends = active & (left == size)
            self._some(stream.push, "active", size, active & ~(ends & odd), read, heard)
            self._some(stream.finish, "rows", size, ends & odd, read, heard)
            self._some(stream.flush, "rows", 0, ends & ~odd, read, heard)
        for row, pieces in enumerate(heard):
            self._compare(f"row {row} on its own, pushed with random masks", pieces, row)
        self._as_new(stream, "rows pushed with random masks", "the end of every row")

    def _some(
        self,
        call: Callable[..., Any],
        name: str,
        size: int,
        mask: Array,
        read: Array,
        heard: list[list[Any]],
    ) -> None:
        """Give so many frames of their own to the rows of a mask, with rubbish for the others."""
        if not mask.any():
            return
        args = []
        if size:
            chunk = copied(self.x[..., :size])
            chunk[...] = 77
            for row in np.flatnonzero(mask).tolist():
                chunk[row] = self.x[row, :, int(read[row]) : int(read[row]) + size]
            args = [chunk]
        samples = call(*args, **{name: mask})
        lengths = self.stream.lengths if samples.shape[-1] else np.zeros_like(read)
        if lengths.shape != read.shape or lengths[~mask].any():
            raise AssertionError(
                f"lengths are {lengths.tolist()} for {call.__name__}({name}={mask.tolist()})"
            )
        for row in np.flatnonzero(mask).tolist():
            heard[row].append(copied(samples[row : row + 1, :, : int(lengths[row])]))
        read[mask] += size
