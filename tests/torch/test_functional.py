"""The function against torch's own, and against the NumPy face bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from cases import Case, random_case, random_conv1d_case
from torch.nn import functional as tf
from torch.utils._python_dispatch import TorchDispatchMode

import fracstride as fs
import fracstride.torch as ft
from fracstride.extension import PADDING_MODES, source_frame
from fracstride.torch import fallback
from fracstride.torch.operators import input_adjoint, weight_adjoint

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
]
KINDS = pytest.mark.parametrize("kind", ["conv_transpose1d", "conv1d"])
RANDOM_CASE: dict[str, Callable[..., Case]] = {
    "conv_transpose1d": random_case,
    "conv1d": random_conv1d_case,
}
LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda t: t,
    "transposed": lambda t: t.mT.contiguous().mT,
    "channels first": lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
    "sliced": lambda t: torch.stack([t, t * 3], -1)[..., 0],
    "expanded": lambda t: t[:1].expand_as(t),
    "negated": lambda t: torch._neg_view(-t),
    "conjugated": lambda t: t.conj().resolve_conj().conj(),
}


def tensor(array: Any) -> torch.Tensor:
    """The array as a tensor, with its strides where a tensor can have them."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype == ml_dtypes.bfloat16:
        return tensor(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array.copy() if any(s < 0 for s in array.strides) else array)


