"""Streams of torch modules: bits, derivatives, refusals."""

from __future__ import annotations

import copy
import io
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from cases import Case, cases
from hypothesis import assume, given
from hypothesis import strategies as st
from streams import check_stream, scheduled
from test_invariances import random_layers
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch_streams import OnArrays

import fracstride as fs
import fracstride.torch
from fracstride.extension import STREAMING_MODES
from fracstride.streaming import Chain, Identity, Pointwise, Stream, Sum
from fracstride.streaming.testing import assert_streams_exactly


def module_of(case: Case, mode: str, dtype: str) -> fracstride.torch.ConvTranspose1d:
    g = case.geometry
    return fracstride.torch.ConvTranspose1d(
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
        dtype=getattr(torch, dtype),
    )


@pytest.mark.usefixtures("isa")
@random_layers
@given(
    cases(),
    st.sampled_from(STREAMING_MODES),
    st.sampled_from(["float32", "float64", "float16", "complex64"]),
    st.lists(st.integers(0, 300), max_size=8),
    st.booleans(),
)
def test_any_chunks(case: Case, mode: str, dtype: str, cuts: list[int], grad: bool) -> None:
    assume(case.batch != 0)
    module = module_of(case, mode, dtype)

    def offline(x: Any) -> Any:
        try:
            return module(torch.from_numpy(x.copy())).detach().numpy()
        except RuntimeError as error:
            raise ValueError from error

    x = np.random.default_rng(0).standard_normal(case.x.shape).astype(dtype)
    g = fs.Geometry(
        case.geometry.kernel_size,
        case.geometry.stride,
        case.geometry.padding,
        case.geometry.output_padding,
        case.geometry.dilation,
        mode,
    )
    with torch.set_grad_enabled(grad):
        check_stream(
            lambda: OnArrays(fracstride.torch.stream(module, case.batch)),
            offline,
            x,
            cuts,
            lambda frames: scheduled(g, frames),
        )


def decoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(6, 8, 7, padding=3, padding_mode="reflect"),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(8, 4, 16, stride=8, padding=4),
        nn.BatchNorm1d(4),
        nn.Sequential(
            nn.PReLU(4), nn.Dropout(), nn.Conv1d(4, 4, 3, dilation=3, padding="same", groups=2)
        ),
        fracstride.torch.ConvTranspose1d(4, 4, 4, 2, "causal", padding_mode="replicate"),
        nn.Conv1d(4, 1, 5, padding=4, bias=False, dilation=2),
        nn.Tanh(),
    ).eval()


def same_kernels(module: nn.Sequential) -> Any:
    """The modules of a decoder by our layers, all at once."""

    def offline(x: Any) -> Any:
        y = torch.from_numpy(x.copy())
        for part in module:
            if isinstance(part, nn.Sequential):
                y = torch.from_numpy(same_kernels(part)(y.numpy()))
            elif isinstance(part, nn.Conv1d):
                layer = fs.ConvTranspose1d.from_conv1d(
                    part.weight.detach().numpy(),
                    None if part.bias is None else part.bias.detach().numpy(),
                    padding=part.padding,
                    groups=part.groups,
                    dilation=part.dilation,
                    padding_mode=part.padding_mode,
                )
                y = torch.from_numpy(layer(y.numpy()))
            elif isinstance(part, nn.ConvTranspose1d):
                y = fracstride.torch.accelerate(copy.deepcopy(part))(y)
            else:
                y = part(y)
        return y.detach().numpy()

    return offline


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("cuts", [[], [1, 2, 3, 4, 5, 20], [10, 10, 30]], ids=str)
def test_a_whole_decoder(cuts: list[int]) -> None:
    module = decoder()
    x = np.random.default_rng(0).standard_normal((2, 6, 40)).astype(np.float32)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x)).numpy()
        stream = OnArrays(fracstride.torch.stream(module, 2))
        got = stream.finish(x)
        np.testing.assert_allclose(got, theirs, atol=1e-5)
        check_stream(
            lambda: OnArrays(fracstride.torch.stream(module, 2)),
            same_kernels(module),
            x,
            cuts,
            lambda frames: 0 if frames <= 3 else max(0, frames * 16 - stream.latency),
        )


