"""A Conv1d by the compiled module: the map C of an extended signal, called as a map of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from cases import assert_close

import fracstride as fs
from fracstride._load import native
from fracstride.extension import PADDING_MODES
from fracstride.kernel_table import CONV1D

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype("f4"), np.dtype("f8"), np.dtype("f2"), BFLOAT16]
PADS: dict[str, Any] = {
    "zeros": {"mode": "constant"},
    "reflect": {"mode": "reflect"},
    "replicate": {"mode": "edge"},
    "circular": {"mode": "wrap"},
}


def place(array: Any) -> tuple[int, ...]:
    return (array.ctypes.data, *(stride // array.itemsize for stride in array.strides))


class Conv(NamedTuple):
    """A random Conv1d and its operands."""

    x: Any
    w: Any
    b: Any
    stride: int
    dilation: int
    left: int
    right: int
    groups: int
    mode: str

    @property
    def length(self) -> int:
        span = self.dilation * (self.w.shape[2] - 1) + 1
        return int((self.x.shape[2] + self.left + self.right - span) // self.stride + 1)

    def pack(self, once: bool = False) -> Any:
        call = getattr(native, f"pack_{self.w.dtype.name}")
        sizes = (*self.w.shape, self.groups, self.stride, self.dilation)
        return call(self.w.ctypes.data, *sizes, CONV1D, once)

    def run(
        self,
        x: Any = None,
        first: int = 0,
        outputs: int | None = None,
        once: bool = False,
        residual: Any = None,
        slope: float = 1.0,
        carried: int = 0,
        residual_carried: int = 0,
        out: Any = None,
    ) -> Any:
        """So many outputs from the first one on, of a signal of which some frames are carried."""
        x = self.x if x is None else x
        outputs = self.length - first if outputs is None else outputs
        y = np.full((x.shape[0], self.w.shape[0], outputs), 7, x.dtype) if out is None else out
        early, late = x[..., :carried].copy(), x[..., carried:]
        more: tuple[Any, ...] = ()
        if residual is not None or slope != 1 or carried:
            before, rest = (0,) * 5, (0,) * 4
            if residual is not None:
                first_part = residual[..., :residual_carried].copy()
                last_part = residual[..., residual_carried:]
                rest = place(last_part)
                if residual_carried:
                    before = (*place(first_part), residual_carried)
            kept = (*place(early), carried) if carried else (0,) * 5
            more = (*rest, slope, *kept, *before)
        native.forward(
            self.pack(once),
            x.shape[0],
            *place(late),
            late.shape[2],
            0 if self.b is None else self.b.ctypes.data,
            *place(y),
            outputs,
            self.left - first * self.stride,
            PADDING_MODES.index(self.mode),
            *more,
        )
        return y

    def definition(self, absolute: bool = False) -> Any:
        wide = [np.asarray(a, np.float64) for a in (self.x, self.w)]
        x, w = [abs(a) for a in wide] if absolute else wide
        pads = ((0, 0), (0, 0), (self.left, self.right))
        padded = np.pad(x, pads, **PADS[self.mode])
        by_group = padded.reshape(len(x), self.groups, -1, padded.shape[-1])
        w = w.reshape(self.groups, -1, *w.shape[1:])
        y = np.zeros((len(x), *w.shape[:2], self.length))
        for m in range(w.shape[-1]):
            start = m * self.dilation
            frames = by_group[..., start : start + (self.length - 1) * self.stride + 1]
            y += np.einsum("bgit,gci->bgct", frames[..., :: self.stride], w[..., m])
        y = y.reshape(len(x), -1, self.length)
        if self.b is None:
            return y
        b = np.asarray(self.b, np.float64)[:, None]
        return y + (abs(b) if absolute else b)


def random_conv(rng: np.random.Generator, mode: str, dtype: Any) -> Conv:
    k = int(rng.choice([1, 2, 3, 5, 7, 16]))
    stride = int(rng.choice([1, 1, 2, 3, 4, 5, 8, 20]))
    dilation = int(rng.choice([1, 1, 2, 3, 9]))
    span = dilation * (k - 1) + 1
    left, right = (int(p) for p in rng.integers(0, span + 3, 2))
    least = max(1, span - left - right)
    length = least + int(rng.choice([0, 1, 7, 60, 300]))
    groups = int(rng.choice([1, 1, 2, 5]))
    per_group = [int(c) for c in rng.choice([1, 1, 2, 3, 7, 20, 40], 2)]
    batch = int(rng.integers(1, 4))
    x = rng.standard_normal((batch, groups * per_group[0], length)).astype(dtype)
    w = rng.standard_normal((groups * per_group[1], per_group[0], k)).astype(dtype)
    b = rng.standard_normal(groups * per_group[1]).astype(dtype) if rng.random() < 0.7 else None
    return Conv(x, w, b, stride, dilation, left, right, groups, mode)


def random_filter(rng: np.random.Generator, mode: str, dtype: Any) -> Conv:
    """A depthwise layer."""
    k = int(rng.choice([1, 2, 3, 7, 8, 12, 17, 255, 700]))
    stride = int(rng.choice([1, 1, 2, 3, 4, 5, 6, 7, 8, 20]))
    dilation = int(rng.choice([1, 1, 1, 2, 3, 16]))
    span = dilation * (k - 1) + 1
    left, right = (int(p) for p in rng.integers(0, min(span, 20) + 3, 2))
    least = max(1, span - left - right)
    length = least + int(rng.choice([0, 1, 7, 60, 300, 3000]))
    groups, batch = int(rng.choice([1, 2, 5])), int(rng.integers(0, 3))
    x = rng.standard_normal((batch, groups, length)).astype(dtype)
    w = rng.standard_normal((groups, 1, k)).astype(dtype)
    b = rng.standard_normal(groups).astype(dtype) if rng.random() < 0.7 else None
    return Conv(x, w, b, stride, dilation, left, right, groups, mode)


def same_bits(a: Any, b: Any) -> None:
    assert a.dtype == b.dtype
    unsigned = f"u{a.itemsize}"
    np.testing.assert_array_equal(
        np.ascontiguousarray(a).view(unsigned), np.ascontiguousarray(b).view(unsigned)
    )


def from_conv1d(conv: Conv) -> Any:
    most = conv.dilation * (conv.w.shape[2] - 1)
    if conv.stride > 1 or max(conv.left, conv.right) > most:
        return None
    pads = conv.left, conv.right
    layer = fs.ConvTranspose1d.from_conv1d(
        conv.w, conv.b, pads, conv.groups, conv.dilation, conv.mode
    )
    return layer(conv.x)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_random_layers(mode: str, dtype: Any) -> None:
    rng = np.random.default_rng(PADDING_MODES.index(mode))
    for _ in range(150):
        conv = random_conv(rng, mode, dtype)
        y = conv.run()
        assert_close(y, conv.definition(), conv.definition(absolute=True), dtype)
        same_bits(y, conv.run(once=True))
        same_bits(y[1:], conv.run(conv.x[1:]))
        transposed = from_conv1d(conv)
        if transposed is not None:
            same_bits(y, transposed)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_extended_signal_and_one_padded_by_numpy(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        conv = random_conv(rng, str(rng.choice(PADDING_MODES)), dtype)
        pads = ((0, 0), (0, 0), (conv.left, conv.right))
        padded = np.pad(conv.x, pads, **PADS[conv.mode])
        same_bits(conv.run(), conv._replace(x=padded, left=0, right=0).run())


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_surrounds_a_layer(dtype: Any) -> None:
    """Carried frames, a residual with samples carried, a leaky ReLU, a part, strides in memory."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        conv = random_conv(rng, str(rng.choice(PADDING_MODES)), dtype)
        residual = rng.standard_normal((len(conv.x), len(conv.w), conv.length)).astype(dtype)
        slope = dtype.type(0.25)
        bent = np.where(conv.x > 0, conv.x, conv.x * slope).astype(dtype)
        whole = conv._replace(x=bent).run()
        expected = (residual + whole).astype(dtype)
        carried = int(rng.integers(0, conv.x.shape[2]))
        of_residual = int(rng.integers(0, conv.length))
        same_bits(
            conv.run(residual=residual, slope=0.25, carried=carried, residual_carried=of_residual),
            expected,
        )
        first = int(rng.integers(0, conv.length))
        outputs = int(rng.integers(1, conv.length - first + 1))
        same_bits(
            conv.run(first=first, outputs=outputs, slope=0.25, carried=carried),
            whole[..., first : first + outputs],
        )
        strided = np.full((len(conv.x), conv.length, len(conv.w) + 1), 7, dtype)
        out = strided.transpose(0, 2, 1)[:, 1:]
        conv.run(np.asfortranarray(conv.x), out=out)
        same_bits(out, conv.run())
        assert (strided[..., 0] == 7).all()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_filters_and_the_general_path(dtype: Any) -> None:
    """A depthwise layer, and the same into an output with strides, which takes the general path."""
    rng = np.random.default_rng(6)
    for _ in range(150):
        conv = random_filter(rng, str(rng.choice(PADDING_MODES)), dtype)
        residual = None
        if rng.random() < 0.5:
            residual = rng.standard_normal((len(conv.x), len(conv.w), conv.length)).astype(dtype)
        slope = float(rng.choice([1, 0.25]))
        carried = int(rng.integers(0, conv.x.shape[2]))
        if rng.random() < 0.2:
            conv.w[0, 0, rng.integers(conv.w.shape[2])] = np.inf
        if conv.x.size and rng.random() < 0.2:
            conv.x[0, 0, rng.integers(conv.x.shape[2])] = np.nan
        out = np.full((len(conv.x), conv.length, len(conv.w)), 7, dtype).transpose(0, 2, 1)
        conv.run(residual=residual, slope=slope, carried=carried, out=out)
        y = conv.run(residual=residual, slope=slope, carried=carried)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(out))
        same_bits(np.nan_to_num(y), np.nan_to_num(out))
        first = int(rng.integers(0, conv.length))
        some = conv.run(first=first, outputs=1, slope=slope, carried=carried)
        whole = conv.run(slope=slope, carried=carried)[..., first : first + 1]
        same_bits(np.nan_to_num(some), np.nan_to_num(whole))


