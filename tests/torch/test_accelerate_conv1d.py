"""``accelerate`` and ``restore`` on Conv1d: encoders, decoders, subclasses, norms."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as tf
from torch.nn.utils import parametrizations, parametrize

import fracstride.torch as ft

OURS = (ft.Conv1d, ft.ConvTranspose1d)
TORCHS = (nn.Conv1d, nn.ConvTranspose1d)


def convolutions(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, TORCHS)]


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(channels, channels, 3, padding=3, dilation=3)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(tf.elu(self.wide(tf.elu(x))))
        return x + y


class Encoder(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv1d(1, 8, 7, padding="same", padding_mode="reflect"),
            Block(8),
            parametrizations.weight_norm(nn.Conv1d(8, 16, 8, stride=4, padding=2)),
            Block(16),
            nn.Conv1d(16, 12, 4, stride=2, padding=1, groups=4, bias=False),
            nn.Conv1d(12, 12, 3, padding=1, groups=12, padding_mode="replicate"),
        )


class Decoder(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv1d(12, 16, 7, padding=3),
            nn.LeakyReLU(0.1),
            torch.nn.utils.weight_norm(nn.ConvTranspose1d(16, 8, 4, 2, 1)),
            Block(8),
            nn.ConvTranspose1d(8, 4, 8, 4, 2),
            nn.Conv1d(4, 1, 7, padding=3, padding_mode="circular"),
            nn.Tanh(),
        )


def run(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    y = model(x)
    y.pow(2).mean().backward()
    return y.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("make", [Encoder, Decoder])
def test_encoders_and_decoders(make: Any) -> None:
    torch.manual_seed(0)
    model = make()
    torch.manual_seed(0)
    mine = make()
    shape = (2, 1, 96) if make is Encoder else (2, 12, 9)
    x = torch.randn(shape, requires_grad=True)
    parameters, keys = [id(p) for p in mine.parameters()], list(mine.state_dict())
    classes = [type(m) for m in mine.modules()]
    seen: list[str] = []
    for i, layer in enumerate(convolutions(mine)):
        layer.register_forward_pre_hook(lambda *_, i=i: seen.append(f"before {i}"))
        layer.register_forward_hook(lambda *_, i=i: seen.append(f"after {i}"))
        layer.register_full_backward_hook(lambda *_, i=i: seen.append(f"backward {i}"))
    assert ft.accelerate(mine) is mine
    assert all(isinstance(layer, OURS) for layer in convolutions(mine))
    assert [id(p) for p in mine.parameters()] == parameters
    assert list(mine.state_dict()) == keys
    torch.testing.assert_close(run(mine, x), run(model, x))
    count = len(convolutions(mine))
    assert sorted(seen) == sorted(
        f"{when} {i}" for i in range(count) for when in ("before", "after", "backward")
    )
    for training in (False, True):
        model.train(training)
        mine.train(training)
        for guard in (torch.no_grad, torch.inference_mode):
            with guard():
                torch.testing.assert_close(mine(x), model(x))
    mine.load_state_dict(model.state_dict())
    before = [type(m) for m in mine.modules()]
    assert ft.accelerate(mine) is mine
    assert [type(m) for m in mine.modules()] == before
    assert ft.restore(mine) is mine
    plainly = [m for m, cls in zip(mine.modules(), classes, strict=True) if type(m) is not cls]
    assert all(parametrize.is_parametrized(m) for m in plainly)  # torch made them a class again
    assert not any(isinstance(m, OURS) for m in mine.modules())
    assert torch.equal(mine.eval()(x), model.eval()(x))


class Trimmed(nn.Conv1d):
    def forward(self, x: Any) -> Any:
        return super().forward(x)[..., :-1]


class Causal(nn.Conv1d):
    """As codecs write it: pads by hand."""

    def forward(self, x: Any) -> Any:
        return super().forward(tf.pad(x, (self.kernel_size[0] - 1, 0)))


class Standardised(nn.Conv1d):
    """Calls what is below torch's forward with another weight."""

    def forward(self, x: Any) -> Any:
        weight = self.weight - self.weight.mean((1, 2), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


REACHING = [Trimmed, Causal, Standardised]


@pytest.mark.filterwarnings("error:accelerate")
@pytest.mark.parametrize("cls", REACHING)
@pytest.mark.parametrize("norm", [lambda m: m, parametrizations.weight_norm], ids=["", "norm"])
def test_subclasses_reach_the_kernels(cls: Any, norm: Callable[[Any], Any]) -> None:
    torch.manual_seed(0)
    model, x = norm(cls(4, 6, 5, stride=2, padding=1)), torch.randn(2, 4, 21)
    mine = ft.accelerate(copy.deepcopy(model))
    assert isinstance(mine, cls)
    assert isinstance(mine, ft.Conv1d)
    torch.testing.assert_close(run(mine, x), run(model, x))
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(mine(x), model(x))
        twin = copy.deepcopy(mine)
        if not parametrize.is_parametrized(mine):
            twin = pickle.loads(pickle.dumps(mine))
            assert type(twin) is type(mine)
        assert torch.equal(twin(x), mine(x))
    ft.restore(mine)
    assert not isinstance(mine, ft.Conv1d)
    with torch.no_grad():
        assert torch.equal(mine(x), model(x))


class ByItself(nn.Conv1d):
    def forward(self, x: Any) -> Any:
        return tf.conv1d(x, self.weight, self.bias)


class ConvForwardOfItsOwn(nn.Conv1d):
    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        return 2 * super()._conv_forward(input, weight, bias)


class Downsample(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", torch.ones(1, 1, 4) / 4)

    def forward(self, x: Any) -> Any:
        return tf.conv1d(x, self.filter, stride=2)


class Both(Downsample):
    def forward(self, x: Any) -> Any:
        return torch.conv_transpose1d(super().forward(x), self.filter, stride=2)


def test_what_stays_torchs_is_named() -> None:
    layer = nn.Conv1d(4, 6, 5)
    model = nn.ModuleDict(
        {
            "own": ByItself(4, 6, 5),
            "inner": ConvForwardOfItsOwn(4, 6, 5),
            "down": nn.Sequential(Downsample(), Downsample()),
            "both": Both(),
            "traced": torch.jit.trace(nn.Sequential(layer, nn.ReLU()), torch.ones(1, 4, 9)),  # type: ignore[no-untyped-call]
            "fine": nn.Sequential(layer, nn.Conv2d(2, 2, 2)),
        }
    )
    x = torch.randn(1, 4, 9)
    want = model["inner"](x)
    with pytest.warns(UserWarning, match="accelerate leaves to torch") as said:
        ft.accelerate(model)
    assert [str(one.message).partition(": ")[2] for one in said] == [
        "own (ByItself): its forward does not call super().forward; "
        "inner (ConvForwardOfItsOwn): has a _conv_forward of its own; "
        "traced.0: scripted or traced; "
        "down.0 and 1 more (Downsample): calls torch.nn.functional.conv1d itself; "
        "both (Both): calls torch.nn.functional.conv1d and "
        "torch.nn.functional.conv_transpose1d itself"
    ]
    assert type(layer) is ft.Conv1d
    assert torch.equal(model["inner"](x), want)


@pytest.mark.parametrize("name", ["forward", "_conv_forward"])
def test_methods_set_on_the_object_are_left_alone(name: str) -> None:
    layer = nn.Conv1d(4, 6, 5)
    setattr(layer, name, lambda x, *rest: x)
    with pytest.warns(UserWarning, match=f"the model itself .*: its {name} was set on the object"):
        ft.accelerate(layer)
    assert type(layer) is nn.Conv1d


def test_lazy_modules() -> None:
    layer = ft.accelerate(nn.LazyConv1d(6, 5, padding=2))
    x = torch.randn(1, 4, 9)
    y = layer(x)
    assert type(layer) is ft.Conv1d
    torch.testing.assert_close(y, tf.conv1d(x, layer.weight, layer.bias, padding=2))
    assert type(ft.restore(layer)) is nn.Conv1d


@pytest.mark.parametrize(
    ("arguments", "attributes"),
    [
        ({"padding": "causal"}, None),
        ({"padding": (0, 2)}, None),
        ({"padding": "causal", "kernel_size": 1}, {"padding": (0,)}),
        ({"padding": (2, 2), "padding_mode": "reflect"}, {"padding": (2,)}),
        ({"padding": "same", "padding_mode": "circular"}, {"padding": "same"}),
        ({"padding": "valid"}, {"padding": "valid"}),
        ({"padding": 3, "stride": 2, "dilation": 2}, {"padding": (3,)}),
    ],
    ids=repr,
)
def test_layers_made_by_hand(arguments: dict[str, Any], attributes: Any) -> None:
    layer = ft.Conv1d(4, 6, **{"kernel_size": 5, **arguments})
    x = torch.randn(1, 4, 30)
    want, before = layer(x), dict(vars(layer))
    if attributes is None:
        with pytest.raises(ValueError, match=r"torch has no layer .*padding="):
            ft.restore(nn.Sequential(layer))
        assert type(layer) is ft.Conv1d
        assert vars(layer) == before
        return
    ft.restore(layer)
    assert type(layer) is nn.Conv1d
    for name, value in attributes.items():
        assert getattr(layer, name) == value
    torch.testing.assert_close(layer(x), want)
    fresh = nn.Conv1d(4, 6, **{"kernel_size": 5, **arguments, **attributes})
    kept = "_reversed_padding_repeated_twice"
    assert list(getattr(layer, kept)) == list(getattr(fresh, kept))


def test_a_forward_that_was_wrapped_afterwards() -> None:
    layer: Any = ft.accelerate(nn.Conv1d(4, 6, 5))
    layer.kept, layer.inner = layer.forward, layer._conv_forward
    x = torch.randn(1, 4, 9)
    held = layer.forward
    want = layer(x)
    ft.restore(layer)
    assert layer.kept.__func__ is nn.Conv1d.forward
    assert layer.inner.__func__ is nn.Conv1d._conv_forward
    torch.testing.assert_close(held(x), want)
    assert "_packed_weights" not in vars(layer)


@pytest.mark.filterwarnings("error:accelerate")
@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        ("EncodecModel", {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16}, (1, 1, 700)),
        (
            "DacModel",
            {"encoder_hidden_size": 4, "decoder_hidden_size": 64, "hidden_size": 64},
            (1, 1, 1100),
        ),
    ],
)
def test_codecs_of_transformers(name: str, sizes: dict[str, Any], shape: tuple[int, ...]) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, name.removesuffix("Model") + "Config")(**sizes)
    model = getattr(transformers, name)(config).eval()
    x = torch.randn(shape)
    for part in (model.encoder, model.decoder):
        mine = copy.deepcopy(part)
        keys = list(mine.state_dict())
        ft.accelerate(mine)
        assert all(isinstance(m, OURS) for m in convolutions(mine))
        assert list(mine.state_dict()) == keys
        torch.testing.assert_close(run(mine, x), run(part, x), rtol=1e-3, atol=1e-4)
        with torch.inference_mode():
            y = part(x)
            torch.testing.assert_close(mine(x), y, rtol=1e-4, atol=1e-5)
        ft.restore(mine)
        assert not any(isinstance(m, OURS) for m in mine.modules())
        with torch.inference_mode():
            assert torch.equal(mine(x), y)
        x = torch.randn(y.shape)


def test_no_warning_where_nothing_is_left() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ft.accelerate(nn.Sequential(nn.Conv1d(4, 6, 5), ft.Conv1d(6, 2, 3), nn.Conv2d(1, 1, 1)))
