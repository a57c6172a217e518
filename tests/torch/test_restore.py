"""``restore`` leaves nothing of the library in the model; torch can quantise, save and load it."""

from __future__ import annotations

import copy
import io
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrizations, parametrize

import fracstride.torch as ft

WITHOUT = "import sys; sys.modules['fracstride'] = None\n"  # an import of it fails


class Plain(nn.ConvTranspose1d):
    """A subclass that does not change the computation."""


class Trimmed(nn.ConvTranspose1d):
    def forward(self, input: Any, output_size: Any = None) -> Any:
        return super().forward(input, output_size)[..., :-1]


class Doubled:
    def forward(self, *arguments: Any) -> Any:
        return 2 * super().forward(*arguments)  # type: ignore[misc]


class Both(Doubled, Trimmed):
    """A mixin before torch's class."""


NORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "none": lambda m: m,
    "old weight_norm": torch.nn.utils.weight_norm,
    "old spectral_norm": torch.nn.utils.spectral_norm,
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "both": lambda m: parametrizations.spectral_norm(parametrizations.weight_norm(m)),
}


def hook(module: nn.Module, *rest: Any) -> None:
    """A hook that changes nothing."""


class PlainConv1d(nn.Conv1d):
    """A subclass that does not change the computation."""


class TrimmedConv1d(nn.Conv1d):
    def forward(self, input: Any) -> Any:
        return super().forward(input)[..., :-1]


def random_layer(rng: random.Random) -> nn.Module:
    layer = random_conv1d(rng) if rng.random() < 0.5 else random_conv_transpose1d(rng)
    if rng.random() < 0.3:
        layer.register_forward_hook(hook)
    if rng.random() < 0.3:
        layer.register_forward_pre_hook(hook)
    if rng.random() < 0.3:
        layer.register_full_backward_hook(hook)
    if rng.random() < 0.3:
        layer.register_buffer("extra", torch.ones(2))
    lazy = isinstance(layer, LazyModuleMixin)
    return layer if lazy else NORMS[rng.choice(list(NORMS))](layer)


def random_conv1d(rng: random.Random) -> nn.Module:
    lazy = rng.random() < 0.2
    cls: Any = nn.LazyConv1d if lazy else rng.choice([nn.Conv1d, PlainConv1d, TrimmedConv1d])
    padding, stride = rng.choice([0, 1, 2, "same", "valid"]), rng.randint(1, 2)
    layer: nn.Module = cls(
        *((4,) if lazy else (4, 4)),
        rng.randint(1, 3),
        stride=1 if padding == "same" else stride,
        padding=padding,
        dilation=rng.randint(1, 2),
        groups=rng.choice([1, 1, 2]),
        bias=rng.random() < 0.7,
        padding_mode=rng.choice(["zeros", "reflect", "replicate", "circular"]),
    )
    return layer


def random_conv_transpose1d(rng: random.Random) -> nn.Module:
    groups, lazy = rng.choice([1, 1, 2]), rng.random() < 0.2
    cls: Any = nn.LazyConvTranspose1d if lazy else rng.choice([nn.ConvTranspose1d, Plain, Both])
    channels = (4,) if lazy else (4, 4)
    stride = rng.randint(1, 3)
    layer: nn.Module = cls(
        *channels,
        rng.randint(3, 5),
        stride=stride,
        padding=rng.randint(0, 1),
        output_padding=rng.randrange(stride),
        groups=groups,
        bias=rng.random() < 0.7,
    )
    return layer


