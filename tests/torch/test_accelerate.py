"""``accelerate`` changes which code computes 1-D convolutions, and nothing else."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose1d as by_another_name
from torch.nn.utils import parametrizations, parametrize

import fracstride.torch as ft

transformers = pytest.importorskip("transformers")
this_module = sys.modules[__name__]


OURS = (ft.ConvTranspose1d, ft.Conv1d)


def layers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, (nn.ConvTranspose1d, nn.Conv1d))]


def transposed(model: nn.Module) -> list[nn.Module]:
    return [m for m in layers(model) if isinstance(m, nn.ConvTranspose1d)]


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
    assert all(isinstance(m, OURS) for m in layers(mine))
    assert len(layers(mine)) == len(layers(model))
    for cls, module in zip(classes, mine.modules(), strict=True):
        assert isinstance(module, OURS) or type(module) is cls
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


class Inherits(nn.ConvTranspose1d):
    """A subclass that does not change the computation."""

    def extra_repr(self) -> str:
        return "inherits"


# Subclasses whose forward reaches super().forward, and so the kernels.


class Trimmed(nn.ConvTranspose1d):
    def forward(self, x: Any, output_size: Any = None) -> Any:
        return super().forward(x, output_size)[..., : -self.stride[0]]


class OldStyle(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        return super(OldStyle, self).forward(x)[..., :-1]  # noqa: UP008


class OverTrimmed(Trimmed):
    def forward(self, x: Any, output_size: Any = None) -> Any:
        return Trimmed.forward(self, x, output_size) + 1


class Doubled:
    def forward(self, *arguments: Any) -> Any:
        return 2 * super().forward(*arguments)  # type: ignore[misc]


class Logged:
    def forward(self, *arguments: Any) -> Any:
        return super().forward(*arguments)  # type: ignore[misc]


class Diamond(Doubled, Logged, Trimmed):
    """A mixin before torch's class."""


class MixedInBelow(nn.ConvTranspose1d, Doubled):
    """A forward that never runs."""


class BesideOurs(Trimmed, Inherits):
    """Two subclasses of torch's."""


class ByAHelper(nn.ConvTranspose1d):
    def up(self, x: Any) -> Any:
        return super().forward(x)

    def forward(self, x: Any) -> Any:
        return torch.tanh(self.up(x))


