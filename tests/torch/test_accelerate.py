"""``accelerate``: what a model was it stays, but for who computes its transposed convolutions."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import fracstride.torch as ft

transformers = pytest.importorskip("transformers")


def layers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.ConvTranspose1d)]


def run(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    model.zero_grad()
    y = model(x)
    y.pow(2).mean().backward()
    return y.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def assert_same(model: nn.Module, x: torch.Tensor, mine: nn.Module | None = None) -> nn.Module:
    """Accelerate a copy, and compare outputs and gradients with and without gradients."""
    mine = mine or copy.deepcopy(model)
    keys, classes = list(model.state_dict()), [type(m) for m in model.modules()]
    parameters = [id(p) for p in mine.parameters()]
    assert ft.accelerate(mine) is mine
    assert [id(p) for p in mine.parameters()] == parameters
    assert list(mine.state_dict()) == keys
    assert all(isinstance(m, ft.ConvTranspose1d) for m in layers(mine))
    assert len(layers(mine)) == len(layers(model))
    for cls, module in zip(classes, mine.modules(), strict=True):
        assert isinstance(module, ft.ConvTranspose1d) or type(module) is cls
    torch.testing.assert_close(run(mine, x), run(model, x))
    for training in (False, True):
        model.train(training)
        mine.train(training)
        with torch.no_grad():
            torch.testing.assert_close(mine(x), model(x))
    return mine


def old_weight_norm(layer: nn.Module) -> nn.Module:
    return torch.nn.utils.weight_norm(layer)


NORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "none": lambda m: m,
    "old weight_norm": old_weight_norm,
    "old spectral_norm": torch.nn.utils.spectral_norm,
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "both": lambda m: parametrizations.spectral_norm(parametrizations.weight_norm(m)),
}


@pytest.mark.parametrize("name", NORMS)
def test_under_norms(name: str) -> None:
    norm = NORMS[name]

    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            norm(nn.ConvTranspose1d(4, 6, 5, 2, 1)),
            nn.LeakyReLU(),
            norm(nn.ConvTranspose1d(6, 2, 4, 2, groups=2, bias=False)),
        )

    x = torch.randn(2, 4, 9)
    model = make()
    mine = assert_same(model, x, make())
    if name != "old weight_norm":  # which torch itself cannot copy
        torch.testing.assert_close(copy.deepcopy(mine).eval()(x), mine.eval()(x))
    mine.load_state_dict(model.state_dict())
    assert torch.equal(mine.eval()(x), mine.eval()(x))
    torch.testing.assert_close(mine.eval()(x), model.eval()(x))


def test_norms_come_off_again() -> None:
    x = torch.randn(2, 4, 9)
    layer = ft.accelerate(parametrizations.weight_norm(nn.ConvTranspose1d(4, 6, 5, 2)))
    with torch.no_grad():
        want = layer(x)
        parametrize.remove_parametrizations(layer, "weight")
        assert type(layer) is ft.ConvTranspose1d
        assert torch.equal(layer(x), want)
    old = ft.accelerate(old_weight_norm(nn.ConvTranspose1d(4, 6, 5, 2)))
    with torch.no_grad():
        want = old(x)
        torch.nn.utils.remove_weight_norm(old)
        torch.testing.assert_close(old(x), want)


def test_norms_go_on_afterwards() -> None:
    x = torch.randn(2, 4, 9)
    for norm in NORMS.values():
        model, mine = nn.ConvTranspose1d(4, 6, 5, 2), ft.ConvTranspose1d(4, 6, 5, 2)
        mine.load_state_dict(model.state_dict())
        torch.manual_seed(1)
        theirs = norm(model).eval()
        torch.manual_seed(1)
        torch.testing.assert_close(norm(mine).eval()(x), theirs(x))


def test_the_module_itself_and_twice() -> None:
    layer = nn.ConvTranspose1d(4, 6, 5)
    assert ft.accelerate(layer) is layer
    assert type(layer) is ft.ConvTranspose1d
    assert ft.accelerate(layer) is layer
    with pytest.raises(TypeError, match="model"):
        ft.accelerate(torch.ones(3))  # type: ignore[type-var]
    parametrized = ft.accelerate(parametrizations.weight_norm(nn.ConvTranspose1d(4, 6, 5)))
    cls = type(parametrized)
    assert type(ft.accelerate(parametrized)) is cls


def test_shared_modules_hooks_buffers_and_optimisers() -> None:
    torch.manual_seed(0)
    shared = nn.ConvTranspose1d(4, 4, 3)
    shared.register_buffer("extra", torch.ones(3))
    calls: list[int] = []
    handle = shared.register_forward_hook(lambda m, a, y: calls.append(1))
    shared.eval()
    model = nn.ModuleList([shared, nn.Sequential(shared), nn.Linear(2, 2)])
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    ft.accelerate(model)
    assert model[0] is shared
    assert model[1][0] is shared  # type: ignore[index]
    assert not shared.training
    assert "0.extra" in model.state_dict()
    x = torch.randn(1, 4, 5)
    y = shared(x)
    assert calls == [1]
    handle.remove()
    y.sum().backward()
    optimiser.step()
    with torch.no_grad():
        assert calls == [1]
        assert not torch.equal(shared(x), y)
        assert calls == [1]


class Own(nn.ConvTranspose1d):
    def forward(self, input: Any, output_size: Any = None) -> Any:
        return 2 * super().forward(input, output_size)


class Inherits(nn.ConvTranspose1d):
    """With nothing of its own that changes what is computed."""

    def extra_repr(self) -> str:
        return "inherits"


def test_subclasses_with_a_forward_are_left_alone_and_named() -> None:
    model = nn.Sequential(Own(4, 6, 5), nn.ConvTranspose1d(6, 2, 3), Inherits(2, 2, 3))
    lazy = nn.LazyConvTranspose1d(4, 3)  # becomes an ordinary one at its first call
    model.append(lazy)
    with pytest.warns(UserWarning, match=r"0 \(Own\)"):
        ft.accelerate(model)
    assert type(model[0]) is Own
    assert type(model[1]) is ft.ConvTranspose1d
    assert isinstance(model[2], Inherits)
    assert isinstance(model[2], ft.ConvTranspose1d)
    assert "inherits" in repr(model[2])
    model(torch.randn(1, 4, 7))
    assert type(lazy) is ft.ConvTranspose1d


def test_plain_subclasses_stay_what_they_are() -> None:
    layer = ft.accelerate(Inherits(4, 6, 5))
    x = torch.randn(1, 4, 5)
    with torch.no_grad():
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert type(twin) is type(layer)
            assert torch.equal(twin(x), layer(x))
    normed = ft.accelerate(parametrizations.weight_norm(Inherits(4, 6, 5)))
    assert isinstance(normed, Inherits)
    with torch.no_grad():
        want = normed(x)
        parametrize.remove_parametrizations(normed, "weight")
        assert torch.equal(normed(x), want)
    assert type(normed) is type(layer)


def test_forward_set_on_the_object_is_left_alone() -> None:
    layer = nn.ConvTranspose1d(4, 6, 5)
    layer.forward = lambda x: x  # type: ignore[method-assign, assignment]
    with pytest.warns(UserWarning, match="the model itself"):
        ft.accelerate(layer)
    assert type(layer) is nn.ConvTranspose1d


def test_no_warning_where_nothing_is_left() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ft.accelerate(nn.Sequential(nn.ConvTranspose1d(4, 6, 5), ft.ConvTranspose1d(6, 2, 3)))


def test_hifigan() -> None:
    torch.manual_seed(0)
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=8,
        upsample_initial_channel=32,
        upsample_rates=[4, 2, 2],
        upsample_kernel_sizes=[8, 4, 3],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
    )
    model = transformers.SpeechT5HifiGan(config)
    x = torch.randn(2, 12, 8)
    assert len(layers(assert_same(model, x))) == 3
    model.apply_weight_norm()
    assert_same(model, x)


def test_vits() -> None:
    torch.manual_seed(0)
    config = transformers.VitsConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=32,
        flow_size=16,
        spectrogram_bins=9,
        upsample_initial_channel=16,
        upsample_rates=[4, 2],
        upsample_kernel_sizes=[8, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        prior_encoder_num_flows=1,
        posterior_encoder_num_wavenet_layers=1,
        prior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=1,
    )
    model = transformers.VitsModel(config).eval()
    mine = ft.accelerate(copy.deepcopy(model))
    assert len(layers(mine)) == 2
    assert all(isinstance(m, ft.ConvTranspose1d) for m in layers(mine))
    tokens = torch.randint(0, 20, (1, 7))
    waves = []
    for one in (model, mine):
        torch.manual_seed(3)
        with torch.no_grad():
            waves.append(one(tokens).waveform)
    torch.testing.assert_close(waves[1], waves[0])
    assert_same(model.decoder, torch.randn(1, 16, 9))
