"""The profiler shows every call once with its shapes, on every path of the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import fracstride.torch as ft
from fracstride.torch import profiling

NAME = "conv_transpose1d"


def events(call: Callable[[], Any], operands: int = 3) -> list[tuple[Any, ...]]:
    """``(name, times called, shape, ...)`` of this library's entries in the profile."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as watched:
        call()
    return sorted(
        (event.key.removeprefix("fracstride::"), event.count, *event.input_shapes[:operands])
        for event in watched.key_averages(group_by_input_shape=True)
        if event.key.startswith("fracstride::")
    )


def test_without_gradients() -> None:
    layer, x = ft.ConvTranspose1d(4, 6, 5, 2), torch.randn(2, 4, 9)

    @torch.no_grad()
    def calls() -> None:
        for _ in range(3):
            layer(x)

    calls()  # warm: nothing but the kernel is left
    assert events(calls) == [(NAME, 3, [2, 4, 9], [4, 6, 5], [6])]
    stream = ft.stream(layer, batch_size=2)
    with torch.no_grad():
        assert events(lambda: stream.push(x)) == [(NAME, 1, [2, 4, 9], [4, 6, 5], [6])]


def test_of_a_conv1d() -> None:
    layer, x = ft.Conv1d(4, 6, 5, 2, 1), torch.randn(2, 4, 9, requires_grad=True)
    seen = [
        ("conv1d", 1, [2, 4, 9], [6, 4, 5]),
        ("conv1d_input_grad", 1, [2, 6, 4], [6, 4, 5]),
        ("conv1d_weight_grad", 1, [2, 4, 9], [2, 6, 4]),
    ]
    assert events(lambda: layer(x).sum().backward(), operands=2) == seen
    with torch.no_grad():
        assert events(lambda: layer(x), operands=2) == seen[:1]


def test_with_gradients_of_any_order() -> None:
    layer, x = ft.ConvTranspose1d(4, 6, 5, 2), torch.randn(2, 4, 9, requires_grad=True)
    y_shape = [2, 6, 21]
    assert events(lambda: layer(x).sum().backward(), operands=2) == [
        (NAME, 1, [2, 4, 9], [4, 6, 5]),
        (f"{NAME}_input_grad", 1, y_shape, [4, 6, 5]),
        (f"{NAME}_weight_grad", 1, [2, 4, 9], y_shape),
    ]

    def twice() -> None:
        y = layer(x)
        (gx,) = torch.autograd.grad(y, x, torch.ones_like(y, requires_grad=True), create_graph=True)
        gx.sum().backward()

    seen = [event[0] for event in events(twice)]  # forward, and as the gradient's gradient
    assert seen == [NAME, NAME, f"{NAME}_input_grad", f"{NAME}_weight_grad"]


def test_the_operators_are_seen_once() -> None:
    x, w = torch.randn(2, 4, 9), torch.randn(4, 6, 5)
    call = torch.ops.fracstride.conv_transpose1d
    of = [2, 4, 9], [4, 6, 5]
    seen = events(lambda: call(x, w, None, 2, 0, 0, 0, 4, 1, "zeros"), operands=2)
    assert seen == [(NAME, 1, *of)]
    seen = events(lambda: torch.func.vmap(lambda x: ft.conv_transpose1d(x, w))(x), operands=2)
    assert [event[:2] for event in seen] == [(NAME, 1)]


def test_the_same_bits() -> None:
    model = nn.Sequential(ft.ConvTranspose1d(4, 6, 5, 2), ft.ConvTranspose1d(6, 2, 5, 3))
    x = torch.randn(2, 4, 9, requires_grad=True)

    def run() -> list[torch.Tensor]:
        y = model(x)
        return [y.detach(), *torch.autograd.grad(y.pow(2).sum(), [x, *model.parameters()])]

    want, got = run(), list[torch.Tensor]()
    assert len(events(lambda: got.extend(run()))) == 6
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.fixture
def nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("recorded without a profiler")

    monkeypatch.setattr(profiling._TORCHS._profiler, "_RecordFunctionFast", refuse)


@pytest.mark.usefixtures("nothing_recorded")
def test_nothing_is_recorded_without_a_profiler() -> None:
    layer, x = ft.ConvTranspose1d(4, 6, 5, 2), torch.randn(2, 4, 9, requires_grad=True)
    layer(x).sum().backward()
    with torch.no_grad():
        layer(x)
    with pytest.raises(AssertionError, match="without a profiler"):
        profiling.recorded("conv_transpose1d", torch.zeros_like, x)
