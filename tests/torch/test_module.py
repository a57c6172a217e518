"""The module behaves as torch's in every use, and never uses a stale weight."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import fracstride as fs
import fracstride.torch as ft
from fracstride.extension import PADDING_MODES
from fracstride.torch import kernels
from fracstride.torch.packed import PackedWeights

SIZES: list[tuple[Any, ...]] = [
    (4, 6, 5),
    (4, 6, 5, 2, 1),
    (4, 6, (5,), (3,), (1,), (2,), 2),
    (4, 6, 5, 1, 0, 1, 1, False, 2),
    (4, 4, 3, 2, 2, 0, 4, True, 3),
]


CONV1D_SIZES: list[tuple[Any, ...]] = [
    (4, 6, 5),
    (4, 6, 5, 2, 1),
    (4, 6, (5,), (3,), (1,), (2,), 2),
    (4, 6, 5, 1, "same", 1, 1, False),
    (4, 6, 4, 1, "valid"),
    (4, 4, 3, 2, 2, 3, 4, True),
    *((4, 6, 4, 1, padding, 2, 1, True, mode) for mode in PADDING_MODES for padding in (3, "same")),
]
KINDS = pytest.mark.parametrize("kind", ["ConvTranspose1d", "Conv1d"])


def pair(*sizes: Any, kind: str = "ConvTranspose1d", **options: Any) -> tuple[Any, Any]:
    made = []
    for library in (nn, ft):
        torch.manual_seed(7)
        made.append(getattr(library, kind)(*sizes, **options))
    return made[0], made[1]


def example(kind: str, **options: Any) -> Any:
    """A layer from 4 to 6 channels."""
    return getattr(ft, kind)(4, 6, 5, 2, **options)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [("ConvTranspose1d", sizes) for sizes in SIZES] + [("Conv1d", sizes) for sizes in CONV1D_SIZES],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_is_torchs_module(kind: str, sizes: tuple[Any, ...], dtype: torch.dtype) -> None:
    theirs, mine = pair(*sizes, kind=kind, dtype=dtype)
    assert isinstance(mine, getattr(nn, kind))
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for got, want in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(got, want)  # the initial values, draw for draw
        assert got.dtype == dtype
    for key in (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "output_padding",
        "groups",
        "padding_mode",
        "transposed",
        "_reversed_padding_repeated_twice",
    )[: 11 if kind == "Conv1d" else 10]:
        assert getattr(mine, key) == getattr(theirs, key)
    x = torch.randn(2, 4, 12, dtype=dtype)
    close: dict[str, Any] = {} if dtype != torch.bfloat16 else {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(mine(x), theirs(x), **close)
    torch.testing.assert_close(mine(x[0]), theirs(x[0]), **close)
    theirs.load_state_dict(mine.state_dict())
    mine.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=str)
def test_initial_values_as_documented(groups: int, dtype: torch.dtype) -> None:
    layer = ft.ConvTranspose1d(32, 16, 8, groups=groups, dtype=dtype)
    bound = (groups / (16 * 8)) ** 0.5
    assert layer.bias is not None
    for values in (layer.weight.detach(), layer.bias.detach()):
        parts = torch.view_as_real(values) if dtype.is_complex else values
        assert parts.abs().max() <= bound
        if not dtype.is_complex:
            assert parts.abs().max() > 0.8 * bound
            assert abs(float(parts.mean())) < bound / 2


def test_initial_values_of_a_conv1d() -> None:
    """U(-sqrt(q), sqrt(q)) with q = groups / (C_in * k), torch's."""
    layer = ft.Conv1d(32, 16, 8, groups=4)
    bound = (4 / (32 * 8)) ** 0.5
    for values in (layer.weight.detach(), layer.bias.detach()):  # type: ignore[union-attr]
        assert 0.8 * bound < values.abs().max() <= bound


def test_output_size_as_torch() -> None:
    theirs, mine = pair(4, 6, 3, 2, dilation=2)
    x = torch.randn(1, 4, 5)
    for size in ([13], (14,), [1, 6, 13], torch.Size([1, 6, 14])):
        torch.testing.assert_close(mine(x, size), theirs(x, list(size)))
        torch.testing.assert_close(mine(x, output_size=size), theirs(x, output_size=list(size)))
    assert mine(x, 14).shape == (1, 6, 14)
    for wrong in ((12,), (15,), [1, 2, 3, 4]):
        for layer in (theirs, mine):
            with pytest.raises(ValueError, match=r"output_size|valid sizes"):
                layer(x, wrong)


