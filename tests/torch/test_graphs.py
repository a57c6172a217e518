"""Graphs made from one example, run at every length: traced, exported, compiled, in ONNX."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from cases import random_case, random_conv1d_case
from dynamo_exports import export_by_dynamo
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx

import fracstride.torch as ft
from fracstride.conv1d_geometry import AnyGeometry, conv1d_geometry_of
from fracstride.extension import PADDING_MODES, source_frame
from fracstride.torch import fallback
from fracstride.torch.extension import extend, source_frames
from fracstride.torch.module_geometry import geometry_of_module

MODES = pytest.mark.parametrize("mode", PADDING_MODES)
Run = Callable[[Tensor], Any]


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own
        yield


def traced(module: nn.Module, x: Tensor) -> Run:
    return torch.jit.trace(module, (x,), check_trace=False)


def exported(module: nn.Module, x: Tensor) -> Run:
    shapes = ({2: Dim.AUTO},)
    return torch.export.export(module, (x,), dynamic_shapes=shapes).module()


def exported_strictly(module: nn.Module, x: Tensor) -> Run:
    shapes = ({2: Dim.AUTO},)
    return torch.export.export(module, (x,), dynamic_shapes=shapes, strict=True).module()


def onnx_by_dynamo(module: nn.Module, x: Tensor) -> Run:
    pytest.importorskip("onnxscript")
    shapes = ({2: Dim.AUTO},)
    program = export_by_dynamo(module, (x,), dynamic_shapes=shapes)
    assert program is not None
    return session(program.model_proto.SerializeToString())


def onnx_by_tracing(module: nn.Module, x: Tensor) -> Run:
    pytest.importorskip("onnx")
    file = io.BytesIO()
    axes = {"x": {2: "L"}}
    torch.onnx.export(module, (x,), file, dynamo=False, input_names=["x"], dynamic_axes=axes)
    return session(file.getvalue())


def session(model: bytes) -> Run:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    running = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in running.get_inputs())
    return lambda x: running.run(None, {name: x.numpy()})[0]


GRAPHS = (traced, exported, exported_strictly, onnx_by_dynamo, onnx_by_tracing)
ANY_GRAPH = pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)


def random_layer(rng: np.random.Generator, mode: str, kind: str = "ConvTranspose1d") -> Any:
    if kind == "Conv1d":
        conv1d = random_conv1d_case(rng, mode, np.dtype(np.float32))
        g, channels = conv1d.geometry, (conv1d.in_channels, conv1d.out_channels)
        own = g.kernel_size, g.stride, g.padding, g.dilation, conv1d.groups, conv1d.b is not None
        return ft.Conv1d(*channels, *own, mode).eval()
    case = random_case(rng, mode, np.dtype(np.float32))
    g, bias = case.geometry, case.b is not None
    sizes = g.kernel_size, g.stride, g.padding, g.output_padding
    return ft.ConvTranspose1d(
        case.in_channels, case.out_channels, *sizes, case.groups, bias, g.dilation, mode
    ).eval()


def assert_same_at(lengths: range, module: nn.Module, graph: Run, channels: int) -> int:
    """Compare with eager at each length that eager takes; return how many those are."""
    count = 0
    for length in lengths:
        x = torch.randn(2, channels, length)
        with torch.no_grad():
            try:
                want = module(x)
            except RuntimeError:  # no sample is left
                continue
            if want.shape[2] == 1 and isinstance(graph, torch.fx.GraphModule):
                continue  # torch.export ties torch's own layer to more than one sample, too
            got = torch.as_tensor(np.asarray(graph(x)))
        assert got.shape == want.shape, f"length {length}"
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
        count += 1
    return count


# --- The extension ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [mode for mode in PADDING_MODES if mode != "zeros"])
def test_the_index_is_a_twin_of_the_definition(mode: str) -> None:
    for length in range(1, 9):
        want = [source_frame(t, length, mode) for t in range(-30, 40)]
        assert source_frames(-30, 40, length, mode, torch.device("cpu")).tolist() == want
        x = torch.randn(2, 3, length)
        assert torch.equal(extend(x, 30, 40 - length, mode), x[:, :, torch.tensor(want)])


@ANY_GRAPH
@MODES
@pytest.mark.parametrize(
    ("kind", "seed"), [("ConvTranspose1d", 0), ("ConvTranspose1d", 1), ("Conv1d", 0)]
)
def test_every_length_from_one(
    make: Callable[[nn.Module, Tensor], Run], mode: str, kind: str, seed: int
) -> None:
    rng = np.random.default_rng([seed, PADDING_MODES.index(mode), GRAPHS.index(make)])
    layer = random_layer(rng, mode, kind)
    example = 1  # of a length that leaves samples
    while layer_refuses(layer, example):
        example += 1
    graph = make(layer, torch.randn(2, layer.in_channels, example + 6))
    assert assert_same_at(range(1, example + 12), layer, graph, layer.in_channels) > 5


@pytest.mark.parametrize("kind", ["ConvTranspose1d", "Conv1d"])
@pytest.mark.parametrize("seed", range(20))
def test_by_torchs_operators(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, PADDING_MODES[seed % len(PADDING_MODES)], kind)
    assert assert_same_at(range(1, 130), layer, partial(by_torch, layer), layer.in_channels)


def by_torch(layer: Any, x: Tensor) -> Tensor:
    if isinstance(layer, ft.Conv1d):
        sizes = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.padding_mode
        geometry: AnyGeometry = conv1d_geometry_of(*sizes)
    else:
        geometry = geometry_of_module(layer)
    return fallback.forward(x, layer.weight, layer.bias, geometry, layer.groups)


def layer_refuses(layer: Any, length: int) -> bool:
    try:
        layer(torch.zeros(1, layer.in_channels, length))
    except RuntimeError:
        return True
    return False


@ANY_GRAPH
def test_an_input_shorter_than_its_extension(make: Callable[[nn.Module, Tensor], Run]) -> None:
    class Once(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ft.conv_transpose1d(x, w, padding_mode="circular")

    w = torch.arange(1.0, 8)[None, None]
    y = make(Once(), torch.zeros(1, 1, 9))(torch.tensor([[[1.0, 10, 100, 1000, 10000]]]))
    digits = [93457, 34579, 45793, 57934, 79345]
    assert np.asarray(y).tolist() == [[[*digits, *digits, 93457]]]


# --- The output size ----------------------------------------------------------------------------


class Residual(nn.Module):
    """A convolution down and a transposed one up again, to the length of the input."""

    def __init__(self, rng: np.random.Generator, mode: str) -> None:
        super().__init__()
        s = int(rng.integers(2, 9))
        k, p = s + int(rng.integers(0, 5)), int(rng.integers(0, s // 2 + 1))
        self.shortest = k + s  # two frames: torch's own convolutions do not export one
        self.down = nn.Conv1d(2, 3, k, s, p)
        self.up = ft.ConvTranspose1d(3, 2, k, s, p, padding_mode=mode)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.down(x), output_size=[x.shape[-1]])


@pytest.mark.parametrize("make", [traced, onnx_by_dynamo, onnx_by_tracing])
@MODES
def test_output_size_of_the_input(make: Callable[[nn.Module, Tensor], Run], mode: str) -> None:
    module = Residual(np.random.default_rng(GRAPHS.index(make)), mode).eval()
    graph = make(module, torch.randn(2, 2, module.shortest + 9))
    lengths = range(module.shortest, module.shortest + 20)
    assert assert_same_at(lengths, module, graph, 2) == 20


@pytest.mark.parametrize("strict", [False, True])
@MODES
def test_output_size_of_the_input_exported(mode: str, strict: bool) -> None:
    module = Residual(np.random.default_rng(int(strict)), mode).eval()
    x = torch.randn(2, 2, module.shortest + 9)
    shapes = ({2: Dim.AUTO},)
    program = torch.export.export(module, (x,), dynamic_shapes=shapes, strict=strict)
    lengths = range(module.shortest, module.shortest + 20)
    assert assert_same_at(lengths, module, program.module(), 2) == 20


# Inductor takes seconds for each graph. With None it makes one for a single length and one for all.
@pytest.mark.parametrize(
    ("dynamic", "backend"), [(True, "aot_eager"), (None, "aot_eager"), (None, "inductor")]
)
@MODES
def test_output_size_compiles_once(mode: str, dynamic: bool | None, backend: str) -> None:
    module = Residual(np.random.default_rng(PADDING_MODES.index(mode)), mode)
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(module, fullgraph=True, dynamic=dynamic, backend=counter)
    for length in range(module.shortest, module.shortest + 10):
        x = torch.randn(2, 2, length)
        of = []
        for run in (module, compiled):
            module.zero_grad()
            y = run(x)
            y.pow(2).mean().backward()
            of.append([y.detach(), *(p.grad.clone() for p in module.parameters())])
        torch.testing.assert_close(of[1], of[0], rtol=1e-4, atol=1e-5)
    assert counter.frame_count == (1 if dynamic else 2)  # one length, then all


def test_output_size_out_of_reach() -> None:
    class Sized(nn.Module):
        def __init__(self, more: int) -> None:
            super().__init__()
            self.more = more

        def forward(self, x: Tensor) -> Tensor:
            return ft.conv_transpose1d(x, w, None, 3, 1, output_size=3 * x.shape[-1] + self.more)

    w, x = torch.randn(2, 1, 5), torch.randn(1, 2, 8)  # 24 to 26 samples
    for more in (-1, 3):
        for make in (lambda m, x: torch.compile(m, fullgraph=True)(x), traced, onnx_by_tracing):
            with pytest.raises(Exception, match=r"output_size must be from 24 to 26 .* got 2[37]"):
                make(Sized(more), x)
            torch._dynamo.reset()
        for make in (exported, exported_strictly, onnx_by_dynamo):
            with pytest.raises(Exception, match="output_size must be from"):
                make(Sized(more), x)
    with pytest.raises(ValueError, match="from 24 to 26 for input length 8, got 10"):
        torch.export.export(Always(), (x.clone(),))  # exports that failed left marks on x


class Always(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return ft.conv_transpose1d(x, torch.ones(2, 1, 5), None, 3, 1, output_size=10)


@MODES
def test_make_fx_keeps_the_output_size_as_a_symbol(mode: str) -> None:
    w = torch.randn(2, 1, 5)

    def sized(x: Tensor, like: Tensor) -> Tensor:
        return ft.conv_transpose1d(x, w, None, 3, 1, padding_mode=mode, output_size=like.shape[-1])

    make = make_fx(sized, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    graph = make(torch.randn(1, 2, 8), torch.zeros(25))
    for length, samples in ((8, 24), (8, 25), (8, 26), (5, 16), (11, 35)):
        x, like = torch.randn(1, 2, length), torch.zeros(samples)
        assert torch.equal(graph(x, like), sized(x, like))


@pytest.mark.parametrize("output_size", [None, 26])
def test_vmap_over_weights_of_any_length(output_size: int | None) -> None:
    weights = torch.randn(3, 2, 1, 5)

    def each(x: Tensor) -> Tensor:
        size = None if output_size is None else 3 * x.shape[-1] + 2
        return torch.func.vmap(lambda w: ft.conv_transpose1d(x, w, None, 3, 1, output_size=size))(
            weights
        )

    compiled = torch.compile(each, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (8, 9, 15):
        x = torch.randn(1, 2, length)
        assert torch.equal(compiled(x), each(x))


def test_vmap_over_weights_of_a_conv1d() -> None:
    weights = torch.randn(3, 4, 2, 5)

    def each(x: Tensor) -> Tensor:
        conv1d = partial(ft.conv1d, x, stride=2, padding=(1, 7), padding_mode="reflect")
        return torch.func.vmap(conv1d)(weights)

    compiled = torch.compile(each, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (8, 9, 15):
        x = torch.randn(1, 2, length)
        assert torch.equal(compiled(x), each(x))


def test_output_size_may_be_a_shape_in_a_graph() -> None:
    class Shaped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ft.conv_transpose1d(x, w, None, 3, 1, output_size=(2, 1, 3 * x.shape[-1] + 1))

    w = torch.randn(2, 1, 5)
    for make in (traced, exported):
        assert assert_same_at(range(2, 9), Shaped(), make(Shaped(), torch.randn(2, 2, 5)), 2) == 7