def bits(tensor: torch.Tensor) -> bytes:
    tensor = tensor.detach().resolve_conj().resolve_neg().flatten()
    return tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_against_torch(dtype: torch.dtype) -> None:
    """Values, shapes and gradients, for all arguments that torch's operator takes."""
    torch.manual_seed(0)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    eps = torch.finfo(dtype).eps
    sizes = itertools.product((1, 2, 3), (0, 2), (0, 1), (1, 2), (1, 3), (None, 2), (1, 7), (1, 4))
    for s, p, a, g, d, batch, L, k in sizes:
        if a >= max(s, d) or (L - 1) * s - 2 * p + d * (k - 1) + a < 0:
            continue
        shape = (4, L) if batch is None else (batch, 4, L)
        x, w, b = (torch.randn(z, dtype=wide) for z in (shape, (4, 6 // g, k), (6,)))
        given = [t.to(dtype).requires_grad_() for t in (x, w, b)]
        exact = [t.detach().to(wide).requires_grad_() for t in given]
        got = ft.conv_transpose1d(*given, s, p, a, g, d)
        want = tf.conv_transpose1d(*exact, s, p, a, g, d)
        close: dict[str, Any] = {"rtol": 8 * eps, "atol": 100 * eps}
        torch.testing.assert_close(got.to(wide), want, **close)
        assert got.dtype == dtype
        assert got.is_contiguous()
        gy = torch.randn(got.shape, dtype=wide).to(dtype)
        got.backward(gy)
        want.backward(gy.to(wide))
        for mine, theirs in zip(given, exact, strict=True):
            assert mine.grad is not None
            assert theirs.grad is not None
            torch.testing.assert_close(mine.grad.to(wide), theirs.grad, **close)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_conv1d_against_torch(dtype: torch.dtype) -> None:
    """The same for all arguments and modes that torch's operator and its pad take."""
    torch.manual_seed(0)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    eps = torch.finfo(dtype).eps
    sizes = itertools.product(
        (1, 2, 3), (0, (2, 2), (1, 3)), (1, 2), (1, 3), (None, 2), (1, 7), (1, 4), PADDING_MODES
    )
    for s, p, g, d, batch, L, k, mode in sizes:
        left, right = p if isinstance(p, tuple) else (p, p)
        if L + left + right <= d * (k - 1) or (mode != "zeros" and max(left, right) >= L):
            continue
        shape = (4, L) if batch is None else (batch, 4, L)
        x, w, b = (torch.randn(z, dtype=wide) for z in (shape, (6, 4 // g, k), (6,)))
        given = [t.to(dtype).requires_grad_() for t in (x, w, b)]
        exact = [t.detach().to(wide).requires_grad_() for t in given]
        got = ft.conv1d(*given, s, p, d, g, padding_mode=mode)
        want = tf.conv1d(padded(exact[0], (left, right), mode), *exact[1:], s, 0, d, g)
        close: dict[str, Any] = {"rtol": 8 * eps, "atol": 100 * eps}
        torch.testing.assert_close(got.to(wide), want, **close)
        assert got.dtype == dtype
        assert got.is_contiguous()
        gy = torch.randn(got.shape, dtype=wide).to(dtype)
        got.backward(gy)
        want.backward(gy.to(wide))
        for mine, theirs in zip(given, exact, strict=True):
            assert mine.grad is not None
            assert theirs.grad is not None
            torch.testing.assert_close(mine.grad.to(wide), theirs.grad, **close)


def padded(x: torch.Tensor, pads: tuple[int, int], mode: str) -> torch.Tensor:
    """By torch, of complex numbers too."""
    if x.is_complex():
        return torch.complex(padded(x.real, pads, mode), padded(x.imag, pads, mode))
    return tf.pad(x, pads, "constant" if mode == "zeros" else mode)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_bits_of_the_numpy_conv1d(mode: str) -> None:
    rng = np.random.default_rng(len(mode))
    for _ in range(150):
        c = random_conv1d_case(rng, mode)
        x, w, gy = tensor(c.x), tensor(c.w), tensor(c.gy)
        b = None if c.b is None else tensor(c.b)
        got = ft.conv1d(x, w, b, **c.options)
        want = tensor(fs.conv1d(c.x, c.w, c.b, **c.options))
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        assert bits(got) == bits(want), c
        if c.batch is None:
            continue
        g, L = c.geometry, c.length
        gx = tensor(fs.conv1d_adjoint(c.gy, c.w, L, **c.options))
        assert bits(input_adjoint(gy, w, L, g, c.groups)) == bits(gx), c
        # R with its operands the other way round, of an input that is extended by hand.
        pads = (0, 0) if mode != "zeros" else (g.padding_left, g.padding_right)
        frames = range(L) if mode == "zeros" else range(-g.padding_left, L + g.padding_right)
        xe = c.x[..., [source_frame(t, L, mode) for t in frames]]
        t = fs.Conv1dGeometry(g.kernel_size, g.stride, pads, g.dilation).transposed(len(frames))
        sizes = t.stride, t.padding, t.output_padding, c.groups, t.dilation
        gw = tensor(fs.conv_transpose1d_weight_grad(c.gy, xe, t.kernel_size, *sizes))
        assert bits(weight_adjoint(x, gy, g, c.groups)) == bits(gw), c


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_bits_of_the_numpy_face(mode: str) -> None:
    rng = np.random.default_rng(len(mode))
    for _ in range(150):
        c = random_case(rng, mode)
        x, w, gy = tensor(c.x), tensor(c.w), tensor(c.gy)
        b = None if c.b is None else tensor(c.b)
        want = tensor(fs.conv_transpose1d(c.x, c.w, c.b, **c.options))
        got = ft.conv_transpose1d(x, w, b, **c.options)
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        assert bits(got) == bits(want), c
        if c.batch is None:
            continue
        k, L = c.geometry.kernel_size, c.length
        gx = fs.conv_transpose1d_input_grad(c.gy, c.w, L, **c.options)
        assert bits(input_adjoint(gy, w, L, c.geometry, c.groups)) == bits(tensor(gx)), c
        gw = fs.conv_transpose1d_weight_grad(c.x, c.gy, k, **c.options)
        assert bits(weight_adjoint(x, gy, c.geometry, c.groups)) == bits(tensor(gw)), c


@KINDS
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_fallback_has_the_same_values(mode: str, kind: str) -> None:
    """The code for other devices, run on the CPU."""
    rng, function = np.random.default_rng(len(mode) + 1), getattr(ft, kind)
    for _ in range(60):
        c = RANDOM_CASE[kind](rng, mode, np.dtype(rng.choice(["float64", "complex128"])))
        if not c.batch:
            continue
        x, w, gy = tensor(c.x), tensor(c.w), tensor(c.gy)
        b = None if c.b is None else tensor(c.b)
        g, groups, L = c.geometry, c.groups, c.length
        for got, want in (
            (fallback.forward(x, w, b, g, groups), function(x, w, b, **c.options)),
            (fallback.input_grad(gy, w, L, g, groups), input_adjoint(gy, w, L, g, groups)),
            (fallback.weight_grad(x, gy, g, groups), weight_adjoint(x, gy, g, groups)),
        ):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@KINDS
def test_other_devices_add_by_slices(kind: str) -> None:
    """No operator runs that torch lists as not deterministic on a GPU."""
    listed = ("index_add", "index_put", "scatter", "put_", "cumsum", "pad_backward")
    seen: set[str] = set()

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            seen.add(func.name())
            return func(*args, **(kwargs or {}))

    rng = np.random.default_rng(2)
    for mode in 5 * PADDING_MODES:
        c = RANDOM_CASE[kind](rng, mode, np.dtype(np.float64))
        if not c.batch:
            continue
        with Watching():
            fallback.forward(tensor(c.x), tensor(c.w), None, c.geometry, c.groups)
            fallback.input_grad(tensor(c.gy), tensor(c.w), c.length, c.geometry, c.groups)
            fallback.weight_grad(tensor(c.x), tensor(c.gy), c.geometry, c.groups)
    assert any("add" in name for name in seen)
    assert not [name for name in seen if any(bad in name for bad in listed)]


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_devices_without_memory(mode: str) -> None:
    """On the meta device everything has a shape, derivatives too."""
    x, w, b = (torch.randn(s, device="meta", requires_grad=True) for s in ((2, 4, 9), (4, 3, 5), 6))
    y = ft.conv_transpose1d(x, w, b, 2, (1, 3), 1, 2, 2, padding_mode=mode)
    like = ft.conv_transpose1d(
        torch.ones(2, 4, 9), torch.ones(4, 3, 5), None, 2, (1, 3), 1, 2, 2, padding_mode=mode
    )
    assert y.device.type == "meta"
    assert y.shape == like.shape
    y.sum().backward()
    assert [t.grad.shape for t in (x, w, b) if t.grad is not None] == [x.shape, w.shape, b.shape]


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_conv1d_on_devices_without_memory(mode: str) -> None:
    shapes: list[Any] = [(2, 4, 9), (6, 2, 3), (6,)]
    x, w, b = (torch.randn(s, device="meta", requires_grad=True) for s in shapes)
    y = ft.conv1d(x, w, b, 2, (1, 3), 2, 2, padding_mode=mode)
    assert y.device.type == "meta"
    assert y.shape == (2, 6, 5)
    y.sum().backward()
    assert [t.grad.shape for t in (x, w, b) if t.grad is not None] == [x.shape, w.shape, b.shape]
    with pytest.raises(RuntimeError, match=r"bias must have the shape \(6,\)"):
        ft.conv1d(x, w, torch.empty(4, device="meta"), groups=2, padding_mode=mode)


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("padding", [2, (1, 3)])
def test_other_devices_have_torchs_own_conv1d(padding: Any, mode: str) -> None:
    """At once, where no gradient of an extension has to be folded."""
    seen: list[str] = []

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            seen.append(func.name())
            return func(*args, **(kwargs or {}))

    x, w = (torch.randn(s, device="meta", requires_grad=True) for s in ((2, 4, 9), (6, 2, 3)))
    with Watching():
        ft.conv1d(x, w, None, 2, padding, 1, 2, padding_mode=mode).sum().backward()
    ours = [name for name in seen if name.startswith("fracstride::")]
    if mode == "zeros":
        assert "aten::convolution" in seen
        assert "aten::convolution_backward" in seen
        assert not ours
    else:
        assert sorted(ours) == [
            f"fracstride::conv1d{m}" for m in ("", "_input_grad", "_weight_grad")
        ]


def test_dtypes_that_only_torch_has() -> None:
    x, w = torch.arange(6).reshape(1, 2, 3), torch.arange(8).reshape(2, 1, 4)
    assert torch.equal(ft.conv_transpose1d(x, w, None, 2), tf.conv_transpose1d(x, w, None, 2))
    circular = ft.conv_transpose1d(x, w, None, 2, padding_mode="circular")
    exact = ft.conv_transpose1d(x.double(), w.double(), None, 2, padding_mode="circular")
    assert torch.equal(circular, exact.long())
    v = torch.arange(12).reshape(3, 2, 2)
    assert torch.equal(ft.conv1d(x, v, None, 2, 1), tf.conv1d(x, v, None, 2, 1))
    reflect = ft.conv1d(x, v, None, 1, (5, 1), padding_mode="reflect")
    exact = ft.conv1d(x.double(), v.double(), None, 1, (5, 1), padding_mode="reflect")
    assert torch.equal(reflect, exact.long())


@KINDS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, kind: str) -> None:
    torch.manual_seed(0)
    place, function = LAYOUTS[layout], getattr(ft, kind)
    dtype = torch.complex64 if layout == "conjugated" else torch.float32
    for mode in PADDING_MODES:
        weight_shape = (4, 3, 5) if kind == "conv_transpose1d" else (6, 2, 5)
        x, w, b = (torch.randn(s, dtype=dtype) for s in ((3, 4, 9), weight_shape, (6,)))
        if layout == "expanded":
            x, w = x[:1].expand_as(x), w[:1].expand_as(w)
        options: dict[str, Any] = {"stride": 2, "padding": 1, "groups": 2, "padding_mode": mode}
        plain = [t.detach().clone().contiguous().requires_grad_() for t in (x, w, b)]
        placed = [place(t) for t in (x, w)] + [place(b[None, None])[0, 0]]
        placed = [t.detach().requires_grad_() for t in placed]
        got, want = function(*placed, **options), function(*plain, **options)
        assert bits(got) == bits(want)
        gy = torch.randn_like(got)
        got.backward(place(gy) if layout != "expanded" else gy)
        want.backward(gy)
        for mine, theirs in zip(placed, plain, strict=True):
            assert mine.grad is not None
            assert theirs.grad is not None
            torch.testing.assert_close(mine.grad, theirs.grad)


def test_expanded_gradients() -> None:
    x, w = torch.randn(2, 4, 9, requires_grad=True), torch.randn(4, 3, 5, requires_grad=True)
    ft.conv_transpose1d(x, w).sum().backward()
    y = ft.conv_transpose1d(x.detach(), w.detach())
    gx = fs.conv_transpose1d_input_grad(np.ones(y.shape, np.float32), w.detach().numpy(), 9)
    assert x.grad is not None
    assert bits(x.grad) == bits(tensor(gx))


def test_same_causal_and_output_size() -> None:
    x, w = torch.randn(2, 4, 9), torch.randn(4, 3, 5)
    for padding in ("same", "causal", "valid", (0, 2), (2,), 1):
        got = ft.conv_transpose1d(x, w, None, 3, padding)
        want = fs.conv_transpose1d(x.numpy(), w.numpy(), None, 3, padding)
        assert bits(got) == bits(tensor(want))
    for size in (27, (28,), (2, 3, 29), torch.Size([2, 3, 28])):
        assert ft.conv_transpose1d(x, w, None, 3, 1, output_size=size).shape[-1] == (
            size if isinstance(size, int) else size[-1]
        )


@KINDS
def test_empty_batch_has_gradients(kind: str) -> None:
    x = torch.randn(0, 4, 9, requires_grad=True)
    weight_shape = (4, 3, 5) if kind == "conv_transpose1d" else (3, 4, 5)
    w, b = torch.randn(weight_shape, requires_grad=True), torch.randn(3, requires_grad=True)
    for mode in PADDING_MODES:
        y = getattr(ft, kind)(x, w, b, 1, 1, padding_mode=mode)
        assert y.shape == (0, 3, 11 if kind == "conv_transpose1d" else 7)
        y.sum().backward()
    assert w.grad is not None
    assert not w.grad.any()
    assert x.grad is not None
    assert x.grad.shape == x.shape


@KINDS
def test_autocast_as_torch(kind: str) -> None:
    mine, theirs_of = getattr(ft, kind), getattr(tf, kind)
    weight_shape = (4, 3, 5) if kind == "conv_transpose1d" else (3, 4, 5)
    x, w, b = torch.randn(2, 4, 9), torch.randn(weight_shape), torch.randn(3)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            got, theirs = mine(x, w, b), theirs_of(x, w, b)
            assert got.dtype == theirs.dtype == dtype
            for given in (x.double(), x.to(dtype)):
                try:
                    theirs = theirs_of(given, w.to(given.dtype), b.to(given.dtype))
                except RuntimeError:
                    continue
                got = mine(given, w.to(given.dtype), b.to(given.dtype))
                assert got.dtype == theirs.dtype
        low = mine(x.to(dtype), w.to(dtype), b.to(dtype))
        with torch.autocast("cpu", dtype):
            params = [t.clone().requires_grad_() for t in (x, w, b)]
            y = mine(*params)
        assert torch.equal(y, low)
        y.float().sum().backward()
        assert [t.grad.dtype for t in params if t.grad is not None] == 3 * [torch.float32]


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"stride": 0}, RuntimeError, "stride"),
    ({"stride": -1}, RuntimeError, "stride"),
    ({"stride": 1.5}, TypeError, "stride"),
    ({"stride": "a"}, TypeError, "stride"),
    ({"stride": True}, TypeError, "stride"),
    ({"stride": (1, 2)}, RuntimeError, "stride"),
    ({"padding": -1}, RuntimeError, "padding"),
    ({"padding": 100}, RuntimeError, "padding"),
    ({"padding": 1.5}, TypeError, "padding"),
    ({"output_padding": 3}, RuntimeError, "output_padding"),
    ({"groups": 3}, RuntimeError, "groups"),
    ({"groups": 0}, RuntimeError, "groups"),
    ({"groups": 1.5}, TypeError, "groups"),
    ({"dilation": 0}, RuntimeError, "dilation"),
    ({"input": torch.ones(4)}, RuntimeError, "input"),
    ({"input": torch.ones(1, 1, 4, 5)}, RuntimeError, "input"),
    ({"input": torch.ones(1, 3, 5)}, RuntimeError, "input"),
    ({"input": torch.ones(1, 4, 0)}, RuntimeError, "length"),
    ({"input": torch.ones(1, 4, 5).double()}, RuntimeError, "dtype"),
    ({"input": np.ones((1, 4, 5))}, TypeError, "input"),
    ({"input": None}, TypeError, "input"),
    ({"weight": torch.ones(4, 4)}, RuntimeError, "weight"),
    ({"weight": torch.ones(4, 0, 3)}, RuntimeError, "weight"),
    ({"weight": torch.ones(4, 4, 0)}, RuntimeError, "kernel_size|weight"),
    ({"weight": [1.0]}, TypeError, "weight"),
    ({"bias": torch.ones(7)}, RuntimeError, "bias"),
    ({"bias": torch.ones(1, 4)}, RuntimeError, "bias"),
    ({"bias": 3.0}, TypeError, "bias"),
]


@pytest.mark.parametrize(("wrong", "error", "named"), ERRORS, ids=repr)
@KINDS
def test_errors_are_of_torchs_kind(
    kind: str, wrong: dict[str, Any], error: type[Exception], named: str
) -> None:
    if kind == "conv1d" and ("output_padding" in wrong or wrong == {"padding": 100}):
        return  # no argument of a Conv1d, and allowed there
    given: dict[str, Any] = {"input": torch.ones(1, 4, 5), "weight": torch.ones(4, 4, 3)} | wrong
    for grad in (False, True):
        if isinstance(given["weight"], torch.Tensor):
            given["weight"] = given["weight"].requires_grad_(grad)
        with pytest.raises(error) as theirs:
            getattr(tf, kind)(**given)
        with pytest.raises(error, match=named) as mine:
            getattr(ft, kind)(**given)
        assert issubclass(mine.type, theirs.type) or issubclass(theirs.type, mine.type)


OWN_ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"padding_mode": "mirror"}, ValueError, "padding_mode"),
    ({"padding_mode": 3}, TypeError, "padding_mode"),
    ({"padding": "full"}, RuntimeError, "padding"),
    ({"input": torch.ones(1, 4, 5, device="meta")}, RuntimeError, "device"),
    ({"output_size": 40}, ValueError, "output_size"),
    ({"output_size": "a"}, TypeError, "output_size"),
    ({"output_size": 5, "padding": "same"}, ValueError, "output_size"),
    ({"output_padding": 1, "stride": 2, "padding": "same"}, RuntimeError, "output_padding"),
]


