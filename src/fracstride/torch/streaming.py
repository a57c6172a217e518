"""Streams of torch modules: tensors in, tensors out, and gradients through them."""

from __future__ import annotations

from torch import nn

from fracstride.streaming.compose import Chain, Pointwise
from fracstride.streaming.stream import Stream
from fracstride.torch.elementwise import ELEMENTWISE, ELEMENTWISE_IN_EVAL, elementwise_in_eval
from fracstride.torch.layer_stream import ModuleStream
from fracstride.torch.module import ConvTranspose1d

__all__ = ["ModuleStream", "stream"]


def stream(
    module: nn.Module,
    batch_size: int | None = 1,
    *,
    elementwise: tuple[type[nn.Module], ...] = (),
) -> Stream:
    """A module fed chunk by chunk: what comes out is its output, whatever the chunks.

    On the CPU the bits are those of :class:`fracstride.torch.ConvTranspose1d` for the same input in
    one piece; a ``Conv1d`` is computed by the same kernels (so torch's own differs from it by
    rounding). Frames that are carried from chunk to chunk are part of the graph of derivatives:
    ``detach()`` cuts it there, as truncated back-propagation through time does. Streams of modules
    go into ``Chain`` and ``Sum`` of :mod:`fracstride.streaming`.

    Args:
        module: a ``ConvTranspose1d`` (torch's or ours), a ``Conv1d`` of stride 1, an elementwise
            activation of ``torch.nn``, ``Dropout`` or ``BatchNorm1d`` in eval mode, or an
            ``nn.Sequential`` of all these. Parameters are read at each push.
        batch_size: rows ``B`` of a chunk ``(B, C_in, T)``, or None for chunks ``(C_in, T)``.
        elementwise: classes of modules of your own that are elementwise too.

    Returns:
        A :class:`fracstride.streaming.Stream`. States are dicts of tensors, without their graph.

    Raises:
        TypeError: a submodule cannot stream; the first such is named.
        ValueError: a padding mode is ``circular``, a Conv1d's stride is not 1, or its padding is
            more than its kernel reaches.

    >>> import torch
    >>> up = nn.Sequential(nn.ConvTranspose1d(2, 3, 4, stride=2, padding=1), nn.Tanh())
    >>> chunks = torch.zeros(1, 2, 5), torch.zeros(1, 2, 1)
    >>> decoder = stream(up)
    >>> [decoder.push(chunk).shape[-1] for chunk in chunks], decoder.flush().shape[-1]
    ([9, 2], 1)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    return _stream(module, "", batch_size, elementwise)


def _stream(
    module: nn.Module, name: str, batch_size: int | None, elementwise: tuple[type[nn.Module], ...]
) -> Stream:
    where = name or "the module itself"
    forward = type(module).forward
    if isinstance(module, nn.Sequential) and forward is nn.Sequential.forward:
        dot = f"{name}." if name else ""
        return Chain(
            *(_stream(m, f"{dot}{n}", batch_size, elementwise) for n, m in module.named_children())
        )
    try:
        if forward in (nn.ConvTranspose1d.forward, ConvTranspose1d.forward):
            return ModuleStream(module, batch_size)
        if isinstance(module, nn.Conv1d) and forward is nn.Conv1d.forward:
            return ModuleStream(module, batch_size)
    except ValueError as error:
        raise ValueError(f"{where} ({type(module).__name__}) cannot stream: {error}") from None
    in_eval = type(module) in ELEMENTWISE_IN_EVAL
    if isinstance(module, elementwise) or type(module) in ELEMENTWISE:
        return Pointwise(module)
    if elementwise_in_eval(module):
        return Pointwise(module)
    why = " in training mode, or without running statistics" if in_eval else ""
    raise TypeError(
        f"{where} ({type(module).__name__}) cannot stream{why}: a module must be a "
        "ConvTranspose1d, a Conv1d of stride 1, an elementwise activation (your own: "
        "elementwise=(Class,)), Dropout "
        "or BatchNorm1d in eval mode, or an nn.Sequential of these"
    )
