"""Streams of torch modules: tensors in, tensors out, and gradients through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fracstride.geometry import MAX_SIZE, as_size
from fracstride.streaming.compose import Chain, Pointwise
from fracstride.streaming.stream import (
    Stream,
    check_mode,
    check_state,
    cut,
    detached,
    join,
    shown_shape,
)
from fracstride.torch.conv1d import TurnedWeights, geometry_of_module
from fracstride.torch.elementwise import ELEMENTWISE, ELEMENTWISE_IN_EVAL, elementwise_in_eval
from fracstride.torch.functional import apply
from fracstride.torch.module import ConvTranspose1d
from fracstride.torch.packed import PackedWeights

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


class ModuleStream(Stream):
    """A ``ConvTranspose1d`` or a stride-1 ``Conv1d`` fed chunk by chunk; see :func:`stream`."""

    def __init__(self, module: Any, batch_size: int | None = 1) -> None:
        self._module = module
        self._is_conv1d = isinstance(module, nn.Conv1d)
        self._kept = TurnedWeights() if self._is_conv1d else PackedWeights()
        g = self._geometry = geometry_of_module(module)
        check_mode(g)
        self.batch_size = None if batch_size is None else as_size("batch_size", batch_size, 1)
        self.stride, self.latency, self.overhang = g.stride, g.latency, g.overhang
        self.in_channels, self.out_channels = module.in_channels, module.out_channels
        batch = () if self.batch_size is None else (self.batch_size,)
        self._lead: tuple[int, ...] = (*batch, module.in_channels)
        self._lead_out = (*batch, module.out_channels)
        self.reset()

    def push(self, chunk: Tensor, *, active: Any = None) -> Tensor:
        """The samples ``(B, C_out, T')`` that a chunk ``(B, C_in, T)`` makes final.

        Raises:
            RuntimeError: a shape, dtype or device that does not fit. The stream stays as it was.
            TypeError: the chunk is no tensor.
        """
        self._refuse("active", active)
        return self._advance(chunk, last=False)

    def finish(self, chunk: Tensor, *, rows: Any = None) -> Tensor:  # noqa: D102
        self._refuse("rows", rows)
        return self._advance(chunk, last=True)

    def flush(self, *, rows: Any = None) -> Tensor:  # noqa: D102
        self._refuse("rows", rows)
        weight = self._module.weight
        return self._advance(weight.new_empty((*self._lead, 0)), last=True)

    def reset(self, *, rows: Any = None) -> None:  # noqa: D102
        self._refuse("rows", rows)
        self._received = 0
        self._carried: Tensor | None = None

    def state(self) -> dict[str, Tensor]:  # noqa: D102
        carried = self._carried
        if carried is None:
            carried = self._module.weight.new_empty((*self._lead, 0))
        return {
            "frames": carried.detach().clone(),
            "received": torch.tensor([self._received]),
        }

    def _checked(self, state: Mapping[str, Any]) -> Callable[[], None]:
        given = check_state(state, {"frames", "received"})
        try:
            counts, frames = (torch.as_tensor(given[key]) for key in ("received", "frames"))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"state received and frames must be tensors: {error}") from None
        whole = not (
            counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool
        )
        if counts.shape != (1,) or not whole or not 0 <= int(counts) <= MAX_SIZE:
            raise ValueError(f"state received must be one integer from 0 to 2**62, got {counts}")
        received = int(counts)
        shape = (*self._lead, self._keep(received))
        dtype = self._module.weight.dtype
        if frames.shape != shape or (frames.dtype != dtype and not self._autocast()):
            raise ValueError(
                f"state frames must be {dtype} of shape {shape} after {received} frames, "
                f"got {frames.dtype} of shape {tuple(frames.shape)}"
            )

        def take() -> None:
            self._received = received
            on_device = frames.to(self._module.weight.device, copy=True)
            self._carried = on_device if shape[-1] else None

        return take

    def _autocast(self) -> bool:
        return torch.is_autocast_enabled(self._module.weight.device.type)

    def detach(self) -> None:  # noqa: D102
        if self._carried is not None:
            self._carried = self._carried.detach()

    def _refuse(self, name: str, rows: Any) -> None:
        if rows is not None:
            raise ValueError(f"{name} must be None for a stream of a module, got {rows!r}")

    def _keep(self, received: int) -> int:
        return received - self._geometry.first_kept(received)

    def _advance(self, chunk: Tensor, last: bool) -> Tensor:
        g, carried = self._geometry, self._carried
        weight, bias = self._parameters()
        self._check(chunk, weight)
        received = self._received + chunk.shape[-1]
        first = g.final_length(self._received)
        stop = max(first, g.length_at_end(received)) if last else g.final_length(received)
        frames = chunk if carried is None else torch.cat([carried, chunk], -1)
        if stop == first:
            device = weight.device.type
            dtype = torch.get_autocast_dtype(device) if self._autocast() else chunk.dtype
            y = chunk.new_empty((*self._lead_out, 0), dtype=dtype)
        else:
            count = frames.shape[-1]
            start = received - count
            # Between the ends of the signal nothing reaches beyond the frames that are there.
            mode = g.padding_mode if start == 0 or last else "zeros"
            part = g.of_part(start, count, first, stop - first, mode)
            sizes = part.stride, part.padding, part.output_padding, part.dilation, mode
            y = apply(frames, weight, bias, sizes, self._module.groups, None, self._kept)
        if last:
            self.reset()
        else:
            keep = self._keep(received)
            self._carried = cut(frames, frames.shape[-1] - keep) if keep else None
            self._received = received
        return y

    def _check(self, chunk: Any, weight: Tensor) -> None:
        if not isinstance(chunk, Tensor):
            raise TypeError(f"chunk must be a tensor, got {type(chunk).__name__}")
        if chunk.shape[:-1] != self._lead or chunk.dim() == 0:
            raise RuntimeError(
                f"chunk must have the shape {shown_shape(self._lead)}, "
                f"got shape {tuple(chunk.shape)}"
            )
        before = weight if self._carried is None else self._carried
        for name, dtype in (("weight's", weight.dtype), ("earlier chunks'", before.dtype)):
            if chunk.dtype != dtype and not self._autocast():
                raise RuntimeError(f"chunk must have the {name} dtype {dtype}, got {chunk.dtype}")
        if chunk.device != weight.device:
            raise RuntimeError(f"chunk must be on the weight's {weight.device}, got {chunk.device}")

    def _parameters(self) -> tuple[Tensor, Tensor | None]:
        module = self._module
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, (WeightNorm, SpectralNorm)):  # they make the weight
                hook(module, ())
        weight, bias = module.weight, module.bias
        if isinstance(self._kept, TurnedWeights):
            weight = self._kept.transposed(weight, module.groups)
        return weight, bias

    def __repr__(self) -> str:
        return f"stream({self._module!r}, batch_size={self.batch_size})"


@join.register
def _(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], -1)


@cut.register
def _(piece: Tensor, start: int) -> Tensor:
    return piece[..., start:].clone()  # which its graph goes through


@detached.register
def _(piece: Tensor) -> Tensor:
    return piece.detach()
