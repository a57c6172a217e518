"""Small vocoders that end in an inverse STFT, as their authors write them, with drawn sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Draw = Callable[[int, int], int]  # a random int of [low, high)
#: The module, the inputs of a batch and a length, and the axes of time.
Case = tuple[nn.Module, Callable[[int, int], tuple[Tensor, ...]], Any]


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, norm over channels, two linear layers, a scale, a residual link."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.first = nn.Linear(channels, hidden)
        self.second = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.scale * self.second(F.gelu(self.first(y)))
        return x + y.transpose(1, 2)


class VocosHead(nn.Module):
    """Logarithms of magnitudes and phases to samples, with either of two paddings."""

    def __init__(self, channels: int, size: int, hop: int, padding: str) -> None:
        super().__init__()
        self.out = nn.Linear(channels, size + 2)
        self.size, self.hop, self.padding = size, hop, padding
        self.register_buffer("window", torch.hann_window(size))

    def forward(self, x: Tensor) -> Tensor:
        magnitude, phase = self.out(x).transpose(1, 2).chunk(2, dim=1)
        magnitude = torch.clip(torch.exp(magnitude), max=1e2)
        spectrum = magnitude * (torch.cos(phase) + 1j * torch.sin(phase))
        if self.padding == "center":
            return torch.istft(spectrum, self.size, self.hop, self.size, self.window, center=True)
        pad = (self.size - self.hop) // 2
        frames = torch.fft.irfft(spectrum, self.size, dim=1, norm="backward")
        frames = frames * self.window[None, :, None]
        count = spectrum.shape[-1]
        given: Any = {
            "output_size": (1, (count - 1) * self.hop + self.size),
            "kernel_size": (1, self.size),
            "stride": (1, self.hop),
        }
        y = F.fold(frames, **given)[:, 0, 0, pad:-pad]
        squares = self.window.square().expand(1, count, -1).transpose(1, 2)
        envelope = F.fold(squares, **given).squeeze()[pad:-pad]
        assert (envelope > 1e-11).all()
        return y / envelope


class Vocos(nn.Module):
    """Blocks at the rate of the frames, then an inverse STFT."""

    def __init__(self, features: int, channels: int, size: int, hop: int, padding: str) -> None:
        super().__init__()
        self.embed = nn.Conv1d(features, channels, 7, padding=3)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.blocks = nn.ModuleList(ConvNeXtBlock(channels, 2 * channels) for _ in range(2))
        self.final = nn.LayerNorm(channels, eps=1e-6)
        self.head = VocosHead(channels, size, hop, padding)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(self.final(x.transpose(1, 2)))


class Snake(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.rand(1, channels, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.alpha + 1e-9).reciprocal() * torch.sin(x * self.alpha).pow(2)


class ResBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2)
            for d in dilations
        )
        self.activations = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for conv, activation in zip(self.convs, self.activations, strict=True):
            x = x + conv(activation(x))
        return x


class ISTFTNet(nn.Module):
    """A HiFi-GAN with fewer upsamplings, whose last layers give a spectrum."""

    def __init__(self, features: int, channels: int, rates: tuple[int, ...], size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size))
        self.pre = nn.Conv1d(features, channels, 7, padding=3)
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for rate in rates:
            half = channels // 2
            self.ups.append(nn.ConvTranspose1d(channels, half, 2 * rate, rate, rate // 2))
            self.blocks.append(ResBlock(half, 3, (1, 3)))
            channels = half
        self.post = nn.Conv1d(channels, size + 2, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = block(up(F.leaky_relu(x, 0.1)))
        x = self.post(F.pad(F.leaky_relu(x), (1, 0), mode="reflect"))
        bins = self.size // 2 + 1
        spectrum = torch.exp(x[:, :bins])
        phase = torch.sin(x[:, bins:])
        return torch.istft(
            spectrum * torch.exp(phase * 1j), self.size, self.size // 4, self.size, self.window
        ).unsqueeze(-2)


class HiFT(nn.Module):
    """ISTFTNet with the STFT of a source signal added at each rate."""

    def __init__(self, features: int, channels: int, rates: tuple[int, ...], size: int) -> None:
        super().__init__()
        self.size, self.hop = size, size // 4
        self.register_buffer("window", torch.hann_window(size))
        self.pre = nn.Conv1d(features, channels, 7, padding=3)
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        self.downs, self.source_blocks = nn.ModuleList(), nn.ModuleList()
        for place, rate in enumerate(rates):
            half = channels // 2
            self.ups.append(nn.ConvTranspose1d(channels, half, 2 * rate, rate, rate // 2))
            down = 1
            for later in rates[place + 1 :]:
                down *= later
            sizes = (1, 1, 0) if down == 1 else (2 * down, down, down // 2)
            self.downs.append(nn.Conv1d(size + 2, half, *sizes))
            self.source_blocks.append(ResBlock(half, 3, (1, 3)))
            self.blocks.append(ResBlock(half, 3, (1, 2)))
            channels = half
        self.reflection_pad = nn.ReflectionPad1d((1, 0))
        self.post = nn.Conv1d(channels, size + 2, 7, padding=3)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        spectrum = torch.stft(
            source.squeeze(1), self.size, self.hop, self.size, self.window, return_complex=True
        )
        parts = torch.view_as_real(spectrum)
        given = torch.cat([parts[..., 0], parts[..., 1]], dim=1)
        x = self.pre(x)
        for place, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            if place == len(self.ups) - 1:
                x = self.reflection_pad(x)
            x = x + self.source_blocks[place](self.downs[place](given))
            x = self.blocks[place](x)
        x = self.post(F.leaky_relu(x))
        bins = self.size // 2 + 1
        magnitude = torch.clip(torch.exp(x[:, :bins]), max=1e2)
        phase = torch.sin(x[:, bins:])
        real, imaginary = magnitude * torch.cos(phase), magnitude * torch.sin(phase)
        y = torch.istft(torch.complex(real, imaginary), self.size, self.hop, self.size, self.window)
        return torch.clamp(y, -0.99, 0.99)


class MelEncoder(nn.Module):
    """A waveform to the logarithms of its mel bands, and a convolution."""

    def __init__(self, size: int, hop: int, bands: int, channels: int) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size))
        self.register_buffer("bank", torch.rand(bands, size // 2 + 1))
        self.conv = nn.Conv1d(bands, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (self.size // 2, self.size // 2), mode="reflect").squeeze(1)
        spectrum = torch.stft(
            x, self.size, self.hop, window=self.window, center=False, return_complex=True
        )
        power = torch.view_as_real(spectrum).pow(2).sum(-1)
        mel = torch.matmul(self.bank, torch.sqrt(power + 1e-6))
        return self.conv(torch.log(torch.clamp(mel, min=1e-5)))


def mel_encoder(draw: Draw) -> Case:
    size = 4 * draw(2, 6)
    module = MelEncoder(size, draw(2, size // 2), draw(2, 7), draw(1, 5))
    return module, lambda batch, length: (torch.randn(batch, 1, 2 * size + length),), -1


def vocos(padding: str) -> Callable[[Draw], Case]:
    def make(draw: Draw) -> Case:
        hop = draw(3, 9)
        size = hop * draw(2, 5) if padding == "center" else hop * 2 * draw(1, 3)
        features = draw(2, 9)
        module = Vocos(features, 2 * draw(4, 9), size + size % 2, hop, padding)
        return module, lambda batch, length: (torch.randn(batch, features, length),), -1

    return make


def istftnet(draw: Draw) -> Case:
    features = draw(2, 9)
    module = ISTFTNet(features, 4 * draw(2, 5), (2 * draw(1, 3), 2), 4 * draw(2, 5))
    return module, lambda batch, length: (torch.randn(batch, features, length),), -1


def hift(draw: Draw) -> Case:
    features, rates, size = draw(2, 9), (2 * draw(1, 3), 2), 4 * draw(2, 5)
    module = HiFT(features, 4 * draw(2, 5), rates, size)
    each = rates[0] * rates[1] * (size // 4)

    def inputs(batch: int, length: int) -> tuple[Tensor, ...]:
        return torch.randn(batch, features, length), torch.randn(batch, 1, each * length)

    return module, inputs, -1


MODELS: dict[str, Callable[[Draw], Case]] = {
    "vocos center": vocos("center"),
    "vocos same": vocos("same"),
    "istftnet": istftnet,
    "hift": hift,
    "mel encoder": mel_encoder,
}
