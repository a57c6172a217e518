"""Halos as messages: ranks send each other frames, and their gradients on the way back.

Two linear maps, each the adjoint of the other, so that there are derivatives of any order:
:class:`Extend` puts together a shard and its halo, :class:`Fold` sends gradients back to the frames
that they are of. Messages go point to point, at most one from a rank to another in each call. Every
rank of the group calls these functions, in the same order.
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

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch.distributed.halo import Halo, Part, Piece
from fracstride.torch.distributed.meshes import Line

__all__ = ["Traffic", "compute_in_parts", "extend", "share", "traffic"]


@dataclass(eq=False)
class Traffic:
    """The halos that this rank has sent: how many messages, and how many bytes in all."""

    messages: int = 0
    bytes: int = 0


_counters: list[Traffic] = []


@contextmanager
def traffic() -> Iterator[Traffic]:
    """Count the halos that this rank sends, forward and backward, while the context lasts.

    >>> with traffic() as sent:
    ...     pass  # a call of a layer, loss.backward()
    >>> sent.messages, sent.bytes
    (0, 0)
    """
    counter = Traffic()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


def extend(x: Tensor, halo: Halo, line: Line) -> Tensor:
    """A rank's shard ``(B, C, frames)`` with its halo: the input of all its samples."""
    return _apply(Extend, x, halo, line)


def share(w: Tensor, group: Any) -> Tensor:
    """A tensor that is the same on every rank of a group; its gradient is the sum of theirs."""
    return _apply(Share, w, group) if torch.is_grad_enabled() else w


def compute_in_parts(
    x: Tensor,
    halo: Halo,
    line: Line,
    make: Callable[[Tensor, AnyGeometry, slice], None],
) -> None:
    """Let ``make`` compute a rank's samples part by part, most of them while the halo travels.

    ``make`` is called with the input ``(B, C, frames)`` of some samples, the geometry that makes
    them, and their place among the rank's own samples.
    """
    trade, buffers = _begin_trade(x, halo, line), {line.rank: x}
    for part in sorted(halo.parts, key=lambda part: not part.own):
        if not part.own and len(buffers) == 1:
            buffers |= trade.finish()
        place = slice(part.first, part.first + part.samples)
        make(_join(part, buffers, x), part.geometry, place)
    trade.finish()


def _begin_trade(x: Tensor, halo: Halo, line: Line) -> _Trade:
    """Begin to send others what they need of a shard, and to receive what it lacks."""
    outgoing = [
        (other, torch.cat([x[:, :, a:b] for a, b in intervals], 2))
        for other, intervals in halo.sends
    ]
    return _Trade(outgoing, halo.receives, x, line)


