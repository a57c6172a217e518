"""Decoders from codes, exported to ONNX and read back, against ONNX Runtime; what is refused."""

from __future__ import annotations

import io
import os
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import assert_close, run

import fracstride as fs
import fracstride.onnx

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "6"))
CODECS = ("dac", "encodec", "mimi_quantiser", "xcodec")
WAYS = ("modules", "functional", "index", "stacked", "one_table", "several_rates")


def exported(
    module: Any, inputs: tuple[Any, ...], time: int, opset: int, lengths: Sequence[str] = ("time",)
) -> onnx.ModelProto:
    names = [f"x{place}" for place in range(len(inputs))]
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            file,
            dynamo=False,
            input_names=names,
            dynamic_axes={
                name: {0: "batch", time: length}
                for name, length in zip(names, lengths, strict=True)
            },
            opset_version=opset,
        )
    return onnx.load_from_string(file.getvalue())


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), opset=st.integers(13, 20), short=st.booleans())
def test_random_decoders(way: str, seed: int, opset: int, short: bool) -> None:
    from drawn_codes import Decoder

    torch.manual_seed(seed)
    dtype = torch.int32 if short and way != "one_table" else torch.int64
    module = Decoder(random.Random(seed).randint, way).eval()
    lengths = [f"{rate}*time" if rate > 1 else "time" for rate in module.rates]
    if way != "several_rates":
        lengths = ["time"]
    elif len(lengths) < 3:  # the proportion is found by trying
        lengths = [f"time_{place}" for place in range(len(lengths))]
    example = module.example(2, 12, dtype)
    model = exported(module, example, module.time, opset, lengths)
    net = fracstride.onnx.load(model, time=module.time)
    for clock in (net.least, net.least + 1, 23, 50):
        for batch in (1, 3):
            inputs = [x.numpy() for x in module.example(batch, clock, dtype)]
            (wanted,) = run(model, *inputs)
            for kind in (np.int64, np.int32):
                assert_close(net(*(x.astype(kind) for x in inputs)), wanted)


