"""Compilers and exporters: whole graphs, no recompilation per length, standard operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from dynamo_exports import export_by_dynamo
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as tf

import fracstride.torch as ft
from fracstride.extension import PADDING_MODES

MODES = pytest.mark.parametrize("mode", PADDING_MODES)
KINDS = pytest.mark.parametrize("kind", ["ConvTranspose1d", "Conv1d"])


class Net(nn.Module):
    def __init__(self, kind: str = "ConvTranspose1d", **options: Any) -> None:
        super().__init__()
        options = {"padding": (1, 3), "groups": 2} | options
        self.layer = getattr(ft, kind)(4, 6, 5, 2, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x.relu()).sin()
        return y


def weight(kind: str) -> torch.Tensor:
    return torch.randn(4, 3, 5) if kind == "conv_transpose1d" else torch.randn(3, 4, 5)


@pytest.fixture(autouse=True)
def _reset() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)


@MODES
@KINDS
def test_dynamic_lengths_compile_once(kind: str, mode: str) -> None:
    net, counter = Net(kind, padding_mode=mode), CompileCounter()
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend=counter)
    for length in (20, 21, 30, 7, 500):
        x = torch.randn(2, 4, length)
        torch.testing.assert_close(compiled(x), net(x))
    assert counter.frame_count == 1
    assert counter.op_count == 3


@KINDS
def test_automatic_lengths_compile_twice(kind: str) -> None:
    net, counter = Net(kind), CompileCounter()
    compiled = torch.compile(net, fullgraph=True, backend=counter)
    with torch.no_grad():
        for length in (20, 21, 30, 7):
            x = torch.randn(2, 4, length)
            torch.testing.assert_close(compiled(x), net(x))
    assert counter.frame_count == 2  # one length, then all


@KINDS
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_gradients(backend: str, kind: str) -> None:
    net = Net(kind, padding_mode="reflect")
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend=backend)
    for length in (20, 33):
        grads = []
        for model in (net, compiled):
            x = torch.randn(2, 4, length, generator=torch.Generator().manual_seed(1))
            x.requires_grad_()
            net.zero_grad()
            model(x).pow(2).sum().backward()
            grads.append([x.grad, *(p.grad.clone() for p in net.parameters())])  # type: ignore[union-attr]
        torch.testing.assert_close(grads[1], grads[0])


def test_function_with_output_size_and_other_forms() -> None:
    w, counter = torch.randn(4, 3, 5), CompileCounter()

    def sized(x: torch.Tensor, n: int) -> torch.Tensor:
        return ft.conv_transpose1d(x, w, None, 2, 1, output_size=n)

    compiled = torch.compile(sized, fullgraph=True, dynamic=True, backend=counter)
    for length in (20, 21, 30, 31):
        for n in (2 * length + 1, 2 * length + 2):
            x = torch.randn(2, 4, length)
            assert torch.equal(compiled(x, n), sized(x, n))
    assert counter.frame_count == 1

    def forms(x: torch.Tensor) -> torch.Tensor:
        return ft.conv_transpose1d(x, w, None, 2, "causal") + ft.conv_transpose1d(
            x, w, None, (2,), "same", padding_mode="circular"
        )

    v = torch.randn(3, 4, 5)

    def conv1d_forms(x: torch.Tensor) -> torch.Tensor:
        y = ft.conv1d(x, v, None, 1, "causal", groups=1)
        y = y + ft.conv1d(x, v, None, (1,), "same", padding_mode="circular")
        return y[:, ::2] + ft.conv1d(x, v, None, [2], [1, 3], 1, padding_mode="reflect")

    x = torch.randn(4, 9)
    for of in (forms, conv1d_forms):
        assert torch.equal(torch.compile(of, fullgraph=True, backend="eager")(x), of(x))


@pytest.mark.parametrize("kind", ["conv_transpose1d", "conv1d"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_transforms_inside(backend: str, kind: str) -> None:
    w, x = weight(kind), torch.randn(3, 2, 4, 9)

    def one(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = getattr(ft, kind)(x, w, None, 2, 1, padding_mode="reflect").pow(2)
        return y

    for function in (
        torch.func.vmap(one),
        lambda x: torch.func.grad(lambda x: one(x).sum())(x[0]),
        lambda x: torch.func.jvp(one, (x[0],), (x[1],)),
        torch.func.vmap(torch.func.grad(lambda x: one(x).sum())),
        lambda x: torch.func.hessian(lambda x: one(x).pow(2).sum())(x[0, :1]),
    ):
        compiled = torch.compile(function, fullgraph=True, backend=backend)
        torch.testing.assert_close(compiled(x), function(x))
        torch._dynamo.reset()


@KINDS
def test_autocast_inside(kind: str) -> None:
    net = Net(kind)

    def cast(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return net(x)

    x = torch.randn(2, 4, 20)
    got = torch.compile(cast, fullgraph=True, backend="aot_eager")(x)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, cast(x))


def opcheck_cases() -> list[tuple[str, Any]]:
    cases: list[tuple[str, Any]] = []
    for dtype in (torch.float32, torch.complex64, torch.bfloat16):
        x, w, b, y = (
            torch.randn(s, dtype=dtype, requires_grad=True)
            for s in ((2, 4, 9), (4, 3, 5), (6,), (2, 6, 21))
        )
        for mode in ("zeros", "circular"):
            sizes = (2, 0, 0, 0, 2, 1, mode)
            cases += [
                ("conv_transpose1d", (x, w, b, *sizes)),
                ("conv_transpose1d", (x, w, None, *sizes)),
                ("conv_transpose1d_input_grad", (y, w, 9, *sizes)),
                ("conv_transpose1d_weight_grad", (x, y, 5, *sizes)),
            ]
        # Taken as the weight of a Conv1d, w has 3*groups channels in and 4 out.
        x, y = y[..., :9].detach().requires_grad_(), x[..., :5].detach().requires_grad_()
        c = b[:4].detach().requires_grad_()
        for mode in ("zeros", "circular"):
            conv1d_sizes = (2, 1, 3, 2, 1, mode)
            cases += [
                ("conv1d", (x, w, c, *conv1d_sizes)),
                ("conv1d", (x, w, None, *conv1d_sizes)),
                ("conv1d_input_grad", (y, w, 9, *conv1d_sizes)),
                ("conv1d_weight_grad", (x, y, 5, *conv1d_sizes)),
            ]
    return cases


def shown(value: Any) -> str:
    """The same parameters in every process that collects the tests."""
    if isinstance(value, str):
        return value
    return "-".join(str(v.dtype) if isinstance(v, torch.Tensor) else str(v) for v in value)


@pytest.mark.parametrize(("name", "arguments"), opcheck_cases(), ids=shown)
def test_opcheck(name: str, arguments: Any) -> None:
    torch.library.opcheck(getattr(torch.ops.fracstride, name).default, arguments)


@MODES
@KINDS
@pytest.mark.parametrize("strict", [False, True])
def test_export_has_torchs_operators_only(mode: str, strict: bool, kind: str) -> None:
    net = Net(kind, padding_mode=mode).eval()
    lengths = ({2: torch.export.Dim("L", min=8)},)
    x = torch.randn(2, 4, 20)
    program = torch.export.export(net, (x,), dynamic_shapes=lengths, strict=strict)
    assert "fracstride" not in str(program.graph)
    for length in (20, 33):
        x = torch.randn(2, 4, length)
        torch.testing.assert_close(program.module()(x), net(x))


@MODES
@KINDS
def test_jit_trace_has_torchs_operators_only(kind: str, mode: str) -> None:
    net = Net(kind, padding_mode=mode).eval()
    x = torch.randn(2, 4, 20)
    traced = torch.jit.trace(net, (x,), check_trace=False)
    assert "fracstride::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x), net(x))


@KINDS
def test_fx_trace_keeps_the_call(kind: str) -> None:
    net = Net(kind)
    traced = torch.fx.symbolic_trace(net)
    function = ft.conv1d if kind == "Conv1d" else ft.conv_transpose1d
    assert any(node.target is function for node in traced.graph.nodes)
    x = torch.randn(2, 4, 20)
    assert torch.equal(traced(x), net(x))


@MODES
@KINDS
def test_onnx(kind: str, mode: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    net = Net(kind, padding_mode=mode).eval()
    file = tmp_path / "net.onnx"
    x = torch.randn(2, 4, 20)
    shapes = ({2: torch.export.Dim("L", min=8)},)
    export_by_dynamo(net, (x,), file, dynamic_shapes=shapes)
    model = onnx.load(file)
    onnx.checker.check_model(model)
    assert all(node.domain in ("", "ai.onnx") for node in model.graph.node)
    used = {node.op_type for node in model.graph.node}
    assert ("ConvTranspose" if kind == "ConvTranspose1d" else "Conv") in used
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    for length in (20, 33):
        x = torch.randn(2, 4, length)
        with torch.no_grad():
            want = net(x)
        (got,) = session.run(None, {name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-4, atol=1e-5)


@KINDS
def test_fake_tensors_and_make_fx(kind: str) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    net = Net(kind)
    x = torch.randn(2, 4, 20)
    with FakeTensorMode() as mode:
        fake = ft.conv_transpose1d(mode.from_tensor(x), torch.empty(4, 3, 5), None, 2)
        assert fake.shape == (2, 3, 43)
        fake = ft.conv1d(mode.from_tensor(x), torch.empty(3, 4, 5), None, 2)
        assert fake.shape == (2, 3, 8)
    for options in ({}, {"tracing_mode": "symbolic"}, {"pre_dispatch": True}):
        graph = make_fx(net, **options, _allow_non_fake_inputs=True)(x)  # type: ignore[arg-type]
        torch.testing.assert_close(graph(x), net(x))
        assert "fracstride" in graph.code


@pytest.mark.parametrize("kind", ["conv_transpose1d", "conv1d"])
def test_lengths_of_symbols_are_those_of_numbers(kind: str) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    w = weight(kind)

    def layer(*sizes: Any) -> Any:
        return lambda x: getattr(ft, kind)(x, w, None, *sizes)

    for length in range(9, 15):
        x = torch.randn(2, 4, length)
        for call in (layer(1, 0), layer(2, 1), layer(3, (2, 3)), layer(4, (0, 1))):
            graph = make_fx(call, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
            (node,) = (n for n in graph.graph.nodes if "fracstride" in str(n.target))
            symbol = node.meta["val"].shape[2]
            assert symbol.node.hint == call(x).shape[2]
            assert not isinstance(symbol, int)


@pytest.mark.parametrize("kind", ["conv_transpose1d", "conv1d"])
def test_subclasses_and_function_modes(kind: str) -> None:
    class Marked(torch.Tensor):
        pass

    function = getattr(ft, kind)
    x, w, modes = torch.randn(2, 4, 20), weight(kind), {"padding_mode": "reflect", "padding": 1}
    marked = function(x.as_subclass(Marked), w, **modes)
    assert type(marked) is Marked
    assert torch.equal(marked.as_subclass(torch.Tensor), function(x, w, **modes))

    seen: list[Any] = []

    class Watching(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Watching():
        function(x, w)
    assert function in seen
    assert type(tf.relu(marked)) is Marked
