"""Streams of compiled modules: the bits of their compiled output, in any chunks."""

from __future__ import annotations

import gc
import os
import random
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from capture_models import MODELS, model
from drawn_modules import KINDS, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from network_streams import check_streams, ways
from other_models import OTHER_MODELS, encodec_48k
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

import fracstride as fs
import fracstride.torch
from fracstride.network.layout import TIME
from fracstride.streaming.testing import assert_streams_exactly

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "6"))


def check(compiled: Any, inputs: tuple[Tensor, ...], rng: np.random.Generator) -> None:
    """The stream of a compiled module against its output for whole inputs."""
    layouts = compiled._captured.example.layouts
    axes = [a.index(TIME) for a in compiled._captured.assembled.output_axes]
    timed = [
        (x, layout) for x, layout in zip(inputs, layouts, strict=True) if layout.time is not None
    ]
    constants = [x for x, layout in zip(inputs, layouts, strict=True) if layout.time is None]
    batch = max(
        [x.shape[0] for x, layout in zip(inputs, layouts, strict=True) if layout.batched] or [1]
    )
    ticks = timed[0][0].shape[timed[0][1].time] // timed[0][1].per_clock
    expected, structure = tree_flatten(compiled(*inputs))
    stream = compiled.stream(batch, constants)
    for sizes in ways(ticks, rng, min(stream.schedule.period, ticks)):
        pieces: list[list[Any]] = [[] for _ in expected]
        now = 0
        for size in [*sizes, None]:
            if size is None:
                given = stream.flush()
            else:
                given = stream.push(
                    *(
                        x.narrow(layout.time, now * layout.per_clock, size * layout.per_clock)
                        for x, layout in timed
                    )
                )
                now += size
            found, own = tree_flatten(given)
            assert own == structure
            for so_far, piece in zip(pieces, found, strict=True):
                so_far.append(piece)
        time = iter(axes)
        for so_far, wanted in zip(pieces, expected, strict=True):
            if isinstance(wanted, Tensor):
                joined = torch.cat(so_far, next(time))
                assert joined.dtype == wanted.dtype
                np.testing.assert_array_equal(joined.numpy(), wanted.numpy())
            else:
                assert so_far == [wanted] * len(so_far)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_modules(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    module = KINDS[kind](random.Random(seed).randint).eval()
    time = (-1, -1, None) if kind == "mixed_rates" else -1
    compiled = fracstride.torch.compile(module, *examples(kind, module, 1, 12), time=time)
    foreign = [n for n in compiled.network.graph.nodes if n.operation.name.startswith("torch")]
    rng = np.random.default_rng(seed)
    for clock in (compiled.least, compiled.least + 1, 33):
        batched = any(layout.batched for layout in compiled._captured.example.layouts)
        inputs = examples(kind, module, int(rng.integers(1, 4)) if batched else 1, clock)
        if foreign:
            with pytest.raises(ValueError, match="looks at the whole signal"):
                compiled.stream(len(inputs[0]), inputs[2:])
        else:
            check(compiled, inputs, rng)


@pytest.mark.parametrize("name", MODELS)
def test_models_of_the_benchmark(name: str) -> None:
    pytest.importorskip("transformers")
    module, make, time = model(name)
    encoder = name in ("encodec_encoder", "dac_encoder")
    compiled = fracstride.torch.compile(module, make(1, 80 if encoder else 12), time=time)
    rows = 1 if name == "bigvgan" else 2
    for length in (compiled.least, 24 * (8 if encoder else 1)):
        check(compiled, (make(rows, length),), np.random.default_rng(0))


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_other_models(name: str) -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    module, make, time = OTHER_MODELS[name]()
    compiled = fracstride.torch.compile(module.eval(), *make(1, 12), time=time)
    if name in ("encodec_48k_decoder", "wav2vec2_group_norm"):
        with pytest.raises(ValueError, match=r"norm \(torch group_norm\) looks at the whole"):
            compiled.stream()
    else:
        check(compiled, make(2, 14), np.random.default_rng(0))


def test_a_norm_over_time_is_named() -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    module, make, time = encodec_48k()
    compiled = fracstride.torch.compile(module.eval(), *make(1, 12), time=time)
    with pytest.raises(
        ValueError, match=r"layers\.0\.norm \(torch group_norm\) looks at the whole"
    ):
        compiled.stream()


class Softmax(nn.Module):
    """Over channels in one of two axes, which this library does not know."""

    def forward(self, x: Tensor) -> Tensor:
        rows, channels, length = x.shape
        return x.view(rows, 2, channels // 2, length).softmax(1).view(rows, channels, length)


def test_elementwise() -> None:
    """A submodule that the library does not know runs in torch, if its user vouches for it."""
    module = nn.Sequential(nn.Conv1d(4, 8, 3, padding=1), Softmax(), nn.ConvTranspose1d(8, 2, 4, 2))
    x = torch.randn(1, 4, 30)
    compiled = fracstride.torch.compile(module, x)
    with pytest.raises(ValueError, match=r"1 \(torch _?softmax\).*elementwise="):
        compiled.stream()
    stream = compiled.stream(elementwise=(Softmax,))
    also = fracstride.torch.stream(module, elementwise=Softmax, example=x)
    for each in (stream, also):
        found = torch.cat([each.push(x[..., :11]), each.push(x[..., 11:]), each.flush()], -1)
        # (torch rounds a number in another way at the end of a tensor.)
        torch.testing.assert_close(found, compiled(x))


def test_tensors_and_states() -> None:
    """What every stream promises, of one of tensors whose axes are those of the module."""

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)
            self.up = nn.ConvTranspose1d(4, 2, 6, stride=3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(self.lstm(x.transpose(1, 2))[0].transpose(1, 2))

    module = Last()
    x = torch.randn(3, 3, 17)
    compiled = fracstride.torch.compile(module, x)
    assert_streams_exactly(compiled.stream(3), compiled, x, another=compiled.stream(3))
    half = compiled.astype("bfloat16")
    assert_streams_exactly(half.stream(3), half, x.bfloat16())


def test_wrong_chunks() -> None:
    compiled = fracstride.torch.compile(nn.Conv1d(3, 2, 3), torch.randn(1, 3, 10))
    stream = compiled.stream(2)
    with pytest.raises(ValueError, match="chunk must have a batch of 2, got 1"):
        stream.push(torch.randn(1, 3, 4))
    with pytest.raises(ValueError, match=r"shape \(B, 3, T\)"):
        stream.push(torch.randn(2, 4, 4))
    with pytest.raises(TypeError, match="tensor"):
        stream.push(np.ones((2, 3, 4), np.float32))
    with pytest.raises(TypeError, match="float64"):
        stream.push(torch.randn(2, 3, 4).double())
    assert stream.push(torch.randn(2, 3, 4)).shape == (2, 2, 2)


def test_a_saved_network(tmp_path: Path) -> None:
    """What is saved streams without torch, with the axes of the tensors."""
    pytest.importorskip("safetensors")
    torch.manual_seed(0)

    class Last(nn.Module):
        """Channels are the last axis."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 4, 5, stride=2, padding=2, padding_mode="reflect")

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.conv(x.transpose(1, 2))).transpose(1, 2)

    compiled = fracstride.torch.compile(Last(), torch.randn(1, 12, 3), time=1)
    compiled.save(tmp_path / "saved.safetensors")
    network = fs.load(tmp_path / "saved.safetensors")
    rng = np.random.default_rng(0)
    for ticks in (network.least, 21):
        check_streams(network, [rng.normal(size=(2, ticks, 3)).astype(np.float32)], ticks, rng)
    with pytest.raises(ValueError, match="batch_size must be a number"):
        network.stream(None)


class Conditioned(nn.Module):
    """A signal and an embedding that has no batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.speaker = nn.Conv1d(2, 3, 3, padding=1), nn.Linear(5, 3)

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        return self.conv(x) + self.speaker(speaker)[None, :, None]


def test_a_constant_for_all_rows() -> None:
    torch.manual_seed(0)
    x, speaker = torch.randn(4, 2, 12), torch.randn(5)
    compiled = fracstride.torch.compile(Conditioned(), x, speaker, time=(-1, None))
    stream = compiled.stream(4, (speaker,))
    found = torch.cat([stream.push(x[..., :5]), stream.finish(x[..., 5:])], -1)
    np.testing.assert_array_equal(found, compiled(x, speaker))
    with pytest.raises(TypeError, match="constants must be a list or tuple, got NoneType"):
        compiled.stream(4, None)  # type: ignore[arg-type]


class Spread(nn.Module):
    """An embedding at every position, which torch spreads."""

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        wide = nn.functional.interpolate(speaker[:, :, None], size=x.shape[-1])
        return torch.cat([x, wide], 1)


def test_time_that_comes_from_nowhere() -> None:
    """What has no time may get some, and is refused when the stream is made."""
    x, speaker = torch.randn(2, 2, 12), torch.randn(2, 3)
    compiled = fracstride.torch.compile(Spread(), x, speaker, time=(-1, None))
    if any(n.operation.name.startswith("torch") for n in compiled.network.graph.nodes):
        with pytest.raises(ValueError, match="cannot stream: "):
            compiled.stream(2, (speaker,))
    else:
        check(compiled, (x, speaker), np.random.default_rng(0))


class Guarded(nn.Module):
    """Another function for long inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * 2 if x.shape[-1] > 500 else self.conv(x)


def test_lengths_that_go_another_way() -> None:
    """A chunk after which the module would do otherwise is refused before it is computed."""
    compiled = fracstride.torch.compile(Guarded(), torch.randn(1, 1, 30))
    stream = compiled.stream()
    x = torch.randn(1, 1, 600)
    first = stream.push(x[..., :400])
    with pytest.raises(ValueError, match=r"compares 600 > 500|another way"):
        stream.push(x[..., 400:])
    found = torch.cat([first, stream.finish(x[..., 400:500])], -1)
    np.testing.assert_array_equal(found, compiled(x[..., :500]))
    assert stream.may_end_uneven


def test_arguments_of_streams() -> None:
    compiled = fracstride.torch.compile(nn.Conv1d(3, 2, 3), torch.randn(1, 3, 10))
    with pytest.raises(TypeError, match="elementwise must be a tuple of classes"):
        compiled.stream(elementwise="norm")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="batch_size must be"):
        compiled.stream(None)  # type: ignore[arg-type]


def test_no_plan_outlives_its_network() -> None:
    """Also with operators that run in torch."""
    model = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.GroupNorm(2, 4))
    compiled = fracstride.torch.compile(model, torch.randn(1, 2, 20))
    compiled(torch.randn(1, 2, 33))
    mine = [weakref.ref(plan) for plan in compiled.network._spare[0]._plans.values()]
    assert len(mine) >= 1
    del compiled
    gc.collect()
    assert not any(plan() for plan in mine)


def test_tensors_that_do_not_fit_change_nothing() -> None:
    """Pushes like those before take a short way, which must refuse what the long one does."""
    compiled = fracstride.torch.compile(nn.Conv1d(3, 2, 5, padding=2), torch.randn(1, 3, 20))
    x = torch.randn(1, 3, 40)
    stream, other = compiled.stream(), compiled.stream()
    pieces = [stream.push(x[..., t : t + 1]) for t in range(20)]
    wrong = [
        x[0, :, :1],
        x[..., 0],
        x[0, 0, 0],
        x[:, :2, :1],
        x[..., :1].double(),
        x[..., :1].repeat(2, 1, 1),
        x[..., :1].clone().requires_grad_(),
        x[..., :1].to_sparse(),
        x[..., :1].to("meta"),
        x[..., :1].numpy(),
    ]
    for chunk in wrong:
        with pytest.raises((TypeError, ValueError)) as later:
            stream.push(chunk)
        with pytest.raises(type(later.value)) as first:
            other.push(chunk)
        assert str(later.value) == str(first.value)
    negative = torch.complex(torch.zeros(1, 3, 20), -x[..., 20:]).conj().imag
    assert negative.is_neg()
    pieces += [stream.push(negative[..., t : t + 1]) for t in range(20)]
    assert torch.equal(torch.cat([*pieces, stream.flush()], -1), compiled(x))
