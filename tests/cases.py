"""Random layers with their operands, for Hypothesis and for the fuzzer, and the error bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from fracstride import reference
from fracstride._load import native
from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry

DTYPES: list[np.dtype[Any]] = [
    np.dtype(name) for name in ("float32", "float64", "float16", "complex64", "complex128")
] + [np.dtype(ml_dtypes.bfloat16)]
CaseType = TypeVar("CaseType", bound="Case")
LAYOUTS = ("contiguous", "transposed", "reversed", "strided", "swapped")


@dataclass(frozen=True)
class Case:
    """A layer and the operands of its three maps: T (forward), C and R (its two gradients)."""

    geometry: Any  # a Geometry, or of a Conv1dCase a Conv1dGeometry
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
        vars(self).update(
            x=self._array(rng, (*lead, self.in_channels, self.length)),
            w=self._array(rng, self.weight_shape),
            b=self._array(rng, (self.out_channels,)) if self.bias else None,
            gy=self._array(rng, (*lead, self.out_channels, self.output_length)),
        )

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        per_group = self.out_channels // self.groups
        return self.in_channels, per_group, self.geometry.kernel_size

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


class Conv1dCase(Case):
    """A Conv1d and its operands: ``x``, ``w``, ``b``, and ``gy`` of the output's shape."""

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        per_group = self.in_channels // self.groups
        return self.out_channels, per_group, self.geometry.kernel_size

    @property
    def options(self) -> dict[str, Any]:
        g = self.geometry
        return {
            "stride": g.stride,
            "padding": g.padding,
            "dilation": g.dilation,
            "groups": self.groups,
            "padding_mode": g.padding_mode,
        }


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
    padding: Any = one_of(("same", "causal", "pair", "pair", "pair"))
    a = 0
    if padding == "pair":
        a = pick(0, max(s, d) - 1)
        room = (length - 1) * s + d * (k - 1) + a  # samples that may be cropped: one must stay
        left = pick(0, min(room, 2 * d * k))
        padding = (left, pick(0, min(room - left, 2 * d * k)))
    geometry = Geometry(k, s, padding, a, d, mode or one_of(PADDING_MODES))
    return _make(Case, geometry, length, pick, dtype)


def make_conv1d_case(
    pick: Callable[[int, int], int], mode: str | None = None, dtype: np.dtype[Any] | None = None
) -> Conv1dCase:
    """As :func:`make_case`, of a Conv1d. Its padding may be more than the kernel reaches."""

    def one_of(values: Any) -> Any:
        return values[pick(0, len(values) - 1)]

    k, d, s = pick(1, 20), pick(1, 5), one_of((1, 1, pick(2, 9)))
    padding: Any = one_of(("causal", "same" if s == 1 else "valid", "pair", "pair", "pair"))
    if padding == "pair":
        most = d * (k - 1) if pick(0, 3) else 2 * d * k
        padding = (pick(0, most), pick(0, most))
    g = Conv1dGeometry(k, s, padding, d, mode or one_of(PADDING_MODES))
    least = max(1, g.span - g.padding_left - g.padding_right)
    length = least + one_of((pick(0, 3), pick(0, 40), pick(0, 40), pick(40, 300)))
    return _make(Conv1dCase, g, length, pick, dtype)


def _make(
    kind: type[CaseType],
    geometry: AnyGeometry,
    length: int,
    pick: Callable[[int, int], int],
    dtype: np.dtype[Any] | None,
) -> CaseType:
    def one_of(values: Any) -> Any:
        return values[pick(0, len(values) - 1)]

    channels = one_of((3, 3, 3, 40))
    groups = pick(1, 4)
    if pick(0, 3) == 0:  # depthwise, or with a multiplier
        in_per_group, out_per_group = 1, pick(1, 2)
    else:
        in_per_group, out_per_group = pick(1, channels), pick(1, channels)
    return kind(
        geometry=geometry,
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


@st.composite
def conv1d_cases(
    draw: st.DrawFn, mode: str | None = None, dtype: np.dtype[Any] | None = None
) -> Conv1dCase:
    return make_conv1d_case(lambda low, high: draw(st.integers(low, high)), mode, dtype)


def random_conv1d_case(
    rng: np.random.Generator, mode: str | None = None, dtype: np.dtype[Any] | None = None
) -> Conv1dCase:
    return make_conv1d_case(
        lambda low, high: int(rng.integers(low, high, endpoint=True)), mode, dtype
    )


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


@dataclass(frozen=True)
class Conv1dDefinition:
    """What a Conv1d gives in float64, with the sum |x||w| of every value."""

    case: Conv1dCase
    forward: tuple[Any, Any]

    @classmethod
    def of(cls, case: Conv1dCase) -> Conv1dDefinition:
        x, w = batched(wide(case.x)), wide(case.w)
        b = None if case.b is None else wide(case.b)
        parts = (x, w, b), (abs(x), abs(w), None if b is None else abs(b))
        exact, magnitude = (reference.conv1d(*p, case.geometry, case.groups) for p in parts)
        if case.batch is None:
            return cls(case, (exact[0], magnitude[0]))
        return cls(case, (exact, magnitude))

    def check(self, maps: Any) -> None:
        """Compare ``conv1d`` of ``maps`` (the package) with it."""
        case = self.case
        y = maps.conv1d(case.x, case.w, case.b, **case.options)
        assert_close(y, *self.forward, case.dtype)


def definition_of(case: Case) -> Definition | Conv1dDefinition:
    return Conv1dDefinition.of(case) if isinstance(case, Conv1dCase) else Definition.of(case)


def check_maps(case: Case, maps: Any) -> None:
    """Compare the maps of a layer of ``maps`` (the package) with the definition."""
    definition_of(case).check(maps)


def check_on_every_instruction_set(case: Case, maps: Any) -> None:
    """As :func:`check_maps`, on each set that this machine has; the definition is computed once."""
    definition, before = definition_of(case), native.instruction_set()
    try:
        for name in native.available_instruction_sets():
            native.use_instruction_set(name)
            try:
                definition.check(maps)
            except AssertionError as error:
                raise AssertionError(f"on {name}: {error}") from error
    finally:
        native.use_instruction_set(before)
