"""Random torch modules by kind: what people build vocoders and codecs from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

Pick = Callable[[int, int], int]
"""``pick(a, b)``: an int from ``a`` to ``b``, of a test's own source of random numbers."""


def one_of(pick: Pick, *choices: Any) -> Any:
    return choices[pick(0, len(choices) - 1)]


class Snake(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.rand(1, channels, 1) + 0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.alpha + 1e-9).reciprocal() * torch.sin(self.alpha * x).pow(2)


class Scale(nn.Module):
    """A factor and a shift for each channel, in one of the ways that they are written."""

    def __init__(self, channels: int, way: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.rand(channels) + 0.5)
        self.shift = nn.Parameter(torch.randn(channels) * 0.1)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == 0:
            return x * self.factor[:, None] + self.shift[None, :, None]
        if self.way == 1:
            return (self.shift[:, None] + x) / self.factor.view(1, -1, 1)
        return (x.transpose(1, 2) * self.factor - self.shift).transpose(1, 2)


class InPlace(nn.Module):
    """Writes over what it has just made."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y += x
        y.mul_(0.25)
        return F.relu(y, inplace=True) - 0.1


def activation(pick: Pick, channels: int) -> nn.Module:
    return one_of(
        pick,
        nn.LeakyReLU(0.1),
        nn.ReLU(),
        nn.ELU(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.Softplus(),
        nn.PReLU(channels),
        Snake(channels),
        Scale(channels, pick(0, 2)),
        InPlace(),
        nn.Identity(),
        nn.Dropout(0.5),
        nn.BatchNorm1d(channels),
    )


def conv(pick: Pick, inner: int, outer: int, stride: int = 1) -> nn.Module:
    """A Conv1d that keeps the length, or divides it by the stride, rounded in some way."""
    d, groups = pick(1, 3), one_of(pick, 1, 1, 2)
    k = 2 * pick(0, 3) + 1 if stride == 1 else pick(stride, 2 * stride + 1)
    padding = d * (k - 1) // 2
    mode = one_of(pick, "zeros", "zeros", "replicate")
    if inner % groups or outer % groups:
        groups = 1
    layer = nn.Conv1d(inner, outer, k, stride, padding, d, groups, padding_mode=mode)
    return weight_norm(layer) if pick(0, 1) else layer


def transposed(pick: Pick, inner: int, outer: int, stride: int) -> nn.Module:
    k = stride + 2 * pick(0, 2)
    layer = nn.ConvTranspose1d(inner, outer, k, stride, (k - stride) // 2)
    return weight_norm(layer) if pick(0, 1) else layer


class Residual(nn.Module):
    def __init__(self, pick: Pick, channels: int) -> None:
        super().__init__()
        parts = []
        for _ in range(pick(1, 2)):
            parts += [activation(pick, channels), conv(pick, channels, channels)]
        self.block = nn.Sequential(*parts)
        self.scale = one_of(pick, 1.0, 0.5, 3)
        self.first = pick(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        return (x + y if self.first else y + x) / self.scale


class Branches(nn.Module):
    """Several blocks of the same signal, summed up."""

    def __init__(self, pick: Pick, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(pick, channels) for _ in range(pick(2, 3)))
        self.way = pick(0, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == 0:
            total = self.blocks[0](x)
            for block in self.blocks[1:]:
                total += block(x)
            return total / len(self.blocks)
        results = [block(x) for block in self.blocks]
        return torch.stack(results).mean(0) if self.way == 1 else sum(results[1:], results[0])


class Gate(nn.Module):
    """WaveNet's gate, written in one of its ways."""

    def __init__(self, pick: Pick, channels: int) -> None:
        super().__init__()
        self.conv = conv(pick, channels, 2 * channels)
        self.way, self.channels = pick(0, 4), channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.way == 0:
            a, b = y.chunk(2, dim=1)
        elif self.way == 1:
            a, b = y.split([self.channels, self.channels], 1)
        elif self.way == 2:
            a, b = y[:, : self.channels], y[:, self.channels :, :]
        elif self.way == 3:
            a, b = y[:, ::2], y[:, 1::2]
        else:
            return F.glu(y, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)


class ChannelsLast(nn.Module):
    """LayerNorm and Linear layers over the channels, as in ConvNeXt."""

    def __init__(self, pick: Pick, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Linear(channels, 3 * channels)
        self.act = activation(pick, 3 * channels) if pick(0, 1) else nn.GELU()
        self.narrow = nn.Linear(3 * channels, channels, bias=bool(pick(0, 1)))
        self.layer_scale = nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 1))
        y = self.act(self.wide(y).transpose(1, 2)).transpose(1, 2)
        return x + (self.layer_scale * self.narrow(y)).transpose(-1, -2)


