"""In eval mode a changed weight is noticed without looking at all of it."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import fracstride as fs
import fracstride.torch as ft
from fracstride.torch import packed
from fracstride.torch.packed import PackedWeights

Layer = ft.ConvTranspose1d
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64)


def large(dtype: torch.dtype = torch.float32) -> ft.ConvTranspose1d:
    """A layer whose weight is not looked at as a whole: 64 * 96 * 11 numbers."""
    torch.manual_seed(0)
    layer = Layer(64, 96, 11, 2, dtype=dtype).eval()
    with torch.no_grad():
        layer.weight[5, 7, 3] = 3  # outliers, which a clamp changes alone
        layer.weight[50, 70, 9] = -3
    return layer


def check(layer: Any, edit: Callable[[Any], Any], guard: Any = torch.no_grad) -> None:
    """A call after the edit packs the weight again."""
    x = torch.randn(1, 64, 1, dtype=layer.weight.dtype)
    with guard():
        before = layer(x)
        assert torch.equal(layer(x), before)
        before = packed_of(layer)
    edit(layer)
    with guard():
        after = layer(x)
        want = ft.conv_transpose1d(x, layer.weight.detach().clone(), layer.bias, 2)
    assert torch.equal(after, want)
    assert packed_of(layer) is not before


def packed_of(layer: Any) -> Any:
    """The object that was packed last."""
    last = layer._packed_weights._packed
    assert last is not None
    return last[3]


def whole_edits() -> dict[str, Callable[[Any], Any]]:
    """Changes of the whole weight that its version counter does not see."""
    return {
        "mul_": lambda w: w.mul_(1.5),
        "copy_": lambda w: w.copy_(torch.randn_like(w)),
        "zero_": lambda w: w.zero_(),
        "clamp_ of outliers": lambda w: w.clamp_(-1, 1),
        "clamp_ from above": lambda w: w.clamp_(max=1),
        "clamp_ from below": lambda w: w.clamp_(min=-1),
        "relu_": lambda w: w.relu_(),
        "a threshold": lambda w: w.masked_fill_(w.abs() <= w.abs().min(), 0),
        "a mask": lambda w: w.mul_(torch.rand_like(w) > 0.02),
    }


@pytest.mark.parametrize("edit", whole_edits())
@pytest.mark.parametrize("dtype", DTYPES[:-1], ids=str)
def test_data_of_the_whole_weight(edit: str, dtype: torch.dtype) -> None:
    check(large(dtype), lambda m: whole_edits()[edit](m.weight.data))


def test_data_of_the_whole_complex_weight() -> None:
    for edit in ("mul_", "copy_", "zero_"):
        check(large(torch.complex64), lambda m, e=edit: whole_edits()[e](m.weight.data))


def other_edits() -> dict[str, Callable[[Any], Any]]:
    """Changes of a single number that are not made behind torch's back."""

    def in_place(layer: Any) -> None:
        with torch.no_grad():
            layer.weight[63, 95, 10] += 1

    def step(layer: Any) -> None:
        layer.weight.grad = torch.zeros_like(layer.weight)
        layer.weight.grad[3, 4, 5] = 1
        torch.optim.SGD([layer.weight], 0.5).step()

    def load(layer: Any, assign: bool = False) -> None:
        state = {key: value.clone() for key, value in layer.state_dict().items()}
        state["weight"][3, 4, 5] += 1
        layer.load_state_dict(state, assign=assign)

    def new_parameter(layer: Any) -> None:
        weight = layer.weight.detach().clone()
        weight[3, 4, 5] += 1
        layer.weight = nn.Parameter(weight)

    def moved(layer: Any) -> None:
        layer.to(torch.float64)
        in_place(layer)
        layer.to(torch.float32)

    def data_swapped(layer: Any) -> None:
        weight = layer.weight.detach().clone()
        weight[3, 4, 5] += 1
        layer.weight.data = weight

    def trained(layer: Any) -> None:
        layer.train()(torch.ones(1, 64, 1))
        layer.weight.data[3, 4, 5] += 1
        layer.eval()

    return {
        "in place": in_place,
        "optimiser step": step,
        "load_state_dict": load,
        "load_state_dict, assigned": lambda m: load(m, assign=True),
        "another parameter": new_parameter,
        "to and back": moved,
        "data swapped": data_swapped,
        "training in between": trained,
    }


@pytest.mark.parametrize("edit", other_edits())
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_one_number(edit: str, guard: Any) -> None:
    check(large(), other_edits()[edit], guard)


