"""``compile``: what it takes, what it gives, and its messages."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import fracstride.torch
from fracstride.torch.capture.agreement import difference


def decoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(3, 4, 3, padding=1),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(4, 2, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def test_any_length_and_batch() -> None:
    module = decoder()
    net = fracstride.torch.compile(module, torch.randn(1, 3, 10))
    for batch, length in [(1, 1), (2, 2), (5, 33), (1, 400)]:
        x = torch.randn(batch, 3, length)
        found = net(x)
        assert not difference(module(x).detach(), found)
        assert not found.requires_grad
        assert not found.is_inference()
    assert net.least == 1
    assert repr(net) == "CompiledModule(inputs: (B, 3, T), T >= 1)"
    assert "ConvTranspose1d" in str(net)
    assert isinstance(net, fracstride.torch.CompiledModule)
    assert net.network is net.network


def test_the_module_is_left_as_it_was() -> None:
    module = decoder().train()
    module[1].eval()
    weights = copy.deepcopy(module.state_dict())
    fracstride.torch.compile(module, torch.randn(1, 3, 10))
    assert [part.training for part in module] == [True, False, True, True]
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, weights[name])


def test_weights_are_read_once() -> None:
    module = decoder()
    x = torch.randn(1, 3, 10)
    net = fracstride.torch.compile(module, x)
    before = net(x)
    with torch.no_grad():
        module[0].weight.zero_()
    assert torch.equal(net(x), before)


def test_results_belong_to_the_caller() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.arange(3.0))

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return x, x * 2, self.table, torch.zeros(x.shape)

    module = Both()
    net = fracstride.torch.compile(module, torch.randn(1, 3, 10))
    x = torch.randn(2, 3, 5)
    given = x.clone()
    for result in net(x):
        result.add_(100)
    assert torch.equal(x, given)
    assert torch.equal(module.table, torch.arange(3.0))
    for found, wanted in zip(net(x), module(x), strict=True):
        assert torch.equal(found, wanted)
    x.resize_(1)  # Tensor.numpy would have fixed its memory


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes(dtype: torch.dtype) -> None:
    module = decoder().to(dtype)
    net = fracstride.torch.compile(module, torch.randn(1, 3, 10).to(dtype))
    x = torch.randn(2, 3, 21).to(dtype)
    found = net(x)
    assert found.dtype == dtype
    assert not difference(module(x).detach(), found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, "float16", "float64"])
def test_astype(dtype: Any) -> None:
    net = fracstride.torch.compile(decoder(), torch.randn(1, 3, 10))
    x = torch.randn(2, 3, 21)
    other = net.astype(dtype)
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    found = other(x.to(kind))
    assert found.dtype == kind
    coarse = kind if kind.itemsize < 4 else torch.float32
    assert not difference(net(x).to(coarse), found.to(coarse))
    with pytest.raises(TypeError, match=r"dtype torch\.float32"):
        net(x.to(kind))
    with pytest.raises(TypeError):
        net.astype("int32")


class Pair(NamedTuple):
    first: Any
    second: Any


STRUCTURES: dict[str, Any] = {
    "tuple": lambda y: (y, y.exp()),
    "list": lambda y: [y, [y.exp(), None]],
    "dict": lambda y: {"b": y, "a": (1, "word", 2.5)},
    "ordered": lambda y: OrderedDict(z=y, a=y.exp()),
    "named": lambda y: Pair(y, Pair(None, y.exp())),
    "single": lambda y: (y,),
    "empty": lambda y: {"nothing": (), "y": y},
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_structures(kind: str) -> None:
    class Returns(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return STRUCTURES[kind](x * 2)

    module = Returns()
    net = fracstride.torch.compile(module, torch.randn(1, 3, 10))
    x = torch.randn(2, 3, 7)
    assert_equal(net(x), module(x))


def assert_equal(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, Tensor):
        torch.testing.assert_close(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for name in wanted:
            assert_equal(found[name], wanted[name])
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for ours, theirs in zip(found, wanted, strict=True):
            assert_equal(ours, theirs)
    else:
        assert found == wanted


def test_one_tensor_twice() -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Any:
            y = x * 2
            return y, {"again": y}, y.clone()

    first, inner, copied = fracstride.torch.compile(Twice(), torch.randn(1, 3, 10))(
        torch.randn(1, 3, 4)
    )
    assert first is inner["again"]
    assert torch.equal(first, copied)


class Mixed(nn.Module):
    """Frames, a source at four times their rate, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(3, 1, 8, stride=4, padding=2)

    def forward(self, x: Tensor, source: Tensor, gain: Tensor) -> Tensor:
        return self.up(x) + source * gain[:, :, None]


