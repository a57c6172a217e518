"""Calls of the kernels from compiled programs: copies, refusals, malformed calls."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_layers import KINDS, TRANSPOSED, Layer, assert_close, assert_same_bits

import fracstride.jax as fj
from fracstride import complex_numbers
from fracstride.jax import kernels

ROOT = Path(__file__).parents[2]


# --- compiled programs --------------------------------------------------------------------------


def instructions(compiled: str) -> list[str]:
    """The operations of the text of a compiled module."""
    return re.findall(r"^ *(?:ROOT )?%?[\w.-]+ = \S+ ([\w-]+)\(", compiled, re.M)


@pytest.mark.parametrize("kind", KINDS)
def test_operands_are_not_copied(kind: str) -> None:
    """The compiled forward pass, alone and with its gradients, has calls and nothing that moves."""
    layer = Layer(kind)
    given = layer.operands("float32")
    text = jax.jit(layer).lower(*given).compile().as_text()
    assert sorted(instructions(text)) == ["custom-call", *["parameter"] * 3]

    def gradients(x: Any, w: Any, b: Any, gy: Any) -> Any:
        return jax.vjp(layer, x, w, b)[1](gy)

    text = jax.jit(gradients).lower(*given, layer(*given)).compile().as_text()
    found = instructions(text)
    assert found.count("custom-call") == 2  # the output itself is not asked for
    assert not {"copy", "transpose", "reverse", "pad", "convolution"} & set(found)


def test_a_mapped_batch_is_not_copied() -> None:
    layer = Layer(TRANSPOSED)
    x, w, b = layer.operands("float32")
    many = jnp.stack([x, x])
    call = jax.jit(jax.vmap(layer, (0, None, None)))
    found = set(instructions(call.lower(many, w, b).compile().as_text()))
    assert found == {"parameter", "bitcast", "custom-call"}


def test_the_targets_have_a_version() -> None:
    text = jax.jit(fj.conv_transpose1d).lower(jnp.ones((1, 1, 3)), jnp.ones((1, 1, 2))).as_text()
    assert "@fracstride_conv_transpose1d_v1(" in text


@pytest.mark.parametrize("kind", KINDS)
def test_other_platforms_have_a_convolution(kind: str) -> None:
    layer = Layer(kind, "reflect")
    given = layer.operands("float32")
    lowered = jax.jit(layer).trace(*given).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in lowered
    assert "_v1(" not in lowered
    assert "stablehlo.custom_call" not in lowered


def test_precision_of_other_platforms_is_that_of_jax() -> None:
    layer = Layer(TRANSPOSED)
    given = layer.operands("float32")
    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(layer).trace(*given).lower(lowering_platforms=("tpu",)).as_text()
    assert "HIGHEST" in lowered


# --- without jit --------------------------------------------------------------------------------


def test_where_jit_is_disabled() -> None:
    layer = Layer(TRANSPOSED)
    given = layer.operands()
    with jax.disable_jit():
        assert_same_bits(jax.jit(layer)(*given), layer(*given))


@pytest.mark.parametrize("transform", [jax.jit, lambda f: f])
def test_nan_is_found_where_jax_looks_for_it(transform: Any) -> None:
    x, w = jnp.full((1, 2, 3), jnp.inf), jnp.array([[[1.0]], [[-1.0]]])
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match=r"invalid (value|nan)"):
        transform(fj.conv_transpose1d)(x, w)


# --- registration -------------------------------------------------------------------------------

REFUSED = """
    import ctypes, warnings
    import numpy as np
    import jax
    from fracstride._load import native

    class Version(ctypes.Structure):
        _fields_ = [("size", ctypes.c_size_t), ("next", ctypes.c_void_p),
                    ("major", ctypes.c_int), ("minor", ctypes.c_int)]

    class Metadata(ctypes.Structure):
        _fields_ = [("size", ctypes.c_size_t), ("version", Version)]

    class Extension(ctypes.Structure):
        _fields_ = [("size", ctypes.c_size_t), ("type", ctypes.c_int), ("next", ctypes.c_void_p),
                    ("metadata", ctypes.POINTER(Metadata))]

    class Call(ctypes.Structure):
        _fields_ = [("size", ctypes.c_size_t), ("extension", ctypes.POINTER(Extension))]

    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Call))
    def handler(call):  # of a version that no runtime knows
        metadata = call.contents.extension.contents.metadata.contents
        metadata.version.major, metadata.version.minor = 0, 99
        return None

    names = list(native.xla_handlers())
    address = ctypes.cast(handler, ctypes.c_void_p).value
    native.xla_handlers = lambda: dict.fromkeys(names, address)
    import fracstride as fs, fracstride.jax as fj

    x, w = np.ones((1, 2, 5), np.float32), np.ones((2, 3, 4), np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FIRST
        y = fj.conv_transpose1d(x, w, stride=2, padding_mode="reflect")
        gw = jax.jit(jax.grad(lambda w: fj.conv_transpose1d(x, w).sum()))(w)
    assert np.allclose(y, fs.conv_transpose1d(x, w, stride=2, padding_mode="reflect"))
    assert gw.shape == w.shape
    ours = [str(c.message) for c in caught if "fracstride" in str(c.message)]
    assert len(ours) == 1, ours
    assert "refuses the kernels of fracstride, so lax computes in their place" in ours[0]
    assert not fj.register()
    print(jax.jit(lambda x: x + 1)(1))
"""


@pytest.mark.parametrize("first", ["fj.register()", "pass"])
def test_handlers_that_jax_refuses(first: str) -> None:
    """Then lax computes, one warning says so, and JAX itself goes on working."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REFUSED).replace("FIRST", first)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_registering_again_changes_nothing() -> None:
    assert fj.register()
    kernels.register.cache_clear()
    assert fj.register()


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no compiler")
def test_structs_are_those_of_the_header_of_jaxlib() -> None:
    done = subprocess.run(
        ["c++", "-std=c++20", "-fsyntax-only", f"-I{jax.ffi.include_dir()}", f"-I{ROOT / 'native'}",
         str(Path(__file__).with_name("xla_abi.cpp"))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- malformed calls ----------------------------------------------------------------------------

SIZES = [2, 1, 1, 0, 0]  # stride, dilation, groups, padding_left, padding mode
F32 = np.float32
W7 = np.ones((3, 4, 7), F32)
X, W, GY = np.ones((2, 3, 5), F32), np.ones((3, 4, 2), F32), np.ones((2, 4, 10), F32)
T, D = "conv_transpose1d", "conv1d"
C, R = f"{T}_input_grad", f"{T}_weight_grad"


def result(*shape: int, dtype: Any = F32) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def call(name: str, out: Any, *operands: Any, sizes: Any = SIZES) -> Any:
    assert fj.register()
    function = jax.ffi.ffi_call(f"fracstride_{name}_v1", out)
    return jax.jit(lambda *o: function(*o, sizes=np.array(sizes, np.int64)))(*operands)


def test_well_formed_calls() -> None:
    for name, out, operands, *sizes in (
        (T, result(2, 4, 10), (X, W)),
        (T, result(2, 4, 10), (X, W, np.ones(4, F32))),
        (C, result(2, 3, 5), (GY, W)),
        (C, result(2, 3, 3), (GY, W7), [2, 1, 1, 0, 1, -3, -1, -1, 0, 3, 5]),
        (C, result(2, 3, 3), (GY, W7), [2, 1, 1, 1, 3, -2, 0, 3, 6]),
        (R, result(3, 4, 2), (X, GY)),
        (D, result(2, 3, 5), (GY, W)),
    ):
        assert np.isfinite(call(name, out, *operands, sizes=[*sizes, SIZES][0])).all()


BIG = 2**62
MALFORMED: dict[str, tuple[str, Any, tuple[Any, ...], Any]] = {
    "one operand": (T, result(2, 4, 10), (X,), SIZES),
    "four operands": (T, result(2, 4, 10), (X, W, X, X), SIZES),
    "two results": (T, (result(2, 4, 10),) * 2, (X, W), SIZES),
    "rank of the input": (T, result(2, 4, 10), (X[0], W), SIZES),
    "rank of the weight": (T, result(2, 4, 10), (X, W[0]), SIZES),
    "rank of the result": (T, result(2, 40), (X, W), SIZES),
    "rank of the bias": (T, result(2, 4, 10), (X, W, np.ones((1, 4), F32)), SIZES),
    "dtype of the weight": (T, result(2, 4, 10), (X, W.astype("f8")), SIZES),
    "dtype of the result": (T, result(2, 4, 10, dtype=np.float64), (X, W), SIZES),
    "dtype of the bias": (T, result(2, 4, 10), (X, W, np.ones(4)), SIZES),
    "integers": (T, result(2, 4, 10, dtype=np.int32), (X.astype("i4"), W.astype("i4")), SIZES),
    "complex": (T, result(2, 4, 10, dtype="c8"), (X.astype("c8"), W.astype("c8")), SIZES),
    "channels": (T, result(2, 4, 10), (X[:, :2], W), SIZES),
    "channels of the result": (T, result(2, 5, 10), (X, W), SIZES),
    "channels of the bias": (T, result(2, 4, 10), (X, W, np.ones(3, F32)), SIZES),
    "batch": (T, result(3, 4, 10), (X, W), SIZES),
    "no taps": (T, result(2, 4, 10), (X, W[..., :0]), SIZES),
    "no frames": (T, result(2, 4, 10), (X[..., :0], W), SIZES),
    "no samples": (C, result(2, 3, 5), (GY[..., :0], W), SIZES),
    "four sizes": (T, result(2, 4, 10), (X, W), SIZES[:4]),
    "six sizes": (T, result(2, 4, 10), (X, W), [*SIZES, 1]),
    "edges where none belong": (T, result(2, 4, 10), (X, W), [*SIZES, -1, 0]),
    "no stride": (T, result(2, 4, 10), (X, W), [0, 1, 1, 0, 0]),
    "negative dilation": (T, result(2, 4, 10), (X, W), [2, -1, 1, 0, 0]),
    "no groups": (T, result(2, 4, 10), (X, W), [2, 1, 0, 0, 0]),
    "groups": (T, result(2, 8, 10), (X, W), [2, 1, 2, 0, 0]),
    "huge groups": (T, result(2, 4, 10), (X, W), [2, 1, BIG, 0, 0]),
    "negative padding": (T, result(2, 4, 10), (X, W), [2, 1, 1, -1, 0]),
    "padding beyond the last tap": (T, result(2, 4, 10), (X, W), [2, 1, 1, 3, 0]),
    "more samples than taps reach": (T, result(2, 4, 12), (X, W), [2, 1, 1, 0, 0]),
    "huge padding": (T, result(2, 4, 10), (X, W), [2, 1, 1, 2 * BIG - 1, 0]),
    "huge stride": (T, result(2, 4, 10), (X, W), [BIG, 1, 1, 0, 0]),
    "huge dilation": (T, result(2, 4, 10), (X, W), [2, 2 * BIG - 1, 1, 0, 0]),
    "padding mode": (T, result(2, 4, 10), (X, W), [2, 1, 1, 0, 4]),
    "negative padding mode": (T, result(2, 4, 10), (X, W), [2, 1, 1, 0, -1]),
    "a gradient with a bias": (C, result(2, 3, 5), (GY, W, np.ones(3, F32)), SIZES),
    "half an edge": (C, result(2, 3, 5), (GY, W), [2, 1, 1, 0, 1, -1]),
    "an edge backwards": (C, result(2, 3, 5), (GY, W), [2, 1, 1, 0, 1, 7, 6]),
    "an empty edge": (C, result(2, 3, 5), (GY, W7), [2, 1, 1, 0, 1, -1, -1]),
    "an edge beyond numbers": (C, result(2, 3, 5), (GY, W7), [2, 1, 1, 0, 1, -2 * BIG, 0]),
    "an edge that is all numbers": (C, result(2, 3, 5), (GY, W7), [1, 1, 1, 0, 1, -BIG, BIG]),
    "edges whose sum is no number": (C, result(2, 3, 5), (GY, W7), [2, 1, 1, 0, 1, *[5, BIG] * 4]),
    "an edge too early": (C, result(2, 3, 5), (GY, W7), [2, 1, 1, 0, 1, -4, 0]),
    "an edge too early for the padding": (C, result(2, 3, 5), (GY, W7), [2, 1, 1, 1, 1, -3, 0]),
    "an edge too late": (C, result(2, 3, 3), (GY, W7), [2, 1, 1, 0, 1, 3, 6]),
    "an edge inside": (C, result(2, 3, 3), (GY, W7), [2, 1, 1, 0, 1, -1, 1]),
    "an edge that begins inside": (C, result(2, 3, 3), (GY, W7), [2, 1, 1, 0, 1, 2, 4]),
    "edges that fall": (C, result(2, 3, 3), (GY, W7), [2, 1, 1, 0, 1, 3, 5, -2, 0]),
    "an edge twice": (C, result(2, 3, 3), (GY, W7), [2, 1, 1, 0, 1, -2, 0, -2, 0]),
    "edges of zeros": (C, result(2, 3, 3), (GY, W7), [2, 1, 1, 0, 0, -2, 0]),
    "more edges than taps": (C, result(2, 3, 5), (GY, W), [1, 2**40, 1, 0, 1, -(2**40), 0]),
    "more edges than memory": (
        C,
        result(1, 1, 1),
        (np.ones((1, 1, 2**22), F32), np.ones((1, 1, 2**22), F32)),
        [1, 2**22, 1, 0, 2, -(2**44 - 2**22), 0],
    ),
    "batch of R": (R, result(3, 4, 2), (X, GY[:1]), SIZES),
    "weight of R": (R, result(3, 3, 2), (X, GY), SIZES),
    "channels of the Conv1d": (D, result(2, 4, 5), (GY, W), SIZES),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_calls_are_errors(name: str) -> None:
    handler, out, operands, sizes = MALFORMED[name]
    error = "RESOURCE_EXHAUSTED" if name == "more edges than memory" else "INVALID_ARGUMENT"
    with pytest.raises(Exception, match=f"(?s){error}.*fracstride: "):
        jax.block_until_ready(call(handler, out, *operands, sizes=sizes))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"sizes": 3},
        {"sizes": "text"},
        {"sizes": np.array(SIZES, np.int32)},
        {"sizes": np.array(SIZES, np.float64)},
        {"sizes": np.array(SIZES, np.int64), "more": np.array(SIZES, np.int64)},
    ],
    ids=str,
)
def test_malformed_attributes_are_errors(attributes: dict[str, Any]) -> None:
    function = jax.ffi.ffi_call(f"fracstride_{T}_v1", result(2, 4, 10))
    with pytest.raises(Exception, match=r"(?s)INVALID_ARGUMENT.*fracstride: "):
        jax.block_until_ready(jax.jit(lambda *o: function(*o, **attributes))(X, W))


def some_edges(
    rng: np.random.Generator, sizes: list[int], k: int, frames: int, samples: int
) -> list[int]:
    """Frames before and after the others, where taps reach, but not of which one does."""
    s, d, _, left, _ = sizes
    first, last = -((d * (k - 1) - left) // s), (samples - 1 + left) // s
    most = k * -(-samples // s)  # frames in all
    edges = []
    for start, stop in ((first, min(0, last + 1)), (max(first, frames), last + 1)):
        if start < stop and most > 0:
            count = int(rng.integers(1, min(stop - start, most) + 1))
            start += int(rng.integers(0, stop - start - count + 1))
            edges += [start, start + count]
            most -= count
    return edges


def test_sizes_of_another_layer_stay_in_their_memory() -> None:
    """Sizes that belong to some layer, but not to this one: wrong numbers, and no crash."""
    rng = np.random.default_rng(0)
    calls = []
    for _ in range(60):
        k, mode = int(rng.integers(1, 9)), int(rng.integers(0, 4))
        s, d = (int(n) for n in rng.choice([1, 2, 3, 7, 40, 999], 2))
        frames = int(rng.integers(1, 40))
        reach = (frames - 1) * s + d * (k - 1) + max(s, d)
        samples = int(rng.integers(1, min(reach, 90) + 1))
        sizes = [s, d, 1, int(rng.integers(0, reach - samples + 1)), mode]
        x, w, gy = (np.ones(n, F32) for n in ((2, 3, frames), (3, 4, k), (2, 4, samples)))
        which = int(rng.integers(0, 4))
        name, out, operands = [(T, gy, (x, w)), (C, x, (gy, w)), (R, w, (x, gy)), (D, x, (gy, w))][
            which
        ]
        if name == C and mode:
            sizes += some_edges(rng, sizes, k, frames, samples)
        calls.append((name, result(*out.shape), operands, np.array(sizes, np.int64)))

    def program(operands: Any) -> Any:
        return [
            jax.ffi.ffi_call(f"fracstride_{name}_v1", out)(*given, sizes=sizes)
            for (name, out, _, sizes), given in zip(calls, operands, strict=True)
        ]

    for y in jax.jit(program)([operands for _, _, operands, _ in calls]):
        assert np.isfinite(np.asarray(y)).all()


# --- complex numbers ----------------------------------------------------------------------------


def test_parts_are_split_as_in_the_other_faces() -> None:
    z = jnp.asarray([[[1 + 2j, 3 - 1j], [0 + 1j, 2 + 0j]]])
    parts = complex_numbers.split_signal(z, 1, jnp.concatenate)
    assert_close(parts, complex_numbers.split_signal(np.asarray(z), 1, np.concatenate))
    assert_same_bits(complex_numbers.join_signal(parts, 1, jax.lax.complex), z)
