"""``torch.jit.script``: models and functions compile, and need torch alone afterwards."""

from __future__ import annotations

import inspect
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fracstride.torch as ft
from fracstride.extension import PADDING_MODES

WITHOUT = "import sys; sys.modules['fracstride'] = None\n"  # an import of it fails


def random_arguments(rng: random.Random) -> dict[str, Any]:
    groups = rng.choice([1, 2])
    stride, dilation = rng.randint(1, 4), rng.randint(1, 3)
    padding: Any = rng.choice(["same", "causal", "valid", 0, (1,), (0, 2), (2, 1), (3, 3)])
    named = padding in ("same", "causal")
    return {
        "in_channels": 2 * groups,
        "out_channels": groups,
        "kernel_size": rng.randint(3, 7),
        "stride": stride,
        "padding": padding,
        "output_padding": 0 if named else rng.randrange(max(stride, dilation)),
        "groups": groups,
        "bias": rng.random() < 0.5,
        "dilation": dilation,
    }


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("seed", range(8))
def test_a_scripted_layer_computes_the_same(mode: str, seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    arguments = random_arguments(rng)
    layer = ft.ConvTranspose1d(**arguments, padding_mode=mode)
    scripted = torch.jit.script(layer)
    for length in (1, 2, 3, rng.randint(4, 30)):
        x = torch.randn(2, arguments["in_channels"], length)
        try:
            want = layer(x)
        except RuntimeError:  # nothing is left of so few frames
            with pytest.raises((RuntimeError, torch.jit.Error)):
                scripted(x)
            continue
        torch.testing.assert_close(scripted(x), want)
        torch.testing.assert_close(scripted(x[0]), want[0])
        if arguments["padding"] not in ("same", "causal"):
            size = want.shape[2] - arguments["output_padding"]  # torch counts from there
            if size > 0:
                torch.testing.assert_close(scripted(x, [size]), layer(x, [size]))
                torch.testing.assert_close(scripted(x, (2, 3, size)), layer(x, (2, 3, size)))
            for wrong in (size - 1, size + arguments["stride"]):
                with pytest.raises(torch.jit.Error, match="output_size"):
                    scripted(x, [wrong])
        else:
            with pytest.raises(torch.jit.Error, match="output_size"):
                scripted(x, [want.shape[2]])


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("seed", range(8))
def test_a_scripted_conv1d_computes_the_same(mode: str, seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    groups, stride = rng.choice([1, 2]), rng.choice([1, 1, 2, 3])
    paddings: list[Any] = ["causal", "valid", 0, (1,), (0, 2), (2, 1), (3, 3)]
    layer = ft.Conv1d(
        2 * groups,
        3 * groups,
        rng.randint(1, 6),
        stride,
        rng.choice(paddings + ["same"] * (stride == 1)),
        rng.randint(1, 3),
        groups,
        rng.random() < 0.5,
        mode,
    )
    scripted = torch.jit.script(layer)
    for length in (1, 2, 3, rng.randint(4, 30)):
        x = torch.randn(2, 2 * groups, length)
        try:
            want = layer(x)
        except RuntimeError:  # the kernel does not fit
            with pytest.raises((RuntimeError, torch.jit.Error)):
                scripted(x)
            continue
        torch.testing.assert_close(scripted(x), want)
        torch.testing.assert_close(scripted(x[0]), want[0])


class OtherWeights(ft.Conv1d):
    """A subclass that hands weights of its own to torch's method."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight * 2, self.bias)


def test_subclasses_that_call_conv_forward() -> None:
    layer = OtherWeights(2, 3, 4, padding="causal", padding_mode="reflect")
    x = torch.randn(2, 2, 9)
    want = ft.conv1d(x, layer.weight * 2, layer.bias, padding="causal", padding_mode="reflect")
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(layer(x), want)
    torch.testing.assert_close(torch.jit.script(layer)(x), want)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.ConvTranspose1d(4, 4, 3, padding=1)
        self.many = nn.ModuleList([self.shared, nn.Sequential(nn.ConvTranspose1d(4, 2, 4, 2))])
        self.by_name = nn.ModuleDict({"up": nn.ConvTranspose1d(2, 1, 4, 2, 1)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(x)
        for layer in self.many:
            x = layer(x)
        return self.by_name["up"](x, output_size=[x.size(2) * 2])


def test_a_scripted_model_shares_its_parameters_and_leaves_the_model_alone() -> None:
    model = ft.accelerate(Twice())
    x = torch.randn(1, 4, 5)
    classes = [type(m) for m in model.modules()]
    identities = [id(m) for m in model.modules()]
    scripted = torch.jit.script(model)
    assert [type(m) for m in model.modules()] == classes
    assert [id(m) for m in model.modules()] == identities
    torch.testing.assert_close(scripted(x), model(x))
    assert list(scripted.state_dict()) == list(model.state_dict())
    for name, parameter in scripted.named_parameters():
        assert parameter.data_ptr() == model.get_parameter(name).data_ptr()
    with torch.no_grad():
        model.shared.weight.mul_(2)
        torch.testing.assert_close(scripted(x), model(x))
    scripted(x).sum().backward()
    assert model.shared.weight.grad is not None


class Named(nn.ConvTranspose1d):
    """A subclass that does not change the computation."""


def test_accelerated_subclasses_script() -> None:
    model = ft.accelerate(nn.Sequential(Named(2, 3, 4, 2), nn.Tanh()))
    x = torch.randn(1, 2, 5)
    with torch.no_grad():
        want = model(x)
    scripted = torch.jit.script(model)
    assert getattr(scripted, "0").original_name == "Named"
    torch.testing.assert_close(scripted(x), want)


def test_old_weight_norm_is_as_far_as_torch_gets() -> None:
    layer = ft.accelerate(torch.nn.utils.weight_norm(nn.ConvTranspose1d(2, 3, 4, 2)))
    torch.nn.utils.remove_weight_norm(layer)  # torch scripts no such hook
    x = torch.randn(1, 2, 5)
    torch.testing.assert_close(torch.jit.script(layer)(x), layer(x))


def called_with_torchs_arguments(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    y = ft.conv_transpose1d(x, w, b)
    y = y[..., :7] + ft.conv_transpose1d(x, w, b, 2, 1, 1, 1, 1)[..., :7]
    return y + ft.conv_transpose1d(x, w, stride=(3,), padding=[1], output_padding=2)[..., :7]


def called_with_more(x: Tensor, w: Tensor, mode: str, size: int) -> Tensor:
    y = ft.conv_transpose1d(x, w, padding="same", padding_mode=mode)
    y = y + ft.conv_transpose1d(x, w, padding=(1, 3), padding_mode="reflect")[..., :5]
    return y + ft.conv_transpose1d(x, w, stride=2, output_size=size)[..., :5]


def calls_of_conv1d(x: Tensor, w: Tensor, b: Tensor, mode: str) -> Tensor:
    y = ft.conv1d(x, w, b)
    y = y[..., :1] + ft.conv1d(x, w, b, 2, 1, 1, 1)[..., :1]
    y = y + ft.conv1d(x, w, stride=(3,), padding=[1], dilation=2)[..., :1]
    y = y + ft.conv1d(x, w, padding="same", padding_mode=mode)[..., :1]
    return y + ft.conv1d(x, w, padding=(1, 3), padding_mode="reflect")[..., :1]


def test_functions_that_call_conv1d() -> None:
    x, w, b = torch.randn(2, 3, 9), torch.randn(4, 3, 5), torch.randn(4)
    scripted = torch.jit.script(calls_of_conv1d)
    for mode in PADDING_MODES:
        torch.testing.assert_close(scripted(x, w, b, mode), calls_of_conv1d(x, w, b, mode))
    whole = torch.jit.script(ft.conv1d)
    torch.testing.assert_close(whole(x, w, b), ft.conv1d(x, w, b))
    with pytest.raises(torch.jit.Error, match="padding_mode must be"):
        scripted(x, w, b, "mirror")


def test_functions_that_call_ours() -> None:
    x, w, b = torch.randn(2, 3, 5), torch.randn(3, 4, 5), torch.randn(4)
    scripted = torch.jit.script(called_with_torchs_arguments)
    torch.testing.assert_close(scripted(x, w, b), called_with_torchs_arguments(x, w, b))
    scripted = torch.jit.script(called_with_more)
    for mode in PADDING_MODES:
        want = called_with_more(x, w, mode, 14)
        torch.testing.assert_close(scripted(x, w, mode, 14), want)
    whole = torch.jit.script(ft.conv_transpose1d)
    torch.testing.assert_close(whole(x, w, b), ft.conv_transpose1d(x, w, b))


def unknown_argument(x: Tensor, w: Tensor) -> Tensor:
    return ft.conv_transpose1d(x, w, mode="reflect")  # type: ignore[call-arg]


def test_messages() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)padding_mode=.*argument mode unknown"):
        torch.jit.script(unknown_argument)
    scripted = torch.jit.script(called_with_more)
    with pytest.raises(
        torch.jit.Error, match=f"{', '.join(PADDING_MODES[:-1])} or {PADDING_MODES[-1]}"
    ):
        scripted(torch.ones(1, 1, 5), torch.ones(1, 1, 5), "mirror", 14)


def test_a_frozen_layer_is_torchs_operator_alone() -> None:
    model = ft.accelerate(nn.Sequential(nn.ConvTranspose1d(2, 3, 4, 2, 1))).eval()
    frozen = torch.jit.freeze(torch.jit.script(model))
    kinds = {node.kind() for node in frozen.inlined_graph.nodes()}
    assert "aten::conv_transpose1d" in kinds
    assert not any("fracstride" in kind for kind in kinds)


def test_a_frozen_conv1d_is_torchs_operator_alone() -> None:
    model = nn.Sequential(ft.Conv1d(2, 3, 4, 2, 1), ft.Conv1d(3, 3, 3, padding="same")).eval()
    frozen = torch.jit.freeze(torch.jit.script(model))
    kinds = {node.kind() for node in frozen.inlined_graph.nodes()}
    assert "aten::conv1d" in kinds
    assert not any("fracstride" in kind for kind in kinds)


def test_help_shows_the_methods_own_signature() -> None:
    assert "Sequence[int]" in str(inspect.signature(ft.ConvTranspose1d.forward))
    assert "Sequence[int]" in str(inspect.signature(ft.conv_transpose1d))
    assert "Sequence[int]" in str(inspect.signature(ft.conv1d))
    assert str(inspect.signature(ft.Conv1d.forward)) == "(self, input: 'Tensor') -> 'Tensor'"


@pytest.mark.parametrize("freeze", [False, True])
def test_saved_scripts_load_without_the_library(tmp_path: Path, freeze: bool) -> None:
    model = nn.Sequential(
        ft.accelerate(Twice()),
        ft.ConvTranspose1d(1, 2, 5, 2, "same", padding_mode="circular"),
        ft.Conv1d(2, 3, 4, 2, (1, 3), padding_mode="reflect"),
    ).eval()
    x = torch.randn(1, 4, 3)
    with torch.no_grad():
        torch.save((x, model(x)), tmp_path / "case.pt")
    scripted = torch.jit.script(model)
    (torch.jit.freeze(scripted) if freeze else scripted).save(tmp_path / "model.pt")
    code = (
        "import torch\n"
        f"x, want = torch.load({str(tmp_path / 'case.pt')!r})\n"
        f"model = torch.jit.load({str(tmp_path / 'model.pt')!r})\n"
        "torch.testing.assert_close(model(x), want)\n"
    )
    subprocess.run([sys.executable, "-c", WITHOUT + code], check=True)


def test_scripts_refuse_what_eager_refuses() -> None:
    def with_strides(x: Tensor, w: Tensor, s: list[int]) -> Tensor:
        return ft.conv_transpose1d(x, w, None, s)

    def with_padding(x: Tensor, w: Tensor, p: int) -> Tensor:
        return ft.conv_transpose1d(x, w, None, 2, p, padding_mode="replicate")

    x, w = torch.randn(2, 4, 9), torch.randn(4, 2, 5)
    scripted: Any = torch.jit.script(with_strides)
    assert torch.equal(scripted(x, w, [2]), scripted(x, w, [2]))
    for wrong in ([2, 3], [0], []):
        with pytest.raises(Exception, match="stride"):
            scripted(x, w, wrong)
    scripted = torch.jit.script(with_padding)
    with pytest.raises(Exception, match="padding must be non-negative, got -2"):
        scripted(x, w, -2)
