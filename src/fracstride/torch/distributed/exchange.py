"""Halos on the wire: the frames that a rank lacks, and on the way back the gradients of them.

Two linear maps, each the adjoint of the other, so that derivatives of any order go through. Point
to point, one message from a rank to another; every rank of the group calls them in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from fracstride.geometry import Geometry
from fracstride.torch.distributed.halo import Halo, Part, Piece
from fracstride.torch.distributed.meshes import Line

__all__ = ["Traffic", "extended", "in_parts", "shared", "traffic"]


@dataclass(eq=False)
class Traffic:
    """What this rank has sent to others as halos."""

    messages: int = 0
    bytes: int = 0


_watching: list[Traffic] = []


@contextmanager
def traffic() -> Iterator[Traffic]:
    """Count the halos that this rank sends, forward and backward, while the context lasts.

    >>> with traffic() as sent:
    ...     pass  # a call of a layer, loss.backward()
    >>> sent.messages, sent.bytes
    (0, 0)
    """
    counted = Traffic()
    _watching.append(counted)
    try:
        yield counted
    finally:
        _watching.remove(counted)


def extended(x: Tensor, halo: Halo, line: Line) -> Tensor:
    """A rank's shard ``(B, C, frames)`` as the input that its samples are computed from."""
    return _applied(Extend, x, halo, line)


def shared(w: Tensor, group: Any) -> Tensor:
    """A tensor that every rank of a group has; its gradient is the sum of all of theirs."""
    return _applied(Shared, w, group) if torch.is_grad_enabled() else w


def in_parts(
    x: Tensor,
    halo: Halo,
    line: Line,
    make: Callable[[Tensor, Geometry, slice], None],
) -> None:
    """Let ``make`` compute a rank's samples, most of them while the frames for the others come.

    It is called with the input ``(B, C, frames)`` of some samples, the geometry that makes them,
    and their place among the rank's own.
    """
    asked, buffers = _ask(x, halo, line), {line.rank: x}
    for part in sorted(halo.parts, key=lambda part: not part.own):
        if not part.own and len(buffers) == 1:
            buffers |= asked.finish()
        place = slice(part.first, part.first + part.samples)
        make(_joined(part, buffers, x), part.geometry, place)
    asked.finish()


def _ask(x: Tensor, halo: Halo, line: Line) -> _Trade:
    """Give to others what they need of a shard, and wait for what it lacks."""
    outgoing = [(other, torch.cat([x[:, :, a:b] for a, b in runs], 2)) for other, runs in halo.sent]
    return _Trade(outgoing, halo.received, x, line)


class Extend(Function):
    """:func:`extended`."""

    @staticmethod
    def forward(x: Tensor, halo: Halo, line: Line) -> Tensor:
        """Give to others what they need, and put together the pieces."""
        buffers = _ask(x, halo, line).finish()
        if halo.whole is None:
            return x[:, :, :0]
        buffers[line.rank] = x
        joined = _joined(halo.whole, buffers, x)
        return joined if joined is not x else x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The way back needs the sizes alone."""
        x, ctx.halo, ctx.line = inputs
        ctx.frames = x.shape[2]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """Each frame's gradient, with what became of its copies."""
        return _applied(Fold, g, ctx.halo, ctx.frames, ctx.line), None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, *_: Any) -> Tensor:
        """It is linear."""
        return _applied(Extend, dx, ctx.halo, ctx.line)


class Fold(Function):
    """The adjoint of :class:`Extend`: what fell on copies is added to the frames they are of.

    A frame's own rank comes first, then the others in their order: the same sum in every run.
    """

    @staticmethod
    def forward(g: Tensor, halo: Halo, frames: int, line: Line) -> Tensor:
        """Give back to others what fell on their frames, and add up what fell on ours."""
        shape = g.shape[:2]
        buffers = {other: g.new_zeros((*shape, count)) for other, count in halo.received}
        rank, pieces = line.rank, () if halo.whole is None else halo.whole.pieces
        own = _whole(g, pieces, frames, rank)
        buffers[rank] = g.new_zeros((*shape, frames)) if own is None else own[1]
        at = 0
        for piece in pieces:
            if piece.owner is not None and (own is None or piece is not own[0]):
                _add(buffers[piece.owner], piece, g[:, :, at : at + piece.count])
            at += piece.count
        outgoing = [(other, buffers[other]) for other, _ in halo.received]
        incoming = [(other, sum(b - a for a, b in runs)) for other, runs in halo.sent]
        back = _Trade(outgoing, incoming, g, line).finish()
        for other, runs in halo.sent:
            at = 0
            for a, b in runs:
                buffers[rank][:, :, a:b] += back[other][:, :, at : at + b - a]
                at += b - a
        return buffers[rank]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The way back needs no numbers."""
        _, ctx.halo, ctx.frames, ctx.line = inputs

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """The adjoint of the adjoint."""
        return _applied(Extend, h, ctx.halo, ctx.line), None, None, None

    @staticmethod
    def jvp(ctx: Any, dg: Tensor, *_: Any) -> Tensor:
        """It is linear."""
        return _applied(Fold, dg, ctx.halo, ctx.frames, ctx.line)


class Shared(Function):
    """:func:`shared`."""

    @staticmethod
    def forward(w: Tensor, group: Any) -> Tensor:
        """As it is."""
        return w.view_as(w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Which group."""
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """The sum, on each of them."""
        return _applied(Summed, g, ctx.group), None

    @staticmethod
    def jvp(ctx: Any, dw: Tensor, *_: Any) -> Tensor:
        """As it is."""
        return dw.view_as(dw)