def traced_with(layer: nn.Module, x: torch.Tensor, size: list[int]) -> torch.Tensor:
    layer.requires_grad_(False)
    result: torch.Tensor = torch.jit.trace(lambda x: layer(x, size), (x,), check_trace=False)(x)
    return result


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("entries", range(5))
def test_output_size_has_one_entry_or_one_for_each_dimension(dimensions: int, entries: int) -> None:
    theirs, mine = pair(4, 6, 3, 2)
    x = torch.randn(1, 4, 5)[0 if dimensions == 2 else ...]
    size = [7] * (entries - 1) + [12] * (entries > 0)
    compiled = torch.compile(mine, backend="eager", fullgraph=True)
    for layer in (theirs, mine, compiled, partial(traced_with, mine)):
        if entries in (1, dimensions):
            assert layer(x, size).shape[-1] == 12
        else:
            with pytest.raises(Exception, match=r"[oO]utput_size"):
                layer(x, size)
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "kernel_size", "groups"])
@pytest.mark.parametrize(("value", "error"), [("3", TypeError), (2.0, TypeError), (0, ValueError)])
@KINDS
def test_a_wrong_size_is_named(kind: str, name: str, value: Any, error: type[Exception]) -> None:
    sizes: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, name: value}
    with pytest.raises(error, match=f"^{name} must be a positive int, got {value!r}$"):
        getattr(ft, kind)(**sizes)


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("padding", [1, (0, 3), "same", "causal", "valid"])
def test_bits_of_the_numpy_layer(mode: str, padding: Any) -> None:
    layer = ft.ConvTranspose1d(4, 6, 5, 2, padding, groups=2, padding_mode=mode)
    assert layer.bias is not None
    own = fs.ConvTranspose1d.from_weights(
        layer.weight.detach().numpy(),
        layer.bias.detach().numpy(),
        2,
        padding,
        groups=2,
        padding_mode=mode,
    )
    x = torch.randn(2, 4, 9)
    want = own(x.numpy())
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            for _ in range(2):
                got = layer(x)
                assert got.requires_grad == grad
                assert got.detach().numpy().tobytes() == want.tobytes()
    with torch.inference_mode():
        assert layer(x).numpy().tobytes() == want.tobytes()


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("padding", [1, (0, 3), "causal", "valid", 9])
def test_bits_of_the_numpy_conv1d(mode: str, padding: Any) -> None:
    layer = ft.Conv1d(4, 6, 5, 2, padding, groups=2, padding_mode=mode)
    assert layer.bias is not None
    sizes: dict[str, Any] = {"groups": 2, "padding_mode": mode}
    parameters = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    own = fs.Conv1d.from_weights(*parameters, 2, padding, **sizes)
    x = torch.randn(2, 4, 7)  # shorter than some of the paddings
    want = own(x.numpy())
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            for _ in range(2):
                got = layer(x)
                assert got.requires_grad == grad
                assert got.detach().numpy().tobytes() == want.tobytes()
    with torch.inference_mode():
        assert layer(x).numpy().tobytes() == want.tobytes()


def test_a_conv1d_pads_as_torch_once_it_is_torchs() -> None:
    """Torch's own ``forward`` reads the attributes of ours where it can do what they say."""
    for padding in (1, (0, 3), "same", "valid"):
        for mode in PADDING_MODES:
            if mode == "zeros" and padding == (0, 3):
                continue
            layer = ft.Conv1d(4, 6, 4, 1, padding, 2, padding_mode=mode)
            x = torch.randn(1, 4, 9)
            torch.testing.assert_close(nn.Conv1d.forward(layer, x), layer(x))


def test_repr_shows_what_is_new() -> None:
    assert "padding=causal" in repr(ft.ConvTranspose1d(4, 6, 5, 2, "causal"))
    assert "padding=(0, 3)" in repr(ft.ConvTranspose1d(4, 6, 5, 2, (0, 3)))
    assert "padding_mode=reflect" in repr(ft.ConvTranspose1d(4, 6, 5, padding_mode="reflect"))
    assert "padding=causal" in repr(ft.Conv1d(4, 6, 5, 2, "causal"))
    assert "padding=(0, 3)" in repr(ft.Conv1d(4, 6, 5, 2, (0, 3)))