class Sometimes(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        return super().forward(x) if x.shape[-1] > 3 else x[:, :1]


class InALambda(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        return (lambda: super(InALambda, self).forward(x))()


class KeptForLater(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        up = super().forward
        return up(x)


class WithoutGradients(nn.ConvTranspose1d):
    @torch.no_grad()
    def forward(self, x: Any) -> Any:
        return super().forward(x)


def plainly(function: Any) -> Any:
    def decorated(self: Any, x: Any) -> Any:  # without functools.wraps
        return function(self, x)

    return decorated


class Decorated(nn.ConvTranspose1d):
    @plainly
    @torch.autocast("cpu", enabled=False)
    def forward(self, x: Any) -> Any:
        return super().forward(x)


class WithACall(nn.ConvTranspose1d):
    def __call__(self, x: Any) -> Any:
        return super().__call__(x)[..., 1:]


class ByItself(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        return nn.functional.conv_transpose1d(x, self.weight)


class PastTheParent(ByItself):
    def forward(self, x: Any) -> Any:
        return super(ByItself, self).forward(x)


REACHING = [
    Inherits,
    Trimmed,
    OldStyle,
    OverTrimmed,
    Diamond,
    MixedInBelow,
    BesideOurs,
    ByAHelper,
    Sometimes,
    InALambda,
    KeptForLater,
    WithoutGradients,
    Decorated,
    WithACall,
    PastTheParent,
]

# Subclasses that do not reach it, or would compute something else on top of our class.


class PastOurs(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        return nn.ConvTranspose1d.forward(self, x)


class StopsHalfway(Doubled, ByItself):
    """What it calls does not."""


class OfAnother(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        super().extra_repr()
        return nn.Identity().forward(x)


class OfItsType(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        return super(type(self), self).forward(x)  # of a subclass: endless


class OfItsClass(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        return super(self.__class__, self).forward(x)  # as endless


class CallOfItsOwn(nn.ConvTranspose1d):
    def __call__(self, x: Any) -> Any:
        return x


class OutputPaddingOfItsOwn(nn.ConvTranspose1d):
    def _output_padding(self, *arguments: Any) -> list[int]:
        return [1]


NOT_REACHING = [
    ByItself,
    PastOurs,
    StopsHalfway,
    OfAnother,
    OfItsType,
    OfItsClass,
    CallOfItsOwn,
    OutputPaddingOfItsOwn,
]


@pytest.mark.parametrize("cls", REACHING)
@pytest.mark.parametrize("norm", ["none", "old weight_norm", "weight_norm"])
@pytest.mark.filterwarnings("error:accelerate")
def test_subclasses_that_call_super_reach_the_kernels(cls: Any, norm: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(NORMS[norm](cls(4, 6, 5, stride=2))).eval()
    x = torch.randn(2, 4, 7)
    with torch.no_grad():
        want = model(x)
        ft.accelerate(model)
        kept = type(model[0])
        assert issubclass(kept, ft.ConvTranspose1d)
        assert issubclass(kept, cls)
        torch.testing.assert_close(model(x), want)
        assert model[0]._packed_weights._packed is not None  # the kernels were there
        if norm == "none":
            for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
                assert type(twin[0]) is kept
                assert torch.equal(twin(x), model(x))
        assert type(ft.accelerate(model)[0]) is kept
        ft.restore(model)
        assert not isinstance(model[0], ft.ConvTranspose1d)
        torch.testing.assert_close(model(x), want)


@pytest.mark.parametrize("cls", NOT_REACHING)
def test_subclasses_that_do_not_are_left_alone_and_named(cls: Any) -> None:
    model = nn.Sequential(cls(4, 6, 5), nn.ConvTranspose1d(6, 2, 3))
    with pytest.warns(UserWarning, match=rf"0 \({cls.__name__}\): (its|has)") as said:
        ft.accelerate(model)
    assert len(said) == 1
    assert "conv_transpose1d" not in str(said[0].message)  # once is enough
    assert type(model[0]) is cls
    assert type(model[1]) is ft.ConvTranspose1d


def test_lazy_modules() -> None:
    model = nn.Sequential(nn.LazyConvTranspose1d(4, 3))
    ft.accelerate(ft.accelerate(model))
    model(torch.randn(1, 4, 7))
    assert type(model[0]) is ft.ConvTranspose1d


class UpSample1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.ones(2, 1, 4))

    def forward(self, x: Any) -> Any:
        return self.up(x)

    def up(self, x: Any) -> Any:
        return nn.functional.conv_transpose1d(x, self.filter, stride=2, groups=2)


class Other(UpSample1d):
    def forward(self, x: Any) -> Any:
        return x


class WithOurs(UpSample1d):
    def up(self, x: Any) -> Any:
        return ft.conv_transpose1d(x, self.filter, stride=2, groups=2)


class Partly(nn.ConvTranspose1d):
    def forward(self, x: Any) -> Any:
        return super().forward(x) + torch.conv_transpose1d(x, self.weight)


class Strange:
    @property
    def conv_transpose1d(self) -> Any:
        raise RuntimeError("imported too early")


strange = Strange()


class KnownLater(nn.Module):
    def forward(self, x: Any) -> Any:
        return strange.conv_transpose1d(x)


@pytest.mark.filterwarnings("error:accelerate")
def test_names_without_a_value_yet_are_not_in_the_way() -> None:
    ft.accelerate(nn.Sequential(KnownLater(), nn.ConvTranspose1d(2, 2, 3)))


def test_one_warning_names_all_that_is_left_to_torch() -> None:
    layer = nn.ConvTranspose1d(2, 2, 3)
    traced: Any = torch.jit.trace(nn.Sequential(layer, nn.ReLU()), torch.ones(1, 2, 4))
    model = nn.ModuleDict(
        {
            "up": UpSample1d(),
            "ups": nn.Sequential(UpSample1d(), UpSample1d(), layer),
            "scripted": torch.jit.script(nn.Sequential(nn.ReLU(), layer)),
            "traced": traced,
            "own": ByItself(2, 2, 3),
            "partly": Partly(2, 2, 3),
            "fine": nn.Sequential(Other(), WithOurs(), Trimmed(2, 2, 3)),
        }
    )
    with pytest.warns(UserWarning, match="accelerate leaves to torch") as said:
        ft.accelerate(model)
    assert [str(one.message).partition(": ")[2] for one in said] == [
        "scripted.1, traced.0: scripted or traced; "
        "own (ByItself): its forward does not call super().forward; "
        "up and 2 more (UpSample1d), partly (Partly): "
        "calls torch.nn.functional.conv_transpose1d itself"
    ]
    assert isinstance(model["partly"], ft.ConvTranspose1d)
    assert type(layer) is ft.ConvTranspose1d


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


@pytest.mark.parametrize("name", ["forward", "_output_padding"])
def test_methods_set_on_the_object_are_left_alone(name: str) -> None:
    layer = nn.ConvTranspose1d(4, 6, 5)
    setattr(layer, name, lambda x, *rest: x)
    with pytest.warns(UserWarning, match=f"the model itself .*: its {name} was set on the object"):
        ft.accelerate(layer)
    assert type(layer) is nn.ConvTranspose1d


WHOLE = """
import sys
sys.modules[sys.argv[1]] = None
class Mine: pass
import torch
torch.load(sys.argv[2], weights_only=False)
"""


@pytest.mark.parametrize("cls", [nn.ConvTranspose1d, Trimmed])
@pytest.mark.parametrize("missing", ["fracstride", "fracstride._native"])
def test_a_pickle_says_what_is_missing(cls: Any, missing: str, tmp_path: Path) -> None:
    torch.save(ft.accelerate(nn.Sequential(cls(4, 6, 5))), tmp_path / "model.pt")
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-c", WHOLE, missing, str(tmp_path / "model.pt")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        check=False,
    )
    assert run.returncode != 0
    said = run.stderr.splitlines()[-1]
    assert "fracstride" in said
    if missing == "fracstride._native":
        assert "fracstride's compiled module could not be loaded" in run.stderr


def test_a_pickle_says_which_class_is_missing() -> None:
    layer = ft.accelerate(Trimmed(4, 6, 5))
    data = pickle.dumps(layer).replace(b"Trimmed", b"Trimmer")
    with pytest.raises(AttributeError, match="Trimmer"):
        pickle.loads(data)


def test_no_warning_where_nothing_is_left() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ft.accelerate(nn.Sequential(nn.ConvTranspose1d(4, 6, 5), ft.ConvTranspose1d(6, 2, 3)))


@pytest.mark.filterwarnings("error:accelerate")
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("SpeechT5HifiGan", {"model_in_dim": 8, "upsample_initial_channel": 32}),
        ("EncodecModel", {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16}),
        ("DacModel", {"encoder_hidden_size": 4, "decoder_hidden_size": 64, "hidden_size": 64}),
        (
            "MimiModel",
            {
                "num_filters": 4,
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "intermediate_size": 32,
                "upsample_groups": 32,
                "codebook_dim": 16,
                "vector_quantization_hidden_dimension": 16,
            },
        ),
        ("UnivNetModel", {"model_hidden_channels": 8}),
    ],
)
def test_no_false_alarm_for_codecs_and_vocoders(name: str, sizes: dict[str, Any]) -> None:
    config = getattr(transformers, name.removesuffix("Model") + "Config")(**sizes)
    model = ft.accelerate(getattr(transformers, name)(config))
    assert layers(model)
    assert all(isinstance(m, OURS) for m in layers(model))


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
    assert len(transposed(assert_same(model, x))) == 3
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
    assert len(transposed(mine)) == 2
    assert all(isinstance(m, OURS) for m in layers(mine))
    tokens = torch.randint(0, 20, (1, 7))
    waves = []
    for one in (model, mine):
        torch.manual_seed(3)
        with torch.no_grad():
            waves.append(one(tokens).waveform)
    torch.testing.assert_close(waves[1], waves[0])
    assert_same(model.decoder, torch.randn(1, 16, 9))


def test_registries_of_classes_do_not_see_ours() -> None:
    registry: dict[str, type] = {}

    class Registered(nn.ConvTranspose1d):
        def __init_subclass__(cls, *, kind: str, **more: Any) -> None:
            super().__init_subclass__(**more)
            if cls.__name__ in registry:
                raise KeyError(f"{cls.__name__} is registered already")
            registry[cls.__name__] = cls

    class Up(Registered, kind="up"):
        pass

    model = ft.accelerate(nn.Sequential(nn.ConvTranspose1d(4, 4, 3), Up(4, 4, 3)))
    assert all(isinstance(layer, ft.ConvTranspose1d) for layer in model)
    assert registry == {"Up": Up}


class Scaled(nn.ConvTranspose1d):
    """A weight that is computed from the parameter of its name."""

    @property
    def weight(self) -> Any:
        return 2 * self._parameters["weight"]

    @weight.setter
    def weight(self, value: Any) -> None:
        raise AttributeError("weight is computed")


def test_a_weight_that_is_not_the_parameter_of_its_name() -> None:
    patched = nn.ConvTranspose1d(4, 4, 3)
    vars(patched)["weight"] = patched.weight.detach() * 2
    scaled = nn.ConvTranspose1d(4, 4, 3)
    scaled.__class__ = Scaled
    x = torch.randn(2, 4, 9)
    for layer in (patched, scaled):
        want = layer(x)
        with pytest.warns(UserWarning, match="its weight is not its parameter"):
            ft.accelerate(layer)
        assert torch.equal(layer(x), want)


def test_functions_are_followed_however_many_call_one_another() -> None:
    last = 2000
    lines = [f"def f{i}(x): return f{i + 1}(x)" for i in range(last)]
    lines += [f"def f{last}(x): return nn.functional.conv_transpose1d(x, x)"]
    lines += ["class Deep(nn.Module):", "    def forward(self, x): return f0(x)"]
    module: dict[str, Any] = {"__name__": "package.of_a_user", "nn": nn}
    exec("\n".join(lines), module)
    with pytest.warns(UserWarning, match=r"calls torch\.nn\.functional\.conv_transpose1d itself"):
        ft.accelerate(module["Deep"]())


def test_globals_are_looked_at_without_running_their_code() -> None:
    class NotYet:
        """Stands for an object that there is later."""

        @property
        def __class__(self) -> Any:
            raise RuntimeError("outside of a request")

    module: dict[str, Any] = {"__name__": "package.of_a_user", "nn": nn, "request": NotYet()}
    exec("class Asking(nn.Module):\n    def forward(self, x): return x * request.factor", module)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ft.accelerate(module["Asking"]())


def test_a_call_by_another_name_is_seen() -> None:
    class Upsampler(nn.Module):
        def forward(self, x: Any) -> Any:
            return by_another_name(x, torch.ones(4, 1, 3))

    with pytest.warns(UserWarning, match=r"calls torch\.nn\.functional\.conv_transpose1d"):
        ft.accelerate(Upsampler())


def upsampled(x: Tensor, weight: Tensor) -> Tensor:
    return upsampled_by(2, x, weight)


def upsampled_by(stride: int, x: Tensor, weight: Tensor) -> Tensor:
    if stride < 0:
        return upsampled(x, weight)
    return nn.functional.conv_transpose1d(x, weight, stride=stride)


@torch.no_grad()
def decorated(x: Tensor, weight: Tensor) -> Tensor:
    return nn.functional.conv_transpose1d(x, weight)


class Filter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 1, 3))


class CallsAFunction(Filter):
    def forward(self, x: Tensor) -> Tensor:
        return upsampled(x, self.weight)


class CallsAFunctionOfAModule(Filter):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(x)

    def up(self, x: Tensor) -> Tensor:
        return this_module.upsampled(x, self.weight)


class CallsADecoratedFunction(Filter):
    def forward(self, x: Tensor) -> Tensor:
        return decorated(x, self.weight)


class ImportsTheFunction(Filter):
    def forward(self, x: Tensor) -> Tensor:
        from torch.nn.functional import relu, conv_transpose1d as up  # noqa: I001

        return up(relu(x), self.weight)


class ImportsTheModule(Filter):
    def forward(self, x: Tensor) -> Tensor:
        import torch.nn.functional as convolutions

        return convolutions.conv_transpose1d(x, self.weight)


class ImportsThePackage(Filter):
    def forward(self, x: Tensor) -> Any:
        import torch.nn

        def inside() -> Tensor:
            return torch.nn.functional.conv_transpose1d(x, self.weight)

        return inside()


@pytest.mark.parametrize(
    "cls",
    [
        CallsAFunction,
        CallsAFunctionOfAModule,
        CallsADecoratedFunction,
        ImportsTheFunction,
        ImportsTheModule,
        ImportsThePackage,
    ],
)
def test_calls_in_functions_and_by_local_imports_are_seen(cls: Any) -> None:
    said = rf"the model itself \({cls.__name__}\): calls torch\.nn\.functional\.conv_transpose1d"
    with pytest.warns(UserWarning, match=said):
        model = ft.accelerate(cls())
    assert model(torch.zeros(1, 4, 5)).shape[1] == 1


PACKAGE = """
import torch

def up(x, weight):
    return torch.nn.functional.conv_transpose1d(x, weight)

class Decoder(torch.nn.Module):
    def forward(self, x):
        from decoders_of_ours.layers import up as upsample
        return upsample(x, self.weight)
"""


def test_a_function_of_the_models_package_by_a_local_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("decoders_of_ours.layers")
    exec(PACKAGE, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.warns(UserWarning, match=r"\(Decoder\): calls torch"):
        ft.accelerate(module.Decoder())


class HasAFunctionThatItDoesNotCall(Filter):
    def forward(self, x: Tensor) -> Tensor:
        from torch.nn.functional import relu as conv_transpose1d, tanh as conv1d  # noqa: I001

        return conv1d(conv_transpose1d(x))

    def up(self, x: Tensor) -> Tensor:
        return upsampled(x, self.weight)


class CallsOurs(Filter):
    def forward(self, x: Tensor) -> Tensor:
        from fracstride.torch import conv_transpose1d

        return conv_transpose1d(x, self.weight)


@pytest.mark.parametrize("cls", [HasAFunctionThatItDoesNotCall, CallsOurs])
def test_no_false_alarm_for_names_that_stand_for_others(cls: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ft.accelerate(cls())