class Summed(Function):
    """The sum over the ranks of a group, for each of them: the adjoint of :class:`Shared`."""

    @staticmethod
    def forward(g: Tensor, group: Any) -> Tensor:
        """One all-reduce."""
        total = g.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Which group."""
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """The adjoint of the adjoint."""
        return _applied(Shared, h, ctx.group), None

    @staticmethod
    def jvp(ctx: Any, dg: Tensor, *_: Any) -> Tensor:
        """It is linear."""
        return _applied(Summed, dg, ctx.group)


def _applied(function: Any, *operands: Any) -> Tensor:
    result: Tensor = function.apply(*operands)
    return result


def _joined(part: Part, buffers: dict[int, Tensor], like: Tensor) -> Tensor:
    """The input of a part; no copy where it is one piece."""
    pieces = [_piece(piece, buffers, like) for piece in part.pieces]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 2)


def _piece(piece: Piece, buffers: dict[int, Tensor], like: Tensor) -> Tensor:
    if piece.owner is None:
        return like.new_zeros((*like.shape[:2], piece.count))
    buffer = buffers[piece.owner]
    if piece.indices is not None:
        return buffer.index_select(2, torch.tensor(piece.indices, device=like.device))
    if piece.count == buffer.shape[2]:
        return buffer
    return buffer.narrow(2, piece.start, piece.count)


def _add(buffer: Tensor, piece: Piece, g: Tensor) -> None:
    if piece.indices is None:
        buffer.narrow(2, piece.start, piece.count).add_(g)
        return
    # By slices, in the order of the indices: adding by an index is not deterministic on a GPU.
    for at, count, step in _runs(piece.indices):
        first, part = piece.indices[at], g.narrow(2, at, count)
        if step < 0:
            first, part = first - count + 1, part.flip(2)
        buffer.narrow(2, first, count).add_(part)


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Indices as runs that rise or fall by one: the place where one begins, its length, its step.

    >>> list(_runs((2, 1, 0, 1, 2, 2)))
    [(0, 3, -1), (3, 2, 1), (5, 1, 1)]
    """
    at = 0
    while at < len(indices):
        stop = at + 1
        step = indices[stop] - indices[at] if stop < len(indices) else 1
        if abs(step) != 1:
            step = 1
        while stop < len(indices) and indices[stop] - indices[stop - 1] == step:
            stop += 1
        yield at, stop - at, step
        at = stop


def _whole(
    g: Tensor, pieces: Sequence[Piece], frames: int, rank: int
) -> tuple[Piece, Tensor] | None:
    """The piece that is the rank's whole shard, and its gradient in memory of its own."""
    at = 0
    for piece in pieces:
        if piece.owner == rank and piece.indices is None and piece.count == frames:
            return piece, g[:, :, at : at + frames].clone(memory_format=torch.contiguous_format)
        at += piece.count
    return None


class _Trade:
    """Tensors on their way to ranks of the group, and so many frames from others on theirs here.

    ``received`` is there, by rank, and what was sent may be written to, after ``finish``.
    """

    def __init__(
        self,
        outgoing: Sequence[tuple[int, Tensor]],
        incoming: Sequence[tuple[int, int]],
        like: Tensor,
        line: Line,
    ) -> None:
        shape = like.shape[:2]
        self.received = {other: like.new_empty((*shape, count)) for other, count in incoming}
        self._operations = []
        for other, tensor in outgoing:
            self._operations.append(_operation(dist.isend, tensor.contiguous(), other, line))
            for counted in _watching:
                counted.messages += 1
                counted.bytes += tensor.nbytes
        for other, tensor in self.received.items():
            self._operations.append(_operation(dist.irecv, tensor, other, line))
        self._works = dist.batch_isend_irecv(self._operations) if self._operations else []

    def finish(self) -> dict[int, Tensor]:
        while self._works:  # none may be waited for twice
            self._works.pop().wait()
        return self.received


def _operation(kind: Any, tensor: Tensor, other: int, line: Line) -> dist.P2POp:
    # As bytes: not every backend knows every dtype.
    flat = tensor.view(-1) if tensor.numel() else tensor.reshape(-1)
    return dist.P2POp(kind, flat.view(torch.uint8), line.members[other], line.group)