CONSTRUCTION: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"kernel_size": -1}, RuntimeError),
    ({"kernel_size": "a"}, TypeError),
    ({"kernel_size": 2.5}, TypeError),
    ({"in_channels": -4}, RuntimeError),
    ({"in_channels": 4.0}, TypeError),
    ({"in_channels": "a"}, TypeError),
    ({"groups": 0}, ValueError),
    ({"groups": 3}, ValueError),
    ({"groups": 1.0}, TypeError),
    ({"padding_mode": "mirror"}, ValueError),
    ({"dtype": torch.int64}, RuntimeError),
]


@pytest.mark.parametrize(("wrong", "error"), CONSTRUCTION, ids=repr)
@KINDS
def test_errors_at_construction_as_torch(
    kind: str, wrong: dict[str, Any], error: type[Exception]
) -> None:
    sizes: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3}
    for library in (nn, ft):
        with pytest.raises(error):
            getattr(library, kind)(**(sizes | wrong))


@pytest.mark.parametrize(
    "wrong", [{"padding": "full"}, {"padding": "same", "stride": 2}, {"padding_mode": "mirror"}]
)
def test_errors_of_conv1d_at_construction_as_torch(wrong: dict[str, Any]) -> None:
    for cls in (nn.Conv1d, ft.Conv1d):
        with pytest.raises(ValueError, match="padding"):
            cls(4, 4, 3, **wrong)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"stride": 0}, ValueError),
        ({"stride": 1.5}, TypeError),
        ({"padding": "full"}, ValueError),
        ({"padding": -1}, ValueError),
        ({"output_padding": 5}, ValueError),
        ({"dilation": 0}, ValueError),
        ({"padding_mode": 3}, TypeError),
    ],
    ids=repr,
)
def test_errors_at_construction_that_torch_has_later(
    wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(wrong))):
        ft.ConvTranspose1d(4, 4, 3, **wrong)
    if "output_padding" not in wrong:
        with pytest.raises(error, match=next(iter(wrong))):
            ft.Conv1d(4, 4, 3, **wrong)


def through_torch_save(layer: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m)), through_torch_save],
)
@KINDS
def test_copies(kind: str, duplicate: Callable[[Any], Any]) -> None:
    layer = example(kind, padding="causal", padding_mode="reflect")
    x = torch.randn(2, 4, 9)
    with torch.no_grad():
        want = layer(x)
        twin = duplicate(layer)
        assert torch.equal(twin(x), want)
        if twin.weight is not layer.weight:
            twin.weight.zero_()
            assert torch.equal(layer(x), want)
            assert not torch.equal(twin(x), want)
    assert repr(twin) == repr(layer)
    assert list(twin.state_dict()) == ["weight", "bias"]


@KINDS
def test_hooks_moves_and_modes(kind: str) -> None:
    layer = example(kind, padding=1)
    seen: list[str] = []
    layer.register_forward_pre_hook(lambda m, a: seen.append("before"))
    layer.register_forward_hook(lambda m, a, y: seen.append("after"))
    layer.register_full_backward_hook(lambda m, gi, go: seen.append("backward"))
    layer(torch.randn(1, 4, 3, requires_grad=True)).sum().backward()
    assert seen == ["before", "after", "backward"]
    for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.complex64):
        with torch.no_grad():
            moved = copy.deepcopy(layer).to(dtype)
            assert moved(torch.randn(1, 4, 3).to(dtype)).dtype == dtype
    meta = copy.deepcopy(layer).to("meta")
    assert meta(torch.randn(1, 4, 3, device="meta")).device.type == "meta"
    empty = meta.to_empty(device="cpu")
    empty.load_state_dict(layer.state_dict())
    x = torch.randn(1, 4, 3)
    assert torch.equal(empty(x), layer(x))
    with torch.device("meta"):
        assert example(kind).weight.device.type == "meta"


@KINDS
def test_channels_last_weight(kind: str) -> None:
    layer = example(kind)
    x = torch.randn(2, 4, 9)
    with torch.no_grad():
        want = layer(x)
        layer.weight = nn.Parameter(layer.weight.mT.contiguous().mT)
        assert not layer.weight.is_contiguous()
        for _ in range(2):
            assert torch.equal(layer(x), want)


# -- packed weights


