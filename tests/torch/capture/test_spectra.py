"""STFTs, their inverses and complex numbers: random arguments, against torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from network_streams import check_streams
from networks import check_invariances, inputs_of
from spectral_cases import DTYPE, KINDS, Case, pair, spectrum
from torch import Tensor, nn
from torch.nn import functional as F

import fracstride.torch
from fracstride.network import Network


class Of(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


DRAWN = {"stft": 6, "istft": 8, "same padding": 4, "fold": 8}
ALL = [(kind, seed) for kind in KINDS for seed in range(DRAWN.get(kind, 2))]


def compiled(kind: str, seed: int, dtype: torch.dtype) -> tuple[Case, Any]:
    rng = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    torch.manual_seed(seed)
    case = KINDS[kind](rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about results that are not complex
        return case, fracstride.torch.compile(Of(case[0]), case[1](2, 12).to(dtype))


def foreign(network: Any) -> list[str]:
    names = [node.operation.name for node in network.network.graph.nodes]
    return [name for name in names if name.startswith("torch ")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "seed"), ALL)
def test_what_torch_computes(kind: str, seed: int) -> None:
    dtype = DTYPE if seed % 2 == 0 else torch.float32
    (function, make), network = compiled(kind, seed, dtype)
    assert not foreign(network)
    rounding = 1e-12 if dtype == DTYPE else 2e-5
    tested = 0
    for batch, length in [(1, 0), (1, 1), (3, 2), (2, 12), (1, 13), (1, 90)]:
        x = make(batch, length).to(dtype)
        if x.shape[-1] < network.least:
            continue
        expected, found = function(x), network(x)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        peak = float(expected.abs().max())
        assert float((found - expected).abs().max()) <= rounding * max(peak, 1e-3)
        tested += 1
    assert tested >= 3


# A look-ahead in ticks does not count what a strided convolution leaves over of them.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "round trip"])
def test_bits(kind: str) -> None:
    network = compiled(kind, 0, torch.float32)[1].network
    if kind == "same padding":  # fusing folds its window, and then the frames, into a weight
        network = Network(network.graph, network.dtype, network.least, fused=False)
    check_invariances(network)
    check_invariances(network.astype("bfloat16"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_streams(kind: str) -> None:
    network, rng = compiled(kind, 1, torch.float32)[1].network, np.random.default_rng(0)
    for ticks in (network.least, network.least + 1, network.least + 30):
        check_streams(network, inputs_of(network.graph, ticks, 2), ticks, rng)


def test_a_complex_result() -> None:
    module = Of(lambda x: (pair(x) * 2, x))
    network = fracstride.torch.compile(module, spectrum(1, 3, 20))
    x = spectrum(2, 3, 7)
    found = network(x)[0]
    assert found.dtype == torch.complex128
    torch.testing.assert_close(found, module(x)[0])
    with pytest.raises(ValueError, match="a result is no signal"):
        network.save("nowhere.safetensors")


def test_operators_that_have_no_parts_run_in_torch() -> None:
    """The calls around them do not."""
    module = Of(lambda x: (torch.sgn(pair(x) * 2).real * 3, (pair(x) * 1j).cumsum(1).abs()))
    network = fracstride.torch.compile(module, spectrum(1, 3, 20))
    names = foreign(network)
    assert {"torch sgn", "torch cumsum", "torch complex", "torch real"} <= set(names)
    assert "torch mul" not in names
    x = spectrum(2, 3, 7)
    for found, expected in zip(network(x), module(x), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_call_that_is_read_in_part_leaves_nothing_behind() -> None:
    def function(x: Tensor) -> Tensor:
        y = torch.sgn(pair(x))
        return torch.fft.ifft(y, dim=2).abs() * y.real  # over time, which is not read

    network = fracstride.torch.compile(Of(function), spectrum(1, 3, 20))
    assert "torch fft_ifft" in foreign(network)
    x = spectrum(2, 3, 7)
    torch.testing.assert_close(network(x), function(x))


@pytest.mark.parametrize("more", [1, 3, 8, 11])
def test_an_inverse_that_is_longer_than_its_last_frames_middle(more: int) -> None:
    """Up to half a frame is there, and zeros behind it."""
    window = torch.hamming_window(16, dtype=DTYPE)

    def function(x: Tensor) -> Tensor:
        length = 4 * (x.shape[-1] - 1) + more
        return torch.istft(pair(x), 16, 4, window=window, length=length)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = fracstride.torch.compile(Of(function), spectrum(1, 9, 20))
        assert not foreign(network)
        for length in (network.least, 7, 33):
            x = spectrum(2, 9, length)
            torch.testing.assert_close(network(x), function(x))


@pytest.mark.filterwarnings("ignore")
def test_transforms_that_are_none_of_channels_run_in_torch() -> None:
    window = torch.hann_window(8, dtype=DTYPE)
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "fft_rfft": lambda x: torch.fft.rfft(x).abs(),
        "stft": lambda x: torch.stft(x[:, 0], 8, window=x[0, 0, :8], return_complex=True).abs(),
        "istft": lambda x: torch.istft(
            torch.stft(x[:, 0], 8, onesided=False, window=window, return_complex=True) * 1j,
            8, window=window, onesided=False, return_complex=True,
        ).abs(),
        "istft of a window": lambda x: torch.istft(
            torch.complex(x[:, :1].expand(-1, 5, -1), x[:, 1:].expand(-1, 5, -1)),
            8, window=x[0, 0, :8].abs() + 1,
        ),
    }  # fmt: skip
    for name, function in functions.items():
        network = fracstride.torch.compile(Of(function), torch.randn(1, 2, 40, dtype=DTYPE))
        assert f"torch {name.split()[0]}" in foreign(network)
        x = torch.randn(1, 2, 44, dtype=DTYPE)
        torch.testing.assert_close(network(x), function(x))


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    # torch's own refusal: the first sample has one frame, whose window is 0 there.
    r"istft.*window overlap add min": lambda x: torch.istft(
        pair(x), 8, 2, window=torch.hann_window(8, dtype=DTYPE), center=False
    ),
    # A window as long as the signal.
    r"stft.*changes with the length": lambda x: torch.stft(
        x[:, 0], x.shape[-1], hop_length=4, return_complex=True, window=torch.hann_window(
            x.shape[-1], dtype=DTYPE
        )
    ).abs(),
    r"aten.mul.Tensor\): .*changes with the length": lambda x: x * torch.linspace(
        0, 1, x.shape[-1], dtype=DTYPE
    ),
    r"aten.add.Tensor\): a constant changes with the length": lambda x: x + envelope(x),
    r"aten.div.Tensor\): a constant changes with the length": lambda x: envelope(x) / x,
    r"result 1, a constant .* changes with the length": lambda x: (x * 2, envelope(x)),
}  # fmt: skip


def envelope(x: Tensor) -> Tensor:
    squares = torch.hann_window(8, dtype=DTYPE).square()[None, :, None].expand(1, 8, x.shape[-1])
    return F.fold(squares, (1, 2 * x.shape[-1] + 6), (1, 8), stride=(1, 2))[0, 0, 0, 3:][
        : x.shape[-1]
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fracstride.torch.compile(Of(REFUSED[message]), spectrum(1, 5, 20))
