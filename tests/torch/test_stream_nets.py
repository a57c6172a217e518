"""Streams of random nets: pads, interpolation, gates and layers, in any order."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streams import check_stream
from test_invariances import random_layers
from torch import nn
from torch_nets import Net, as_arrays, stream_of
from torch_streams import OnArrays

import fracstride.torch
from fracstride.streaming import Chain, Identity, Stream, Sum
from fracstride.torch.vectors import ROUNDED_BY_PLACE

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
of = fracstride.torch.stream


def pick_from(data: st.DataObject) -> Any:
    return lambda low, high: data.draw(st.integers(low, high))


@pytest.mark.usefixtures("isa")
@random_layers
@given(
    st.data(),
    st.lists(st.integers(0, 30), max_size=8),
    st.sampled_from([torch.float32, torch.float64]),
    st.booleans(),
)
def test_random_nets(
    data: st.DataObject, cuts: list[int], dtype: torch.dtype, batched: bool
) -> None:
    pick = pick_from(data)
    net = Net(pick, 2 * pick(1, 2), dtype, batched)
    module = net.module()
    batch, length = pick(1, 2), pick(1, 30)
    x = torch.randn(batch, net.channels, length, dtype=dtype).numpy()
    offline = as_arrays(net.offline)

    def make() -> Stream:
        return OnArrays(stream_of(net, module, batch if batched else None))

    with torch.no_grad():
        check_stream(
            make,
            offline if batched else lambda x: offline(x[None])[0],
            x if batched else x[0],
            cuts,
            net.due,
        )
    # Rate, latency and length.
    stream = make()
    far = 10**6
    for frames in (*range(9), *range(far, far + 60)):
        assert net.due(frames) == stream.output_length(frames)
        assert net.due(frames) >= frames * stream.rate - stream.latency or frames < far
    try:
        y = net.offline(torch.from_numpy(x))
    except RuntimeError:
        return
    assert y.shape[-1] == stream.length_at_end(length)
    # Torch's own layers refuse some inputs that ours take.
    try:
        theirs = module(torch.from_numpy(x))
    except RuntimeError:
        return
    # Rounding errors are relative to the largest values that are added up. torch's own bounds are
    # for numbers around 1.
    relative, absolute = (1.3e-6, 1e-5) if dtype == torch.float32 else (1e-7, 1e-7)
    largest = max(1.0, float(theirs.detach().abs().max()) if theirs.numel() else 0.0)
    torch.testing.assert_close(theirs, y, rtol=relative, atol=absolute * largest)


@random_layers
@given(st.data(), st.lists(st.integers(0, 30), max_size=4))
def test_gradients(data: st.DataObject, cuts: list[int]) -> None:
    pick = pick_from(data)
    net = Net(pick, 2 * pick(1, 2), torch.float64, batched=True)
    module, length = net.module(), pick(8, 30)
    x = torch.randn(2, net.channels, length, dtype=torch.float64, requires_grad=True)
    try:
        y = module(x)
    except RuntimeError:
        return
    if y.numel() == 0:
        return
    weights = torch.randn_like(y)
    leaves = [x, *module.parameters()]
    wanted = torch.autograd.grad((y * weights).sum(), leaves, allow_unused=True)
    stream, edges = stream_of(net, module, 2), [0, *sorted(min(c, length) for c in cuts), length]
    pieces = [stream.push(x[..., a:b]) for a, b in pairwise(edges)]
    streamed = torch.cat([*pieces, stream.flush()], -1)
    torch.testing.assert_close(streamed, y)
    if not streamed.requires_grad:  # all samples come from the pads
        return
    got = torch.autograd.grad((streamed * weights).sum(), leaves, allow_unused=True)
    for a, b in zip(got, wanted, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(*(zero if g is None else g for g in (a, b)), check_dtype=False)


def test_a_module_in_several_places() -> None:
    """An activation that is used in two places, which torch lists only once."""
    torch.manual_seed(0)
    act, conv, pad = nn.Softplus(), nn.Conv1d(4, 4, 3), nn.ReflectionPad1d(1)
    net = nn.Sequential(act, pad, conv, act, pad, conv, act, nn.Sequential(nn.GLU(1), act))
    x = torch.randn(1, 4, 9)
    stream = of(net)
    pieces = [stream.push(x[..., t : t + 1]) for t in range(9)]
    torch.testing.assert_close(torch.cat([*pieces, stream.flush()], -1), net(x))
    assert of(nn.Sequential(act, nn.GLU(1), nn.GLU(1), act, nn.Conv1d(3, 1, 1))).in_channels == 12


@pytest.mark.parametrize("pad", [nn.ReflectionPad1d, nn.ReplicationPad1d, nn.ZeroPad1d])
def test_residual_blocks_with_pads(pad: Any) -> None:
    """The straight branch is aligned with a branch that pads before it convolves."""
    torch.manual_seed(0)
    for left, right in ((3, 3), (6, 0), (0, 6), (1, 5)):
        conv = nn.Conv1d(2, 2, 4, dilation=2)
        inner = nn.Sequential(nn.Tanh(), pad((left, right)), conv)

        def make(inner: Any = inner) -> Stream:
            return OnArrays(Sum(Identity(), of(inner, 2)))

        assert (make().latency, make().overhang) == (right, 0)

        def offline(x: Any, inner: Any = inner, conv: Any = conv) -> Any:
            return x + of(conv, 2).finish(inner[1](inner[0](x)))

        least = max(left, right) if pad is nn.ReflectionPad1d else 0

        def due(frames: int, late: int = right, least: int = least) -> int:
            return max(0, frames - late) if frames > least else 0

        x = torch.randn(2, 2, 20).numpy()
        with torch.no_grad():
            check_stream(make, as_arrays(offline), x, [1, 2, 8, 9], due)


def test_what_melgan_does() -> None:
    """Reflection pads before layers without padding of their own, as its generator has them."""
    torch.manual_seed(0)
    block = nn.Sequential(
        nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), nn.Conv1d(4, 4, 3, dilation=3), nn.Conv1d(4, 4, 1)
    )
    head = nn.Sequential(
        nn.ReflectionPad1d(3),
        nn.Conv1d(6, 8, 7),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose1d(8, 4, 16, stride=8, padding=4),
    )
    tail = nn.Sequential(nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), nn.Conv1d(4, 1, 7), nn.Tanh())
    shortcut = nn.Conv1d(4, 4, 1)
    stream = Chain(of(head), Sum(of(shortcut), of(block)), of(tail))
    assert (stream.stride, stream.overhang, stream.latency) == (8, 0, 3 * 8 + 4 + 3 + 3)
    x = torch.randn(1, 6, 30)
    with torch.no_grad():
        h = head(x)
        y = tail(shortcut(h) + block(h))
        pieces = [stream.push(x[..., t : t + 1]) for t in range(30)]
        assert sum(piece.shape[-1] for piece in pieces) == 30 * 8 - stream.latency
        torch.testing.assert_close(torch.cat([*pieces, stream.flush()], -1), y)


def test_pads_are_torchs() -> None:
    """All small ones, with what torch refuses: samples come as early as they can."""
    kinds = nn.ReflectionPad1d, nn.ReplicationPad1d, nn.ZeroPad1d, lambda p: nn.ConstantPad1d(p, -7)
    for kind in kinds:
        for left in range(-4, 5):
            for right in range(-4, 5):
                module: Any = kind((left, right))

                def offline(length: int, module: Any = module) -> list[float]:
                    try:
                        return module(torch.arange(1.0, length + 1)[None, None]).flatten().tolist()
                    except RuntimeError:
                        return []

                whole = [offline(length) for length in range(1, 17)]
                stream, heard = of(module), []
                for t in range(1, 8):
                    alone = of(module)
                    alone.restore(stream.state())
                    x = torch.full((1, 1, 1), float(t))
                    assert heard + alone.finish(x).flatten().tolist() == whole[t - 1]
                    heard += stream.push(x).flatten().tolist()
                    later = whole[t - 1 :]  # of an input that ends now, or goes on
                    final = 0
                    while all(len(y) > final and y[final] == later[0][final] for y in later):
                        final += 1
                    assert heard == later[0][:final]


def test_upsampling_is_torchs() -> None:
    x = torch.randn(2, 3, 12)
    for scale in (1, 2, 3, 4, 7, 64):
        for mode in ("nearest", "nearest-exact", "linear"):
            module = nn.Upsample(scale_factor=scale, mode=mode)
            y = of(module, 2).finish(x)
            if mode == "linear":
                torch.testing.assert_close(y, module(x))
            else:
                assert torch.equal(y, module(x))
    stream, frame = of(nn.Upsample(scale_factor=3)), torch.ones(1, 2, 1)
    y = stream.push(frame)
    frame.zero_()  # the caller's memory is the caller's
    assert torch.equal(y, torch.ones(1, 2, 3))
    assert y.is_contiguous()
    half = nn.Upsample(scale_factor=2, mode="linear")
    with torch.autocast("cpu", torch.bfloat16):
        assert of(half, 2).finish(x).dtype == torch.float32  # as torch's
        assert half(x).dtype == torch.float32


def test_users_gates() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            a, b = x.chunk(2, -2)
            return self.scale * a * b

    conv, x = nn.Conv1d(4, 6, 1).double(), torch.randn(1, 4, 5).double()
    stream = of(nn.Sequential(conv, Gate(), nn.Conv1d(3, 2, 1).double()), elementwise=(Gate,))
    assert (stream.in_channels, stream.out_channels) == (4, 2)
    assert stream.push(x).shape == (1, 2, 5)
    with pytest.raises(ValueError, match="must take the 3 channels that come before it"):
        of(nn.Sequential(conv, Gate(), nn.Conv1d(6, 2, 1)), elementwise=(Gate,))
    # Unknown numbers of channels are found by pushing a chunk of no frames.
    first = of(nn.Sequential(Gate(), nn.Conv1d(3, 2, 1).double()), elementwise=(Gate,))
    assert first.in_channels is None
    assert Chain(of(conv), first).push(x).shape == (1, 2, 5)
    assert of(nn.Sequential(nn.GLU(1), nn.Conv1d(3, 2, 1))).in_channels == 6

    class Shorter(nn.Module):
        def forward(self, x: Any) -> Any:
            return x[0]

    with pytest.raises(ValueError, match=r"1 \(Shorter\) .* must keep the batch and the frames"):
        of(nn.Sequential(conv, Shorter()), elementwise=(Shorter,))
    with pytest.raises(ValueError, match="must keep the batch and the frames"):
        of(Shorter(), elementwise=Shorter).push(x)  # type: ignore[arg-type]


def test_a_values_bits_do_not_depend_on_its_place() -> None:
    """Torch's own sigmoid of a number differs at the end of a tensor."""
    threads = torch.get_num_threads()
    try:
        norm = nn.BatchNorm1d(2).eval()
        norm.running_mean.uniform_()
        for kind in (
            *ROUNDED_BY_PLACE,
            nn.Tanh,
            nn.Softsign,
            nn.Hardswish,
            lambda: nn.GLU(1),
            lambda: norm,
        ):
            for dtype in (torch.float32, torch.float64, torch.bfloat16):
                x = torch.randn(1, 2, 50_021, dtype=dtype)
                module = kind().to(dtype)
                stream = of(module)
                torch.set_num_threads(1)
                whole = stream.finish(x)
                torch.testing.assert_close(whole, module(x))
                torch.set_num_threads(3)
                pieces = [stream.push(x[..., a:b]) for a, b in pairwise((0, 1, 8, 75, 50_021))]
                assert torch.equal(torch.cat(pieces, -1), whole)
    finally:
        torch.set_num_threads(threads)