def codec_encoder(strides: tuple[int, ...], causal: bool) -> nn.Sequential:
    """The parts of EnCodec's and DAC's encoders that are a Sequential."""
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Conv1d(1, 4, 7, padding=3)]
    for s in strides:
        pad = nn.ReflectionPad1d((s, 0)) if causal else nn.Identity()
        padding = 0 if causal else -(-s // 2)
        down = nn.Conv1d(4, 4, 2 * s, stride=s, padding=padding)
        parts += [nn.ELU(), nn.Sequential(pad, down)]
    return nn.Sequential(*parts, nn.ELU(), nn.Conv1d(4, 6, 3, padding=1)).eval()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("strides", [(2, 4, 5, 8), (2, 3), (8, 8)])
def test_encoders(strides: tuple[int, ...], causal: bool) -> None:
    module, total = codec_encoder(strides, causal), math.prod(strides)
    with torch.no_grad():
        stream = fracstride.torch.stream(module, 2)
        assert (stream.rate, stream.stride) == (Fraction(1, total), None)
        x = torch.randn(2, 1, 3 * total + 11)
        got = stream.finish(x)
        torch.testing.assert_close(got, module(x), rtol=1e-5, atol=1e-5)
        other = fracstride.torch.stream(module, 2)
        assert_streams_exactly(other, stream.finish, x, chunks=[[total, 1, 10, 2 * total]])


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize("sizes", [(1, 7, (5, 4)), (2, 7, (3, 9)), (5, 2, (4, 3)), (3, 3, (0, 5))])
def test_layers_of_this_library_whose_padding_is_more_than_the_kernel_reaches(
    mode: str, sizes: tuple[int, int, tuple[int, int]]
) -> None:
    kernel, stride, padding = sizes
    layer = fracstride.torch.Conv1d(2, 3, kernel, stride, padding, padding_mode=mode)
    for length in range(1, 40):
        x = torch.randn(1, 2, length)
        with torch.no_grad():
            try:
                wanted = layer(x)
            except RuntimeError:
                continue
            for size in (1, 3, 40):
                stream = fracstride.torch.stream(layer)
                pieces = [stream.push(x[..., t : t + size]) for t in range(0, length, size)]
                assert torch.equal(torch.cat([*pieces, stream.flush()], -1), wanted)
    causal = fracstride.torch.Conv1d(2, 3, 4, 3, "causal")
    assert fracstride.torch.stream(causal).latency == 0


def test_a_u_net_of_modules() -> None:
    """Gradients flow from the end of a signal to its beginning, through both branches."""
    torch.manual_seed(0)
    down, up = nn.Conv1d(2, 2, 4, 2, 1).double(), nn.ConvTranspose1d(2, 2, 4, 2, 1).double()
    of = fracstride.torch.stream
    stream = Sum(Identity(), of(nn.Sequential(down, nn.Tanh(), up), 1))
    x = torch.randn(1, 2, 12, dtype=torch.float64, requires_grad=True)
    state = None
    pieces = []
    for t in range(0, 12, 5):
        pieces.append(stream.push(x[..., t : t + 5]))
        if t == 5:
            state = stream.state()
    got = torch.cat([*pieces, stream.flush()], -1)
    wanted = x + up(torch.tanh(down(x)))
    torch.testing.assert_close(got, wanted)
    weights = torch.randn_like(got)
    leaves = [x, *down.parameters(), *up.parameters()]
    for a, b in zip(
        torch.autograd.grad((got * weights).sum(), leaves),
        torch.autograd.grad((wanted * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    assert state is not None
    assert isinstance(state["received"], torch.Tensor)
    assert state["received"].tolist() == [10]
    stream.push(x[..., :3])
    with pytest.raises(ValueError, match="cannot end after 3 frames"):
        stream.flush()
    stream.restore(state)
    torch.testing.assert_close(
        stream.finish(x[..., 10:]), wanted[..., sum(p.shape[-1] for p in pieces[:2]) :]
    )


def test_compositions_of_modules() -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(4, 4, 7, padding=9, dilation=3)
    up = nn.ConvTranspose1d(4, 4, 8, stride=4, padding=2)

    def make() -> Stream:
        of = fracstride.torch.stream
        block = Sum(Identity(), Chain(Pointwise(torch.tanh), of(conv)))
        return OnArrays(Chain(of(up), block, Pointwise(torch.sin)))

    def offline(x: Any) -> Any:
        y = fracstride.torch.accelerate(copy.deepcopy(up))(torch.from_numpy(x.copy()))
        turned = fs.ConvTranspose1d.from_conv1d(
            conv.weight.detach().numpy(), conv.bias.detach().numpy(), padding=9, dilation=3
        )
        inner = torch.from_numpy(turned(torch.tanh(y).detach().numpy()))
        return torch.sin(y + inner).detach().numpy()

    x = np.random.default_rng(0).standard_normal((1, 4, 30)).astype(np.float32)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            check_stream(make, offline, x, [1, 2, 2, 9, 11])


@pytest.mark.parametrize("mode", STREAMING_MODES)
def test_gradients_through_chunks(mode: str) -> None:
    torch.manual_seed(0)
    module = fracstride.torch.ConvTranspose1d(3, 2, 9, 2, 3, padding_mode=mode).double()
    conv = nn.Conv1d(2, 2, 5, padding=2, groups=2).double()
    x = torch.randn(2, 3, 20, dtype=torch.float64, requires_grad=True)
    parameters = [x, *module.parameters(), *conv.parameters()]
    y = conv(module(x))
    weights = torch.randn_like(y)
    wanted = torch.autograd.grad((y * weights).sum(), parameters)
    stream = fracstride.torch.stream(nn.Sequential(module, conv), 2)
    pieces = [stream.push(x[..., a:b]) for a, b in ((0, 7), (7, 8), (8, 8), (8, 20))]
    streamed = torch.cat([*pieces, stream.flush()], -1)
    torch.testing.assert_close(streamed, y)
    got = torch.autograd.grad((streamed * weights).sum(), parameters)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_detaching() -> None:
    layer = nn.ConvTranspose1d(1, 1, 6, 2, 1)
    block = Sum(Identity(), fracstride.torch.stream(nn.Conv1d(1, 1, 5, padding=2)))
    stream = Chain(fracstride.torch.stream(layer), block)
    first, second = torch.ones(1, 1, 5, requires_grad=True), torch.ones(1, 1, 5, requires_grad=True)
    stream.push(first)
    kept = stream.push(second).sum()
    assert torch.autograd.grad(kept, first, retain_graph=True)[0].any()
    stream.reset()
    stream.push(first)
    stream.detach()
    cut = stream.push(second).sum()
    assert torch.autograd.grad(cut, first, retain_graph=True, allow_unused=True)[0] is None
    assert torch.autograd.grad(cut, second)[0].any()
    torch.testing.assert_close(cut, kept)
    # A state has no graph, and torch.save takes it.
    file = io.BytesIO()
    torch.save(stream.state(), file)
    file.seek(0)
    expected = stream.finish(second)
    stream.restore(torch.load(file))
    torch.testing.assert_close(stream.finish(second), expected, rtol=0, atol=0)


def test_no_graph_and_no_memory_without_gradients() -> None:
    stream = fracstride.torch.stream(nn.ConvTranspose1d(2, 2, 4, 2, 1))
    with torch.no_grad():
        stream.push(torch.ones(1, 2, 1000))
    carried = stream._carried
    assert not carried.requires_grad
    assert carried.untyped_storage().nbytes() == carried.nbytes == 8


def test_parameters_are_read_at_each_push() -> None:
    conv = nn.Conv1d(1, 1, 1, bias=False)
    stream = fracstride.torch.stream(conv)
    x = torch.ones(1, 1, 1)
    with torch.no_grad():
        for value in (2.0, 2.0, 3.0):
            conv.weight.fill_(value)
            assert stream.push(x).item() == value
        conv.weight.data.mul_(2)
        assert stream.push(x).item() == 6
    conv.weight.requires_grad_(False)
    assert stream.push(x).item() == 6


def test_the_callers_tensor_is_the_callers() -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(2, 2, 5, padding=2)
    for make in (
        lambda: fracstride.torch.stream(conv),
        lambda: Sum(Identity(), fracstride.torch.stream(conv)),
    ):
        x = torch.randn(1, 2, 12)
        expected, stream = make().finish(x), make()
        chunk = x[..., :6].clone().requires_grad_()
        pieces = [stream.push(chunk)]
        with torch.no_grad():
            chunk.copy_(x[..., 6:])
        pieces += [stream.push(chunk), stream.flush()]
        torch.testing.assert_close(torch.cat(pieces, -1), expected, rtol=0, atol=0)


def test_inference_mode_first_and_gradients_then() -> None:
    conv = nn.Conv1d(2, 2, 3, padding=1).requires_grad_(False)
    stream = fracstride.torch.stream(conv)
    x = torch.randn(1, 2, 9)
    with torch.inference_mode():
        stream.push(x)
    stream.reset()
    leaf = x.clone().requires_grad_()
    stream.finish(leaf).sum().backward()
    assert leaf.grad is not None


def test_autocast() -> None:
    torch.manual_seed(0)
    module = fracstride.torch.ConvTranspose1d(2, 2, 8, 2, 6)
    x = torch.randn(1, 2, 20)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        stream = fracstride.torch.stream(module)
        pieces = [stream.push(x[..., t : t + 2].bfloat16()) for t in range(0, 20, 2)]
        state = stream.state()
        pieces.append(stream.flush())
        assert {piece.dtype for piece in pieces} == {torch.bfloat16}
        torch.testing.assert_close(torch.cat(pieces, -1), module(x), rtol=0, atol=0)
        stream.restore(state)
        torch.testing.assert_close(stream.flush(), pieces[-1], rtol=0, atol=0)
        assert stream.push(x[..., :1]).dtype == torch.bfloat16  # of no samples


def test_a_module_that_changed_its_dtype() -> None:
    module = nn.ConvTranspose1d(2, 2, 4, 2, 1)
    stream = fracstride.torch.stream(module)
    stream.push(torch.ones(1, 2, 3))
    module.double()
    with pytest.raises(RuntimeError, match=r"the earlier chunks' dtype torch\.float32"):
        stream.push(torch.ones(1, 2, 3).double())


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.ConvTranspose1d])
@pytest.mark.parametrize(
    "norm",
    [weight_norm, parametrizations.weight_norm, spectral_norm],
    ids=lambda norm: norm.__module__,
)
def test_weights_made_of_others(kind: Any, norm: Any) -> None:
    torch.manual_seed(0)
    module = norm(kind(3, 3, 5, padding=2)).eval()
    x = torch.randn(1, 3, 9)
    stream = fracstride.torch.stream(module)
    for _ in range(2):
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(1.5)
        streamed = torch.cat([stream.push(x), stream.flush()], -1)  # before the module is called
        y = module(x)
        torch.testing.assert_close(streamed, y)
        y.sum().backward()  # a new graph each time


def test_what_cannot_stream() -> None:
    def refused(error: type[Exception], match: str, module: Any, **options: Any) -> None:
        with pytest.raises(error, match=match):
            fracstride.torch.stream(module, **options)

    class Mine(nn.ConvTranspose1d):
        def forward(self, input: Any, output_size: Any = None) -> Any:
            return input

    class Snake(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + torch.sin(x) ** 2

    up = nn.ConvTranspose1d(2, 2, 4, 2, 1)
    refused(TypeError, "module must be a torch.nn.Module, got int", 3)
    nested = nn.Sequential(up, nn.Sequential(nn.ReLU(), nn.LayerNorm(3), nn.Linear(1, 1)))
    refused(TypeError, r"^1\.1 \(LayerNorm\) cannot stream: it must be", nested)
    refused(TypeError, r"the module itself \(Linear\)", nn.Linear(1, 1))
    refused(TypeError, r"0 \(Mine\) cannot stream", nn.Sequential(Mine(1, 1, 1)))
    refused(TypeError, r"0 \(Snake\)", nn.Sequential(Snake()))
    refused(TypeError, r"\(Dropout\) cannot stream in training mode", nn.Dropout())
    refused(TypeError, r"\(BatchNorm1d\) cannot stream in training mode", nn.BatchNorm1d(2))
    stateless = nn.BatchNorm1d(2, track_running_stats=False).eval()
    refused(TypeError, r"\(BatchNorm1d\) cannot stream .*without running statistics", stateless)
    circular = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    refused(ValueError, "padding_mode must be .*'circular'", circular)
    refused(ValueError, "must take the 2 channels", nn.Sequential(up, nn.Conv1d(3, 1, 1)))
    refused(ValueError, "batch_size must be a positive int, got 0", up, batch_size=0)
    x = torch.randn(1, 2, 3)
    snake = fracstride.torch.stream(nn.Sequential(Snake()), elementwise=(Snake,))
    torch.testing.assert_close(snake.push(x), Snake()(x))

    stream = fracstride.torch.stream(up)
    stream.push(x)
    for chunk, error, match in (
        (x[:, :1], RuntimeError, r"\(batch_size, in_channels, frames\) = \(1, 2, T\), got shape"),
        (x[0], RuntimeError, "got shape"),
        (x.double(), RuntimeError, "the weight's dtype torch.float32, got torch.float64"),
        (x.to("meta"), RuntimeError, "on the weight's cpu, got meta"),
        (x.numpy(), TypeError, "chunk must be a tensor, got ndarray"),
    ):
        with pytest.raises(error, match=match):
            stream.push(chunk)
    state = stream.state()
    for wrong in (
        {"received": torch.tensor([-1])},
        {"received": torch.tensor([1.5])},
        {"received": torch.tensor([3 + 0j])},
        {"received": torch.tensor([2**63 - 1])},
        {"received": None},
        {"received": "many"},
        {"frames": x},
        {"frames": state["frames"].double()},
    ):
        with pytest.raises(ValueError, match=r"state received|state frames"):
            stream.restore({**state, **wrong})
    with pytest.raises(ValueError, match=r"a tensor of torch.float32, got ndarray"):
        stream.restore({**state, "frames": state["frames"].numpy()})
    torch.testing.assert_close(
        torch.cat([fracstride.torch.stream(up).push(x), stream.flush()], -1), up(x)
    )
