"""Networks in files: the bits come back, and what is damaged is refused in a sentence."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import torch

import fracstride as fs
from fracstride.network import Extent, Graph, Network, constant
from fracstride.network.layout import BATCH, TIME, split
from fracstride.network.layouts import Layouts
from fracstride.network.operations.arithmetic import Multiply
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.clamp import Clamp
from fracstride.network.operations.code_arithmetic import CodeArithmetic
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.embedding import Embedding
from fracstride.network.operations.leaky_relu import LeakyReLU
from fracstride.network.operations.lstm import LSTM
from fracstride.network.operations.pad import Pad
from fracstride.network.saving import FORMAT

safetensors = pytest.importorskip("safetensors.numpy")


def network(dtype: str = "float32") -> Network:
    rng = np.random.default_rng(0)
    graph = Graph()
    x = graph.add_input("frames", channels=3)
    y = graph.add(Pad(2, 3, "reflect"), x)
    layer: Any = fs.Conv1d(3, 4, 5, stride=2, dilation=2, padding=(1, 2), dtype=dtype, rng=rng)
    y = graph.add(Conv1d(layer), y, path="down")
    y = graph.add(LeakyReLU(0.1), y)
    layer = fs.ConvTranspose1d(4, 4, 8, 4, (2, 1), 1, groups=2, bias=False, dtype=dtype, rng=rng)
    y = graph.add(ConvTranspose1d(layer), y, path="up")
    weights = [rng.standard_normal((8, n)).astype(layer.dtype) for n in (4, 2)]
    y = graph.add(LSTM(*weights, reverse=True), graph.add(Crop(1, 2), y))
    y = graph.add(Multiply(), y, constant(rng.standard_normal(2)))
    graph.outputs += [graph.add(Clamp(low=-0.5), y), x]
    return Network(graph, dtype)


def examples(net: Network, *lengths: int) -> list[Any]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((2, 3, n)).astype(net.dtype) for n in lengths]


def assert_same(one: Network, other: Network, *lengths: int) -> None:
    assert (one.dtype, one.least, str(one)) == (other.dtype, other.least, str(other))
    for x in examples(one, *lengths):
        for a, b in zip(one(x), other(x), strict=True):
            assert a.shape == b.shape
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_bits_come_back(dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes")
    net = network(dtype)
    net.save(tmp_path / "net.safetensors")
    assert_same(net, fs.load(tmp_path / "net.safetensors"), 4, 5, 50)


def test_a_network_of_torch(tmp_path: Path) -> None:
    import fracstride.torch

    torch.manual_seed(0)

    class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv1d(5, 6, 3, stride=2)
            self.norm = torch.nn.LayerNorm(6)

        def forward(self, x: Any) -> Any:
            y = self.conv(x.transpose(1, 2)).transpose(1, 2)
            return self.norm(y), torch.tanh(y)

    model = Model().eval()
    net = fracstride.torch.compile(model, torch.randn(1, 20, 5), time=1)
    net.save(tmp_path / "net.safetensors")
    loaded = fs.load(tmp_path / "net.safetensors")
    x = torch.randn(3, 31, 5)
    for a, b in zip(loaded(x.numpy()), net(x), strict=True):
        assert np.array_equal(np.asarray(a), b.numpy())
    with pytest.raises(ValueError, match=r"input must have the shape \(B, L, 5\)"):
        loaded(np.zeros((3, 5, 31), np.float32))


def test_what_runs_in_torch_is_refused(tmp_path: Path) -> None:
    import fracstride.torch

    module = torch.nn.Sequential(torch.nn.Conv1d(2, 4, 3), torch.nn.Softmax(dim=1))
    net = fracstride.torch.compile(module, torch.randn(1, 2, 20))
    with pytest.raises(ValueError, match=r"^1 \(.*softmax.*a file cannot hold it"):
        net.save(tmp_path / "net.safetensors")


def test_no_framework_is_loaded(tmp_path: Path) -> None:
    network().save(tmp_path / "net.safetensors")
    code = f"""
