"""Each operation by itself: what torch computes, and the same bits wherever a number stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from network_streams import check_streams  # noqa: E402
from networks import check_invariances, inputs_of  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import fracstride.torch  # noqa: E402
from fracstride.network.operations import OPERATIONS  # noqa: E402

CHANNELS = 6
#: Words in the names of kinds that look at the whole signal.
WHOLE = {"circular", "bidirectional"}
Draw = Callable[..., int]  # a random int of [low, high)


class Of(nn.Module):
    """A function of tensors as a module, with tensors as its parameters."""

    def __init__(self, function: Callable[..., Any], *parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        self.numbers = nn.ParameterList(nn.Parameter(p) for p in parameters)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs, *self.numbers)


class Last(nn.Module):
    """A module whose channels are the last axis."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class Chosen(nn.Module):
    """The first result of a module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)[0]


class First(nn.Module):
    """The first result of a module that wants time first, batch second."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x.permute(2, 0, 1))[0].permute(1, 2, 0)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape)


def positive(*shape: int) -> Tensor:
    return torch.rand(shape) + 0.5


# By kind: modules of one operation or a few. Those of two inputs take them as channels.
KINDS: dict[str, Callable[[Draw], nn.Module]] = {
    # Numbers, constants and signals.
    "add": lambda _: Of(lambda x: x[:, :3] + x[:, 3:]),
    "add number": lambda _: Of(lambda x: x + 0.7),
    "add channels": lambda _: Of(lambda x, c: c + x, numbers(CHANNELS, 1)),
    "subtract": lambda _: Of(lambda x: x[:, :3] - x[:, 3:]),
    "subtract from number": lambda _: Of(lambda x: 1 - x),
    "subtract from channels": lambda _: Of(lambda x, c: c - x, numbers(1, CHANNELS, 1)),
    "rsub": lambda _: Of(lambda x: torch.rsub(x, 2.5)),
    "multiply": lambda _: Of(lambda x: x[:, :3] * x[:, 3:]),
    "multiply one channel": lambda _: Of(lambda x: x * x[:, :1]),
    "multiply over time": lambda _: Of(lambda x: x * x[:, 2:3].sigmoid()),
    "divide": lambda _: Of(lambda x, c: x / c, positive(CHANNELS, 1)),
    "divide number": lambda _: Of(lambda x: 3 / (x.abs() + 1)),
    "maximum": lambda _: Of(lambda x: torch.maximum(x[:, :3], x[:, 3:])),
    "minimum": lambda _: Of(lambda x: torch.minimum(x[:, :3], x[:, 3:])),
    "power 2": lambda _: Of(lambda x: x**2),
    "power 3": lambda _: Of(lambda x: x.pow(3)),
    "power": lambda _: Of(lambda x: (x.abs() + 0.1).pow(1.7)),
    "square root": lambda _: Of(lambda x: (x.square() + 1).sqrt()),
    "rsqrt": lambda _: Of(lambda x: torch.rsqrt(x.abs() + 0.3)),
    "reciprocal": lambda _: Of(lambda x: torch.reciprocal(x.abs() + 0.3)),
    # Functions.
    "absolute": lambda _: Of(torch.abs),
    "cos": lambda _: Of(lambda x: torch.cos(9 * x)),
    "erf": lambda _: Of(torch.erf),
    "exp": lambda _: Of(torch.exp),
    "expm1": lambda _: Of(torch.expm1),
    "log": lambda _: Of(lambda x: torch.log(x.abs() + 1e-3)),
    "log1p": lambda _: Of(lambda x: torch.log1p(x.abs())),
    "negative": lambda _: Of(torch.neg),
    "sin": lambda _: Of(lambda x: torch.sin(9 * x)),
    "snake": lambda _: Of(
        lambda x, a: x + torch.sin(a * x).pow(2) / (a + 1e-9), positive(1, CHANNELS, 1)
    ),
    "sigmoid": lambda _: nn.Sigmoid(),
    "tanh": lambda _: nn.Tanh(),
    "clamp": lambda _: Of(lambda x: x.clamp(-0.3, 0.8)),
    "clamp low": lambda _: Of(lambda x: x.clamp(min=-0.3)),
    "clamp_max": lambda _: Of(lambda x: torch.clamp_max(x, 0.4)),
    "elu": lambda _: nn.ELU(0.7),
    "selu": lambda _: nn.SELU(),
    "celu": lambda _: nn.CELU(0.7),
    "hardtanh": lambda _: nn.Hardtanh(-0.3, 0.8),
    "relu6": lambda _: Of(lambda x: nn.functional.relu6(9 * x)),
    "hardsigmoid": lambda _: nn.Hardsigmoid(),
    "hardswish": lambda _: Of(lambda x: nn.functional.hardswish(3 * x)),
    "hardshrink": lambda _: nn.Hardshrink(0.4),
    "softshrink": lambda _: nn.Softshrink(0.4),
    "softsign": lambda _: nn.Softsign(),
    "threshold": lambda _: nn.Threshold(0.2, -0.7),
    "mish": lambda _: nn.Mish(),
    "gelu": lambda _: nn.GELU(),
    "gelu tanh": lambda _: nn.GELU(approximate="tanh"),
    "leaky relu": lambda _: nn.LeakyReLU(0.2),
    "prelu": lambda _: nn.PReLU(CHANNELS),
    "prelu one": lambda _: nn.PReLU(),
    "relu": lambda _: nn.ReLU(),
    "silu": lambda _: nn.SiLU(),
    "softplus": lambda _: nn.Softplus(2.0, 3.0),
    # Channels.
    "slice": lambda _: Of(lambda x: x[:, 1:5]),
    "every second": lambda _: Of(lambda x: x[:, 1::2]),
    "flip": lambda _: Of(lambda x: x.flip(1)),
    "order": lambda _: Of(lambda x: torch.cat([x[:, 4:], x[:, 1:4].tanh(), x[:, :1]], dim=1)),
    "turns": lambda _: Of(lambda x: torch.stack([x[:, :3], x[:, 3:]], dim=2).flatten(1, 2)),
    "gate": lambda _: Of(lambda x: torch.tanh(x[:, :3]) * torch.sigmoid(x[:, 3:])),
    "mean": lambda _: Of(lambda x: x.mean(dim=1, keepdim=True)),
    "mean of some": lambda _: Of(lambda x: x.unflatten(1, (2, 3)).mean(dim=1)),
    "sum": lambda _: Of(lambda x: x.unflatten(1, (2, 3)).sum(dim=2)),
    "sum of last": lambda _: Of(lambda x: x.transpose(1, 2).sum(-1, keepdim=True).transpose(1, 2)),
    # Time.
    "turns in time": lambda _: Of(lambda x: x.unflatten(1, (3, 2)).transpose(2, 3).flatten(2)),
    "channels in time": lambda _: Of(lambda x: x.transpose(1, 2).flatten(1).unsqueeze(1)),
    "pad": lambda _: nn.ConstantPad1d((3, 2), 0.5),
    "pad zeros": lambda _: nn.ZeroPad1d((0, 4)),
    "reflect": lambda _: nn.ReflectionPad1d((2, 3)),
    "replicate": lambda _: nn.ReplicationPad1d((4, 1)),
    "crop": lambda _: Of(lambda x: x[:, :, 2:-1]),
    "pad and crop": lambda _: Of(lambda x: nn.functional.pad(x, (-2, 3), value=0.25)),
    "nearest": lambda draw: nn.Upsample(scale_factor=draw(2, 6)),
    "linear": lambda draw: nn.Upsample(scale_factor=2 ** draw(1, 4), mode="linear"),
    # Norms.
    "layer norm": lambda _: Last(nn.LayerNorm(CHANNELS, eps=1e-3)),
    "layer norm without weights": lambda _: Last(nn.LayerNorm(CHANNELS, elementwise_affine=False)),
    "rms norm": lambda _: Last(nn.RMSNorm(CHANNELS, eps=1e-3)),
    "rms norm without eps": lambda _: Last(nn.RMSNorm(CHANNELS)),
    # Layers.
    "conv1d": lambda draw: nn.Conv1d(
        CHANNELS,
        draw(1, 9),
        draw(1, 6),
        stride=draw(1, 4),
        padding=draw(0, 4),
        dilation=draw(1, 4),
        padding_mode=("zeros", "reflect", "replicate")[draw(0, 3)],
        bias=draw(0, 2) == 1,
    ),
    "conv1d groups": lambda draw: nn.Conv1d(
        CHANNELS, CHANNELS * draw(1, 3), draw(1, 6), groups=(2, 3, 6)[draw(0, 3)]
    ),
    "conv_transpose1d": lambda draw: nn.ConvTranspose1d(
        CHANNELS,
        draw(1, 9),
        draw(3, 8),
        stride=draw(2, 4),
        padding=draw(0, 2),
        output_padding=draw(0, 2),
        groups=1,
    ),
    "conv_transpose1d groups": lambda draw: nn.ConvTranspose1d(
        CHANNELS, CHANNELS, draw(1, 7), stride=draw(1, 3), groups=(2, 3, 6)[draw(0, 3)]
    ),
    "lstm": lambda draw: First(nn.LSTM(CHANNELS, draw(1, 40), draw(1, 3), bias=draw(0, 2) == 1)),
    "lstm batch first": lambda draw: Last(
        Chosen(nn.LSTM(CHANNELS, draw(1, 40), batch_first=True, bidirectional=draw(0, 2) == 1))
    ),
}
ROUNDING = 2e-6