class Extend(Function):
    """:func:`extend`."""

    @staticmethod
    def forward(x: Tensor, halo: Halo, line: Line) -> Tensor:
        """Exchange the halos, and join the pieces."""
        buffers = _begin_trade(x, halo, line).finish()
        if halo.whole is None:
            return x[:, :, :0]
        buffers[line.rank] = x
        joined = _join(halo.whole, buffers, x)
        return joined if joined is not x else x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The derivative needs sizes only."""
        x, ctx.halo, ctx.line = inputs
        ctx.frames = x.shape[2]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """Each frame's gradient, its copies' included."""
        return _apply(Fold, g, ctx.halo, ctx.frames, ctx.line), None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, *_: Any) -> Tensor:
        """It is linear."""
        return _apply(Extend, dx, ctx.halo, ctx.line)


class Fold(Function):
    """The adjoint of :class:`Extend`: gradients of copies are added to those of their frames.

    A frame's own rank is added first, then the others in their order: the same sum in every run.
    """

    @staticmethod
    def forward(g: Tensor, halo: Halo, frames: int, line: Line) -> Tensor:
        """Send others the gradients of their frames, and add up those of this rank's."""
        shape = g.shape[:2]
        buffers = {other: g.new_zeros((*shape, count)) for other, count in halo.receives}
        rank, pieces = line.rank, () if halo.whole is None else halo.whole.pieces
        own = _whole_shard(g, pieces, frames, rank)
        buffers[rank] = g.new_zeros((*shape, frames)) if own is None else own[1]
        at = 0
        for piece in pieces:
            if piece.owner is not None and (own is None or piece is not own[0]):
                add_gradient(buffers[piece.owner], piece, g[:, :, at : at + piece.count])
            at += piece.count
        outgoing = [(other, buffers[other]) for other, _ in halo.receives]
        incoming = [(other, sum(b - a for a, b in intervals)) for other, intervals in halo.sends]
        back = _Trade(outgoing, incoming, g, line).finish()
        for other, intervals in halo.sends:
            at = 0
            for a, b in intervals:
                buffers[rank][:, :, a:b] += back[other][:, :, at : at + b - a]
                at += b - a
        return buffers[rank]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The derivative needs sizes only."""
        _, ctx.halo, ctx.frames, ctx.line = inputs

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """The adjoint of the adjoint."""
        return _apply(Extend, h, ctx.halo, ctx.line), None, None, None

    @staticmethod
    def jvp(ctx: Any, dg: Tensor, *_: Any) -> Tensor:
        """It is linear."""
        return _apply(Fold, dg, ctx.halo, ctx.frames, ctx.line)


class Share(Function):
    """:func:`share`."""

    @staticmethod
    def forward(w: Tensor, group: Any) -> Tensor:
        """The tensor itself."""
        return w.view_as(w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The derivative needs the group."""
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """The sum, on each rank."""
        return _apply(SumOverRanks, g, ctx.group), None

    @staticmethod
    def jvp(ctx: Any, dw: Tensor, *_: Any) -> Tensor:
        """The tensor itself."""
        return dw.view_as(dw)


class SumOverRanks(Function):
    """The sum over the ranks of a group, for each of them: the adjoint of :class:`Share`."""

    @staticmethod
    def forward(g: Tensor, group: Any) -> Tensor:
        """One all-reduce."""
        total = g.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The derivative needs the group."""
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """The adjoint of the adjoint."""
        return _apply(Share, h, ctx.group), None

    @staticmethod
    def jvp(ctx: Any, dg: Tensor, *_: Any) -> Tensor:
        """It is linear."""
        return _apply(SumOverRanks, dg, ctx.group)


def _apply(function: Any, *operands: Any) -> Tensor:
    result: Tensor = function.apply(*operands)
    return result


def _join(part: Part, buffers: dict[int, Tensor], like: Tensor) -> Tensor:
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


def add_gradient(buffer: Tensor, piece: Piece, g: Tensor) -> None:
    """Add ``g``, the gradient of a piece, to that of its owner's frames, in place."""
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


def _whole_shard(
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
    """Tensors that travel to other ranks of the group, and frames that travel from them to here.

    ``outgoing`` has a rank and a tensor for each message, ``incoming`` a rank and a number of
    frames. After ``finish``, which returns the incoming frames by rank, the tensors that were sent
    may be written to.
    """

    def __init__(
        self,
        outgoing: Sequence[tuple[int, Tensor]],
        incoming: Sequence[tuple[int, int]],
        like: Tensor,
        line: Line,
    ) -> None:
        shape = like.shape[:2]
        self._incoming = {other: like.new_empty((*shape, count)) for other, count in incoming}
        self._operations = []
        for other, tensor in outgoing:
            self._operations.append(_operation(dist.isend, tensor.contiguous(), other, line))
            for counter in _counters:
                counter.messages += 1
                counter.bytes += tensor.nbytes
        for other, tensor in self._incoming.items():
            self._operations.append(_operation(dist.irecv, tensor, other, line))
        self._works = dist.batch_isend_irecv(self._operations) if self._operations else []

    def finish(self) -> dict[int, Tensor]:
        """Wait for all messages; the frames of others, by rank."""
        while self._works:  # each may be waited for once
            self._works.pop().wait()
        return self._incoming


def _operation(kind: Any, tensor: Tensor, other: int, line: Line) -> dist.P2POp:
    # Sent as bytes: not every backend knows every dtype.
    flat = tensor.view(-1) if tensor.numel() else tensor.reshape(-1)
    return dist.P2POp(kind, flat.view(torch.uint8), line.members[other], line.group)