@pytest.mark.usefixtures("isa")
def test_threads_and_prefixes() -> None:
    rng = np.random.default_rng(4)
    before = fs.get_num_threads()
    try:
        for _ in range(40):
            kind = random_conv if rng.random() < 0.7 else random_filter
            conv = kind(rng, "zeros", np.dtype("f4"))
            if conv.dilation * conv.w.shape[2] > 2000:
                continue
            conv = conv._replace(x=rng.standard_normal((2, conv.x.shape[1], 4000)).astype("f4"))
            fs.set_num_threads(1)
            y = conv.run()
            fs.set_num_threads(3)
            same_bits(y, conv.run())
            short = conv._replace(x=conv.x[..., :2345], right=0)
            same_bits(short.run(), y[..., : short.length])
    finally:
        fs.set_num_threads(before)


@pytest.mark.usefixtures("isa")
def test_a_weight_that_is_not_finite_meets_no_absent_frame() -> None:
    rng = np.random.default_rng(5)
    for _ in range(100):
        conv = random_conv(rng, "zeros", np.dtype("f4"))
        m = int(rng.integers(conv.w.shape[2]))
        conv.w[:, 0, m] = np.inf
        reads = np.arange(conv.length) * conv.stride + m * conv.dilation - conv.left
        there = (reads >= 0) & (reads < conv.x.shape[2])
        y = conv.run()
        assert np.isfinite(y[..., ~there]).all()
        assert not np.isfinite(y[..., there]).any()