def test_one_number_of_an_inference_tensor() -> None:
    """It has no version counter, so all of it is compared."""
    with torch.inference_mode():
        layer = large()

        def edit(layer: Any) -> None:
            with torch.inference_mode():
                layer.weight[3, 4, 5] += 1

        check(layer, edit, torch.inference_mode)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_one_number_of_a_parametrised_weight(guard: Any) -> None:
    """Each call has a new tensor, often at the address of the one before."""

    class Same(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight.clone()

    layer = large()
    parametrize.register_parametrization(layer, "weight", Same())

    def edit(layer: Any) -> None:
        with torch.no_grad():
            layer.parametrizations.weight.original[3, 4, 5] += 1

    check(layer, edit, guard)
    layer = large()
    parametrizations.weight_norm(layer)

    def edit_norm(layer: Any) -> None:
        with torch.no_grad():
            layer.parametrizations.weight.original1[3, 4, 5] += 1

    check(layer, edit_norm, guard)


def test_another_tensor_at_the_same_address_and_version() -> None:
    layer = large()

    def edit(layer: Any) -> None:
        old = layer.weight
        address, version = old.data_ptr(), old._version
        values = old.detach().numpy().copy()
        values[3, 4, 5] += 1
        memory = (ctypes.c_float * values.size).from_address(address)
        keep.append(old.untyped_storage())  # the memory stays, the tensor goes
        new = torch.frombuffer(memory, dtype=torch.float32).view(old.shape)
        memory[:] = values.reshape(-1).tolist()
        del layer.weight, old
        gc.collect()
        layer.weight = nn.Parameter(new)
        while layer.weight._version < version:
            with torch.no_grad():
                layer.weight.add_(0)
        assert (layer.weight.data_ptr(), layer.weight._version) == (address, version)

    keep: list[Any] = []
    check(layer, edit)


def test_a_view_of_another_shape_or_dtype() -> None:
    """``weight.data = ...`` may keep the tensor, the address and the version."""
    layer = Layer(64, 64, 16, 2, bias=False).eval()
    views: list[Callable[[Tensor], Tensor]] = [
        lambda w: w,
        lambda w: w.view(64, 16, 64),
        lambda w: w.view(torch.complex64),
        lambda w: w.view(torch.float32).mT,
    ]
    for view in views:
        layer.weight.data = view(layer.weight.data)
        x = torch.randn(1, 64, 1, dtype=layer.weight.dtype)
        with torch.no_grad():
            for _ in range(2):
                assert torch.equal(layer(x), ft.conv_transpose1d(x, layer.weight, None, 2))


def test_many_frames_look_at_each_row_column_and_tap() -> None:
    x = torch.randn(1, 64, 500)
    for place in ((7,), (slice(None), 7), (slice(None), slice(None), 7)):
        layer = large()
        with torch.no_grad():
            layer(x)
            layer.weight.data[place] += 1
            assert torch.equal(layer(x), ft.conv_transpose1d(x, layer.weight, layer.bias, 2))


def test_training_compares_all_and_eval_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    same_bytes = packed._same_bytes

    def counting(a: Tensor, b: Tensor) -> bool:
        compared.append(a.numel())
        return same_bytes(a, b)

    monkeypatch.setattr(packed, "_same_bytes", counting)
    layer, x = large(), torch.randn(1, 64, 2)
    with torch.no_grad():
        for _ in range(5):
            layer(x)
        assert not compared
        layer.train()
        for _ in range(5):
            layer(x)
        assert len(compared) == 5
        layer.weight.data[3, 4, 5] += 1
        assert torch.equal(layer(x), ft.conv_transpose1d(x, layer.weight, layer.bias, 2))
        stream = ft.stream(layer.eval())
        compared.clear()
        for _ in range(5):
            stream.push(x)
        assert len(compared) == 0
        layer.train()
        for _ in range(5):
            stream.push(x)
        assert len(compared) == 5


@pytest.mark.parametrize("layer", [ft.ConvTranspose1d(64, 64, 9, 2), ft.Conv1d(64, 64, 9, 2)])
def test_an_edit_between_train_and_eval_is_noticed(layer: Any) -> None:
    x, model = torch.randn(1, 64, 20), torch.nn.Sequential(layer).eval()
    with torch.no_grad():
        model(x)
        model.train()
        layer.weight.data[:, 4, 5] += 1
        model.eval()
        fresh = type(layer)(64, 64, 9, 2)
        fresh.load_state_dict(layer.state_dict())
        assert torch.equal(model(x), fresh(x))


def test_a_weight_that_is_gone() -> None:
    """The kept weight holds no parameter alive."""
    kept, layer = PackedWeights(), large()
    kept.pack(layer.weight, fs.Geometry(11, 2), 1)
    seen = kept._seen
    assert seen is not None
    assert seen[0]() is layer.weight
    del layer
    gc.collect()
    assert seen[0]() is None


def test_nothing_is_written_where_a_layer_outlives_the_interpreter() -> None:
    """As the modules that torch's DDP holds do."""
    code = """
import ctypes, torch, fracstride.torch as ft
layer = ft.Conv1d(1, 1, 3).eval().requires_grad_(False)
layer(torch.ones(1, 1, 5))
ctypes.pythonapi.Py_IncRef(ctypes.py_object(layer._packed_weights))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