def random_model(seed: int) -> nn.Module:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    layers = [random_layer(rng) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.4:
        layers.append(nn.Sequential(rng.choice(layers), nn.Tanh()))  # shared
    if len(layers) == 1 and rng.random() < 0.5:
        return layers[0].train(rng.random() < 0.5)
    return nn.Sequential(*layers).train(rng.random() < 0.5)


def described(value: Any) -> Any:
    """The name of a class; for a class that torch made for one module, its bases."""
    if value.__module__.startswith("torch.nn.utils"):
        own = sorted(set(vars(value)) - {"__doc__", "__dict__", "__weakref__"})
        return value.__name__, own, [described(base) for base in value.__bases__]
    return value


def seen(model: nn.Module) -> list[Any]:
    """The contents of every module: its classes, attributes, tensors and hooks, by identity."""
    modules = []
    for name, module in model.named_modules(remove_duplicate=False):
        attributes: dict[str, Any] = {}
        for key, value in vars(module).items():
            if isinstance(value, dict):
                attributes[key] = [(k, id(v)) for k, v in value.items()]
            else:
                attributes[key] = id(value) if isinstance(value, torch.Tensor) else repr(value)
        modules.append((name, id(module), described(type(module)), attributes))
    return modules


def run(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)  # for lazy modules
    result: torch.Tensor = model(x)
    return result


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("seed", range(60))
def test_accelerate_and_back(seed: int) -> None:
    model, twin = random_model(seed), random_model(seed)
    x = torch.randn(2, 4, 40)
    if seed % 2:  # lazy modules become concrete before accelerate, or else before restore
        assert torch.equal(run(model, x), run(twin, x))
    before = seen(model)
    for _ in range(2):
        assert ft.accelerate(model) is model
        assert ft.restore(model) is model
        assert seen(model) == before
        assert ft.restore(model) is model
        assert seen(model) == before
    ft.accelerate(model)
    with torch.no_grad():
        want = run(twin, x)
        close = {"rtol": 1e-5, "atol": 1e-5 * float(want.abs().max())}
        torch.testing.assert_close(run(model, x), want, **close)  # with packed weights
        ft.restore(model)
        assert torch.equal(run(model, x), run(twin, x))
    assert [m for m in seen(model) if "fracstride" in repr(m)] == []
    assert [described(type(m)) for m in model.modules()] == [
        described(type(m)) for m in twin.modules()
    ]
    ft.accelerate(model)
    for module in model.modules():
        assert isinstance(module, ft.ConvTranspose1d) == isinstance(module, nn.ConvTranspose1d)
        assert isinstance(module, ft.Conv1d) == isinstance(module, nn.Conv1d)


def test_norms_come_off_a_restored_layer() -> None:
    for late in (False, True):  # parametrised after accelerate
        layer: Any = Plain(4, 6, 5, 2)
        steps = [parametrizations.weight_norm, ft.accelerate]
        for step in reversed(steps) if late else steps:
            step(layer)
        ft.restore(layer)
        assert parametrize.is_parametrized(layer)
        assert not isinstance(layer, ft.ConvTranspose1d)
        parametrize.remove_parametrizations(layer, "weight")
        assert type(layer) is Plain


def test_lazy_modules() -> None:
    class OfOurs(nn.LazyConvTranspose1d):
        cls_to_become = ft.ConvTranspose1d  # type: ignore[assignment]

    class OfTheirs(nn.LazyConvTranspose1d):
        cls_to_become = Trimmed  # type: ignore[assignment]

    x = torch.randn(1, 3, 5)
    for cls, want in ((OfOurs, nn.ConvTranspose1d), (OfTheirs, Trimmed)):
        for early in (False, True):
            layer: Any = cls(4, 3)
            ft.accelerate(layer)
            if not early:
                layer(x)
                assert isinstance(layer, ft.ConvTranspose1d)
                assert isinstance(layer, want)
            ft.restore(layer)
            layer(x)
            assert type(layer) is want


def test_what_is_not_accelerated_is_not_touched() -> None:
    model = nn.Sequential(nn.ConvTranspose1d(2, 3, 4), nn.LazyConvTranspose1d(2, 3), nn.ReLU())
    before = seen(model)
    assert ft.restore(model) is model
    assert seen(model) == before
    with pytest.raises(TypeError, match="model"):
        ft.restore(torch.ones(3))  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("arguments", "attributes"),
    [
        ({"kernel_size": 5, "stride": 2, "padding": (2, 2)}, ((2,), (0,))),
        ({"kernel_size": 5, "stride": 3, "padding": 1, "output_padding": 2}, ((1,), (2,))),
        ({"kernel_size": 16, "stride": 8, "padding": "same"}, ((4,), (0,))),
        ({"kernel_size": 2, "stride": 5, "padding": "same"}, ((0,), (3,))),
        ({"kernel_size": 2, "stride": 4, "padding": "causal"}, ((0,), (2,))),
        ({"kernel_size": 2, "stride": 3, "padding": "causal", "dilation": 2}, ((0,), (0,))),
        ({"kernel_size": 3, "padding": "valid"}, ((0,), (0,))),
    ],
    ids=str,
)
def test_layers_made_by_hand(arguments: dict[str, Any], attributes: Any) -> None:
    layer = ft.ConvTranspose1d(2, 3, **arguments)
    x = torch.randn(2, 2, 7)
    want = layer(x)
    ft.restore(layer)
    assert type(layer) is nn.ConvTranspose1d
    assert (layer.padding, layer.output_padding) == attributes
    torch.testing.assert_close(layer(x), want)
    torch.testing.assert_close(ft.accelerate(layer)(x), want)