@pytest.mark.parametrize(("wrong", "error", "named"), OWN_ERRORS, ids=repr)
def test_errors_that_torch_has_not(
    wrong: dict[str, Any], error: type[Exception], named: str
) -> None:
    given = {"input": torch.ones(1, 4, 5), "weight": torch.ones(4, 4, 3)}
    with pytest.raises(error, match=named):
        ft.conv_transpose1d(**(given | wrong))


CONV1D_ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"padding": "full"}, RuntimeError, "padding"),
    ({"padding": "same", "stride": 2}, RuntimeError, "stride"),
    ({"input": torch.ones(1, 4, 2)}, RuntimeError, "input length L must be at least 3"),
    ({"input": torch.ones(1, 8, 5)}, RuntimeError, r"input must have the shape \(B, 4, length\)"),
    ({"input": torch.ones(1, 4, 5, device="meta")}, RuntimeError, "device"),
    ({"weight": torch.ones(4, 4)}, RuntimeError, r"\(C_out, C_in/groups, k\)"),
    ({"groups": 3}, RuntimeError, "groups must divide out_channels = 4, got 3"),
    ({"padding_mode": "mirror"}, ValueError, "padding_mode"),
    ({"padding_mode": 3}, TypeError, "padding_mode"),
]


@pytest.mark.parametrize(("wrong", "error", "named"), CONV1D_ERRORS, ids=repr)
def test_errors_of_conv1d(wrong: dict[str, Any], error: type[Exception], named: str) -> None:
    given = {"input": torch.ones(1, 4, 5), "weight": torch.ones(4, 4, 3)}
    with pytest.raises(error, match=named):
        ft.conv1d(**(given | wrong))