import sys, fracstride as fs
net = fs.load({str(tmp_path / "net.safetensors")!r})
unwanted = {{"torch", "onnx", "onnxruntime", "jax"}} & set(sys.modules)
assert not unwanted, unwanted
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fs.load(tmp_path / "none")
    path = tmp_path / "net"
    network().save(path)
    whole = path.read_bytes()
    for content in (b"", b"no network", whole[:100], whole[:-5]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no safetensors file, or damaged"):
            fs.load(path)
    safetensors.save_file({"x": np.zeros(3)}, str(path))
    with pytest.raises(ValueError, match="holds no network"):
        fs.load(path)
    safetensors.save_file({}, str(path), {"format": FORMAT, "version": "99"})
    with pytest.raises(ValueError, match="has version 99 of the format, and this is version 1"):
        fs.load(path)


def parts(path: Path) -> tuple[dict[str, Any], Any, dict[str, str]]:
    with safetensors.safe_open(str(path), "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    return tensors, json.loads(metadata["graph"]), metadata


def test_axes_beyond_the_signal_are_refused(tmp_path: Path) -> None:
    """They would show memory that is not the signal's."""
    graph, path = Graph(), tmp_path / "net"
    graph.outputs.append(graph.add(LeakyReLU(0.1), graph.add_input("x", channels=6)))
    axes = split(BATCH, 2, 3, TIME)
    Network(graph, layouts=Layouts((axes,), (axes,))).save(path)
    tensors, written, metadata = parts(path)
    x = np.ones((1, 2, 3, 5), np.float32)
    assert fs.load(path)(x).shape == x.shape
    assert written["layouts"][1] == [["batch", [2, 3], [3, 1], "time"]]
    for wrong in ([2, 4], [3, 3], [2, -3], [0, 3]):
        written["layouts"][1] = [["batch", wrong, [3, 1], "time"]]
        safetensors.save_file(tensors, str(path), {**metadata, "graph": json.dumps(written)})
        with pytest.raises(ValueError, match="is damaged"):
            fs.load(path)


def test_a_crop_that_is_longer_than_its_input(tmp_path: Path) -> None:
    graph = Graph()
    crop = Crop(0, 0, Extent.affine(1, 100))
    graph.outputs.append(graph.add(LeakyReLU(0.1), graph.add(crop, graph.add_input("x", 1))))
    Network(graph).save(tmp_path / "net")
    with pytest.raises(ValueError, match="Crop has too short an input at 5 ticks"):
        fs.load(tmp_path / "net")(np.zeros((1, 1, 5), np.float32))


def changed(value: Any, rng: random.Random) -> Any:
    """A value with something in it replaced."""
    if isinstance(value, (list, dict)) and value and rng.random() < 0.9:
        copy: Any = value.copy()
        key = rng.choice(list(copy) if isinstance(copy, dict) else list(range(len(copy))))
        if rng.random() < 0.05:
            del copy[key]
        else:
            copy[key] = changed(copy[key], rng)
        return copy
    choices = [0, 1, -1, 2, 7, 10**6, 2**40, 2**70, 0.5, "x", "", None, True, [], {}, [1], [[1]]]
    return rng.choice([*choices, value + 1 if type(value) is int else 3])


def codes_network() -> Network:
    """A network of codes."""
    rng = np.random.default_rng(0)
    graph = Graph()
    x = graph.add_input("codes", channels=3, codes=True)
    y = graph.add(CodeArithmetic("add", (0, 5)), graph.add(Channels((2, 0)), x))
    y = graph.add(Embedding(rng.standard_normal((20, 2)).astype(np.float32)), y, path="table")
    graph.outputs += [graph.add(LeakyReLU(0.1), y), graph.add(Crop(1, 0), x)]
    return Network(graph)


@pytest.mark.parametrize(("made", "times"), [(network, 1500), (codes_network, 1000)])
def test_changed_graphs(made: Callable[[], Network], times: int, tmp_path: Path) -> None:
    """Anything in the graph replaced: a network that runs or raises, or a sentence."""
    path, rng = tmp_path / "net", random.Random(0)
    made().save(path)
    tensors, graph, metadata = parts(path)
    loaded = 0
    for _ in range(times):
        broken = changed(graph, rng)
        if rng.random() < 0.3:
            broken = changed(broken, rng)
        # (A file that safetensors opens itself takes milliseconds.)
        path.write_bytes(safetensors.save(tensors, {**metadata, "graph": json.dumps(broken)}))
        try:
            net = fs.load(path)
        except ValueError:
            continue
        loaded += 1
        first = net.graph.inputs[0]
        for clock in (net.least, net.least + 9):
            if clock > 1000 or first.channels > 1000:
                continue
            shape = 1, first.channels, max(int(first.extent(clock)), 0)
            x = np.ones(shape, first.dtype(net.dtype))
            with contextlib.suppress(ValueError, TypeError, MemoryError):
                net(x)
    assert loaded > 50
