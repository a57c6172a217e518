"""Halos on the wire: the frames that a rank lacks, and on the way back the gradients of them.

Two linear maps, each the adjoint of the other, so that derivatives of any order go through. Point
to point, one message from a rank to another; every rank of the group calls them in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from fracstride.torch.distributed.halo import Halo, Piece

__all__ = ["Traffic", "extended", "shared", "traffic"]


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


def extended(x: Tensor, halo: Halo, rank: int, group: Any) -> Tensor:
    """A rank's shard ``(B, C, frames)`` as the input that its samples are computed from."""
    return _applied(Extend, x, halo, rank, group)


def shared(w: Tensor, group: Any) -> Tensor:
    """A tensor that every rank of a group has; its gradient is the sum of all of theirs."""
    return _applied(Shared, w, group)


class Extend(Function):
    """:func:`extended`."""

    @staticmethod
    def forward(x: Tensor, halo: Halo, rank: int, group: Any) -> Tensor:
        """Give to others what they need, and put together the pieces."""
        outgoing = [
            (other, torch.cat([x[:, :, a:b] for a, b in runs], 2)) for other, runs in halo.sent
        ]
        buffers = _trade(outgoing, halo.received, x, group)
        buffers[rank] = x
        parts = [_part(piece, buffers, x) for piece in halo.pieces]
        if len(parts) == 1:
            return parts[0] if parts[0] is not x else x.view_as(x)
        return torch.cat(parts, 2) if parts else x[:, :, :0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The way back needs the sizes alone."""
        x, ctx.halo, ctx.rank, ctx.group = inputs
        ctx.frames = x.shape[2]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """Each frame's gradient, with what became of its copies."""
        return _applied(Fold, g, ctx.halo, ctx.frames, ctx.rank, ctx.group), None, None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, *_: Any) -> Tensor:
        """It is linear."""
        return _applied(Extend, dx, ctx.halo, ctx.rank, ctx.group)


class Fold(Function):
    """The adjoint of :class:`Extend`: what fell on copies is added to the frames they are of.

    A frame's own rank comes first, then the others in their order: the same sum in every run.
    """

    @staticmethod
    def forward(g: Tensor, halo: Halo, frames: int, rank: int, group: Any) -> Tensor:
        """Give back to others what fell on their frames, and add up what fell on ours."""
        shape = g.shape[:2]
        buffers = {other: g.new_zeros((*shape, count)) for other, count in halo.received}
        own = _whole(g, halo, frames, rank)
        buffers[rank] = g.new_zeros((*shape, frames)) if own is None else own[1]
        at = 0
        for piece in halo.pieces:
            if piece.owner is not None and (own is None or piece is not own[0]):
                _add(buffers[piece.owner], piece, g[:, :, at : at + piece.count])
            at += piece.count
        outgoing = [(other, buffers[other]) for other, _ in halo.received]
        incoming = [(other, sum(b - a for a, b in runs)) for other, runs in halo.sent]
        back = _trade(outgoing, incoming, g, group)
        for other, runs in halo.sent:
            at = 0
            for a, b in runs:
                buffers[rank][:, :, a:b] += back[other][:, :, at : at + b - a]
                at += b - a
        return buffers[rank]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The way back needs no numbers."""
        _, ctx.halo, ctx.frames, ctx.rank, ctx.group = inputs

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
        """The adjoint of the adjoint."""
        return _applied(Extend, h, ctx.halo, ctx.rank, ctx.group), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, dg: Tensor, *_: Any) -> Tensor:
        """It is linear."""
        return _applied(Fold, dg, ctx.halo, ctx.frames, ctx.rank, ctx.group)


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


def _part(piece: Piece, buffers: dict[int, Tensor], like: Tensor) -> Tensor:
    if piece.owner is None:
        return like.new_zeros((*like.shape[:2], piece.count))
    buffer = buffers[piece.owner]
    if piece.indices is not None:
        return buffer.index_select(2, torch.tensor(piece.indices, device=like.device))
    if piece.count == buffer.shape[2]:
        return buffer
    return buffer.narrow(2, piece.start, piece.count)


def _add(buffer: Tensor, piece: Piece, g: Tensor) -> None:
    if piece.indices is not None:
        buffer.index_add_(2, torch.tensor(piece.indices, device=g.device), g)
    else:
        buffer.narrow(2, piece.start, piece.count).add_(g)


def _whole(g: Tensor, halo: Halo, frames: int, rank: int) -> tuple[Piece, Tensor] | None:
    """The piece that is the rank's whole shard, and its gradient in memory of its own."""
    at = 0
    for piece in halo.pieces:
        if piece.owner == rank and piece.indices is None and piece.count == frames:
            return piece, g[:, :, at : at + frames].clone(memory_format=torch.contiguous_format)
        at += piece.count
    return None


def _trade(
    outgoing: Sequence[tuple[int, Tensor]],
    incoming: Sequence[tuple[int, int]],
    like: Tensor,
    group: Any,
) -> dict[int, Tensor]:
    """Send tensors to ranks of the group, and receive so many frames from others, by rank."""
    received = {other: like.new_empty((*like.shape[:2], count)) for other, count in incoming}
    operations = []
    for other, tensor in outgoing:
        operations.append(_operation(dist.isend, tensor.contiguous(), other, group))
        for counted in _watching:
            counted.messages += 1
            counted.bytes += tensor.nbytes
    operations += [_operation(dist.irecv, received[other], other, group) for other in received]
    for work in dist.batch_isend_irecv(operations) if operations else ():
        work.wait()
    return received


def _operation(kind: Any, tensor: Tensor, other: int, group: Any) -> dist.P2POp:
    # As bytes: not every backend knows every dtype. And by its number among all processes: within
    # the group it may be another.
    flat = tensor.view(-1) if tensor.numel() else tensor.reshape(-1)
    return dist.P2POp(kind, flat.view(torch.uint8), dist.get_global_rank(group, other), group)
