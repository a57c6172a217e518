"""The compiled module called by address: what the faces rely on beyond the three maps' values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import Case, assert_close, batched, random_case, wide

import fracstride as fs
from fracstride import reference
from fracstride._load import native
from fracstride.extension import PADDING_MODES, source_frame
from fracstride.geometry import Geometry
from fracstride.kernel_table import FORWARD, INPUT_GRAD
from fracstride.reach import frames_reaching, taps_reaching

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
MODES = PADDING_MODES[1:]


def place(array: Any) -> tuple[int, ...]:
    """Address and strides, in elements."""
    return (array.ctypes.data, *(stride // array.itemsize for stride in array.strides))


def pack(w: Any, geometry: Geometry, groups: int, for_input_grad: bool, once: bool = False) -> Any:
    sizes = (*w.shape, groups, geometry.stride, geometry.dilation)
    call = getattr(native, f"pack_{w.dtype.name}")
    direction = INPUT_GRAD if for_input_grad else FORWARD
    return call(w.ctypes.data, *sizes, direction, once)


def edges_of(geometry: Geometry, length: int, output_length: int) -> list[int]:
    """The frames outside ``[0, length)`` that reach some sample, as the binding takes them."""
    edges: list[int] = []
    for start, stop in geometry.frames_reached(length, output_length):
        if start < 0:
            edges += [start, min(stop, 0)]
        if stop > length:
            edges += [max(start, length), stop]
    return edges


def input_grad(
    gy: Any,
    w: Any,
    geometry: Geometry,
    groups: int,
    frames: int,
    edges: list[int],
    padding_left: int,
    once: bool = True,
) -> Any:
    gx = np.full((gy.shape[0], w.shape[0], frames), 7, gy.dtype)
    native.input_grad(
        pack(w, geometry, groups, True, once),
        gy.shape[0],
        *place(gy),
        gy.shape[2],
        *place(gx),
        frames,
        padding_left,
        PADDING_MODES.index(geometry.padding_mode) if edges else 0,
        edges,
    )
    return gx


def folded(case: Case, gy: Any, w: Any, once: bool = True) -> Any:
    geometry = case.geometry
    edges = edges_of(geometry, case.length, gy.shape[2])
    return input_grad(
        gy, w, geometry, case.groups, case.length, edges, geometry.padding_left, once=once
    )


def folded_afterwards(case: Case, gy: Any, w: Any) -> Any:
    """Every frame's own sum, then the frames that copy it one by one, in rising order."""
    geometry, length = case.geometry, case.length
    edges = edges_of(geometry, length, gy.shape[2])
    first, stop = min([0, *edges]), max([length, *edges])
    p = geometry.padding_left - first * geometry.stride
    sums = input_grad(gy, w, geometry, case.groups, stop - first, [], p)
    gx = sums[..., -first : length - first].copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        for t in range(start, end):
            gx[..., source_frame(t, length, geometry.padding_mode)] += sums[..., t - first]
    return gx


def same_bits(a: Any, b: Any) -> None:
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}"))


def cases_of(mode: str, count: int, dtype: Any) -> Any:
    rng = np.random.default_rng(PADDING_MODES.index(mode))
    for _ in range(count):
        case = random_case(rng, mode, np.dtype(dtype))
        yield case, batched(case.gy).astype(dtype), np.ascontiguousarray(case.w, dtype)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
def test_edges_are_folded_in_rising_order(mode: str, dtype: str) -> None:
    for case, gy, w in cases_of(mode, 120, dtype):
        gx = folded(case, gy, w)
        same_bits(gx, folded_afterwards(case, gy, w))
        same_bits(gx, folded(case, gy, w, once=False))
        same_bits(
            gx,
            batched(fs.conv_transpose1d_input_grad(case.gy, case.w, case.length, **case.options)),
        )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("mode", MODES)
def test_edges_of_half_precision_are_folded_before_they_are_rounded(mode: str) -> None:
    for case, gy, w in cases_of(mode, 60, np.float16):
        exact = folded_afterwards(case, gy.astype("f4"), w.astype("f4"))
        with np.errstate(over="ignore"):
            same_bits(folded(case, gy, w), exact.astype(np.float16))


