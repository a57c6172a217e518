"""The elementwise functions of the native module: accuracy, special values, halves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from programs import DTYPES, OPERATIONS, SETTINGS, TWO_OPERANDS, bits, same, single, sum_dtype

pytestmark = [
    pytest.mark.usefixtures("isa"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # NumPy's, of infinities and NaN
]

F4, F8 = np.dtype("f4"), np.dtype("f8")
erf = np.vectorize(math.erf, otypes=["f8"])
erfc = np.vectorize(math.erfc, otypes=["f8"])
Function = Callable[[Any], Any]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus(x: Any) -> Any:
    return np.where(x > 20, x, np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


# Within 2 units in the last place of the exact value, rounded.
FUNCTIONS: dict[str, Function] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "erf": erf,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "softplus": softplus,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "cube": lambda x: x**3,
}
# The nearest number.
EXACT: dict[str, Function] = {
    "copy": lambda x: x,
    "negative": np.negative,
    "absolute": np.abs,
    "square": np.square,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: np.maximum(x, 0),
    "clamp": lambda x: np.clip(x, *SETTINGS["clamp"]),
}
EXACT_OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "leaky_relu": lambda x, slope: np.where(x > 0, x, x * slope),
}


def every_exponent(count: int, seed: int = 0) -> Any:
    """For each sign and exponent `count` random mantissas, then values that are special to some."""
    rng = np.random.default_rng(seed)
    high = np.arange(512, dtype="u4")[:, None] << 23
    random = (high | rng.integers(0, 1 << 23, (512, count), dtype="u4")).ravel().view("f4")
    moderate = rng.uniform(-20, 20, 200 * count)
    near_zeros = np.arange(-300, 300) * (np.pi / 2)
    limits = [88.72283, 88.72284, -87.33654, -103.97208, -103.97209, 0.85, 0.625, 1e4, 65536, 9e4]
    powers = 2.0 ** np.arange(-149, 128)
    some = np.concatenate([moderate, near_zeros, limits, powers, 1 + powers, 1 - powers])
    ends = [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 2, 0.5, -0.5, 3.4028235e38, -3.4028235e38]
    all_of = np.concatenate([random, some.astype("f4"), -some.astype("f4"), np.array(ends, "f4")])
    return np.concatenate([all_of, np.nextafter(all_of, F4.type(np.inf))])


def ulps(got: Any, exact: Any, digits: int = 24, smallest: int = -149) -> Any:
    """How far numbers are from the exact ones, in units of these ones' last place."""
    largest = float(np.finfo(got.dtype).max)
    size = np.maximum(np.abs(exact), 2.0 ** (smallest + digits - 1))
    unit = 2.0 ** (np.floor(np.log2(np.where(np.isfinite(size), size, 1))) - digits + 1)
    distance = np.abs(got.astype(exact.dtype) - exact) / unit
    overflow = np.isinf(got) & (np.abs(exact) >= largest) & (np.sign(got) == np.sign(exact))
    agree = (got == exact) | (np.isnan(got) & np.isnan(exact)) | overflow
    return np.where(agree, 0, np.where(np.isnan(distance), np.inf, distance))


def one(name: str, x: Any, *more: Any) -> Any:
    return single(name, x.dtype)(*(a.reshape(1, 1, -1) for a in (x, *more))).ravel()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_two_units(name: str) -> None:
    x = every_exponent(64)
    error = ulps(one(name, x), FUNCTIONS[name](x.astype("f8")))
    allowed = np.where((np.abs(x) > 1000) & (name in ("sin", "cos")), 4, 2)
    worst = np.argmax(error / allowed)
    assert error[worst] <= allowed[worst], f"{error[worst]:.3f} at {float(x[worst]).hex()}"


@pytest.mark.parametrize("name", EXACT)
def test_exact_functions(name: str) -> None:
    x = every_exponent(8)
    got, exact = one(name, x), EXACT[name](x.astype("f8")).astype("f4")
    if name == "relu":  # NumPy may give the zero of either sign
        got, exact = got + F4.type(0), exact + F4.type(0)
    same(got, exact)


@pytest.mark.parametrize("name", EXACT_OF_TWO)
def test_exact_functions_of_two(name: str) -> None:
    x = every_exponent(8)
    y = np.random.default_rng(1).permutation(x)
    got, exact = one(name, x, y), EXACT_OF_TWO[name](x, y)
    if name in ("maximum", "minimum"):
        got, exact = got + F4.type(0), exact + F4.type(0)
    same(got, exact)


