"""What does not fit is an error when a function is traced, in the sentences of the NumPy face."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fracstride as fs
import fracstride.jax as fj

X, W, B = np.ones((2, 4, 5)), np.ones((4, 3, 4)), np.ones(6)
GY = np.ones((2, 6, 11))
WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("conv_transpose1d", (X[0, 0], W), {}),
    ("conv_transpose1d", (X, W[0]), {}),
    ("conv_transpose1d", (X, W[:, :0]), {}),
    ("conv_transpose1d", (X[:, :3], W), {}),
    ("conv_transpose1d", (X[..., :0], W), {}),
    ("conv_transpose1d", (X, W, B), {}),
    ("conv_transpose1d", (X, W.astype(np.float32)), {}),
    ("conv_transpose1d", (X, W, B[:3].astype(np.float32)), {}),
    ("conv_transpose1d", (X.astype(np.int32), W), {}),
    ("conv_transpose1d", (X, W.astype(bool)), {}),
    ("conv_transpose1d", (None, W), {}),
    ("conv_transpose1d", (X, None), {}),
    ("conv_transpose1d", (X, W), {"groups": 3}),
    ("conv_transpose1d", (X, W), {"groups": 0}),
    ("conv_transpose1d", (X, W), {"groups": 2.0}),
    ("conv_transpose1d", (X, W), {"stride": 0}),
    ("conv_transpose1d", (X, W), {"stride": True}),
    ("conv_transpose1d", (X, W), {"stride": (1, 2)}),
    ("conv_transpose1d", (X, W), {"dilation": -1}),
    ("conv_transpose1d", (X, W), {"dilation": 2**62}),
    ("conv_transpose1d", (X, W), {"padding": -1}),
    ("conv_transpose1d", (X, W), {"padding": "full"}),
    ("conv_transpose1d", (X, W), {"padding": 9}),
    ("conv_transpose1d", (X, W), {"output_padding": 1}),
    ("conv_transpose1d", (X, W), {"padding_mode": "mirror"}),
    ("conv_transpose1d", (X, W), {"padding_mode": None}),
    ("conv_transpose1d", (X, W), {"stride": 2, "output_size": 99}),
    ("conv_transpose1d", (X, W), {"padding": "same", "output_size": 5}),
    ("conv_transpose1d", (X, W), {"output_size": ()}),
    ("conv_transpose1d", (X, W), {"output_size": []}),
    ("conv_transpose1d", (X, W), {"output_size": (1, 2, 6, 8)}),
    ("conv_transpose1d_input_grad", (GY, W, 5), {"groups": 2}),
    ("conv_transpose1d_input_grad", (GY[:, :5], W, 5), {}),
    ("conv_transpose1d_input_grad", (GY, W, 0), {"groups": 2}),
    ("conv_transpose1d_input_grad", (GY, W, 5.0), {"groups": 2}),
    ("conv_transpose1d_input_grad", (GY[0, 0], W, 5), {}),
    ("conv_transpose1d_weight_grad", (X, GY[0], 4), {}),
    ("conv_transpose1d_weight_grad", (X, GY[:1], 4), {}),
    ("conv_transpose1d_weight_grad", (X, GY, 4), {}),
    ("conv_transpose1d_weight_grad", (X, GY, 7), {"groups": 4}),
    ("conv_transpose1d_weight_grad", (X, GY, 0), {}),
    ("conv1d", (X, W), {}),
    ("conv1d", (X, np.ones((6, 2, 3))), {"groups": 4}),
    ("conv1d", (X, np.ones((6, 4, 9))), {}),
    ("conv1d", (X, np.ones((6, 4, 3)), B[:2]), {}),
    ("conv1d", (X, np.ones((6, 4, 3))), {"stride": 2, "padding": "same"}),
    ("conv1d", (X, np.ones((6, 0, 3))), {}),
    ("conv1d_adjoint", (X, W, 9), {}),
    ("conv1d_adjoint", (X, W, 2), {}),
    ("conv1d_adjoint", (X[:, :3], W, 8), {}),
    ("conv1d_adjoint", (X, W, True), {}),
    ("conv1d_adjoint", (X, W, 8), {"groups": 3}),
]


@pytest.mark.parametrize(("name", "operands", "sizes"), WRONG, ids=str)
def test_sentences(name: str, operands: Any, sizes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as wanted:
        getattr(fs, name)(*operands, **sizes)
    function = getattr(fj, name)
    arrays = [i for i, operand in enumerate(operands) if isinstance(operand, np.ndarray)]

    def traced(*given: Any) -> Any:
        arguments = list(operands)
        for i, array in zip(arrays, given, strict=True):
            arguments[i] = array
        return function(*arguments, **sizes)

    for call in (jax.jit(traced), traced):
        with pytest.raises(wanted.type) as got:
            call(*(jnp.asarray(operands[i]) for i in arrays))
        if operands[0] is None or operands[1] is None:
            assert str(got.value).startswith(str(wanted.value).partition(" array")[0])
        else:
            assert str(got.value) == str(wanted.value)


@pytest.mark.parametrize("value", [[[1.0, 2.0]], 3.0, "text"])
def test_what_is_no_array(value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^input must be .* got {type(value).__name__}$"):
        fj.conv_transpose1d(value, W)
    with pytest.raises(TypeError, match=r"^bias must be an array of JAX or NumPy, got "):
        fj.conv_transpose1d(X, W, value)


def test_sizes_cannot_be_traced() -> None:
    with pytest.raises(TypeError, match=r"^stride must be a positive int, got .*Trace[dr]"):
        jax.jit(lambda s: fj.conv_transpose1d(X, W, stride=s))(2)


def test_arrays_of_numpy_and_sizes_of_numpy() -> None:
    y = fj.conv_transpose1d(X, W, stride=np.int64(2), groups=np.int32(2))
    assert isinstance(y, jax.Array)
    assert y.shape == (2, 6, 12)
    assert fj.conv_transpose1d_input_grad(y, W, np.int64(5), 2, groups=2).shape == X.shape


def test_without_64_bits() -> None:
    """NumPy's float64 becomes float32, as everywhere in JAX."""
    jax.config.update("jax_enable_x64", False)
    y = fj.conv_transpose1d(X, W, B[:3], padding_mode="circular")
    assert y.dtype == np.float32
    wanted = fs.conv_transpose1d(*(a.astype("f4") for a in (X, W, B[:3])), padding_mode="circular")
    assert np.array_equal(y, wanted)
    gw = jax.jit(jax.grad(lambda w: (fj.conv_transpose1d(X, w) ** 2).sum()))(W)
    assert gw.dtype == np.float32
    z = fj.conv_transpose1d(X.astype(np.complex64), W.astype(np.complex64))
    assert z.dtype == np.complex64
    assert np.array_equal(z, fs.conv_transpose1d(X.astype("c8"), W.astype("c8")))


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr.strip().rpartition("\n")[2]


def test_import_without_jax() -> None:
    said = python("import sys; sys.modules['jax'] = None; import fracstride.jax")
    assert said.startswith(
        "ImportError: fracstride.jax needs JAX 0.6.2 or later: pip install 'fracstride[jax]'"
    )


def test_import_with_an_old_jax() -> None:
    said = python(
        "import jax; jax.__version_info__ = (0, 5, 3); jax.__version__ = '0.5.3'\n"
        "import fracstride.jax"
    )
    assert said.endswith("pip install 'fracstride[jax]'. Installed is 0.5.3.")


def test_import_of_the_package_does_not_import_jax() -> None:
    assert python("import sys, fracstride; print('jax' in sys.modules)") == "False\n"


def test_importing_the_face_starts_no_backend() -> None:
    code = "import fracstride.jax, jax._src.xla_bridge as b; print(b.backends_are_initialized())"
    assert python(code) == "False\n"