class OnOurs(ft.ConvTranspose1d):
    """A user's subclass of our class."""


def test_what_torch_cannot_express_is_named_and_nothing_is_changed() -> None:
    model = nn.ModuleDict(
        {
            "fine": nn.ConvTranspose1d(2, 2, 3),
            "mode": ft.ConvTranspose1d(2, 2, 3, padding_mode="reflect"),
            "sides": nn.Sequential(ft.ConvTranspose1d(2, 2, 3, padding=(0, 2))),
            "both": ft.ConvTranspose1d(2, 2, 3, 2, "causal", padding_mode="circular"),
            "subclass": OnOurs(2, 2, 3),
            "lazy": nn.LazyConvTranspose1d(2, 3),
        }
    )
    ft.accelerate(model)
    model["fine"](torch.ones(1, 2, 3))
    before = seen(model)
    with pytest.raises(ValueError, match="torch has no") as caught:
        ft.restore(model)
    assert seen(model) == before
    said = str(caught.value)
    assert "mode (padding_mode='reflect')" in said
    assert "sides.0 (padding=(0, 2))" in said
    assert "both (padding_mode='circular', padding='causal')" in said
    assert "subclass (OnOurs is a subclass of fracstride.torch.ConvTranspose1d)" in said
    assert "fine" not in said
    with pytest.raises(ValueError, match="the model itself"):
        ft.restore(OnOurs(2, 2, 3))


def model_of_layers() -> nn.Sequential:
    model = nn.Sequential(
        nn.ConvTranspose1d(4, 4, 4, 2, 1), nn.ReLU(), nn.ConvTranspose1d(4, 2, 4, 2, 1)
    )
    return model.eval()


def test_a_model_saved_whole_loads_without_the_library(tmp_path: Path) -> None:
    model = ft.accelerate(model_of_layers().append(nn.LazyConvTranspose1d(4, 3)))
    x = torch.randn(1, 4, 5)
    with torch.no_grad():
        model(x)
    ft.restore(model)
    with torch.no_grad():
        torch.save((model, x, model(x)), tmp_path / "model.pt")
        assert torch.equal(copy.deepcopy(model)(x), model(x))
    code = (
        "import torch\n"
        f"model, x, want = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)\n"
        "assert torch.equal(model(x), want)\n"
        "print(*[type(m).__module__ for m in model.modules()])\n"
    )
    run = [sys.executable, "-c", WITHOUT + code]
    assert (
        "fracstride" not in subprocess.run(run, check=True, capture_output=True, text=True).stdout
    )