@pytest.mark.parametrize("mode", MODES)
def test_edges_of_bfloat16(mode: str, isa: str) -> None:
    for case, gy, w in cases_of(mode, 40, BFLOAT16):
        gx = folded(case, gy, w)
        if not isa.endswith("bf16"):  # which takes products in pairs
            exact = folded_afterwards(case, gy.astype("f4"), w.astype("f4"))
            same_bits(gx, exact.astype(BFLOAT16))
        operands = case.length, case.geometry, case.groups
        assert_close(
            gx,
            reference.conv_transpose1d_input_grad(wide(gy), wide(w), *operands),
            reference.conv_transpose1d_input_grad(abs(wide(gy)), abs(wide(w)), *operands),
            BFLOAT16,
        )


def test_edges_do_not_depend_on_threads() -> None:
    geometry = Geometry(16, 4, 40, padding_mode="circular")
    rng = np.random.default_rng(0)
    gy = rng.standard_normal((2, 48, geometry.output_length(600))).astype("f4")
    w = rng.standard_normal((80, 24, 16)).astype("f4")
    edges = edges_of(geometry, 600, gy.shape[2])
    results = []
    for threads in (1, 3):
        fs.set_num_threads(threads)
        results.append(input_grad(gy, w, geometry, 2, 600, edges, geometry.padding_left))
    same_bits(*results)


def test_only_frames_that_an_edge_copies_change() -> None:
    """Infinite sums outside reach their own copies and nothing else; others keep their bits."""
    geometry = Geometry(3, padding=1, padding_mode="circular")
    gy = np.zeros((1, 1, 7), "f4")
    gy[0, 0, 0] = np.inf
    w = np.ones((1, 1, 3), "f4")
    args = geometry, 1, 7
    edges = edges_of(geometry, 7, 7)
    assert edges == [-1, 0, 7, 8]
    gx = input_grad(gy, w, *args, edges, 1)
    np.testing.assert_array_equal(np.isinf(gx[0, 0]), [True, True, *[False] * 4, True])
    plain = input_grad(gy, w, *args, [], 1)
    same_bits(gx[..., 1:6], plain[..., 1:6])


def test_forward_by_address_takes_what_streams_need() -> None:
    """Frames carried, a residual with samples carried, a leaky ReLU: all as one whole signal."""
    rng = np.random.default_rng(5)
    w = rng.standard_normal((6, 4, 5)).astype("f4")
    x, residual = (rng.standard_normal((2, c, 40)).astype("f4") for c in (6, 4))
    b = rng.standard_normal(4).astype("f4")
    geometry = Geometry(5, padding=2)
    packed = pack(w, geometry, 1, False)

    def call(carried: int, residual_carried: int) -> Any:
        y = np.empty((2, 4, 40), "f4")
        early, late = x[..., :carried].copy(), x[..., carried:].copy()
        first, rest = residual[..., :residual_carried].copy(), residual[..., residual_carried:]
        native.forward(
            packed,
            2,
            *place(late),
            late.shape[2],
            b.ctypes.data,
            *place(y),
            40,
            2,
            0,
            *place(rest),
            0.25,
            *((*place(early), carried) if carried else (0,) * 5),
            *((*place(first), residual_carried) if residual_carried else (0,) * 5),
        )
        return y

    whole = call(0, 0)
    bent = np.where(x > 0, x, np.float32(0.25) * x)
    same_bits(whole, residual + fs.conv_transpose1d(bent, w, b, padding=2))
    for carried, residual_carried in [(3, 0), (0, 2), (7, 5), (39, 39)]:
        same_bits(call(carried, residual_carried), whole)


def random_sizes(count: int) -> Iterator[tuple[int, int, int]]:
    """Kernel sizes, strides and dilations, with and without common divisors."""
    rng = np.random.default_rng(11)
    for _ in range(count):
        most = int(rng.choice([3, 12, 60]))
        common = int(rng.choice([1, 1, 2, 5]))
        k, s, d = (int(size) for size in rng.integers(1, most, 3))
        yield k, s * common, d * common


