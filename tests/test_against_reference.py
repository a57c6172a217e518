"""The kernels against the definition: values, and which samples NaN and Inf reach."""

from __future__ import annotations

import os
from itertools import product

import ml_dtypes
import numpy as np
import pytest
from cases import (
    Case,
    batched,
    cases,
    check_maps,
    check_on_every_instruction_set,
    laid_out,
    wide,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fracstride as fs
from fracstride import reference
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "400"))
on_every_isa = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def case(
    geometry: Geometry, length: int, channels: tuple[int, int] = (3, 5), **more: object
) -> Case:
    defaults: dict[str, object] = {
        "batch": 2,
        "groups": 1,
        "dtype": np.dtype(np.float32),
        "bias": True,
        "layout": "contiguous",
        "seed": 0,
    }
    in_channels, out_channels = channels
    return Case(
        geometry,
        in_channels=in_channels,
        out_channels=out_channels,
        length=length,
        **{**defaults, **more},
    )  # type: ignore[arg-type]


@pytest.mark.usefixtures("isa")
@on_every_isa
@given(cases())
def test_random_layers(case: Case) -> None:
    check_maps(case, fs)


# The layers that each special path of the kernels is there for.
@pytest.mark.parametrize("batch", [1, 2])  # a weight that serves one block is packed panel by panel
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize(
    ("geometry", "length", "more"),
    [
        pytest.param({"kernel_size": 1, "stride": 9}, 30, {}, id="samples that no tap reaches"),
        pytest.param({"kernel_size": 5, "stride": 6, "dilation": 4}, 30, {}, id="gcd(s, d) > 1"),
        pytest.param({"kernel_size": 12, "stride": 8}, 40, {}, id="unequal tap counts"),
        pytest.param({"kernel_size": 40, "stride": 32}, 60, {}, id="more phases than a panel"),
        pytest.param({"kernel_size": 96, "stride": 48}, 60, {}, id="phases in several panels"),
        pytest.param(
            {"kernel_size": 7, "stride": 5, "dilation": 97}, 40, {}, id="phases far apart"
        ),
        pytest.param({"kernel_size": 3, "dilation": 700, "padding": 700}, 50, {}, id="wide shifts"),
        pytest.param({"kernel_size": 600, "padding": 300}, 3, {}, id="tiny input, wide extension"),
        pytest.param({"kernel_size": 600, "stride": 2, "padding": 300}, 2, {}, id="mirrored often"),
        pytest.param({"kernel_size": 3, "stride": 2}, 1, {"channels": (700, 2)}, id="many runs"),
        pytest.param({"kernel_size": 3}, 900, {"channels": (4, 40)}, id="several blocks"),
        pytest.param(
            {"kernel_size": 16, "stride": 8}, 1, {"channels": (64, 64)}, id="a single frame"
        ),
        pytest.param(
            {"kernel_size": 5, "stride": 2, "output_padding": 1},
            1,
            {"channels": (9, 80)},
            id="a single frame, columns that fill no panel",
        ),
        pytest.param(
            {"kernel_size": 4, "stride": 6, "padding": 1},
            30,
            {"channels": (70, 24)},
            id="taps that never meet",
        ),
        pytest.param(
            {"kernel_size": 4, "stride": 2, "padding": 1},
            60,
            {"channels": (20, 64)},
            id="two taps to a phase",
        ),
        pytest.param(
            {"kernel_size": 10, "stride": 5, "padding": 2},
            60,
            {"channels": (20, 33)},
            id="channels across panels",
        ),
        pytest.param(
            {"kernel_size": 12, "stride": 2, "padding": 5},
            500,
            {"channels": (6, 6), "groups": 6},
            id="depthwise",
        ),
        pytest.param(
            {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
            150,
            {"channels": (4, 4), "groups": 4},
            id="depthwise, unequal tap counts",
        ),
        pytest.param(
            {"kernel_size": 5, "dilation": 3, "padding": (7, 4)},
            150,
            {"channels": (4, 4), "groups": 4},
            id="depthwise, stride 1",
        ),
        pytest.param(
            {"kernel_size": 11, "stride": 4, "padding": (0, 9)},
            150,
            {"channels": (4, 4), "groups": 4},
            id="depthwise, stride 4",
        ),
        pytest.param(
            {"kernel_size": 16, "stride": 8, "padding": 4},
            150,
            {"channels": (4, 4), "groups": 4, "dtype": np.dtype(np.float64)},
            id="depthwise, stride 8",
        ),
        pytest.param(
            {"kernel_size": 127, "stride": 4},
            300,
            {"channels": (1, 1)},
            id="one channel, many taps",
        ),
        pytest.param(
            {"kernel_size": 70, "stride": 60},
            30,
            {"channels": (2, 2), "groups": 2},
            id="depthwise, more phases than a panel has columns",
        ),
        pytest.param({"kernel_size": 700, "stride": 2}, 900, {}, id="more shifts than a run"),
        pytest.param(
            {"kernel_size": 4, "stride": 100},
            30,
            {"channels": (8, 8), "groups": 8},
            id="depthwise with gaps",
        ),
    ],
)
def test_special_paths(
    mode: str, geometry: dict, length: int, more: dict, batch: int, dtype: type
) -> None:
    more = {"dtype": np.dtype(dtype), **more, "batch": batch}
    layer = case(Geometry(**geometry, padding_mode=mode), length, **more)
    check_on_every_instruction_set(layer, fs)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 11, 12, 13, 15, 16, 17, 31, 47, 48, 49, 97])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("channels", [(5, 7), (17, 32)])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_lengths_around_the_tile(
    length: int, stride: int, channels: tuple[int, int], dtype: type
) -> None:
    g = Geometry(2 * stride, stride, stride // 2)
    layer = case(g, length, channels, batch=1 + channels[0] % 2, dtype=np.dtype(dtype))
    check_on_every_instruction_set(layer, fs)


def test_sizes_that_only_integers_can_hold() -> None:
    # Strides and dilations far longer than any signal: no array may be as long as they are.
    for huge, mode in product((2**40, 2**60), PADDING_MODES):
        for geometry, length in (
            (Geometry(2, 1, (0, huge), 0, huge, mode), 1),
            (Geometry(2, 1, (huge, 0), 0, huge, mode), 3),
            (Geometry(1, huge, 0, 0, 1, mode), 1),
            (Geometry(3, huge, (huge, huge), 0, huge, mode), 1),
        ):
            check_maps(case(geometry, length), fs)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("channels", [1, 2])
def test_long_sums_are_cut_into_runs(channels: int) -> None:
    # A sum of equal products is the worst case: every rounding has the same sign.
    k = 16384
    w = np.full((channels, channels, k), 0.1, np.float32)
    x = np.full((channels, k), 0.1, np.float32)
    exact = channels * k * float(np.float32(0.1)) ** 2
    bound = 8 * np.finfo(np.float32).eps * exact
    y = fs.conv_transpose1d(x, w, padding=k - 1)
    assert abs(y.astype(float) - exact).max() <= bound
    gw = fs.conv_transpose1d_weight_grad(x[:1], x[:1], 1)
    assert abs(float(gw.item()) - exact / channels) <= bound


def test_many_taps_on_few_frames() -> None:
    # Work is frames times taps, not samples times taps: 200,000 squared would take minutes.
    k = 200_000
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2)), rng.standard_normal((1, 1, k))
    exact = np.convolve(x[0], w[0, 0])
    y = fs.conv_transpose1d(x, w)
    np.testing.assert_allclose(y[0], exact, rtol=1e-13, atol=1e-13)
    gy = rng.standard_normal((1, k + 1))
    gw = fs.conv_transpose1d_weight_grad(x, gy, k)
    np.testing.assert_allclose(gw[0, 0], x[0, 0] * gy[0, :-1] + x[0, 1] * gy[0, 1:], atol=1e-13)