class Causal(nn.Module):
    """Pads by hand and crops by hand."""

    def __init__(self, pick: Pick, channels: int) -> None:
        super().__init__()
        self.k, self.d, self.way = pick(2, 5), pick(1, 3), pick(0, 3)
        self.conv = nn.Conv1d(channels, channels, self.k, dilation=self.d)
        self.up = nn.ConvTranspose1d(channels, channels, 4, 2)
        self.down = nn.Conv1d(channels, channels, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        p = self.d * (self.k - 1)
        if self.way == 0:
            x = F.pad(x, (p, 0))
        elif self.way == 1:
            x = torch.cat([x.new_zeros(x.shape[0], x.shape[1], p), x], dim=2)
        elif self.way == 2:
            x = F.pad(x, (p, 0), "replicate")
        else:
            x = F.pad(x, (p, 0), value=0.5)
        x = self.conv(x)
        return self.down(F.pad(self.up(x)[..., :-2], (2, 0)))


class Shuffle(nn.Module):
    """Channels in another order: reversed, shuffled, or some of them twice."""

    def __init__(self, pick: Pick) -> None:
        super().__init__()
        self.way = pick(0, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == 0:
            return x.flip(1)
        if self.way == 1:
            b, c, t = x.shape
            return x.view(b, 2, c // 2, t).transpose(1, 2).reshape(b, c, t)
        if self.way == 2:
            a, b = x.chunk(2, 1)
            return torch.cat([b, a * 0.5], 1)
        return torch.stack([x[:, 0::2], x[:, 1::2]], dim=2).flatten(1, 2)


def block(pick: Pick, channels: int) -> nn.Module:
    kind = pick(0, 6)
    if kind == 0:
        return Residual(pick, channels)
    if kind == 1:
        return Branches(pick, channels)
    if kind == 2:
        return Gate(pick, channels)
    if kind == 3:
        return ChannelsLast(pick, channels)
    if kind == 4:
        return Causal(pick, channels)
    if kind == 5:
        return Shuffle(pick)
    return nn.Sequential(activation(pick, channels), conv(pick, channels, channels))


class UNet(nn.Module):
    """Down, a block, up, and the skipped signal cut or padded to fit."""

    def __init__(self, pick: Pick, channels: int) -> None:
        super().__init__()
        self.stride, self.way = pick(2, 4), pick(0, 2)
        self.down = conv(pick, channels, channels, self.stride)
        self.inner = block(pick, channels)
        self.up = transposed(pick, channels, channels, self.stride)
        self.out = nn.Conv1d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(F.elu(self.inner(self.down(x))))
        length = min(x.shape[-1], y.shape[-1])
        if self.way == 0:
            y, x = y[..., :length], x[..., :length]
        elif self.way == 1:
            x, y = x[:, :, :length], y.narrow(2, 0, length)
        else:
            longest = max(x.shape[-1], y.shape[-1])
            y = F.pad(y, (0, longest - y.shape[-1]))
            x = F.pad(x, (0, longest - x.shape[-1]))
        return self.out(torch.cat([x, y], dim=1))


def chain(pick: Pick) -> nn.Module:
    """A decoder: frames in, samples out."""
    channels = 2 * pick(1, 4)
    parts: list[nn.Module] = [conv(pick, 3, channels)]
    for _ in range(pick(1, 3)):
        if pick(0, 2) == 0:
            following = 2 * pick(1, 4)
            parts += [activation(pick, channels)]
            parts += [transposed(pick, channels, following, pick(2, 4))]
            channels = following
        else:
            parts += [block(pick, channels)]
    parts += [nn.LeakyReLU(), nn.Conv1d(channels, 1, 5, padding=2), nn.Tanh()]
    return nn.Sequential(*parts)


def encoder(pick: Pick) -> nn.Module:
    """Strided convolutions: samples in, frames out."""
    channels = 2 * pick(1, 4)
    parts: list[nn.Module] = [conv(pick, 3, channels)]
    for _ in range(pick(1, 2)):
        parts += [block(pick, channels), conv(pick, channels, channels, pick(2, 4))]
    return nn.Sequential(*parts)


def u_net(pick: Pick) -> nn.Module:
    channels = 2 * pick(1, 3)
    parts: Sequence[nn.Module] = [UNet(pick, channels) for _ in range(pick(1, 2))]
    return nn.Sequential(conv(pick, 3, channels), *parts)


class Rearranged(nn.Module):
    """Axes in other orders, split, merged, sliced, turned, joined."""

    def __init__(self, pick: Pick) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 12, 3, padding=1)
        self.steps: list[Callable[[Tensor], Tensor]] = []
        axes: list[Any] = ["batch", 12, "time"]
        for _ in range(pick(1, 7)):
            self.add(pick, axes)
        if pick(0, 1):
            scale = torch.rand([axis if isinstance(axis, int) else 1 for axis in axes])
            self.steps.append(lambda x: x * scale)

    def add(self, pick: Pick, axes: list[Any]) -> None:
        """One step; ``axes`` are those before it, and then those after it."""
        kind, rank = pick(0, 10), len(axes)
        wide = one_of(pick, *(i for i, axis in enumerate(axes) if isinstance(axis, int)))
        size, first, second = axes[wide], pick(0, rank - 1), pick(0, rank - 1)
        step: Callable[[Tensor], Tensor] = torch.Tensor.contiguous
        if kind == 0:
            step = lambda x: x.transpose(first, second)  # noqa: E731
            axes[first], axes[second] = axes[second], axes[first]
        elif kind == 1 and size % 2 == 0:
            step = lambda x: x.unflatten(wide, (2, size // 2))  # noqa: E731
            axes[wide : wide + 1] = [2, size // 2]
        elif kind == 2:
            step = lambda x: x.unsqueeze(first)  # noqa: E731
            axes.insert(first, 1)
        elif kind == 3 and size == 1 and sum(isinstance(a, int) for a in axes) > 1:
            step = lambda x: x.squeeze(wide)  # noqa: E731
            del axes[wide]
        elif kind == 4:
            step = lambda x: x.flip(wide)  # noqa: E731
        elif kind == 5 and size > 1:
            step = lambda x: x.narrow(wide, first % 2, size - 1)  # noqa: E731
            axes[wide] = size - 1
        elif kind == 6 and size > 1:
            step = lambda x: torch.cat(x.split([1, size - 1], wide)[::-1], wide)  # noqa: E731
        elif kind == 7 and size < 9:
            step = lambda x: torch.stack([x, -x], first)  # noqa: E731
            axes.insert(first, 2)
        elif kind == 8:
            step = lambda x: x + x.select(wide, first % size).unsqueeze(wide)  # noqa: E731
        elif kind == 9 and wide + 1 < rank and isinstance(axes[wide + 1], int):
            step = lambda x: x.flatten(wide, wide + 1)  # noqa: E731
            axes[wide : wide + 2] = [size * axes[wide + 1]]
        elif kind == 10 and size == 1:
            step = lambda x: x.expand([3 if a == wide else -1 for a in range(x.ndim)])  # noqa: E731
            axes[wide] = 3
        self.steps.append(step)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for step in self.steps:
            x = step(x)
        return x


class MixedRates(nn.Module):
    """Frames, a source signal at the sample rate, and a speaker's embedding."""

    def __init__(self, pick: Pick) -> None:
        super().__init__()
        channels, self.stride = 2 * pick(1, 3), pick(2, 4)
        self.up = transposed(pick, 3, channels, self.stride)
        self.source = conv(pick, 1, channels)
        self.speaker = nn.Linear(5, channels)
        self.block = block(pick, channels)
        self.way = pick(0, 1)

    def forward(self, frames: Tensor, source: Tensor, speaker: Tensor) -> Any:
        y = self.up(frames) + self.source(source)
        y = y + self.speaker(speaker).unsqueeze(-1)
        y = self.block(y)
        return y if self.way else {"audio": torch.tanh(y[:, :1]), "rest": (y[:, 1:], None)}


KINDS: dict[str, Callable[[Pick], nn.Module]] = {
    "chain": chain,
    "encoder": encoder,
    "u_net": u_net,
    "mixed_rates": MixedRates,
    "rearranged": Rearranged,
}


def examples(kind: str, module: nn.Module, batch: int, clock: int) -> tuple[Tensor, ...]:
    """Inputs of a module of a kind."""
    if kind != "mixed_rates":
        return (torch.randn(batch, 3, clock),)
    length = clock * int(module.stride)  # type: ignore[arg-type]
    return (
        torch.randn(batch, 3, clock),
        torch.randn(batch, 1, length),
        torch.randn(batch, 5),
    )