def test_phases_are_the_taps_that_land_on_the_same_samples() -> None:
    """taps_of in plan.cpp is a twin of taps_reaching in reach.py."""
    for k, s, d in random_sizes(3000):
        step, frames, phases, most, most_phases, all_samples = native.phases_of(k, s, d)
        taps = set()
        for m in range(phases):
            shifts = range(most if m < most_phases else most - 1)
            expected = [(7 - j * frames, m + j * step) for j in shifts]
            assert taps_reaching(7 * s + m * d, k, s, d) == expected, (k, s, d)
            taps.update(tap for _, tap in expected)
        assert taps == set(range(k)), (k, s, d)
        assert all_samples == all(taps_reaching(n, k, s, d) for n in range(s)), (k, s, d)


def test_products_have_the_frames_that_reach_the_output() -> None:
    """frames_onto in plan.cpp is a twin of frames_reaching in reach.py."""
    rng = np.random.default_rng(12)
    for k, s, d in random_sizes(3000):
        p, length = int(rng.integers(0, 3 * s + k * d)), int(rng.integers(1, 200))
        seen: list[int] = []
        for first_phase, phases, _, first, last in native.frames_onto(k, s, d, p, length):
            of_product = range(first_phase, first_phase + phases)
            seen += of_product
            reaching = [
                interval
                for m in of_product
                for interval in frames_reaching(p - m * d, p - m * d + length, 1, s, d)
            ]
            least = min((start for start, _ in reaching), default=first)
            most = max((stop for _, stop in reaching), default=first)
            sizes = k, s, d, p, length
            assert first <= least <= most <= last, sizes
            if phases == 1 or length >= s:  # else the range may be wider than it need be
                assert (first, last) == (least, most), sizes
        assert seen == list(range(native.phases_of(k, s, d)[2]))


def test_padding_modes_have_the_numbers_of_python() -> None:
    assert tuple(native.padding_modes()) == PADDING_MODES


@pytest.mark.parametrize("number", [-1, 4, 1000])
def test_a_number_of_no_padding_mode_is_refused(number: int) -> None:
    x, w = np.ones((1, 1, 4), "f4"), np.ones((1, 1, 3), "f4")
    geometry = Geometry(3)
    out = np.full((1, 1, 6), 7, "f4")
    back = pack(w, geometry, 1, True)
    calls = [
        lambda: native.forward(
            pack(w, geometry, 1, False), 1, *place(x), 4, 0, *place(out), 6, 0, number
        ),
        lambda: native.input_grad(back, 1, *place(x), 4, *place(out), 6, 0, number, []),
        lambda: native.weight_grad_float32(
            1, *place(x), 4, *place(out), 6, w.ctypes.data, 1, 1, 3, 1, 1, 1, 0, number
        ),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"no padding mode has the number {number}$"):
            call()
    assert (out == 7).all()


@pytest.mark.parametrize("number", [-1, 3])
def test_a_number_of_no_map_is_refused(number: int) -> None:
    w = np.ones((1, 1, 3), "f4")
    with pytest.raises(ValueError, match=f"no map has the number {number}$"):
        native.pack_float32(w.ctypes.data, 1, 1, 3, 1, 1, 1, number, False)


@pytest.mark.parametrize(("mode", "edges"), [("zeros", [-1, 0]), ("circular", [-1, 0, 6])])
def test_edges_that_make_no_sense_are_refused(mode: str, edges: list[int]) -> None:
    gy, w, gx = np.ones((1, 1, 6), "f4"), np.ones((1, 1, 3), "f4"), np.ones((1, 1, 4), "f4")
    number = PADDING_MODES.index(mode)
    with pytest.raises(ValueError, match="edges must be"):
        native.input_grad(
            pack(w, Geometry(3), 1, True), 1, *place(gy), 6, *place(gx), 4, 0, number, edges
        )


def test_elements_without_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="without bytes"):
        native.signal_of(np.zeros((1, 1, 3), "V0"))
