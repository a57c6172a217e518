"""Functions with spectra and complex numbers in them, drawn at random by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Rng = np.random.Generator
#: A function, and its input of a batch and a length.
Case = tuple[Callable[[Tensor], Any], Callable[[int, int], Tensor]]
DTYPE = torch.float64


def window_of(rng: Rng, size: int) -> Tensor | None:
    kind = rng.integers(4)
    if kind == 0:
        return None
    if kind == 1:
        return torch.hann_window(size, dtype=DTYPE)
    if kind == 2:
        return torch.hamming_window(size, periodic=False, dtype=DTYPE)
    return torch.from_numpy(rng.uniform(0.5, 1.5, size))


def sizes(rng: Rng) -> tuple[int, int, int]:
    """Points, hop and width of the window; frames overlap."""
    points = int(rng.integers(3, 20))
    width = points if rng.random() < 0.5 else int(rng.integers(2, points + 1))
    return points, int(rng.integers(1, width // 2 + 1)), width


def pair(x: Tensor) -> Tensor:
    return torch.complex(*x.chunk(2, dim=1))


def stft(rng: Rng) -> Case:
    points, hop, width = sizes(rng)
    given: dict[str, Any] = {
        "n_fft": points,
        "hop_length": hop,
        "win_length": width,
        "window": window_of(rng, width),
        "center": bool(rng.integers(2)),
        "pad_mode": str(rng.choice(["reflect", "constant", "replicate"])),
        "normalized": bool(rng.integers(2)),
        "onesided": bool(rng.integers(2)),
        "return_complex": bool(rng.integers(2)),
    }

    def function(x: Tensor) -> Tensor:
        own = dict(given)
        if own["window"] is not None:
            own["window"] = own["window"].to(x.dtype)
        y = torch.stft(x, **own)
        return torch.view_as_real(y) if given["return_complex"] else y

    return function, lambda batch, length: torch.randn(batch, 4 * points + length, dtype=DTYPE)


def spectrum(batch: int, bins: int, length: int) -> Tensor:
    return torch.randn(batch, 2 * bins, length, dtype=DTYPE)


def istft(rng: Rng) -> Case:
    points, hop, width = sizes(rng)
    onesided, center = bool(rng.integers(2)), bool(rng.integers(2))
    window = window_of(rng, width)
    if not center:  # the first sample has one frame, whose window must not vanish there
        width = points
        window = torch.from_numpy(rng.uniform(0.5, 1.5, points))
    kind = int(rng.integers(4))
    bins = points // 2 + 1 if onesided else points
    other, normalized = int(rng.integers(-points // 2, points // 2)), bool(rng.integers(2))

    def function(x: Tensor) -> Tensor:
        natural = (x.shape[-1] - 1) * hop + (0 if center else points)
        lengths = (None, natural, natural - hop // 2, natural + other)
        return torch.istft(
            pair(x),
            points,
            hop,
            width,
            None if window is None else window.to(x.dtype),
            center=center,
            normalized=normalized,
            onesided=onesided,
            length=lengths[kind],
        )

    return function, lambda batch, length: spectrum(batch, bins, 8 + length)


def round_trip(rng: Rng) -> Case:
    points, hop, _ = sizes(rng)
    window = torch.hann_window(points, dtype=DTYPE)

    def function(x: Tensor) -> Tensor:
        own = window.to(x.dtype)
        y = torch.stft(x, points, hop, window=own, return_complex=True)
        y = torch.polar(y.abs(), y.angle())
        return torch.istft(y, points, hop, window=own, length=x.shape[-1])

    return function, lambda batch, length: torch.randn(batch, 4 * points + length, dtype=DTYPE)


def same_padding(rng: Rng) -> Case:
    """Vocos' own inverse, with an envelope that grows with the length."""
    hop = int(rng.integers(2, 6))
    points = 2 * hop * int(rng.integers(1, 4))
    drawn = torch.from_numpy(rng.uniform(0.1, 1.5, points))
    windows = torch.ones(points, dtype=DTYPE), torch.hann_window(points, dtype=DTYPE), drawn
    window = windows[int(rng.integers(3))]
    pad, kind = (points - hop) // 2, int(rng.integers(3))

    def function(x: Tensor) -> Tensor:
        own, frames = window.to(x.dtype), x.shape[-1]
        y = torch.fft.irfft(pair(x), points, dim=1) * own[None, :, None]
        given: Any = {
            "output_size": (1, (frames - 1) * hop + points),
            "kernel_size": (1, points),
            "stride": (1, hop),
        }
        y = F.fold(y, **given)[:, 0, 0]
        squares = own.square().expand(1, frames, -1).transpose(1, 2)
        envelope = F.fold(squares, **given).squeeze()
        y, envelope = (
            each[..., pad : each.shape[-1] - pad] if pad else each for each in (y, envelope)
        )
        if kind == 1:
            envelope = envelope.clamp(min=1e-11)
        return y * (1 / envelope) if kind == 2 else y / envelope

    return function, lambda batch, length: spectrum(batch, points // 2 + 1, length)


def transform(name: str) -> Callable[[Rng], Case]:
    def make(rng: Rng) -> Case:
        channels = int(rng.integers(3, 12))
        points = None if rng.random() < 0.3 else int(rng.integers(2, 20))
        norm = str(rng.choice(["backward", "ortho", "forward"]))
        last = bool(rng.integers(2))

        def function(x: Tensor) -> Tensor:
            given = x if name == "rfft" else pair(x)
            given = given.transpose(1, 2) if last else given
            y = getattr(torch.fft, name)(given, points, dim=-1 if last else 1, norm=norm)
            return torch.cat([y.real, y.imag], -1 if last else 1) if y.is_complex() else y

        return function, lambda batch, length: spectrum(batch, channels, length)

    return make


def frames(rng: Rng) -> Case:
    size, step = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    dilation, padding = int(rng.integers(1, 4)), int(rng.integers(0, 4))
    upright = bool(rng.integers(2))

    def function(x: Tensor) -> Tensor:
        x = x[:, :, :, None] if upright else x[:, :, None]
        turn: Any = (lambda a, b: (b, a)) if upright else (lambda a, b: (a, b))
        return F.unfold(x, turn(1, size), turn(1, dilation), turn(0, padding), turn(1, step))

    return function, lambda batch, length: spectrum(batch, 1, 24 + length)


def overlapping(rng: Rng) -> Case:
    size, step = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    dilation, padding = int(rng.integers(1, 4)), int(rng.integers(0, 4))
    channels, beyond = int(rng.integers(1, 4)), int(rng.integers(0, step))
    upright = bool(rng.integers(2))

    def function(x: Tensor) -> Tensor:
        turn: Any = (lambda a, b: (b, a)) if upright else (lambda a, b: (a, b))
        length = (x.shape[-1] - 1) * step + dilation * (size - 1) + 1 - 2 * padding + beyond
        args = turn(1, size), turn(1, dilation), turn(0, padding), turn(1, step)
        y = F.fold(x, turn(1, length), *args)
        return y[..., 0] if upright else y[..., 0, :]

    def inputs(batch: int, length: int) -> Tensor:
        return torch.randn(batch, channels * size, 9 + length, dtype=DTYPE)

    return function, inputs


def tensor_unfold(rng: Rng) -> Case:
    size, step = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    flat = bool(rng.integers(2))

    def function(x: Tensor) -> Tensor:
        return (x[:, 0] if flat else x).unfold(-1, size, step)

    return function, lambda batch, length: spectrum(batch, 2, 9 + length)


def both(y: Tensor) -> Tensor:
    return torch.cat([y.real, y.imag], dim=1)


# Functions of complex numbers, of 3 of them in 6 channels.
COMPLEX: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": lambda x: both(x[:, :3] * torch.exp(1j * x[:, 3:])),
    "exp complex": lambda x: both(torch.exp(0.1 * pair(x))),
    "cos and sin": lambda x: both(x[:, :3] * (x[:, 3:].cos() + 1j * x[:, 3:].sin())),
    "polar": lambda x: both(torch.polar(x[:, :3].exp(), x[:, 3:])),
    "complex sum": lambda x: both(pair(x) + (2 - 1j) - x[:, :3] + pair(x).flip(1)),
    "subtract from": lambda x: both((1 + 2j) - pair(x)),
    "product": lambda x: both(pair(x) * pair(x).flip(1) * (0.5 + 1j)),
    "product of one channel": lambda x: both(pair(x) * pair(x)[:, :1]),
    "quotient": lambda x: both(pair(x) / (pair(x).flip(1) + 9j)),
    "quotient by real": lambda x: both(pair(x) / (x[:, :3].abs() + 1) / 3),
    "real by complex": lambda x: both(x[:, :3] / (pair(x) + 9)),
    "conjugate": lambda x: both(pair(x).conj() * -pair(x)),
    "conjugate resolved": lambda x: both(pair(x).conj().resolve_conj()[:, 1:]),
    "absolute": lambda x: pair(x).abs(),
    "angle": lambda x: pair(x).angle(),
    "atan2": lambda x: torch.atan2(x[:, :3], x[:, 3:]),
    "atan2 of one channel": lambda x: torch.atan2(x[:, :3], x[:, 3:4]),
    "view as real": lambda x: torch.view_as_real(pair(x)) * 2,
    "view as complex": lambda x: both(
        torch.view_as_complex(x.unflatten(1, (3, 2)).mT.contiguous())
    ),
    "constant": lambda x: both(pair(x) * torch.tensor([1j, 2.0, 1 - 1j])[:, None].to(pair(x))),
    "axes": lambda x: both(pair(x).transpose(1, 2).unsqueeze(1).squeeze(1).mT[:, 1:]),
    "concatenated": lambda x: both(torch.cat([pair(x), pair(x).flip(1)], dim=1)),
    "stacked": lambda x: both(torch.stack([pair(x), pair(x) * 1j], dim=2).flatten(1, 2)),
    "padded": lambda x: both(F.pad(pair(x), (2, 1))),
    "padded with a number": lambda x: both(F.pad(pair(x), (2, 1), value=0.5)),
    "sum with a factor": lambda x: both(torch.add(pair(x), pair(x).flip(1), alpha=2)),
    "difference with a factor": lambda x: both(torch.sub(x[:, :3], pair(x), alpha=3)),
    "split": lambda x: both(pair(x).split([1, 2], dim=1)[1] * 2),
    "from real": lambda x: both(x.to(pair(x).dtype) + 1j * x),
    "real of real": lambda x: torch.real(x) + x,
    "imaginary alone": lambda x: (1j * x).imag * 2,
}