def same_places(got: np.ndarray, exact: np.ndarray) -> None:
    got = wide(got)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(exact))
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(exact))


@pytest.mark.usefixtures("isa")
@on_every_isa
@given(
    st.sampled_from([np.dtype(np.float32), BFLOAT16]).flatmap(lambda dtype: cases(dtype=dtype)),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.sampled_from(["x", "w", "gy"]),
    st.integers(0, 2**31),
)
@example(case(Geometry(4, 2, 1), 50), np.nan, "w", 3)
@example(case(Geometry(4, 2, 1), 50, batch=1), np.nan, "w", 3)
@example(case(Geometry(4, 2, 1), 50, dtype=BFLOAT16), np.nan, "w", 3)
@example(case(Geometry(5, 2, 1), 50, (4, 5), dtype=BFLOAT16), np.inf, "w", 30)
@example(case(Geometry(3, 2, 1, 1), 90, (4, 4), groups=4), np.nan, "w", 4)
@example(case(Geometry(3, 2, 1, 1), 90, (4, 4), groups=4), np.inf, "x", 89)
@example(case(Geometry(4, 2, 1), 1, batch=1), np.nan, "w", 3)
@example(case(Geometry(4, 2, 1), 1, (40, 40), batch=1), np.nan, "gy", 3)
@example(case(Geometry(4, 2, 1), 40), np.nan, "x", 40)  # a frame whose first tap is cropped
@example(case(Geometry(4, 2, 0), 40), np.inf, "gy", 0)  # a sample that no earlier frame reaches
def test_nan_and_inf_go_where_the_definition_says(
    case: Case, value: float, operand: str, place: int
) -> None:
    if case.x.size == 0:
        return
    arrays = {name: np.array(getattr(case, name)) for name in ("x", "w", "gy")}
    arrays[operand].reshape(-1)[place % arrays[operand].size] = value
    x, w, gy = (laid_out(arrays[name], case.layout) for name in ("x", "w", "gy"))
    arrays = {name: wide(array) for name, array in arrays.items()}
    x64, gy64 = batched(arrays["x"]), batched(arrays["gy"])
    geometry, groups, length = case.geometry, case.groups, case.length

    def like(array: np.ndarray) -> np.ndarray:
        return array if case.batch is not None else array[0]

    same_places(
        fs.conv_transpose1d(x, w, None, **case.options),
        like(reference.conv_transpose1d(x64, arrays["w"], None, geometry, groups)),
    )
    same_places(
        fs.conv_transpose1d_input_grad(gy, w, length, **case.options),
        like(reference.conv_transpose1d_input_grad(gy64, arrays["w"], length, geometry, groups)),
    )
    same_places(
        fs.conv_transpose1d_weight_grad(x, gy, geometry.kernel_size, **case.options),
        reference.conv_transpose1d_weight_grad(x64, gy64, geometry, groups),
    )


@pytest.mark.usefixtures("isa")
def test_adjoint_identity_of_the_kernels() -> None:
    for mode in PADDING_MODES:
        c = case(
            Geometry(7, 3, (2, 4), 1, 2, mode),
            40,
            (6, 8),
            groups=2,
            bias=False,
            dtype=np.dtype(np.float64),
        )
        y = fs.conv_transpose1d(c.x, c.w, **c.options)
        gx = fs.conv_transpose1d_input_grad(c.gy, c.w, c.length, **c.options)
        gw = fs.conv_transpose1d_weight_grad(c.x, c.gy, 7, **c.options)
        size = np.linalg.norm(y) * np.linalg.norm(c.gy)
        assert abs((y * c.gy).sum() - (c.x * gx).sum()) < 1e-13 * size
        assert abs((y * c.gy).sum() - (c.w * gw).sum()) < 1e-13 * size
