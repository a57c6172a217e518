"""Random nets of modules that stream, what they compute offline, and their schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from streams import scheduled
from torch import Tensor, nn

import fracstride as fs
import fracstride.torch
from fracstride.extension import STREAMING_MODES
from fracstride.streaming import Stream
from fracstride.torch.module_geometry import geometry_of_module
from fracstride.torch.vectors import map_whole_vectors

Pick = Callable[[int, int], int]


def refused() -> RuntimeError:
    return RuntimeError("no samples are left")


class Gate(nn.Module):
    """A user's own module, which halves the channels."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-2)
        return a.tanh() * b.relu()


@dataclass
class Part:
    """A module, its function by this library's layers, and the samples due after some frames."""

    module: nn.Module
    offline: Callable[[Tensor], Tensor]
    due: Callable[[int], int]


def layer_of(module: Any) -> Part:
    g = geometry_of_module(module)
    weight, groups = module.weight.detach(), module.groups

    def offline(x: Tensor) -> Tensor:
        bias = None if module.bias is None else module.bias.detach()
        if isinstance(g, fs.Conv1dGeometry):
            function, sizes = fracstride.torch.conv1d, (g.stride, g.padding, g.dilation, groups)
            return function(x, weight, bias, *sizes, padding_mode=g.padding_mode)
        return fracstride.torch.conv_transpose1d(
            x,
            weight,
            bias,
            g.stride,
            g.padding,
            g.output_padding,
            groups,
            g.dilation,
            padding_mode=g.padding_mode,
        )

    due = g.final_length if isinstance(g, fs.Conv1dGeometry) else lambda t: scheduled(g, t)
    return Part(module, offline, due)


def pad_of(module: Any) -> Part:
    left, right = module.padding

    def takes(frames: int) -> bool:
        try:
            return module(torch.zeros(1, 1, frames)).shape[-1] > 0
        except (RuntimeError, IndexError):
            return False

    def due(frames: int) -> int:
        if frames == 0 or not takes(frames):
            return 0
        if isinstance(module, nn.ReflectionPad1d) and frames <= left:
            return 0
        return max(0, min(frames + left, frames + left + right))

    return Part(module, module, due)


def upsample_of(module: nn.Upsample) -> Part:
    given: Any = module.scale_factor
    scale = int(given[0] if isinstance(given, tuple) else given)
    late = scale // 2 if module.mode == "linear" else 0

    def offline(x: Tensor) -> Tensor:
        return torch.from_numpy(fs.streaming.Upsample(scale, "linear").finish(x.numpy()))

    return Part(
        module,
        module if module.mode != "linear" else offline,
        lambda frames: max(0, frames * scale - late),
    )


def pointwise_of(module: nn.Module) -> Part:
    module.eval()

    def offline(x: Tensor) -> Tensor:
        x = x.contiguous()  # BatchNorm rounds differently where values lie far apart
        if isinstance(module, nn.GLU):
            a, b = x.chunk(2, 1)
            return a * map_whole_vectors(torch.sigmoid, b)
        return (
            map_whole_vectors(module, x)
            if isinstance(module, (nn.SiLU, nn.ELU, nn.GELU))
            else module(x)
        )

    return Part(module, offline, lambda frames: frames)


class Net:
    """A sequence of parts; its input has ``channels`` channels."""

    def __init__(self, pick: Pick, channels: int, dtype: torch.dtype, batched: bool) -> None:
        torch.manual_seed(pick(0, 99))
        self.channels, self.dtype, self.pick = channels, dtype, pick
        self.gate_dim = 1 if batched else -2
        self.parts: list[Part] = []
        now = channels
        for _ in range(pick(1, 5)):
            part, now = self._part(now)
            part.module.to(dtype)
            self.parts.append(part)

    def _part(self, now: int) -> tuple[Part, int]:
        pick = self.pick

        def one_of(*values: Any) -> Any:
            return values[pick(0, len(values) - 1)]

        kind, mode = pick(0, 7), one_of(*STREAMING_MODES)
        if kind == 0:
            k, d, out = pick(1, 5), pick(1, 2), 2 * pick(1, 2)
            padding = one_of("same", pick(0, d * (k - 1)))
            stride = 1 if padding == "same" else one_of(1, 1, pick(2, 5))
            groups = one_of(1, 2)
            conv = nn.Conv1d(now, out, k, stride, padding, d, groups, padding_mode=mode)
            return layer_of(conv.to(self.dtype)), out
        if kind == 1:
            k, s, out = pick(1, 7), pick(1, 3), 2 * pick(1, 2)
            padding = one_of("same", "causal", pick(0, k))
            up = fracstride.torch.ConvTranspose1d(now, out, k, s, padding, padding_mode=mode)
            return layer_of(up.to(self.dtype)), out
        if kind in (2, 3):
            left, right = pick(0, 5), pick(0, 5)
            crops = pick(-4, 5), pick(-4, 5)
            pad = one_of(
                nn.ReflectionPad1d((left, right)),
                nn.ReplicationPad1d((left, right)),
                nn.ZeroPad1d(crops),
                nn.ConstantPad1d(crops, 1.5),
            )
            return pad_of(pad), now
        if kind == 4:
            scale = pick(1, 4)
            return upsample_of(
                one_of(
                    nn.Upsample(scale_factor=scale),
                    nn.Upsample(scale_factor=(float(scale),), mode="nearest-exact"),
                    nn.Upsample(scale_factor=scale, mode="linear"),
                )
                if scale > 1
                else nn.Upsample(scale_factor=1)
            ), now
        if kind == 5 and now > 2:
            return pointwise_of(one_of(nn.GLU(self.gate_dim), nn.GLU(dim=-2), Gate())), now // 2
        if kind == 6:
            norm = nn.BatchNorm1d(now)
            norm.running_mean.uniform_(-1, 1)
            return pointwise_of(norm.to(self.dtype)), now
        return pointwise_of(
            one_of(
                nn.Tanh(), nn.PReLU(now), nn.Dropout(), nn.RReLU(), nn.SiLU(), nn.ELU(), nn.GELU()
            ).to(self.dtype)
        ), now

    def module(self) -> nn.Sequential:
        """All the modules, some of them in nested Sequentials."""
        modules = [part.module for part in self.parts]
        middle = self.pick(0, len(modules))
        return nn.Sequential(*modules[:middle], nn.Sequential(*modules[middle:])).eval()

    def offline(self, x: Tensor) -> Tensor:
        """RuntimeError if one of the modules refuses its input, or if no sample is left."""
        for part in self.parts:
            with torch.no_grad():
                try:
                    x = part.offline(x)
                except IndexError:
                    raise refused() from None
            if x.shape[-1] == 0:
                raise refused()
        return x

    def due(self, frames: int) -> int:
        for part in self.parts:
            frames = part.due(frames)
        return frames


def stream_of(net: Net, module: nn.Module, batch_size: int | None) -> Stream:
    return fracstride.torch.stream(module, batch_size, elementwise=(Gate,))


def as_arrays(function: Any) -> Any:
    """A function of tensors as a function of arrays; ValueError if it refuses the input."""

    def offline(x: Any) -> Any:
        try:
            return function(torch.from_numpy(x.copy())).detach().numpy()
        except RuntimeError as error:
            raise ValueError from error

    return offline
