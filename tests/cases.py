"""Random layers with their operands, for Hypothesis and for the fuzzer, and the error bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from fracstride import reference
from fracstride._load import native
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry

DTYPES: list[np.dtype[Any]] = [
    np.dtype(name) for name in ("float32", "float64", "float16", "complex64", "complex128")
] + [np.dtype(ml_dtypes.bfloat16)]
LAYOUTS = ("contiguous", "transposed", "reversed", "strided", "swapped")


@dataclass(frozen=True)
class Case:
    """A layer and the operands of its three maps: T (forward), C and R (its two gradients)."""

    geometry: Geometry
    batch: int | None  # None: no batch axis
    groups: int
    in_channels: int
    out_channels: int
    length: int
    dtype: np.dtype[Any]
    bias: bool
    layout: str
    seed: int
    x: Any = field(init=False, repr=False, compare=False)
    w: Any = field(init=False, repr=False, compare=False)
    b: Any = field(init=False, repr=False, compare=False)
    gy: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        lead = () if self.batch is None else (self.batch,)
        weight_shape = (
            self.in_channels,
            self.out_channels // self.groups,
            self.geometry.kernel_size,
        )
        vars(self).update(
            x=self._array(rng, (*lead, self.in_channels, self.length)),
            w=self._array(rng, weight_shape),
            b=self._array(rng, (self.out_channels,)) if self.bias else None,
            gy=self._array(rng, (*lead, self.out_channels, self.output_length)),
        )

    @property
    def output_length(self) -> int:
        return self.geometry.output_length(self.length)

    @property
    def options(self) -> dict[str, Any]:
        g = self.geometry
        return {
            "stride": g.stride,
            "padding": g.padding,
            "output_padding": g.output_padding,
            "groups": self.groups,
            "dilation": g.dilation,
            "padding_mode": g.padding_mode,
        }

    def _array(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        values = rng.standard_normal(shape)
        if self.dtype.kind == "c":
            values = values + 1j * rng.standard_normal(shape)
        return laid_out(values.astype(self.dtype), self.layout)


def laid_out(array: Any, layout: str) -> Any:
    """The same numbers in another memory layout."""
    if layout == "transposed":
        return np.array(array.T, order="C").T
    if layout == "reversed":
        return np.array(array[..., ::-1], order="C")[..., ::-1]
    if layout == "strided":
        wide = np.zeros((*array.shape[:-1], 3 * array.shape[-1]), array.dtype)
        wide[..., 1::3] = array
        return wide[..., 1::3]
    if layout == "swapped" and array.dtype.kind != "V":  # ml_dtypes has one byte order
        return array.astype(array.dtype.newbyteorder("S"))
    return np.ascontiguousarray(array)


def make_case(
    pick: Callable[[int, int], int], mode: str | None = None, dtype: np.dtype[Any] | None = None
) -> Case:
    """A case. ``pick(low, high)`` draws an int between the two, both included."""

    def one_of(values: Any) -> Any:
        return values[pick(0, len(values) - 1)]

    k, s, d = pick(1, 20), pick(1, 9), pick(1, 5)
    # Mostly small; now and then wide enough for several panels, blocks and runs of the sum.
    length = one_of((pick(1, 4), pick(1, 40), pick(1, 40), pick(40, 300)))
    channels = one_of((3, 3, 3, 40))
    groups = pick(1, 4)
    if pick(0, 3) == 0:  # depthwise, or with a multiplier
        in_per_group, out_per_group = 1, pick(1, 2)
    else:
        in_per_group, out_per_group = pick(1, channels), pick(1, channels)
    padding: Any = one_of(("same", "causal", "pair", "pair", "pair"))
    a = 0
    if padding == "pair":
        a = pick(0, max(s, d) - 1)
        room = (length - 1) * s + d * (k - 1) + a  # samples that may be cropped: one must stay
        left = pick(0, min(room, 2 * d * k))
        padding = (left, pick(0, min(room - left, 2 * d * k)))
    return Case(
        geometry=Geometry(k, s, padding, a, d, mode or one_of(PADDING_MODES)),
        batch=one_of((None, 0, 1, 2, 3)),
        groups=groups,
        in_channels=groups * in_per_group,
        out_channels=groups * out_per_group,
        length=length,
        dtype=dtype or one_of(DTYPES),
        bias=bool(pick(0, 1)),
        layout=one_of(LAYOUTS),
        seed=pick(0, 2**31),
    )


@st.composite
def cases(draw: st.DrawFn, mode: str | None = None, dtype: np.dtype[Any] | None = None) -> Case:
    return make_case(lambda low, high: draw(st.integers(low, high)), mode, dtype)


def random_case(
    rng: np.random.Generator, mode: str | None = None, dtype: np.dtype[Any] | None = None
) -> Case:
    return make_case(lambda low, high: int(rng.integers(low, high, endpoint=True)), mode, dtype)


def batched(array: Any) -> Any:
    return array if array.ndim == 3 else array[None]


def wide(array: Any) -> Any:
    """In float64 or complex128."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def assert_close(got: Any, exact: Any, magnitude: Any, dtype: np.dtype[Any]) -> None:
    """|got - exact| <= 8 * eps * sum |x||w|, the bound that the library promises.

    (Plus one step of the smallest numbers, which rounding to float16 may be off by.)
    """
    info = ml_dtypes.finfo(dtype) if dtype.kind == "V" else np.finfo(dtype)
    bound = 8 * float(info.eps) * magnitude + float(info.smallest_subnormal)
    error = np.abs(wide(got) - exact)
    assert got.dtype == dtype
    assert got.shape == exact.shape
    excess = error > bound
    assert not excess.any(), (
        f"{int(excess.sum())} of {excess.size} values are off, the worst by "
        f"{float((error[excess] / bound[excess]).max()):.3g} bounds"
    )


