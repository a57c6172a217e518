"""What one run records: functional operators, and refusals by path and name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torchs_modules

from fracstride.network.recording import Conditions, Reference
from fracstride.torch.capture.constants import Folded
from fracstride.torch.capture.refusal import RefusedError
from fracstride.torch.capture.running import Run, Runner


class Of(nn.Module):
    """A module of a function."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs, **dict(self.named_children()))


def recorded(function: Callable[..., Any], *shapes: tuple[int, ...], **parts: nn.Module) -> Run:
    module = Of(function, **parts).eval()
    inputs = [torch.randn(shape) for shape in shapes or [(2, 3, 5)]]
    return Runner(module).run(inputs, Conditions(5, 2))


def operators(run: Run) -> list[str]:
    return [step.operator.removeprefix("aten.") for step in run.steps]


def test_arguments_are_complete() -> None:
    run = recorded(lambda x, conv: conv(x), conv=nn.Conv1d(3, 4, 3, bias=False))
    (step,) = run.steps
    assert (step.operator, step.path, step.results) == ("aten.conv1d.default", "conv", (1,))
    assert list(step.arguments) == [
        "input", "weight", "bias", "stride", "padding", "dilation", "groups"
    ]  # fmt: skip
    assert step.arguments["input"] == Reference(0)
    assert step.arguments["weight"].name == "conv.weight"
    assert (step.arguments["bias"], step.arguments["groups"]) == (None, 1)
    assert run.kinds[1].sizes == (2, 4, 3)


def test_types_are_strings() -> None:
    run = recorded(lambda x: x.to(torch.float64))
    assert run.steps[0].arguments["dtype"] == "float64"
    assert run.kinds[-1].dtype == "float64"


def test_all_else_is_folded() -> None:
    conv = torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 3, 3))
    run = recorded(lambda x, conv: conv(x) * torch.arange(3.0).exp()[:, None], conv=conv)
    assert operators(run) == ["conv1d.default", "mul.Tensor"]
    constant = run.steps[1].arguments["other"]
    assert isinstance(constant, Folded)
    assert constant.shape == (3, 1)


def test_what_is_not_needed_is_left_out() -> None:
    assert operators(recorded(lambda x: (x.exp(), x * 2)[1])) == ["mul.Tensor"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.clone().contiguous().detach().to(x.dtype) * 2,
        lambda x: F.dropout(x, 0.5, training=False) * 2,
        lambda x: x.alias().float().cpu() * 2 if hasattr(x, "alias") else x.float().cpu() * 2,
        lambda x: nn.Identity()(x)[...] * 2,
    ],
)
def test_what_changes_nothing_leaves_no_trace(function: Any) -> None:
    assert operators(recorded(function)) == ["mul.Tensor"]


def test_sizes_and_types_may_be_asked() -> None:
    def function(x: Tensor) -> Tensor:
        assert x.is_floating_point()
        assert torch.result_type(x, 1) == torch.float32
        return x.new_zeros(x.shape) + torch.ones_like(x) * x

    run = recorded(function)
    assert operators(run) == ["mul.Tensor", "add.Tensor"]
    assert run.steps[0].arguments["self"].number == 1


# --- writes in functional form --------------------------------------------------------------------


def relu_in_place(x: Tensor) -> Tensor:
    y = x * 2
    return y.relu_()


def add_in_place(x: Tensor) -> Tensor:
    y = x * 2
    y += x
    return y


def half_is_set(x: Tensor) -> Tensor:
    y = torch.zeros(2, 3, 10)
    y[..., ::2] = x
    return y


def out_is_given(x: Tensor) -> Tensor:
    y = torch.empty(0)
    torch.mul(x, x, out=y)
    return y


def view_is_read_late(x: Tensor) -> Tensor:
    y = x * 2
    part = y[:, :1]
    y.neg_()
    return part


def part_is_cleared(x: Tensor) -> Tensor:
    y = x * 2
    y.transpose(1, 2).select(1, 0).zero_()
    return y


def type_is_kept(x: Tensor) -> Tensor:
    y = x.half()
    y += x
    return y


def all_is_overwritten(x: Tensor) -> Tensor:
    y = x * 2
    y.fill_(3.0)
    return y + x


WRITES: dict[Any, list[str]] = {
    relu_in_place: ["mul.Tensor", "relu.default"],
    add_in_place: ["mul.Tensor", "add.Tensor"],
    half_is_set: ["slice_scatter.default"],
    out_is_given: ["mul.Tensor"],
    view_is_read_late: ["mul.Tensor", "neg.default", "slice.Tensor"],
    part_is_cleared: [
        "mul.Tensor", "transpose.int", "select_scatter.default", "transpose.int"
    ],
    type_is_kept: ["to.dtype", "add.Tensor", "to.dtype"],
    all_is_overwritten: ["add.Tensor"],
}  # fmt: skip


@pytest.mark.parametrize("function", WRITES)
def test_writes_are_functional(function: Any) -> None:
    assert operators(recorded(function)) == WRITES[function]


def test_memory_of_the_caller_is_not_written_to() -> None:
    x = torch.zeros(2, 3, 5)
    with pytest.raises(RefusedError, match=r"module \(aten.add_.Tensor\): it writes to an input"):
        Runner(Of(lambda x: x[:, 1:].add_(1))).run([x], Conditions(5, 2))
    assert not x.any()


def test_parameters_are_not_written_to() -> None:
    conv = nn.Conv1d(3, 3, 1)
    before = conv.weight.detach().clone()

    def function(x: Tensor, conv: Any) -> Any:
        conv.weight.data.zero_()
        return conv(x)

    with pytest.raises(RefusedError, match=r"aten.zero_\): it writes to a parameter"):
        recorded(function, conv=conv)
    assert torch.equal(conv.weight, before)