def compiled(kind: str, seed: int) -> tuple[nn.Module, Any]:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    module = KINDS[kind](lambda low, high: int(rng.integers(low, high))).eval()
    return module, fracstride.torch.compile(module, torch.randn(2, CHANNELS, 40))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_what_torch_computes(kind: str, seed: int) -> None:
    module, network = compiled(kind, seed)
    names = [node.operation.name for node in network.network.graph.nodes]
    assert not any(name.startswith("torch ") for name in names), names
    for length in (network.least, network.least + 1, 11, 12, 13, 40, 97):
        for batch in (1, 3):
            if length < network.network.least:
                continue
            x = torch.randn(batch, CHANNELS, length)
            with torch.no_grad():
                expected = module(x)
            found = network(x)
            assert found.shape == expected.shape
            peak = float(expected.abs().max().clamp_min(1e-3))
            assert float((found - expected).abs().max()) <= ROUNDING * peak


@pytest.mark.parametrize("kind", KINDS)
def test_bits(kind: str) -> None:
    _, network = compiled(kind, 2)
    check_invariances(network.network)
    check_invariances(network.network.astype("bfloat16"))


@pytest.mark.parametrize("kind", KINDS)
def test_streams(kind: str) -> None:
    """The same bits in any chunks; only what looks at the whole signal is refused."""
    _, compiled_module = compiled(kind, 3)
    network, rng = compiled_module.network, np.random.default_rng(0)
    if WHOLE.intersection(kind.split()):
        with pytest.raises(ValueError, match="cannot stream"):
            network.stream()
        return
    for ticks in (network.least, network.least + 1, 37):
        inputs = inputs_of(network.graph, ticks, 2, network.dtype)
        check_streams(network, inputs, ticks, rng)