def test_conv1d_takes_more_padding_than_the_kernel_reaches() -> None:
    x, w = torch.randn(1, 4, 5), torch.randn(3, 4, 3)
    torch.testing.assert_close(ft.conv1d(x, w, None, 2, 100), tf.conv1d(x, w, None, 2, 100))


def test_operators_check_what_they_are_given() -> None:
    x, w = torch.ones(1, 4, 5), torch.ones(4, 2, 3)
    sizes: tuple[Any, ...] = (2, 0, 0, 0, 2, 1, "zeros")
    o = torch.ops.fracstride
    y = o.conv_transpose1d(x, w, None, *sizes)
    assert y.shape == (1, 4, 11)
    for call in (
        lambda: o.conv_transpose1d(x[0], w, None, *sizes),
        lambda: o.conv_transpose1d(x, w[0], None, *sizes),
        lambda: o.conv_transpose1d(x, w.double(), None, *sizes),
        lambda: o.conv_transpose1d(x, w, torch.ones(3), *sizes),
        lambda: o.conv_transpose1d(x, w, None, 2, -1, *sizes[2:]),
        lambda: o.conv_transpose1d(x, w, None, 2, 9, 9, *sizes[3:]),
        lambda: o.conv_transpose1d_input_grad(y, w, 6, *sizes),
        lambda: o.conv_transpose1d_input_grad(y[:, :3], w, 5, *sizes),
        lambda: o.conv_transpose1d_input_grad(y, w, -5, *sizes),
        lambda: o.conv_transpose1d_weight_grad(x, y, 4, *sizes),
        lambda: o.conv_transpose1d_weight_grad(x, y[:, :3], 3, *sizes),
        lambda: o.conv_transpose1d_weight_grad(x.expand(2, 4, 5), y, 3, *sizes),
        lambda: o.conv_transpose1d_weight_grad(x, y, 0, *sizes),
    ):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(RuntimeError, match="groups must divide out_channels = 3, got 2"):
        o.conv_transpose1d_weight_grad(x, y[:, :3], 3, *sizes)