MATRIX = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
# Sums over channels, of 6 of them.
SUMS: dict[str, Callable[[Tensor], Tensor]] = {
    "matrix on the left": lambda x: torch.matmul(MATRIX.to(x), x),
    "matrix on the right": lambda x: torch.matmul(x.mT, MATRIX.mT.to(x)).mT,
    "matrix of one number": lambda x: torch.ones(2, 6).to(x) @ x,
    "sum": lambda x: x.sum(1),
    "sum that keeps its axis": lambda x: x * x.sum(1, keepdim=True),
    "sum of the last axis": lambda x: x.mT.sum(-1, keepdim=True),
    "sum of pairs": lambda x: x.unflatten(1, (3, 2)).sum(2),
    "sum of pairs that are last": lambda x: x.unflatten(1, (3, 2)).transpose(2, 3).sum(-1),
    "norm": lambda x: x.norm(dim=1),
    "norm of pairs": lambda x: x.unflatten(1, (3, 2)).norm(dim=2, keepdim=True).squeeze(2),
}


def sums(name: str) -> Callable[[Rng], Case]:
    return lambda rng: (SUMS[name], lambda batch, length: spectrum(batch, 3, 3 + length))


def complex_numbers(name: str) -> Callable[[Rng], Case]:
    return lambda rng: (COMPLEX[name], lambda batch, length: spectrum(batch, 3, 3 + length))


KINDS: dict[str, Callable[[Rng], Case]] = {
    "stft": stft,
    "istft": istft,
    "round trip": round_trip,
    "same padding": same_padding,
    **{name: transform(name) for name in ("rfft", "irfft", "fft", "ifft")},
    "unfold": frames,
    "fold": overlapping,
    "tensor unfold": tensor_unfold,
    **{name: sums(name) for name in SUMS},
    **{name: complex_numbers(name) for name in COMPLEX},
}