def test_functions_of_torch_are_named_once() -> None:
    """Each operator of torch belongs to one class, and to another where it is given codes."""
    names = [(name, kind.takes_codes) for kind in OPERATIONS for name in kind.torch]
    assert sorted(set(names)) == sorted(names)


def test_shapes_without_time() -> None:
    module = Of(lambda x, c: x * torch.tanh(c) + c)
    network = fracstride.torch.compile(
        module, torch.randn(2, 4, 30), torch.randn(2, 4, 1), time=(-1, None)
    )
    x, c = torch.randn(3, 4, 17), torch.randn(3, 4, 1)
    torch.testing.assert_close(network(x, c), module(x, c), rtol=1e-6, atol=1e-6)


def test_an_lstm_whose_state_is_read_runs_in_torch() -> None:
    lstm = nn.LSTM(CHANNELS, 8)

    def function(x: Tensor) -> Any:
        y, (hidden, _) = lstm(x.permute(2, 0, 1))
        return y.permute(1, 2, 0) + hidden.permute(1, 2, 0)

    module = Of(function)
    module.lstm = lstm
    network = fracstride.torch.compile(module, torch.randn(2, CHANNELS, 30))
    assert "torch lstm" in str(network)
    x = torch.randn(3, CHANNELS, 21)
    with torch.no_grad():
        torch.testing.assert_close(network(x), module(x))