def test_operators_of_conv1d_check_what_they_are_given() -> None:
    x, w = torch.ones(1, 4, 5), torch.ones(6, 2, 3)
    sizes: tuple[Any, ...] = (2, 0, 0, 3, 1, "zeros")  # two groups of three output channels
    o = torch.ops.fracstride
    y = o.conv1d(x, w, None, *sizes)
    assert y.shape == (1, 6, 2)
    for call in (
        lambda: o.conv1d(x[0], w, None, *sizes),
        lambda: o.conv1d(x, w[0], None, *sizes),
        lambda: o.conv1d(x, w.double(), None, *sizes),
        lambda: o.conv1d(x, w, torch.ones(3), *sizes),
        lambda: o.conv1d(x[..., :2], w, None, *sizes),
        lambda: o.conv1d(x, w, None, 2, -1, *sizes[2:]),
        lambda: o.conv1d(x, w, None, 2, 0, 0, 4, *sizes[4:]),
        lambda: o.conv1d_input_grad(y, w, 7, *sizes),
        lambda: o.conv1d_input_grad(y[:, :3], w, 5, *sizes),
        lambda: o.conv1d_input_grad(y, w, -5, *sizes),
        lambda: o.conv1d_weight_grad(x, y, 4, *sizes),
        lambda: o.conv1d_weight_grad(x[:, :3], y, 3, *sizes),
        lambda: o.conv1d_weight_grad(x.expand(2, 4, 5), y, 3, *sizes),
        lambda: o.conv1d_weight_grad(x, y, 0, *sizes),
    ):
        with pytest.raises(RuntimeError):
            call()