def mixed() -> Any:
    examples = torch.randn(1, 3, 10), torch.randn(1, 1, 40), torch.randn(1, 1)
    return fracstride.torch.compile(Mixed(), *examples, time=(-1, -1, None))


X, S, G = torch.zeros(2, 3, 5), torch.zeros(2, 1, 20), torch.zeros(2, 1)
WRONG: dict[str, tuple[tuple[Any, ...], type[Exception], str]] = {
    "count": ((X, S), TypeError, "the network takes 3 inputs, got 2"),
    "list": ((X, S, [1.0]), TypeError, "input 2 must be a tensor, got list"),
    "dtype": ((X, S.double(), G), TypeError, "input 1 must have the dtype torch.float32, got tor"),
    "device": ((X.to("meta"), S, G), ValueError, "input 0 must be on the CPU"),
    "rank": ((X[0], S, G), ValueError, r"input 0 must have the shape \(B, 3, T\), got \(3, 5\)"),
    "channels": ((X, S.repeat(1, 2, 1), G), ValueError, r"input 1 .* \(B, 1, 4\*T\), got \(2, 2"),
    "batch": ((X, S, G[:1]), ValueError, "input 2 must have the batch of the others, 2, got 1"),
    "no rows": ((X[:0], S[:0], G[:0]), ValueError, r"a batch of at least 1, got \(0, 3, 5\)"),
    "proportion": ((X, S[..., :16], G), ValueError, "input 1 must have 20 positions .*, got 16"),
    "multiple": ((X, S[..., :18], G), ValueError, "a multiple of 4 positions of time, got 18"),
    "empty": ((X[..., :0], S[..., :0], G), ValueError, "at least 1 positions of time .* got 0"),
    "grad": ((X, S, G.clone().requires_grad_()), ValueError, "input 2 must not require derivat"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_inputs(case: str) -> None:
    inputs, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        mixed()(*inputs)


def test_inputs_at_several_rates() -> None:
    torch.manual_seed(0)
    net, module = mixed(), Mixed()
    torch.manual_seed(0)
    net = fracstride.torch.compile(module, X[:, :, :3], S[:, :, :12], G, time=(-1, -1, None))
    given = torch.randn(3, 3, 6), torch.randn(3, 1, 24), torch.randn(3, 1)
    assert not difference(module(*given).detach(), net(*given))
    with torch.no_grad():
        assert net(*(x.requires_grad_() for x in given)).shape == (3, 1, 24)


def test_an_example_of_many_rows() -> None:
    module = decoder()
    net = fracstride.torch.compile(module, torch.randn(4, 3, 10))
    x = torch.randn(3, 3, 8)
    assert not difference(module(x).detach(), net(x))


def test_without_a_batch() -> None:
    module = decoder()
    net = fracstride.torch.compile(module, torch.randn(3, 10))
    assert repr(net) == "CompiledModule(inputs: (3, T), T >= 1)"
    x = torch.randn(3, 8)
    assert not difference(module(x).detach(), net(x))
    with pytest.raises(ValueError, match=r"must have the shape \(3, T\), got \(1, 3, 8\)"):
        net(x[None])


def test_short_inputs() -> None:
    module = nn.Sequential(nn.ReflectionPad1d(3), nn.Conv1d(3, 2, 7))
    net = fracstride.torch.compile(module, torch.randn(1, 3, 30))
    assert net.least == 4
    with pytest.raises(ValueError, match=r"input must have at least 4 positions of time .* got 3"):
        net(torch.randn(1, 3, 3))


def test_guarded_sizes() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Identity()
            self.conv = decoder()

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] > 20000:
                raise KeyError
            return self.conv(x)

    net = fracstride.torch.compile(Halves(), torch.randn(1, 3, 30))
    net(torch.zeros(1, 3, 20000))
    with pytest.raises(ValueError, match="the module compares 20001 > 20000 and takes a way thro"):
        net(torch.zeros(1, 3, 20001))


def test_what_no_module_is() -> None:
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module, got function"):
        fracstride.torch.compile(assert_equal, X)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"module must have parameters, and 0.weight has none yet"):
        fracstride.torch.compile(nn.Sequential(nn.LazyConv1d(2, 3)), X)
    with pytest.raises(ValueError, match="module must be on the CPU, and weight is on meta"):
        fracstride.torch.compile(nn.Conv1d(3, 2, 1, device="meta"), X)