# --- refusals -------------------------------------------------------------------------------------


RANDOM: dict[str, Callable[[Tensor], Any]] = {
    "aten.rand": lambda x: x + torch.rand(3, 1),
    "aten.randn_like": lambda x: x + torch.randn_like(x),
    "aten.randint": lambda x: x + torch.randint(3, (1,)),
    "aten.randperm": lambda x: x[:, torch.randperm(3)],
    "aten.bernoulli.p": lambda x: torch.bernoulli(x, 0.5),
    "aten.normal.Tensor_float": lambda x: torch.normal(x),
    "aten.uniform_": lambda x: x.clone().uniform_(),
    "aten.multinomial": lambda x: torch.multinomial(x.abs()[0], 2),
    "aten.rrelu": lambda x: F.rrelu(x, training=True),
    "aten.scaled_dot_product_attention": lambda x: F.scaled_dot_product_attention(
        x, x, x, dropout_p=0.1
    ),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_operators(name: str) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with pytest.raises(RefusedError) as error:
        recorded(lambda x, act: act(x), act=Of(RANDOM[name]))
    assert str(error.value).startswith(f"act ({name}): it draws random numbers")
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_operators_that_could_draw_may_stand() -> None:
    lstm = nn.LSTM(5, 4, num_layers=2, dropout=0.5, batch_first=True)
    run = recorded(lambda x, lstm: lstm(x)[0], lstm=lstm)
    assert operators(run) == ["lstm.input"]
    assert operators(recorded(lambda x: F.scaled_dot_product_attention(x, x, x))) == [
        "scaled_dot_product_attention.default"
    ]
    assert operators(recorded(lambda x: F.rrelu(x))) == ["rrelu.default"]


LEAVING: dict[str, Callable[[Tensor], Any]] = {
    "aten.item": lambda x: x * x.max().item(),
    "aten.is_nonzero": lambda x: x if (x > 0).any() else -x,
    "aten.allclose": lambda x: x if torch.allclose(x, x) else -x,
    "aten.nonzero": lambda x: x.nonzero(),
    "aten.where": lambda x: torch.where(x > 0),
    "aten.masked_select": lambda x: x.masked_select(x > 0),
    "aten.index.Tensor": lambda x: x[x > 0],
    "aten.index_put_": lambda x: x.clone().index_put_((x > 0,), x[0, 0, 0]),
    "aten.unique_dim": lambda x: torch.unique(x, dim=0),
    "aten.one_hot": lambda x: F.one_hot(x.long().clamp(0, 3)),
    "aten.bincount": lambda x: torch.bincount(x.long().abs().flatten()),
    "Tensor.numpy": lambda x: torch.from_numpy(x.numpy()),
    "Tensor.tolist": lambda x: torch.tensor(x.tolist()),
}


@pytest.mark.parametrize("name", LEAVING)
def test_values_that_leave(name: str) -> None:
    with pytest.raises(RefusedError) as error:
        recorded(lambda x, act: act(x), act=Of(LEAVING[name]))
    assert str(error.value).startswith(f"act ({name}")


def test_what_the_module_catches_is_refused() -> None:
    def function(x: Tensor) -> Tensor:
        try:
            return x * x.max().item()
        except Exception:
            return x

    with pytest.raises(RefusedError, match=r"aten\.item"):
        recorded(function)


def test_other_kinds_of_tensors() -> None:
    with pytest.raises(RefusedError, match="on the device meta"):
        recorded(lambda x: x.to("meta"))
    with pytest.raises(RefusedError, match="sparse"):
        recorded(lambda x: x.to_sparse())
    with pytest.raises(RefusedError, match="the result holds a object"):
        recorded(lambda x: object())


def test_errors_of_the_module() -> None:
    def function(x: Tensor, conv: Any) -> Any:
        return conv(x).reshape(7, 7)

    with pytest.raises(RefusedError, match=r"\(aten.reshape\): with T = 5, batch 2, .* Runtime"):
        recorded(function, conv=nn.Conv1d(3, 3, 1))


# --- what is left behind --------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [False, True])
def test_nothing_is_left_behind(bad: bool) -> None:
    hooks = len(torchs_modules._global_forward_hooks), len(torchs_modules._global_forward_pre_hooks)
    try:
        recorded(lambda x, conv: conv(x[:, : 2 if bad else 3]), conv=nn.Conv1d(3, 3, 1))
    except RefusedError:
        assert bad
    assert hooks == (
        len(torchs_modules._global_forward_hooks),
        len(torchs_modules._global_forward_pre_hooks),
    )
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    assert type(torch.ones(2).shape[0]) is int


# --- paths ----------------------------------------------------------------------------------------


def test_paths() -> None:
    block = nn.Sequential(nn.Conv1d(3, 3, 1), nn.Tanh())
    parts = [nn.Sigmoid(), block]  # no attributes of the module: a closure has them

    def function(x: Tensor, blocks: Any) -> Tensor:
        return parts[1](parts[0](blocks(x))) + 1

    run = recorded(function, blocks=nn.Sequential(block, nn.ELU()))
    assert [step.path for step in run.steps] == [
        "blocks.0.0", "blocks.0.1", "blocks.1", "<Sigmoid>", "blocks.0.0", "blocks.0.1", ""
    ]  # fmt: skip


def test_paths_after_an_error_that_is_caught() -> None:
    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError

    def function(x: Tensor, part: Any) -> Tensor:
        try:
            return part(x)
        except KeyError:
            return x * 2

    assert [step.path for step in recorded(function, part=Raises()).steps] == [""]