def test_operator_refuses_what_the_kernels_cannot_read() -> None:
    sizes = (1, 0, 0, 0, 1, 1, "zeros")
    operator = torch.ops.fracstride.conv_transpose1d
    with pytest.raises(RuntimeError, match="size 0"):
        operator(torch.empty(1, 0, 64), torch.empty(0, 2, 3), None, *sizes)
    for group_channels in (0, -1, 3):
        with pytest.raises(RuntimeError, match="group_channels"):
            operator(
                torch.empty(1, 4, 64),
                torch.empty(4, 2, 3),
                None,
                *sizes[:4],
                group_channels,
                *sizes[5:],
            )
    y = operator(torch.ones(1, 2, 4), torch.ones(2, 1, 1), None, *sizes[:4], 9, *sizes[5:])
    assert torch.equal(y, torch.full((1, 1, 4), 2.0))  # a part of a group of nine is one group


@pytest.mark.usefixtures("isa")
def test_float16_in_a_process_that_flushes_subnormals() -> None:
    # Below 2**-14 float16 has numbers that are normal ones in float32: nothing may lose them.
    values = np.arange(2**15, dtype=np.uint16).view(np.float16)  # all that are not negative
    x = np.stack([values, values[::-1]])[:, :-1]
    x[~np.isfinite(x)] = 0
    w = np.zeros((2, 2, 3), np.float16)
    w[0, 0, 1] = w[1, 1, 1] = 1
    strided = np.repeat(x, 2, axis=1)[:, ::2]
    try:
        if not torch.set_flush_denormal(True):
            pytest.skip("this machine does not flush")
        made = [fs.conv_transpose1d(signal, w, padding=1) for signal in (x, strided)]
        single = fs.conv_transpose1d(x[:1], w[:1, :1], padding=1)
        short = fs.conv_transpose1d(x[:1, :5], w[:1, :1], padding=1)
    finally:
        torch.set_flush_denormal(False)
    for got, wanted in ((made[0], x), (made[1], x), (single, x[:1]), (short, x[:1, :5])):
        np.testing.assert_array_equal(got.view(np.uint16), wanted.view(np.uint16))


@pytest.mark.parametrize("name", ["input", "weight", "bias"])
@pytest.mark.parametrize("derivatives", [False, True])
def test_memory_that_was_taken_away(name: str, derivatives: bool) -> None:
    x, w = torch.ones(1, 8, 40), torch.ones(8, 8, 300)
    tensors = {"input": x, "weight": w, "bias": torch.ones(8)}
    tensors[name].untyped_storage().resize_(0)
    b = tensors["bias"]
    w.requires_grad_(derivatives)
    for function in (ft.conv_transpose1d, lambda x, w, b: ft.conv1d(x, w, b, padding=200)):
        with pytest.raises(RuntimeError, match="no memory"):
            function(x, w, b)


@pytest.mark.parametrize("layer", [ft.Conv1d, ft.ConvTranspose1d])
@pytest.mark.parametrize("calls", [0, 1])
def test_memory_of_a_packed_weight_that_was_taken_away(layer: Any, calls: int) -> None:
    module = layer(64, 64, 7).eval().requires_grad_(False)
    x = torch.ones(1, 64, 20)
    for _ in range(calls):
        module(x)
    module.weight.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="no memory"):
        module(x)