def test_errors_of_the_module_name_the_call() -> None:
    module = nn.Sequential(OrderedDict(first=nn.Tanh(), second=nn.Conv1d(4, 2, 1)))
    with pytest.raises(ValueError, match=r"^second \(aten.conv1d\): .* the module raises Runtime"):
        fracstride.torch.compile(module, torch.randn(1, 3, 10))


def test_example_stays_as_it_is() -> None:
    x = torch.randn(1, 3, 10).requires_grad_()
    before = x.detach().clone()
    fracstride.torch.compile(decoder(), x)
    assert torch.equal(x.detach(), before)
    assert x.grad is None


def test_inside_torchs_own_modes() -> None:
    module, x = decoder(), torch.randn(1, 3, 10)
    with torch.inference_mode():
        net = fracstride.torch.compile(module, x)
        inside = net(x)
    assert torch.equal(net(x), inside)
    with torch.no_grad():
        assert torch.equal(fracstride.torch.compile(module, x)(x), inside)


def test_accelerated_modules() -> None:
    module, x = decoder(), torch.randn(2, 3, 21)
    wanted = module(x).detach()
    net = fracstride.torch.compile(fracstride.torch.accelerate(module), torch.randn(1, 3, 10))
    assert not difference(wanted, net(x))
    assert "torch" not in str(net)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_own_layers(mode: str) -> None:
    module = nn.Sequential(
        fracstride.torch.ConvTranspose1d(4, 6, 5, 2, (1, 3), 1, 2, dilation=2, padding_mode=mode),
        fracstride.torch.Conv1d(6, 4, 3, 2, (3, 1), 2, 2, padding_mode=mode, bias=False),
    )
    net = fracstride.torch.compile(module, torch.randn(1, 4, 12))
    for length in (net.least, 13, 30):
        x = torch.randn(2, 4, length)
        assert torch.equal(net(x), module(x))
    assert "torch" not in str(net)


def test_operators_of_other_libraries_are_called_as_they_are() -> None:
    """Also where they have the name of one of torch's."""

    class Calls(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.fracstride_test.tanh(x) + 1

    with torch.library._scoped_library("fracstride_test", "DEF") as library:
        library.define("tanh(Tensor x) -> Tensor")
        library.impl("tanh", lambda x: 5 * torch.sin(x), "CPU")
        net = fracstride.torch.compile(Calls(), torch.randn(1, 3, 10))
        x = torch.randn(2, 3, 30)
        assert not difference(5 * torch.sin(x) + 1, net(x))


def test_a_network_is_no_part_of_a_graph() -> None:
    net, x = fracstride.torch.compile(decoder(), torch.randn(1, 3, 10)), torch.randn(1, 3, 8)

    def both(x: Tensor) -> Tensor:
        return net(x * 2) + 1

    torch._dynamo.reset()
    with torch.no_grad():
        assert not difference(both(x), torch.compile(both, backend="eager")(x))


def test_copies() -> None:
    net, x = fracstride.torch.compile(decoder(), torch.randn(1, 3, 10)), torch.randn(1, 3, 8)
    assert torch.equal(copy.copy(net)(x), net(x))