def quantised(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch has to say about its own names
        staged = nn.Sequential(quantization.QuantStub(), model, quantization.DeQuantStub()).eval()
        staged.qconfig = quantization.default_qconfig  # type: ignore[assignment]
        quantization.prepare(staged, inplace=True)
        staged(torch.randn(4, 4, 9, generator=torch.Generator().manual_seed(0)))
        return quantization.convert(staged, inplace=True)


needs_engine = pytest.mark.skipif(
    not {"fbgemm", "qnnpack", "onednn", "x86"} & set(torch.backends.quantized.supported_engines),
    reason="needs a quantized engine",
)


@needs_engine
@pytest.mark.filterwarnings("ignore")
def test_quantising() -> None:
    torch.manual_seed(0)
    model = model_of_layers()
    x = torch.randn(1, 4, 9)
    want = quantised(copy.deepcopy(model))(x)
    restored = quantised(ft.restore(ft.accelerate(copy.deepcopy(model))))
    assert "QuantizedConvTranspose1d" in repr(restored)
    assert torch.equal(restored(x), want)
    mixed = nn.Sequential(quantised(copy.deepcopy(model)), nn.ConvTranspose1d(2, 2, 3))
    ft.accelerate(mixed)  # afterwards: the rest
    assert isinstance(mixed[1], ft.ConvTranspose1d)
    torch.testing.assert_close(mixed[0](x), want)
    with torch.no_grad():
        mixed(x)
    accelerated = quantised(ft.accelerate(copy.deepcopy(model)))
    with pytest.raises(RuntimeError, match=r"fracstride\.torch\.restore\(model\) before"):
        accelerated(x)
    with pytest.raises(RuntimeError, match="quantize first, accelerate afterwards"):
        ft.conv_transpose1d(x, torch.quantize_per_tensor(torch.ones(4, 2, 3), 0.1, 0, torch.qint8))


@needs_engine
@pytest.mark.filterwarnings("ignore")
def test_quantising_by_graph() -> None:
    fx = pytest.importorskip("torch.ao.quantization.quantize_fx")
    x = torch.randn(1, 4, 9)

    def converted(model: nn.Module) -> nn.Module:
        mapping = quantization.QConfigMapping().set_global(quantization.default_qconfig)
        prepared = fx.prepare_fx(model, mapping, (x,))
        prepared(x)
        return fx.convert_fx(prepared)

    torch.manual_seed(0)
    model = model_of_layers()
    want = converted(copy.deepcopy(model))
    restored = converted(ft.restore(ft.accelerate(copy.deepcopy(model))))
    assert "QuantizedConvTranspose1d" in repr(restored)
    assert torch.equal(restored(x), want(x))
    # Accelerated layers stay in floating point, between quantised ones.
    accelerated = converted(ft.accelerate(copy.deepcopy(model)))
    assert "QuantizedConvTranspose1d" not in repr(accelerated)
    torch.testing.assert_close(accelerated(x), model(x), rtol=0, atol=0.1)


def test_scripting_and_fusing() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose1d(4, 3, 4, 2), nn.BatchNorm1d(3)).eval()
    x = torch.randn(2, 4, 5)
    want = model(x)
    ft.restore(ft.accelerate(model))
    torch.testing.assert_close(torch.jit.script(model)(x), want)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fused = quantization.fuse_modules(model, [["0", "1"]])
    torch.testing.assert_close(fused(x), want)
    assert type(fused[1]) is nn.Identity


def test_pickles_of_restored_subclasses_are_those_of_torch() -> None:
    for cls in (nn.ConvTranspose1d, Plain, Both):
        torch.manual_seed(0)
        layer = cls(2, 3, 4)
        want = pickle.dumps(layer)
        ft.restore(ft.accelerate(layer))
        assert pickle.dumps(layer) == want
        buffer = io.BytesIO()
        torch.save(layer, buffer)
        assert b"fracstride" not in buffer.getvalue()


# --- What other code does to a module or its class ------------------------------------------------


def test_a_forward_that_was_wrapped_afterwards() -> None:
    x = torch.randn(2, 4, 9)
    for wrap in (kept_as_an_attribute, kept_in_a_closure):
        layer = ft.accelerate(nn.ConvTranspose1d(4, 4, 3))
        wrap(layer)
        want = layer(x)
        assert type(ft.restore(layer)) is nn.ConvTranspose1d
        torch.testing.assert_close(layer(x), want)
        with torch.no_grad():
            torch.testing.assert_close(layer(x), want)
        assert "_packed_weights" not in vars(layer)


def kept_as_an_attribute(layer: Any) -> None:
    layer._old_forward = layer.forward
    layer.forward = lambda x: layer._old_forward(x)


def kept_in_a_closure(layer: Any) -> None:
    old = layer.forward
    layer.forward = lambda x: old(x)


def test_a_class_with_a_metaclass() -> None:
    class Meta(type):
        pass

    class Upsampling(nn.ConvTranspose1d, metaclass=Meta):
        pass

    layer = torch.nn.utils.parametrizations.weight_norm(Upsampling(4, 4, 3))
    cls, x = type(layer), torch.randn(2, 4, 9)
    want = layer(x)
    for _ in range(2):
        torch.testing.assert_close(ft.accelerate(layer)(x), want)
        torch.testing.assert_close(ft.restore(layer)(x), want)
        assert not isinstance(layer, ft.ConvTranspose1d)
        assert [c.__name__ for c in type(layer).__mro__] == [c.__name__ for c in cls.__mro__]