def test_gelu() -> None:
    """Far below zero, where the exponential function's argument is large, relative to that."""
    x = every_exponent(64)
    wide = x.astype("f8")
    exact = wide * 0.5 * erfc(wide * -math.sqrt(0.5))
    error = ulps(one("gelu", x), exact)
    far = np.abs(one("gelu", x).astype("f8") - exact) < 2e-9
    assert ((error <= 8 + 2 * np.nan_to_num(wide) ** 2) | far).all()


def test_gelu_tanh() -> None:
    x = every_exponent(64)
    wide = x.astype("f8")
    inner = 2 * math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
    error = ulps(one("gelu_tanh", x), wide * sigmoid(inner))
    assert (error <= 4 + 4 * np.abs(inner))[~np.isnan(inner)].all()


def test_silu() -> None:
    x = every_exponent(64)
    exact = x.astype("f8") * sigmoid(x.astype("f8"))
    error = ulps(one("silu", x), exact)
    assert ((error <= 4) | (np.abs(exact) < 1e-36)).all()


@pytest.mark.parametrize("alpha", [1.0, 0.5, 1.7])
def test_elu(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "elu", (alpha, 0.0))
    x = every_exponent(8)
    wide, scale = x.astype("f8"), float(np.float32(alpha))
    assert (ulps(one("elu", x), np.where(wide > 0, wide, scale * np.expm1(wide))) <= 2.5).all()


def test_softplus_of_beta_and_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "softplus", (2.0, 3.0))
    x = np.linspace(-60, 60, 4001).astype("f4")
    wide = x.astype("f8")
    exact = np.where(2 * wide > 3, wide, np.log1p(np.exp(2 * wide)) / 2)
    assert (ulps(one("softplus", x), exact) <= 3).all()


@pytest.mark.parametrize("name", ["expm1", "log1p", "sin", "tanh", "erf", "cube", "elu"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_keeps_its_sign(name: str, dtype: np.dtype[Any]) -> None:
    x = np.array([0.0, -0.0]).astype(dtype)
    same(one(name, x), x)


def test_signs_and_symmetry() -> None:
    x = every_exponent(8)
    for name in ("sin", "tanh", "erf", "cube"):
        same(one(name, -x), -one(name, x))
    same(one("cos", -x), one("cos", x))
    for name in ("sin", "cos", "tanh", "erf", "sigmoid"):
        assert not (np.abs(one(name, x)) > 1).any()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_double_precision(name: str) -> None:
    """The C library's functions; NumPy's of wider numbers where the machine has them."""
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("long double is no wider than double")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-30, 30, 1000), every_exponent(1).astype("f8")])
    exact = FUNCTIONS[name](x.astype(np.longdouble))
    assert (ulps(one(name, x), exact, 53, -1074) <= 2 + (name == "softplus")).all()


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in TWO_OPERANDS and n != "power"])
@pytest.mark.parametrize("dtype", DTYPES[2:])
def test_halves_are_computed_in_single_precision(name: str, dtype: np.dtype[Any]) -> None:
    x = np.arange(1 << 16, dtype="u2").view(dtype)
    same(one(name, x), one(name, x.astype("f4")).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0, 0.5, 1, 2, 3, 1 / 3, 1.5, 7])
def test_power(exponent: float, dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "power", (exponent, 0.0))
    x = np.abs(np.random.default_rng(0).standard_normal(1000)).astype(dtype)
    rounded = float(np.array(exponent).astype(dtype))
    exact = x.astype("f8") ** rounded
    got = one("power", x)
    if sum_dtype(dtype) == dtype:
        digits, smallest = (53, -1074) if dtype == F8 else (24, -149)
        assert (ulps(got, exact, digits, smallest) <= 2).all()
    else:
        assert (np.abs(bits(got).astype(int) - bits(exact.astype(dtype)).astype(int)) <= 1).all()


def test_power_of_negative_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([-2, -1, -0.0, 0, np.inf, -np.inf, np.nan], "f4")
    for exponent in (2.0, 3.0, -1.0, 4.0, -3.0, 2.5, 0.0):
        monkeypatch.setitem(SETTINGS, "power", (exponent, 0.0))
        same(one("power", x), np.power(x.astype("f8"), exponent).astype("f4"))