class Residual(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        mode = "zeros" if stride == 1 else "circular"
        last = nn.Conv1d(2, 2, 3, stride, padding_mode=mode)
        self.convs = nn.ModuleList([nn.Conv1d(2, 2, 3, padding=1), last])


class Leaf(nn.Module):
    pass


@pytest.mark.parametrize(
    ("error", "module", "messages"),
    [
        (ValueError, nn.CircularPad1d(2), ["first samples are made of the last frames"]),
        (ValueError, nn.GLU(), ["dim must be 1 or -2", "got -1, that of time"]),
        (ValueError, nn.GLU(2), ["got 2, that of time"]),
        (ValueError, nn.GLU(0), ["got 0, that of the batch"]),
        (ValueError, nn.GLU(5), ["got 5, that of nothing"]),
        (ValueError, nn.Sequential(nn.Conv1d(2, 3, 1), nn.GLU(1)), ["1 (GLU)", "must be even"]),
        (ValueError, nn.Upsample(10), ["size=10 is the length of the whole output"]),
        (ValueError, nn.Upsample(scale_factor=1.5), ["must be a whole number, got 1.5"]),
        (ValueError, nn.Upsample(scale_factor=0.5), ["must be a whole number, got 0.5"]),
        (ValueError, nn.Upsample(scale_factor=(2, 2)), ["must be a whole number, got (2.0, 2.0)"]),
        (ValueError, nn.Upsample(scale_factor=2, mode="bicubic"), ["got 'bicubic'"]),
        (
            ValueError,
            nn.Upsample(scale_factor=2, mode="linear", align_corners=True),
            ["align_corners must be False", "length of the whole input"],
        ),
        (
            TypeError,
            nn.Sequential(nn.Tanh(), Residual(1)),
            [
                "1 (Residual) cannot stream",
                "elementwise=(Residual,)",
                "with Chain, Sum and Pointwise of fracstride.streaming",
                "each of its parts can stream",
            ],
        ),
        (
            TypeError,
            nn.Sequential(nn.Tanh(), Residual(2)),
            ["1 (Residual)", "Of its parts, 1.convs.1 (Conv1d) cannot stream: padding_mode must"],
        ),
        (TypeError, Leaf(), ["the module itself (Leaf)", "elementwise=(Leaf,)"]),
    ],
    ids=str,
)
def test_reasons(error: type[Exception], module: nn.Module, messages: list[str]) -> None:
    with pytest.raises(error) as raised:
        of(module)
    for message in messages:
        assert message in str(raised.value)


def test_chunks_that_do_not_fit() -> None:
    """Of a pad in front of a layer: refused before it has advanced."""
    x = torch.randn(2, 4, 5)
    for module in (nn.ReflectionPad1d(1), nn.Upsample(scale_factor=2, mode="linear")):
        stream = of(nn.Sequential(module, nn.Conv1d(4, 3, 1)), 2)
        stream.push(x)
        for chunk, error in (
            (x[:1], RuntimeError),
            (x[:, :3], RuntimeError),
            (x[0], RuntimeError),
            (x.double(), RuntimeError),
            (x.numpy(), TypeError),
        ):
            with pytest.raises(error, match="chunk must"):
                stream.push(chunk)
        stream.push(x)
        lone = of(module, 2)
        for chunk in (x[:1], x[0], x[0, 0]):
            with pytest.raises(RuntimeError, match=r"chunk must have the shape \(batch_size, in_"):
                lone.push(chunk)
        lone.push(x)
        with pytest.raises(ValueError, match="state frames must be a tensor"):
            lone.restore({key: value.numpy() for key, value in lone.state().items()})
    with pytest.raises(RuntimeError, match="must have an even number of channels"):
        of(nn.GLU(1)).push(x[:1, :3])
    for net in (nn.Sequential(nn.Conv1d(4, 3, 3), nn.Tanh()), nn.Sequential(nn.Tanh(), nn.GLU(1))):
        with pytest.raises(RuntimeError, match=r"got shape \(2, 3, 5\)|channels for a GLU"):
            of(net, 2).push(x[:, :3])
