"""What cannot be read: one sentence that names the node; nothing crashes, no code runs."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model_of

import fracstride.onnx
from fracstride.onnx import load

X = {"x": ("b", 2, "t")}


def node(kind: str, *names: str, out: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, names, [out], name=f"the_{kind}", **attributes)


def small() -> onnx.ModelProto:
    w = np.ones((2, 2, 3), np.float32)
    nodes = [node("Conv", "x", "w", out="c", pads=[1, 1]), node("Tanh", "c")]
    return model_of(nodes, X, weights={"w": w})


def branch(kind: str) -> Any:
    out = helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node(kind, ["x"], ["inside"])], kind, [], [out])


REFUSED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "unknown operator": ([node("Nonsense", "x")], {}, "'the_Nonsense'.*no such operator"),
    "unknown domain": (
        [helper.make_node("Tanh", ["x"], ["y"], domain="com.example", name="n")],
        {},
        "no such operator",
    ),
    "of another domain": (
        [helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", name="n")],
        {},
        r"the node 'n' \(Scaler\)",
    ),
    "not in the library": (
        [node("Softmax", "x", axis=1)],
        {},
        r"'the_Softmax' \(Softmax\).*no such",
    ),
    "random": ([node("RandomNormalLike", "x")], {}, "draws random numbers.*inputs="),
    "values decide": (
        [
            node("ReduceMean", "x", out="m", keepdims=0),
            node("Greater", "m", "zero", out="p"),
            node("If", "p", then_branch=branch("Tanh"), else_branch=branch("Neg")),
        ],
        {"zero": np.float32(0)},
        "values of the signal decide",
    ),
    "sizes by values": (
        [node("NonZero", "x", out="n"), node("Cast", "n", to=TensorProto.FLOAT)],
        {},
        "'the_NonZero'.*do not follow",
    ),
    "too large": (
        [node("ConstantOfShape", "s", out="c"), node("Add", "x", "c")],
        {"s": np.array([2**20, 2**20], np.int64)},
        "asks for 1099511627776 numbers",
    ),
    "sizes that overflow": (
        [node("ConstantOfShape", "s", out="c"), node("Add", "x", "c")],
        {"s": np.array([2**62, 2**62], np.int64)},
        "the_ConstantOfShape",
    ),
    "a cycle": (
        [node("Add", "x", "b", out="a"), node("Tanh", "a", out="b"), node("Neg", "b")],
        {},
        "not in order, or form a cycle",
    ),
    "nothing gives": ([node("Add", "x", "z")], {}, "'z', which is no input"),
    "channels do not fit": (
        [node("Conv", "x", "w")],
        {"w": np.ones((2, 3, 3), np.float32)},
        "'the_Conv'",
    ),
    "2-D": (
        [node("Unsqueeze", "x", "a", out="u"), node("Conv", "u", "w")],
        {"a": np.array([2], np.int64), "w": np.ones((2, 2, 1, 3), np.float32)},
        "no 1-D convolution",
    ),
    "a fixed length": (
        [node("Reshape", "x", "s")],
        {"s": np.array([1, 2, 50], np.int64)},
        "the_Reshape",
    ),
    "a constant that grows": (
        [
            node("Shape", "x", out="s"),
            node("Gather", "s", "two", out="n"),
            node("Range", "zero", "n", "one", out="r"),
            node("Cast", "r", out="f", to=TensorProto.FLOAT),
            node("Add", "x", "f"),
        ],
        {"two": np.array(2), "zero": np.array(0), "one": np.array(1)},
        "'the_Add'.*changes with the length",
    ),
    "time is averaged": ([node("ReduceMean", "x", axes=[2])], {}, "over time or over the batch"),
    "batch is merged": (
        [node("Reshape", "x", "s")],
        {"s": np.array([-1], np.int64)},
        "batch or time are merged",
    ),
    "no signal": ([node("Tanh", "w")], {"w": np.ones((1, 2, 3), np.float32)}, "does not depend"),
    "SAME": (
        [node("Conv", "x", "w", auto_pad="SAME_UPPER")],
        {"w": np.ones((2, 2, 3), np.float32)},
        "auto_pad",
    ),
}


def by_length(comparison: str, length: int) -> onnx.ModelProto:
    """A model that negates its input where a comparison of its length holds, else takes tanh."""
    nodes = [
        node("Shape", "x", out="s"),
        node("Gather", "s", "two", out="t"),
        node(comparison, "t", "length", out="is"),
        node("If", "is", then_branch=branch("Neg"), else_branch=branch("Tanh")),
    ]
    return model_of(nodes, X, weights={"two": np.array(2), "length": np.array(length)})


def test_short_inputs_that_go_another_way() -> None:
    net = load(by_length("Less", 6))
    assert net.least == 6
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 2, 6)
    assert np.allclose(np.asarray(net(x)), np.tanh(x), atol=1e-6)
    with pytest.raises(ValueError, match="at least 6"):
        net(x[..., 1:])


def test_a_length_that_goes_another_way() -> None:
    """Found where the runs that the graph is made of do not have it."""
    with pytest.raises(ValueError, match="another way at 94 ticks"):
        load(by_length("Equal", 94))


@pytest.mark.parametrize("name", REFUSED)
def test_models(name: str) -> None:
    nodes, weights, match = REFUSED[name]
    with pytest.raises(ValueError, match=match):
        load(model_of(nodes, X, weights=weights))


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"model must be a path or an onnx\.ModelProto, got int"):
        load(3)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="inputs must be names of values of the graph, got 'z'"):
        load(small(), inputs=["z"])
    with pytest.raises(ValueError, match="outputs must be names"):
        load(small(), outputs=["z"])
    with pytest.raises(ValueError, match="opset 9; opsets 11 to"):
        load(model_of([node("Tanh", "x")], X, opset=9))
    with pytest.raises(ValueError, match="has no graph or no opset"):
        load(onnx.ModelProto())


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    whole = small().SerializeToString()
    for content in (b"", b"no model", whole[: len(whole) // 2], whole[:-3]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"\w"):
            load(path)


def test_edited_files(tmp_path: Path) -> None:
    """Bytes changed anywhere: a network or a sentence."""
    path, whole, rng = tmp_path / "model.onnx", small().SerializeToString(), random.Random(0)
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(ValueError, TypeError):
            assert str(load(path))


def test_external_data(tmp_path: Path) -> None:
    model = small()
    (weight,) = model.graph.initializer
    data = numpy_helper.to_array(weight)
    onnx.save_model(
        model,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
    )
    x = np.ones((1, 2, 9), np.float32)
    wanted = np.tanh(np.convolve(np.ones(9), np.ones(3), "same") * data[0].sum(axis=0)[0])
    assert np.allclose(np.asarray(load(tmp_path / "model.onnx")(x))[0, 0], wanted, atol=1e-6)
    (tmp_path / "weights").unlink()
    with pytest.raises(ValueError, match=r"weights beside .* cannot be read"):
        load(tmp_path / "model.onnx")


def test_without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fracstride\[onnx\]'"):
        importlib.reload(fracstride.onnx)
    monkeypatch.undo()
    importlib.reload(fracstride.onnx)
