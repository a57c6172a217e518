"""Calls of a module like the one before: whatever changes between two calls is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import fracstride.torch
from fracstride.torch.repeated import Repeated

LAYERS: dict[str, Callable[[], Any]] = {
    "transposed": lambda: fracstride.torch.ConvTranspose1d(4, 6, 4, 2, groups=2),
    "conv1d": lambda: fracstride.torch.Conv1d(4, 6, 4, 2, groups=2),
    "without bias": lambda: fracstride.torch.ConvTranspose1d(4, 6, 4, 2, groups=2, bias=False),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    module = LAYERS[request.param]().eval()
    with torch.no_grad():
        module(torch.randn(2, 4, 8))
        module(torch.randn(2, 4, 8))
    return module


@pytest.fixture
def repeats(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each call that may repeat the last one, whether it did."""
    seen: list[bool] = []
    output = Repeated.output

    def recorded(self: Repeated, *operands: Any) -> Tensor | None:
        y = output(self, *operands)
        seen.append(y is not None)
        return y

    monkeypatch.setattr(Repeated, "output", recorded)
    return seen


def exact(module: Any, x: Tensor) -> Tensor:
    """What the module should give: the function, of what its attributes are now."""
    sizes = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation}
    if isinstance(module, nn.ConvTranspose1d):
        function: Any = fracstride.torch.conv_transpose1d
        sizes["output_padding"] = module.output_padding
    else:
        function = fracstride.torch.conv1d
    options = {"groups": module.groups, "padding_mode": module.padding_mode}
    y: Tensor = function(x, module.weight, module.bias, **sizes, **options)
    return y


def other_parameter(module: Any, name: str) -> None:
    old = getattr(module, name)
    if old is not None:
        setattr(module, name, nn.Parameter(torch.randn_like(old)))


def other_data(module: Any, name: str) -> None:
    old = getattr(module, name)
    if old is not None:
        old.data = torch.randn_like(old)


def edit(module: Any, name: str) -> None:
    tensor = getattr(module, name)
    if tensor is not None:
        tensor.add_(1)


def edit_bias_data(module: Any) -> None:
    if module.bias is not None:
        module.bias.data[1] += 1


def no_bias(module: Any) -> None:
    module.bias = None


def strided_bias(module: Any) -> None:
    if module.bias is not None:
        module.bias.data = torch.randn(12)[::2]


def in_float64(module: Any) -> None:
    module.double()


CHANGES: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda module: None,
    "stride": lambda module: setattr(module, "stride", (3,)),
    "padding": lambda module: setattr(module, "padding", (1,)),
    "dilation": lambda module: setattr(module, "dilation", (2,)),
    "padding mode": lambda module: setattr(module, "padding_mode", "circular"),
    "weight": lambda module: other_parameter(module, "weight"),
    "bias": lambda module: other_parameter(module, "bias"),
    "no bias": no_bias,
    "weight.data": lambda module: other_data(module, "weight"),
    "bias.data": lambda module: other_data(module, "bias"),
    "a weight in place": lambda module: edit(module, "weight"),
    "a bias in place": lambda module: edit(module, "bias"),
    "a bias by data": edit_bias_data,
    "a strided bias": strided_bias,
    "float64": in_float64,
    "train and eval": lambda module: (module.train(), module.eval()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_two_calls_is_noticed(layer: Any, change: str) -> None:
    with torch.no_grad():
        CHANGES[change](layer)
        x = torch.randn(2, 4, 8, dtype=layer.weight.dtype)
        assert torch.equal(layer(x), exact(layer, x))
        assert torch.equal(layer(x), exact(layer, x))


def test_the_same_call_is_repeated(layer: Any, repeats: list[bool]) -> None:
    with torch.no_grad():
        for x in (torch.randn(2, 4, 8), torch.randn(2, 8, 4).mT, torch.randn(2, 4, 16)[..., ::2]):
            assert torch.equal(layer(x), exact(layer, x))
        assert repeats == [True] * 3
        for x in (torch.randn(2, 4, 9), torch.randn(4, 8), torch.randn(2, 4, 8)):
            assert torch.equal(layer(x), exact(layer, x))
    assert repeats == [True] * 3


def test_inputs_that_do_not_fit_are_named(layer: Any) -> None:
    with torch.no_grad():
        for x in (torch.randn(2, 3, 8), torch.randn(2, 4, 8).double(), torch.randn(2, 4, 8).half()):
            with pytest.raises(RuntimeError, match="input"):
                layer(x)


@pytest.mark.parametrize("bias", [torch.zeros(5), torch.zeros(6).double(), torch.zeros(6, 1)])
def test_a_bias_that_does_not_fit_is_named(layer: Any, bias: Tensor) -> None:
    layer.bias = nn.Parameter(bias)
    with torch.no_grad(), pytest.raises(RuntimeError, match="bias"):
        layer(torch.randn(2, 4, 8))
    layer.bias = nn.Parameter(torch.zeros(6))
    with torch.no_grad():
        layer(torch.randn(2, 4, 8))
        layer.bias.data = bias
        with pytest.raises(RuntimeError, match="bias"):
            layer(torch.randn(2, 4, 8))


@pytest.mark.parametrize("x", [[[1.0]], None, 3, torch.ones(2, 4, 8).numpy()], ids=str)
def test_what_is_no_tensor_is_named(layer: Any, x: Any) -> None:
    with torch.no_grad(), pytest.raises(TypeError, match="input must be a tensor"):
        layer(x)


def test_gradients_are_recorded(layer: Any) -> None:
    x = torch.randn(2, 4, 8)
    assert layer(x).requires_grad
    layer.requires_grad_(False)
    assert not layer(x).requires_grad
    assert layer(x.requires_grad_()).requires_grad


def test_tangents_are_carried(layer: Any) -> None:
    x, tangent = torch.randn(2, 4, 8), torch.randn(2, 4, 8)
    layer.requires_grad_(False)
    layer(x)
    with forward_ad.dual_level():
        y = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent)))
    bias = 0 if layer.bias is None else layer.bias[:, None]
    torch.testing.assert_close(y.tangent, layer(tangent) - bias)
    _, derivative = torch.func.jvp(layer, (x,), (tangent,))
    torch.testing.assert_close(derivative, y.tangent)


def test_autocast_and_transforms_are_seen(layer: Any) -> None:
    x = torch.randn(2, 4, 8)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        rows = torch.func.vmap(layer)(x[:, None])
        torch.testing.assert_close(rows[:, 0], layer(x))


def test_modes_see_the_call(layer: Any) -> None:
    class Functions(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            self.seen += getattr(function, "__name__", "").startswith("conv")
            return function(*args, **(kwargs or {}))

    class Operators(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            self.seen += "conv" in str(function)
            return function(*args, **(kwargs or {}))

    x = torch.randn(2, 4, 8)
    with torch.no_grad():
        for mode in (Functions(), Operators()):
            with mode:
                layer(x)
            assert mode.seen == 1


def test_the_profiler_sees_the_call(layer: Any) -> None:
    with torch.no_grad(), torch.profiler.profile() as profile:
        layer(torch.randn(2, 4, 8))
    assert any(event.key.startswith("fracstride::conv") for event in profile.key_averages())


def test_a_subclass_of_tensors_stays_one(layer: Any) -> None:
    class Own(Tensor):
        pass

    x = torch.randn(2, 4, 8)
    with torch.no_grad():
        y = layer(x.as_subclass(Own))
        assert type(y) is Own
        assert torch.equal(y.as_subclass(Tensor), layer(x))
