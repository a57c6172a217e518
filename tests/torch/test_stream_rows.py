"""Rows of a batch that begin and end on their own, of streams of modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import Case, cases
from hypothesis import given
from hypothesis import strategies as st
from streams import STEPS, check_rows, scheduled
from test_invariances import random_layers
from torch import nn
from torch_nets import Net, as_arrays, stream_of
from torch_streams import OnArrays

import fracstride.torch
from fracstride.extension import STREAMING_MODES
from fracstride.streaming import Chain, Identity, Stream, Sum

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
of = fracstride.torch.stream


@pytest.mark.usefixtures("isa")
@random_layers
@given(cases(), st.sampled_from(STREAMING_MODES), STEPS, st.booleans())
def test_random_layers(case: Case, mode: str, steps: Any, grad: bool) -> None:
    g = case.geometry
    layer = fracstride.torch.ConvTranspose1d(
        case.in_channels,
        case.out_channels,
        g.kernel_size,
        g.stride,
        g.padding,
        g.output_padding,
        case.groups,
        case.bias,
        g.dilation,
        mode,
    )
    with torch.set_grad_enabled(grad):
        check_rows(
            lambda rows: OnArrays(of(layer, rows)),
            as_arrays(layer),
            case.in_channels,
            np.float32,
            steps,
            lambda frames: scheduled(of(layer)._geometry, frames),
        )


@pytest.mark.usefixtures("isa")
@random_layers
@given(st.data(), STEPS)
def test_random_nets(data: st.DataObject, steps: Any) -> None:
    def pick(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    net = Net(pick, 2 * pick(1, 2), torch.float32, batched=True)
    module = net.module()
    with torch.no_grad():
        check_rows(
            lambda rows: OnArrays(stream_of(net, module, rows)),
            as_arrays(net.offline),
            net.channels,
            np.float32,
            steps,
            net.due,
        )


def block() -> tuple[Any, nn.Module]:
    torch.manual_seed(0)
    up = nn.ConvTranspose1d(2, 4, 8, 4, 2)
    inner = nn.Sequential(nn.Tanh(), nn.ReflectionPad1d(3), nn.Conv1d(4, 4, 3, dilation=3))
    module = nn.Sequential(up, inner).double()
    return (
        lambda rows: Chain(of(module[0], rows), Sum(Identity(), of(module[1], rows))),
        module,
    )


def test_gradients_of_rows() -> None:
    make, module = block()
    lengths = (9, 5, 12)
    signals = [torch.randn(2, n, dtype=torch.float64, requires_grad=True) for n in lengths]
    leaves = [*signals, *module.parameters()]

    def offline(x: Any) -> Any:
        y = module[0](x[None])
        return (y + module[1](y))[0]

    wanted = [offline(x) for x in signals]
    stream: Stream = make(3)
    heard: list[list[Any]] = [[], [], []]
    # Row 1 begins late, all end on their own, two frames at a time.
    starts = (0, 3, 1)
    for t in range(0, 14, 2):
        pieces, active = [], []
        for x, first in zip(signals, starts, strict=True):
            at = t - 2 * first
            chunk = x[:, max(at, 0) : max(at + 2, 0)]
            whole = chunk.shape[-1] == 2
            active.append(whole)
            pieces.append(chunk if whole else torch.zeros(2, 2).double())
        y = stream.push(torch.stack(pieces), active=active)
        for row in range(3):
            heard[row].append(y[row, :, : stream.lengths[row]])
    # What was left over: a last frame of the odd ones.
    for row, (x, first) in enumerate(zip(signals, starts, strict=True)):
        given = max(0, (14 - 2 * first)) // 2 * 2
        rest = x[:, min(given, x.shape[-1] // 2 * 2) :]
        mask = [i == row for i in range(3)]
        y = stream.finish(rest.expand(3, *rest.shape), rows=mask)
        heard[row].append(y[row, :, : stream.lengths[row]])
    got = [torch.cat(pieces, -1) for pieces in heard]
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)
    weights = [torch.randn_like(y) for y in wanted]
    gradients = [
        torch.autograd.grad(sum((y * w).sum() for y, w in zip(ys, weights, strict=True)), leaves)
        for ys in (got, wanted)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_in_steady_state_share_a_call(monkeypatch: Any) -> None:
    """Rows at any progress share one call of the kernel."""
    calls = []
    stream = of(nn.Conv1d(2, 2, 5, padding=2), 3)
    compute = stream.compute  # type: ignore[attr-defined]
    monkeypatch.setattr(stream, "compute", lambda *args: calls.append(0) or compute(*args))
    x = torch.randn(3, 2, 9)
    for first in range(3):
        stream.push(x, active=[first <= row for row in range(3)])
    assert stream._counts.tolist() == [9, 18, 27]  # type: ignore[attr-defined]
    calls.clear()
    y = stream.push(x)
    assert len(calls) == 1
    assert stream.lengths.tolist() == [9, 9, 9] == [y.shape[-1]] * 3
    stream.flush(rows=[True, False, True])
    calls.clear()
    stream.push(x)
    assert len(calls) == 2


def test_what_is_no_mask() -> None:
    stream = of(nn.Sequential(nn.ZeroPad1d(1), nn.ConvTranspose1d(2, 2, 4, 2, 1)), 2)
    x = torch.randn(2, 2, 5)
    for mask in ([1, 0], [True], torch.ones(2), [[True, False]]):
        with pytest.raises(ValueError, match="active must be a mask of 2 bools"):
            stream.push(x, active=mask)
        with pytest.raises(ValueError, match="rows must be a mask of 2 bools"):
            stream.flush(rows=mask)
    stream.push(x, active=torch.tensor([True, False]))  # a tensor is a mask, too
    assert stream.lengths.tolist() == [11, 0]
    alone = of(nn.Conv1d(2, 2, 3), None)
    for call in (lambda: alone.push(x[0], active=[True]), lambda: alone.flush(rows=[True])):
        with pytest.raises(ValueError, match="must be None for a stream that has no batch"):
            call()
