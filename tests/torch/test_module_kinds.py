"""What each module of torch is to this library, and that it does what is said of it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import fracstride.torch as ft
from fracstride.torch.module_kinds import ELEMENTWISE, ELEMENTWISE_IN_EVAL, Kind, classify


class Tail(nn.ConvTranspose1d):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x)[..., :-1]


class Quiet(nn.Tanh):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class Around(nn.Tanh):
    """With torch's forward, and something done around it."""

    def __call__(self, x: Tensor) -> Any:
        return super().__call__(x).cumsum(-1)


class AroundConv(nn.Conv1d):
    def __call__(self, x: Tensor) -> Any:
        return super().__call__(x).cumsum(-1)


class Slope(nn.LeakyReLU):
    """With another default, and torch's forward."""

    def __init__(self) -> None:
        super().__init__(0.2)


class Backwards(nn.Sequential):
    def forward(self, x: Any) -> Any:
        for part in reversed(self):
            x = part(x)
        return x


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class NameSpace(nn.Module):
    pass


@pytest.mark.parametrize(
    ("module", "kind", "refusal"),
    [
        (nn.ConvTranspose1d(2, 2, 4, 2), Kind.TRANSPOSED, ""),
        (ft.ConvTranspose1d(2, 2, 4, padding="same"), Kind.TRANSPOSED, ""),
        (ft.accelerate(nn.ConvTranspose1d(2, 2, 4)), Kind.TRANSPOSED, ""),
        (nn.Conv1d(2, 2, 3, padding="same", padding_mode="circular"), Kind.CONV1D, ""),
        (nn.Conv1d(2, 2, 3, 2), Kind.CONV1D, ""),
        (nn.Conv1d(2, 2, 3, padding=3), Kind.CONV1D, ""),
        (nn.ReflectionPad1d(1), Kind.PAD, ""),
        (nn.ZeroPad1d(1), Kind.PAD, ""),
        (nn.CircularPad1d(1), Kind.PAD, ""),
        (nn.Upsample(scale_factor=3, mode="linear"), Kind.UPSAMPLE, ""),
        (nn.Upsample(12), Kind.UPSAMPLE, "size=12 is the length"),
        (Slope(), Kind.ELEMENTWISE, ""),
        (nn.Dropout(), Kind.ELEMENTWISE, "in training mode"),
        (nn.Dropout().eval(), Kind.ELEMENTWISE, ""),
        (nn.BatchNorm1d(2).eval(), Kind.ELEMENTWISE, ""),
        (
            nn.BatchNorm1d(2, track_running_stats=False).eval(),
            Kind.ELEMENTWISE,
            "without running statistics",
        ),
        (nn.GLU(1), Kind.GATE, ""),
        (nn.Sequential(nn.GRU(1, 1)), Kind.SEQUENTIAL, ""),
        (nn.ModuleList(), Kind.CONTAINER, ""),
        (nn.ModuleDict(), Kind.CONTAINER, ""),
        (nn.ParameterList(), Kind.CONTAINER, ""),
        (NameSpace(), Kind.CONTAINER, ""),
        (nn.LayerNorm(3), Kind.OTHER, ""),
        (nn.Conv2d(1, 1, 1), Kind.OTHER, ""),
        (nn.ReflectionPad2d(1), Kind.OTHER, ""),
        (nn.BatchNorm2d(1).eval(), Kind.OTHER, ""),
        (nn.GRU(1, 1), Kind.OTHER, ""),
        (Tail(1, 1, 2), Kind.OTHER, "its forward is not that of torch's ConvTranspose1d"),
        (AroundConv(1, 1, 2), Kind.OTHER, "its __call__ is not that of torch's Conv1d"),
        (Quiet(), Kind.CUSTOM, ""),
        (Around(), Kind.CUSTOM, ""),
        (Backwards(), Kind.CUSTOM, ""),
        (Double(), Kind.CUSTOM, ""),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, nn.Module) else None,
)
def test_kinds(module: nn.Module, kind: Kind, refusal: str) -> None:
    found = classify(module)
    assert found.kind is kind
    assert refusal in found.refusal
    assert bool(refusal) == bool(found.refusal)
    assert found.elementwise == (kind is Kind.ELEMENTWISE and not refusal)
    assert (found.geometry is not None) == (
        kind in (Kind.TRANSPOSED, Kind.CONV1D) and not found.refusal
    )
    assert (found.padding_mode != "") == (kind is Kind.PAD)
    assert not found.declared
    assert classify(module, (type(module),)).declared


def test_modules_whose_class_torch_made_for_them() -> None:
    norm = nn.utils.parametrizations.weight_norm
    assert classify(norm(nn.Conv1d(2, 2, 3))).kind is Kind.CONV1D
    prelu = nn.PReLU(2)
    parametrize.register_parametrization(prelu, "weight", nn.Softplus())
    assert type(prelu) is not nn.PReLU
    assert classify(prelu).elementwise


def test_a_stream_does_not_leave_out_what_a_call_does() -> None:
    for module in Around(), AroundConv(2, 2, 3), nn.Sequential(Around()):
        with pytest.raises(TypeError, match="cannot stream"):
            ft.stream(module)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_module_is_none_of_torchs() -> None:
    scripted, traced = torch.jit.script(nn.Tanh()), torch.jit.trace(nn.Tanh(), torch.ones(1))
    assert classify(scripted).kind is classify(traced).kind is Kind.CUSTOM
    with pytest.raises(TypeError, match=r"0 \(RecursiveScriptModule\) cannot stream"):
        ft.stream(nn.Sequential(scripted))


def module_of(cls: Any) -> nn.Module:
    """One of these, for two channels, and not the identity."""
    arguments: dict[Any, tuple[Any, ...]] = {nn.Threshold: (0.1, 2.0), nn.BatchNorm1d: (2,)}
    module: nn.Module = cls(*arguments.get(cls, ())).eval()
    if isinstance(module, nn.BatchNorm1d):
        module.running_mean = torch.tensor([0.5, -0.5])
    return module


@pytest.mark.parametrize("cls", [*ELEMENTWISE, *ELEMENTWISE_IN_EVAL])
def test_elementwise_modules_are_elementwise(cls: Any) -> None:
    torch.manual_seed(0)
    module, x = module_of(cls), torch.randn(3, 2, 6)
    assert classify(module).elementwise
    y = module(x)
    assert y.shape == x.shape
    for n in range(6):
        torch.testing.assert_close(module(x[..., n : n + 1]), y[..., n : n + 1])
    for row in range(3):
        torch.testing.assert_close(module(x[row : row + 1]), y[row : row + 1])


def test_no_elementwise_module_of_torch_is_missing() -> None:
    """Of the activations that need no arguments, the others look at neighbours or at channels."""
    activations = {
        cls
        for _, cls in inspect.getmembers(nn.modules.activation, inspect.isclass)
        if cls.__module__ == nn.modules.activation.__name__ and issubclass(cls, nn.Module)
    }
    others = {nn.GLU, nn.LogSoftmax, nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.Softmin}
    assert activations - {*ELEMENTWISE, *ELEMENTWISE_IN_EVAL} == others


def test_a_subclass_without_a_forward_of_its_own_streams_as_its_base() -> None:
    class Sigmoid(nn.Sigmoid):
        """A class that is not in the tuple of those that torch rounds by place."""

    x = torch.randn(1, 2, 5_000)
    stream, whole = ft.stream(Sigmoid()), ft.stream(nn.Sigmoid()).finish(x)
    pieces = [stream.push(piece) for piece in x.split(7, -1)]
    assert torch.equal(torch.cat(pieces, -1), whole)
