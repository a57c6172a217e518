"""Codes in networks of arrays: what a table gives, what becomes of codes, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import check_invariances

import fracstride as fs
from fracstride.network import Extent, Graph, Network
from fracstride.network.layout import BATCH, TIME, split
from fracstride.network.layouts import Layouts
from fracstride.network.operations.arithmetic import Add
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.code_arithmetic import CodeArithmetic, ToFloat
from fracstride.network.operations.concatenate import Concatenate
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.crop import Crop
from fracstride.network.operations.embedding import Embedding
from fracstride.network.operations.functions import Sin
from fracstride.network.operations.pad import Pad

DTYPES = ("float32", "float64", "float16", "bfloat16")


def as_array(numbers: Any, dtype: str) -> Any:
    if dtype == "bfloat16":
        return numbers.astype(pytest.importorskip("ml_dtypes").bfloat16)
    return numbers.astype(dtype)


def of(*operations: Any, channels: int = 1, dtype: str = "float32") -> Network:
    """A chain of operations on codes."""
    graph = Graph()
    x = graph.add_input("codes", channels, codes=True)
    for operation in operations:
        x = graph.add(operation, x, path="books.0")
    graph.outputs.append(x)
    return Network(graph, dtype)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 4),
    dtype=st.sampled_from(DTYPES),
    kind=st.sampled_from(["i1", "u1", "i2", "u2", "i4", ">i4", "u4", "i8", ">i8"]),
)
def test_rows_of_a_table(seed: int, rows: int, dtype: str, kind: str) -> None:
    rng = np.random.default_rng(seed)
    size, width, batch, length = (int(n) for n in rng.integers(1, [50, 9, 4, 60]))
    table = as_array(rng.normal(size=(size, width)), dtype)
    codes = rng.integers(0, size, (batch, rows, length)).astype(kind)
    found = of(Embedding(table), channels=rows, dtype=dtype)(codes)
    wanted = np.concatenate([table[codes[:, r]].transpose(0, 2, 1) for r in range(rows)], axis=1)
    assert found.dtype == wanted.dtype
    assert found.tobytes() == np.ascontiguousarray(wanted).tobytes()


def decoder(dtype: str = "float32") -> Network:
    """Sums of what several tables have, one of them for two rows, and layers behind them."""
    rng = np.random.default_rng(0)
    graph = Graph()
    codes = graph.add_input("codes", 4, codes=True)
    speaker = graph.add_input("speaker", 1, Extent.affine(0, 1), codes=True)
    total = graph.add(Embedding(as_array(rng.normal(size=(16, 6)), dtype)), speaker)
    for row in (2, 0):
        table = Embedding(as_array(rng.normal(size=(16 + row, 6)), dtype))
        found = graph.add(table, graph.add(Channels((row,)), codes), path=f"books.{row}")
        total = graph.add(Add(), total, found)
    pair = graph.add(CodeArithmetic("add", (0, 16)), graph.add(Channels((3, 1)), codes))
    found = graph.add(Embedding(as_array(rng.normal(size=(32, 3)), dtype)), pair)
    layer: Any = fs.Conv1d(6, 3, 3, padding=1, dtype=dtype, rng=rng)
    y = graph.add(Conv1d(layer), graph.add(Add(), total, found))
    graph.outputs += [y, graph.add(Crop(1, 2), pair), graph.add(ToFloat(), codes)]
    return Network(graph, dtype)


def draws(length: int, batch: int = 2) -> tuple[Any, Any]:
    rng = np.random.default_rng(length)
    return rng.integers(0, 16, (batch, 4, length)), rng.integers(0, 16, (batch, 1, 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits(dtype: str) -> None:
    net = decoder()
    net.graph.outputs = net.graph.outputs[:1]
    pytest.importorskip("ml_dtypes")
    check_invariances(Network(net.graph).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_saved_loaded_and_pickled(dtype: str, tmp_path: Path) -> None:
    net = decoder(dtype)
    net.save(tmp_path / "net.safetensors")
    others = fs.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net))
    for other in others:
        assert str(other) == str(net)
        for length in (net.least, 30):
            for one, two in zip(net(*draws(length)), other(*draws(length)), strict=True):
                assert one.dtype == two.dtype
                assert one.tobytes() == two.tobytes()


def test_codes_are_results_too() -> None:
    codes, speaker = draws(9)
    _, pair, floats = decoder()(codes, speaker)
    assert pair.dtype == np.int64
    assert np.array_equal(pair, (codes[:, [3, 1]] + [[0], [16]])[..., 1:-2])
    assert np.array_equal(floats, codes.astype(np.float32))


def test_astype_leaves_codes_alone() -> None:
    half = decoder().astype("float16")
    for one, two in zip(half(*draws(9)), decoder()(*draws(9)), strict=True):
        assert one.dtype == (np.float16 if two.dtype == np.float32 else np.int64)
        np.testing.assert_allclose(one, two, rtol=0.02, atol=0.02)


def test_one_row_without_a_batch() -> None:
    codes, speaker = draws(9)
    whole = decoder()(codes, speaker)
    for one, two in zip(decoder()(codes[1], speaker[1]), whole, strict=True):
        assert np.array_equal(one, two[1])


def test_layouts_of_codes() -> None:
    table = np.random.default_rng(0).normal(size=(11, 2)).astype(np.float32)
    plain = of(Embedding(table), channels=3)
    layouts = Layouts((split(BATCH, TIME, 3),), (split(TIME, BATCH, 3, 2),))
    net = Network(plain.graph, layouts=layouts)
    codes = np.random.default_rng(1).integers(0, 11, (2, 7, 3))
    assert np.array_equal(net(codes), table[codes].transpose(1, 0, 2, 3))
    with pytest.raises(
        TypeError, match=r"^codes must be codes, integers such as int64, got dtype f"
    ):
        net(codes.astype("f4"))


ARITHMETIC: dict[str, Any] = {
    "add": lambda x, n: x + n,
    "subtract": lambda x, n: x - n,
    "multiply": lambda x, n: x * n,
    "divide": lambda x, n: int(x / n),
    "floor_divide": lambda x, n: x // n,
    "remainder": lambda x, n: x % n,
    "maximum": max,
    "minimum": min,
}


@pytest.mark.parametrize("function", ARITHMETIC)
@pytest.mark.parametrize("rows", [1, 3])
def test_arithmetic(function: str, rows: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-50, 50, (2, rows, 9))
    numbers = tuple(int(n) for n in rng.choice([-7, -1, 1, 3, 12], 3))
    for several in (numbers, numbers[:1]):
        found = of(CodeArithmetic(function, several), channels=rows)(codes)
        for channel in range(max(rows, len(several))):
            number, row = several[channel % len(several)], codes[:, channel % rows]
            wanted = [[ARITHMETIC[function](int(x), number) for x in part] for part in row]
            assert found[:, channel].tolist() == wanted


def test_pads_crops_and_joins() -> None:
    graph = Graph()
    x = graph.add_input("codes", 2, codes=True)
    y = graph.add(Pad(2, 1, number=7), x)
    graph.outputs.append(graph.add(Crop(1, 0), graph.add(Concatenate(), y, y)))
    found = Network(graph)(np.array([[1, 2, 3], [4, 5, 6]]))
    assert found.tolist() == 2 * [[7, 1, 2, 3, 7], [7, 4, 5, 6, 7]]
    table = np.arange(8, dtype=np.float32)[:, None] / 2
    for node in graph.nodes:
        assert node.output.is_codes
    graph.outputs = [graph.add(Embedding(table), graph.outputs[0])]
    assert Network(graph)(np.array([[1, 2], [4, 5]])).tolist() == 2 * [
        [3.5, 0.5, 1, 3.5],
        [3.5, 2, 2.5, 3.5],
    ]


# --- what is refused ----------------------------------------------------------------------------


def test_codes_that_a_table_lacks() -> None:
    net = of(Embedding(np.ones((5, 2), np.float32)))
    for wrong in (5, -1, 2**62, -(2**62), 2**63 - 1):
        codes = np.zeros((1, 1, 9), np.int64)
        codes[0, 0, 4] = wrong
        with pytest.raises(
            ValueError, match=rf"^books.0 \(Embedding\): codes must be 0 to 4, got {wrong}$"
        ):
            net(codes)
        assert net(codes * 0).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "bool", "u8", "c8", "O", "U1", "M8[s]"])
def test_other_dtypes(dtype: str) -> None:
    net = of(Embedding(np.ones((5, 2), np.float32)))
    with pytest.raises(TypeError, match=r"^codes must be codes, integers such as int64, got dtype"):
        net(np.zeros((1, 1, 9)).astype(dtype))
    with pytest.raises(TypeError, match="got dtype float64"):
        net([[0.0, 1.0]])
    assert np.asarray(net([[0, 1]])).shape == (2, 2)


def test_codes_for_floats() -> None:
    graph = Graph()
    graph.outputs.append(graph.add(Sin(), graph.add_input("x", 1)))
    with pytest.raises(TypeError, match=r"x must be an array of .*, got dtype int64"):
        Network(graph)(np.zeros((1, 1, 9), np.int64))


def test_operations_that_take_no_codes() -> None:
    graph = Graph()
    codes, x = graph.add_input("codes", 2, codes=True), graph.add_input("x", 2)
    for operation, inputs in ((Sin(), (codes,)), (Add(), (x, codes)), (Add(), (codes, codes))):
        with pytest.raises(
            ValueError, match=f"^here: {operation.name} takes signals of floats, got co"
        ):
            graph.add(operation, *inputs, path="here")
    with pytest.raises(ValueError, match="Concatenate of codes and other signals"):
        graph.add(Concatenate(), x, codes)
    for operation in (Embedding(np.ones((3, 2), np.float32)), CodeArithmetic("add", (1,))):
        with pytest.raises(ValueError, match="takes codes, got a signal of floats"):
            graph.add(operation, x)


def test_tables_and_arithmetic_that_cannot_be() -> None:
    graph = Graph()
    codes = graph.add_input("codes", 2, codes=True)
    for shape in ((3,), (3, 2, 2), (0, 2), (3, 0)):
        with pytest.raises(ValueError, match="table must have two axes"):
            graph.add(Embedding(np.ones(shape, np.float32)), codes)
    for function, number in (("power", 2), ("add", 2**63)):
        with pytest.raises(ValueError, match="no such arithmetic of codes"):
            graph.add(CodeArithmetic(function, (number,)), codes)
    with pytest.raises(ValueError, match="it divides codes by zero"):
        graph.add(CodeArithmetic("remainder", (0, 1)), codes)
    with pytest.raises(
        TypeError, match=r"books.0 has weights in float64, and the network is one in"
    ):
        of(Embedding(np.ones((3, 2))))