@dataclass(frozen=True)
class Definition:
    """What a case's three maps give in float64, each with the sum |x||w| of every value."""

    case: Case
    forward: tuple[Any, Any]
    input_grad: tuple[Any, Any]
    weight_grad: tuple[Any, Any]

    @classmethod
    def of(cls, case: Case) -> Definition:
        x, w, gy = (batched(wide(a)) for a in (case.x, case.w, case.gy))
        w = w.reshape(case.w.shape)
        bias = None if case.b is None else wide(case.b)
        geometry, groups = case.geometry, case.groups
        length, samples = case.length, gy.shape[-1]

        def like(array: Any) -> Any:
            return array if case.batch is not None else array[0]

        def maps(x: Any, w: Any, gy: Any, bias: Any) -> tuple[Any, Any, Any]:
            return (
                like(reference.conv_transpose1d(x, w, bias, geometry, groups, samples)),
                like(reference.conv_transpose1d_input_grad(gy, w, length, geometry, groups)),
                reference.conv_transpose1d_weight_grad(x, gy, geometry, groups),
            )

        exact = maps(x, w, gy, bias)
        magnitude = maps(abs(x), abs(w), abs(gy), None if bias is None else abs(bias))
        return cls(case, *zip(exact, magnitude, strict=True))

    def check(self, maps: Any) -> None:
        """Compare the three maps of ``maps`` (the package) with it."""
        case, k = self.case, self.case.geometry.kernel_size
        y = maps.conv_transpose1d(case.x, case.w, case.b, **case.options)
        gx = maps.conv_transpose1d_input_grad(case.gy, case.w, case.length, **case.options)
        gw = maps.conv_transpose1d_weight_grad(case.x, case.gy, k, **case.options)
        assert_close(y, *self.forward, case.dtype)
        assert_close(gx, *self.input_grad, case.dtype)
        assert_close(gw, *self.weight_grad, case.dtype)


def check_maps(case: Case, maps: Any) -> None:
    """Compare the three maps of ``maps`` (the package) with the definition."""
    Definition.of(case).check(maps)


def check_on_every_instruction_set(case: Case, maps: Any) -> None:
    """As :func:`check_maps`, on each set that this machine has; the definition is computed once."""
    definition, before = Definition.of(case), native.instruction_set()
    try:
        for name in native.available_instruction_sets():
            native.use_instruction_set(name)
            try:
                definition.check(maps)
            except AssertionError as error:
                raise AssertionError(f"on {name}: {error}") from error
    finally:
        native.use_instruction_set(before)