@pytest.mark.parametrize("name", CODECS)
def test_codecs(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from codec_decoders import CODECS as MODELS

    torch.manual_seed(0)
    module, books = MODELS[name]()
    model = exported(module, (torch.randint(0, 16, (2, books, 12)),), 2, 17)
    net = fracstride.onnx.load(model)
    net.save(tmp_path / "net.safetensors")
    loaded = fs.load(tmp_path / "net.safetensors")
    for clock, batch in ((net.least, 1), (13, 2), (40, 3)):
        codes = np.random.default_rng(clock).integers(0, 16, (batch, books, clock))
        assert_close(net(codes), run(model, codes)[0])
        assert np.array_equal(loaded(codes), net(codes))


# --- single nodes -------------------------------------------------------------------------------

TABLE = np.random.default_rng(0).standard_normal((11, 4)).astype(np.float32)


def node(kind: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, [*names], ["y"], "the_node", **attributes)


def model_of(
    nodes: list[onnx.NodeProto], dims: Any = ("b", 3, "t"), gives: int | None = None, **weights: Any
) -> onnx.ModelProto:
    """A model of codes, of opset 17."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("codes", TensorProto.INT64, dims)],
        [helper.make_tensor_value_info("y", gives or TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(w), n) for n, w in {"table": TABLE, **weights}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def step(kind: str, *names: str, to: str = "i", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, [*names], [to], **attributes)


LOOK_UP = node("Gather", "table", "i")
I64 = np.int64
# Codes (B, 3, T) below 11, in another way, and then looked up.
READ: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "as they are": ([node("Gather", "table", "codes", axis=0)], {}),
    "negative axis": ([node("Gather", "table", "codes", axis=-2)], {}),
    "one row": ([step("Gather", "codes", "n", axis=1), LOOK_UP], {"n": I64(1)}),
    "rows": ([step("Gather", "codes", "n", axis=1), LOOK_UP], {"n": np.array([2, 0], I64)}),
    "transposed": ([step("Transpose", "codes", perm=[0, 2, 1]), LOOK_UP], {}),
    "time first": ([step("Transpose", "codes", perm=[2, 0, 1]), LOOK_UP], {}),
    "offsets": (
        [step("Add", "codes", "n", to="j"), step("Mod", "j", "m"), LOOK_UP],
        {"n": np.array([[0], [5], [9]], I64), "m": I64(11)},
    ),
    "an offset": (
        [step("Sub", "codes", "n", to="j"), step("Clip", "j", "low", "high"), LOOK_UP],
        {"n": np.array([3], I64), "low": I64(0), "high": I64(10)},
    ),
    "digits": (
        [step("Div", "codes", "n", to="j"), step("Mod", "j", "m"), LOOK_UP],
        {"n": np.array([[1], [2], [4]], I64), "m": I64(2)},
    ),
    "rounded towards zero": (
        [
            step("Sub", "codes", "n", to="j"),
            step("Div", "j", "m", to="k"),
            step("Add", "k", "n"),
            LOOK_UP,
        ],
        {"n": I64(5), "m": I64(2)},
    ),
    "from the left": ([step("Mul", "n", "codes"), LOOK_UP], {"n": I64(0)}),
    "clipped": ([step("Clip", "codes", "low"), LOOK_UP], {"low": I64(2)}),
    "padded": (
        [step("Pad", "codes", "p", "n"), LOOK_UP],
        {"p": np.array([0, 0, 2, 0, 0, 1], I64), "n": I64(7)},
    ),
    "cast": ([step("Cast", "codes", to="i"), node("Sin", "i")], {}),
    "codes": ([node("Add", "codes", "n")], {"n": I64(5)}),
}
READ["cast"][0][0].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))


@pytest.mark.parametrize("kind", READ)
def test_nodes(kind: str) -> None:
    nodes, weights = READ[kind]
    model = model_of(nodes, gives=TensorProto.INT64 if kind == "codes" else None, **weights)
    net = fracstride.onnx.load(model)
    for batch, length in ((1, 1), (2, 9), (3, 40)):
        codes = np.random.default_rng(length).integers(0, 11, (batch, 3, length))
        (wanted,) = run(model, codes)
        found = net(codes)
        assert found.dtype == wanted.dtype
        assert_close(found, wanted)


def test_a_speaker() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "codes"], ["t"]),
        helper.make_node("Gather", ["table", "speaker"], ["s"]),
        helper.make_node("Unsqueeze", ["s", "axes"], ["u"]),
        node("Add", "t", "u"),
    ]
    model = model_of(nodes, ("b", "t"), axes=np.array([1], I64))
    model.graph.input.append(helper.make_tensor_value_info("speaker", TensorProto.INT64, ("b",)))
    net = fracstride.onnx.load(model, time=(-1, None))
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 11, (3, 20)), rng.integers(0, 11, 3)
    assert_close(net(*inputs), run(model, *inputs)[0])


WRONG: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "no table": (
        [node("Gather", "cube", "codes")],
        {"cube": np.zeros((3, 2, 2), np.float32)},
        r"^the node 'the_node' \(Gather\): the table that it reads has not two axes$",
    ),
    "columns": (
        [node("Gather", "table", "codes", axis=1)],
        {},
        r"^the node 'the_node' \(Gather\): it takes columns of a table$",
    ),
    "an unknown one": (
        [node("Equal", "codes", "n")],
        {"n": I64(3)},
        r"^the node 'the_node' \(Equal\): the library has no such operation of codes$",
    ),
    "two codes": (
        [node("Add", "codes", "codes")],
        {},
        r"^the node 'the_node' \(Add\): it does not have codes first, and then constants$",
    ),
    "a narrow cast": (
        [node("Cast", "codes", to=TensorProto.INT8)],
        {},
        r"^the node 'the_node' \(Cast\): it changes the dtype$",
    ),
    "a remainder of C": (
        [node("Mod", "codes", "n", fmod=1)],
        {"n": I64(3)},
        r"^the node 'the_node' \(Mod\): its remainder has the sign of the code$",
    ),
    "a division by zero": (
        [node("Mod", "codes", "n")],
        {"n": I64(0)},
        r"^the node 'the_node' \(Mod\): it divides codes by zero$",
    ),
    "a convolution": (
        [node("ConvInteger", "codes", "w")],
        {"w": np.zeros((1, 3, 1), I64)},
        "the_node",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_refused(kind: str) -> None:
    nodes, weights, text = WRONG[kind]
    with pytest.raises(ValueError, match=text):
        fracstride.onnx.load(model_of(nodes, **weights))


def test_codes_that_do_not_fit() -> None:
    net = fracstride.onnx.load(model_of([node("Gather", "table", "codes")]))
    codes = np.zeros((1, 3, 9), I64)
    codes[0, 1, 4] = 11
    with pytest.raises(
        ValueError, match=r"^the_node \(Embedding\): codes must be 0 to 10, got 11$"
    ):
        net(codes)
    # (ONNX counts negative ones from the end.)
    with pytest.raises(
        ValueError, match=r"^the_node \(Embedding\): codes must be 0 to 10, got -1$"
    ):
        net(-codes // 11)
    with pytest.raises(
        TypeError, match=r"^codes must be codes, integers such as int64, got dtype f"
    ):
        net(codes * 1.0)
    with pytest.raises(
        ValueError, match=r"^codes must have the shape \(B, 3, L\), got \(1, 9, 3\)"
    ):
        net(np.zeros((1, 9, 3), I64))
