"""Streams of torch modules: tensors in, tensors out, and gradients through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fracstride.arguments import as_size
from fracstride.streaming.compose import Chain
from fracstride.streaming.stream import Stream
from fracstride.torch.compile import compile
from fracstride.torch.inputs import checked_classes
from fracstride.torch.layer_stream import ModuleStream
from fracstride.torch.module_kinds import (
    Classification,
    Kind,
    check_eval,
    children_of,
    classify,
    in_channels_of,
    parts_only_in_eval,
)
from fracstride.torch.pointwise import (
    SAME_CHANNELS,
    ModulePointwise,
    channels_after,
    check_gate,
    no_numbers,
)
from fracstride.torch.resample import resampling_stream

__all__ = ["ModuleStream", "stream"]


def stream(
    module: nn.Module,
    batch_size: int | None = 1,
    *,
    elementwise: tuple[type[nn.Module], ...] = (),
    example: Sequence[Tensor] | Tensor | None = None,
    time: Any = -1,
    constants: Sequence[Tensor] = (),
) -> Stream:
    """A module fed chunk by chunk: what comes out is its output, with the same bits in any chunks.

    With an ``example``, any module that :func:`compile` takes, for inference: its stream has the
    bits of the compiled module. Without one, the modules named below, also for training.

    On the CPU the bits are those of :class:`fracstride.torch.ConvTranspose1d` for the same input in
    one piece. Torch's own layers differ by rounding in three cases: a ``Conv1d`` and a linear
    ``Upsample`` are computed by this library's kernels, and some activations are rounded by torch
    in another way at the end of a tensor. Frames that are carried from chunk to chunk are part of
    the graph of derivatives: ``detach()`` cuts it there, as truncated back-propagation through time
    does. Hooks of layers, pads and containers are not called, but for those of weight_norm and
    spectral_norm. Streams of modules go into ``Chain`` and ``Sum`` of :mod:`fracstride.streaming`.

    Args:
        module: a ``ConvTranspose1d`` (torch's or ours), a ``Conv1d``,
            ``ReflectionPad1d``, ``ReplicationPad1d``, ``ConstantPad1d`` or ``ZeroPad1d``, an
            ``Upsample`` by a whole ``scale_factor`` (nearest, or linear with
            ``align_corners=False``), an elementwise activation of ``torch.nn``, a ``GLU`` over the
            channels, ``Dropout`` or ``BatchNorm1d`` in eval mode, or an ``nn.Sequential`` of all
            these. Parameters are read at each push.
        batch_size: rows ``B`` of a chunk ``(B, C_in, T)``, or None for chunks ``(C_in, T)``. (A
            stream of activations alone takes any number of rows.)
        elementwise: classes of modules of your own whose output at one time depends on their input
            at that time only. They may change the number of channels, as gates do.
        example: what the module is called with, as for :func:`compile`; the stream is then that of
            the compiled module.
        time: the axis of time of each example, or None for one without time.
        constants: values of the inputs without time.

    Returns:
        A :class:`fracstride.streaming.Stream` whose samples are tensors ``(B, C_out, T')``, or
        ``(C_out, T')``. States are dicts of tensors, without their graph. A push raises
        RuntimeError for a chunk of another shape, dtype or device, and while a ``Dropout`` or
        ``BatchNorm`` inside is in training mode; the stream stays as it was.

    Raises:
        TypeError: a submodule cannot stream; the first such is named, and what may help.
        ValueError: a submodule cannot stream with these arguments, such as a padding mode
            ``circular``, or an ``Upsample`` to a fixed size.

    >>> import torch
    >>> up = nn.Sequential(nn.ConvTranspose1d(2, 3, 4, stride=2, padding=1), nn.Tanh())
    >>> chunks = torch.zeros(1, 2, 5), torch.zeros(1, 2, 1)
    >>> decoder = stream(up)
    >>> [decoder.push(chunk).shape[-1] for chunk in chunks], decoder.flush().shape[-1]
    ([9, 2], 1)
    >>> padded = nn.Sequential(nn.ReflectionPad1d(3), nn.Conv1d(2, 4, 7), nn.GLU(dim=1))
    >>> gated = stream(padded, batch_size=2)
    >>> gated.push(torch.zeros(2, 2, 10)).shape, gated.latency
    (torch.Size([2, 2, 7]), 3)
    >>> gated = stream(padded, 2, example=torch.zeros(1, 2, 20))
    >>> gated.push(torch.zeros(2, 2, 10)).shape, gated.latency
    (torch.Size([2, 2, 7]), 3)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    classes = checked_classes(elementwise)
    if example is not None:
        examples = (example,) if isinstance(example, Tensor) else tuple(example)
        compiled = compile(module, *examples, time=time)
        return compiled.stream(
            1 if batch_size is None else batch_size, constants, elementwise=classes
        )
    if batch_size is not None:
        batch_size = as_size("batch_size", batch_size, 1)
    return _Maker(module, batch_size, classes).make(module, "", None, [])


class ModuleChain(Chain):
    """The parts of an ``nn.Sequential``: it gives tensors, whatever it has seen."""

    def __init__(self, whole: nn.Module, batch_size: int | None, streams: list[Stream]) -> None:
        super().__init__(*streams)
        self._whole, self._batched = whole, batch_size is not None

    def output_kind(self) -> Any:
        kind = super().output_kind()
        return no_numbers(self._whole) if kind is None else kind

    def empty_output(self) -> Any:
        nothing = super().empty_output()
        return nothing if self._batched else nothing.reshape(self.out_channels or 0, 0)


_STREAMABLE = (
    "it must be a ConvTranspose1d, a Conv1d, a pad, an Upsample, an activation of "
    "torch.nn, Dropout or BatchNorm1d in eval mode, a GLU of the channels, or an nn.Sequential of "
    "these"
)


class _Maker:
    """Makes the streams of a module and of its parts."""

    def __init__(
        self, whole: nn.Module, batch_size: int | None, elementwise: tuple[type[nn.Module], ...]
    ) -> None:
        self.whole, self.batch_size, self.elementwise = whole, batch_size, elementwise

    def make(
        self, module: nn.Module, name: str, channels: int | None, after: list[nn.Module]
    ) -> Stream:
        """The stream of the part ``name``, which is a module with ``channels`` channels of input.

        ``channels`` is None if no earlier part says it; then the modules in ``after`` are asked.
        """
        where = f"{name or 'the module itself'} ({type(module).__name__}) cannot stream"
        found = classify(module, self.elementwise)
        if found.kind is Kind.SEQUENTIAL:
            return self._chain(module, name, channels, after)
        if channels is None:
            channels = self._channels_into([module, *after])
        if found.kind is Kind.ELEMENTWISE and found.refusal:
            raise TypeError(f"{where} {found.refusal}: {module!r}")
        try:
            stream = self._stream_of_kind(module, found, channels)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{where}: {error}") from None
        if stream is not None:
            return stream
        raise TypeError(f"{where}: {_STREAMABLE}{self._ways_on(module, name)}")

    def _chain(
        self, module: nn.Module, name: str, channels: int | None, after: list[nn.Module]
    ) -> Stream:
        streams: list[Stream] = []
        children = children_of(module)
        for i, (child, part) in enumerate(children):
            rest = [m for _, m in children[i + 1 :]] + after
            stream = self.make(part, f"{name}.{child}" if name else child, channels, rest)
            if stream.out_channels is not None:
                channels = stream.out_channels
            elif not stream.keeps_channels:
                channels = None
            streams.append(stream)
        if not streams:  # which leaves the signal as it is
            streams = [self.make(nn.Identity(), name, channels, after)]
        return ModuleChain(self.whole, self.batch_size, streams)

    def _stream_of_kind(
        self, module: Any, found: Classification, channels: int | None
    ) -> Stream | None:
        """The stream of a module that is no Sequential; None if there is none for its kind."""
        if found.kind in (Kind.TRANSPOSED, Kind.CONV1D):
            return ModuleStream(module, self.batch_size)
        if found.kind is Kind.ELEMENTWISE:
            needed = in_channels_of(module) or channels
            batched = self.batch_size is not None
            return ModulePointwise(module, needed, needed or SAME_CHANNELS, batched, self.whole)
        if found.kind is Kind.GATE:
            check_gate(module, self.batch_size)
            return self._gate(module, channels)
        if found.kind in (Kind.PAD, Kind.UPSAMPLE):
            return resampling_stream(module, found, self.batch_size, channels, self.whole)
        return self._gate(module, channels) if found.declared else None

    def _gate(self, module: nn.Module, channels: int | None) -> Stream:
        """The stream of an elementwise module that may change the number of channels."""
        after = None
        check_eval(parts_only_in_eval(module))  # before it is called
        if channels is not None:
            after = channels_after(module, channels, self.batch_size)
        return ModulePointwise(module, channels, after, self.batch_size is not None, self.whole)

    def _channels_into(self, modules: list[nn.Module]) -> int | None:
        """The channels that the first of the modules gets, if one of them needs a number of them.

        The modules follow one another; a GLU halves the channels.
        """
        times, waiting = 1, modules[::-1]
        while waiting:
            module = waiting.pop()
            found = classify(module, self.elementwise)
            if found.kind is Kind.SEQUENTIAL:
                waiting += [part for _, part in children_of(module)][::-1]
            elif (needed := in_channels_of(module)) is not None:
                return times * needed
            elif found.kind is Kind.GATE:
                times *= 2
            elif found.declared:
                return None
        return None

    def _ways_on(self, module: nn.Module, name: str) -> str:
        """What helps with a module that cannot stream as it is."""
        own, text = type(module).__name__, ""
        if not type(module).__module__.startswith("torch."):
            text = (
                f". If each sample depends on no other time, name its class: elementwise=({own},)"
            )
        if next(module.children(), None) is None:
            return text
        text += (
            f". Else compose the streams of its parts as {own}.forward does, with Chain, Sum and "
            "Pointwise of fracstride.streaming"
        )
        parts = self._refused_parts(module, name)
        return text + (f". Of its parts, {parts[0]}" if parts else ": each of its parts can stream")

    def _refused_parts(self, module: nn.Module, name: str) -> list[str]:
        """The children that cannot stream either, and why."""
        errors: list[str] = []
        for child, part in module.named_children():
            path = f"{name}.{child}" if name else child
            if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
                errors += self._refused_parts(part, path)
                continue
            try:
                self.make(part, path, None, [])
            except (TypeError, ValueError) as error:
                errors.append(str(error))
        return errors