def edits() -> dict[str, Callable[[Any], Any]]:
    def optimiser_step(layer: Any) -> None:
        with torch.enable_grad():
            layer(torch.ones(1, 4, 9)).pow(2).sum().backward()
        torch.optim.SGD(layer.parameters(), 0.1).step()

    def one_element(layer: Any) -> None:
        with torch.no_grad():
            layer.weight[3, 3, 4] += 1

    def load(layer: Any) -> None:
        layer.load_state_dict(type(layer)(4, 6, 5, 2).state_dict())

    def load_assign(layer: Any) -> None:
        layer.load_state_dict(type(layer)(4, 6, 5, 2).state_dict(), assign=True)

    def parametrized(layer: Any) -> None:
        parametrizations.weight_norm(layer)
        with torch.no_grad():
            layer(torch.ones(1, 4, 9))
            layer.parametrizations.weight.original0.mul_(2)  # type: ignore[union-attr, operator]

    def removed(layer: Any) -> None:
        parametrized(layer)
        parametrize.remove_parametrizations(layer, "weight")

    return {
        "optimiser step": optimiser_step,
        "one element": one_element,
        "data": lambda m: m.weight.data.mul_(2),
        "data of one element": lambda m: m.weight.data.view(-1)[7:8].fill_(3),
        "data swapped": lambda m: setattr(m.weight, "data", m.weight.data * 2),
        "numpy": lambda m: np.multiply(m.weight.detach().numpy(), 2, out=m.weight.data.numpy()),
        "parameter": lambda m: setattr(m, "weight", nn.Parameter(m.weight.detach() * 2)),
        "load_state_dict": load,
        "load_state_dict assign": load_assign,
        "reset_parameters": lambda m: m.reset_parameters(),
        "dtype and back": lambda m: m.to(torch.bfloat16).to(torch.float32),
        "parametrisation": parametrized,
        "parametrisation removed": removed,
        "stride": lambda m: setattr(m, "stride", (3,)),
        "dilation": lambda m: setattr(m, "dilation", (2,)),
        "bias": lambda m: m.bias.data.add_(1),
    }


@pytest.mark.parametrize("edit", edits())
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
@KINDS
def test_packed_weight_is_never_stale(kind: str, edit: str, guard: Any) -> None:
    torch.manual_seed(0)
    layer = example(kind)
    x = torch.randn(2, 4, 9)
    with guard():
        before = layer(x)
        assert torch.equal(layer(x), before)
    edits()[edit](layer)
    with guard():
        after = layer(x)
        weight, bias = layer.weight, layer.bias
    function = ft.conv1d if kind == "Conv1d" else ft.conv_transpose1d
    want = function(x, weight.detach().clone(), bias, layer.stride, dilation=layer.dilation)
    assert torch.equal(after, want)
    assert not torch.equal(after, before)


@KINDS
def test_weight_of_inference_mode(kind: str) -> None:
    function = ft.conv1d if kind == "Conv1d" else ft.conv_transpose1d
    with torch.inference_mode():
        layer = example(kind)
        x = torch.randn(2, 4, 9)
        before = layer(x)
        layer.weight.mul_(2)
        assert not torch.equal(layer(x), before)
        assert torch.equal(layer(x), function(x, layer.weight, layer.bias, 2))


@KINDS
def test_packs_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[Any] = []
    pack = kernels.pack

    def counting(*arguments: Any) -> Any:
        packed.append(arguments)
        return pack(*arguments)

    monkeypatch.setattr(kernels, "pack", counting)
    for dtype in (torch.float32, torch.bfloat16, torch.complex64):
        layer, x = example(kind, dtype=dtype), torch.randn(2, 4, 9).to(dtype)
        packed.clear()
        with torch.no_grad():
            for length in (7, 9, 5):
                layer(x[..., :length])
                layer(x[0, :, :length])
        layer.requires_grad_(False)
        layer(x)
        assert len(packed) == 1


def test_two_threads() -> None:
    torch.manual_seed(0)
    weights = [torch.randn(8, 8, 5) for _ in range(2)]
    x = torch.randn(1, 8, 20)
    wanted = [ft.conv_transpose1d(x, w) for w in weights]
    shared, wrong = PackedWeights(), []

    def work(which: int) -> None:
        for _ in range(300):
            g = fs.Geometry(5)
            y = kernels.forward(x, weights[which], None, g, 1, shared.pack)
            if not torch.equal(y, wanted[which]):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
