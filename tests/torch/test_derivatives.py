"""Derivatives of every order, in every mode and by each of torch's interfaces."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.nn import functional as tf

import fracstride as fs
import fracstride.torch as ft
from fracstride.extension import PADDING_MODES

MODES = pytest.mark.parametrize("mode", PADDING_MODES)
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
KINDS = pytest.mark.parametrize("kind", ["conv_transpose1d", "conv1d"])


def operands(
    kind: str = "conv_transpose1d", dtype: torch.dtype = torch.float64, grad: bool = True
) -> list[torch.Tensor]:
    torch.manual_seed(0)
    shapes = ((2, 4, 3), (4, 3, 4)) if kind == "conv_transpose1d" else ((2, 4, 8), (6, 2, 4))
    return [torch.randn(shape, dtype=dtype, requires_grad=grad) for shape in (*shapes, (6,))]


def layer(mode: str, kind: str = "conv_transpose1d") -> Callable[..., torch.Tensor]:
    sizes: dict[str, Any] = {"stride": 2, "padding": (1, 3), "dilation": 2, "groups": 2}
    if kind == "conv_transpose1d":
        sizes["output_padding"] = 1
    return functools.partial(getattr(ft, kind), padding_mode=mode, **sizes)


@MODES
@DTYPES
@KINDS
def test_first_derivatives(kind: str, mode: str, dtype: torch.dtype) -> None:
    gradcheck(
        layer(mode, kind),
        operands(kind, dtype),
        check_forward_ad=True,
        check_backward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        fast_mode=dtype.is_complex,
    )


@MODES
@DTYPES
@KINDS
def test_second_derivatives(kind: str, mode: str, dtype: torch.dtype) -> None:
    gradgradcheck(
        layer(mode, kind),
        operands(kind, dtype),
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        check_batched_grad=True,
        fast_mode=True,
    )


@MODES
@KINDS
def test_without_batch_and_bias(kind: str, mode: str) -> None:
    x, w, _ = operands(kind)
    gradcheck(layer(mode, kind), (x[0].detach().requires_grad_(), w), check_forward_ad=True)


@KINDS
@pytest.mark.parametrize("which", range(3))
def test_of_one_operand_alone(kind: str, which: int) -> None:
    alone = [t.requires_grad_(i == which) for i, t in enumerate(operands(kind, grad=False))]
    gradcheck(layer("reflect", kind), alone, check_forward_ad=True)
    gradgradcheck(layer("reflect", kind), alone)


@KINDS
@pytest.mark.parametrize("which", range(3))
def test_forward_mode_of_one_operand_alone(kind: str, which: int) -> None:
    given = operands(kind, grad=False)
    tangent = torch.randn_like(given[which])

    def of_one(value: torch.Tensor) -> torch.Tensor:
        return layer("circular", kind)(*given[:which], value, *given[which + 1 :])

    got = torch.func.jvp(of_one, (given[which],), (tangent,))[1]
    zero = torch.zeros_like(given[which])
    torch.testing.assert_close(got, of_one(tangent + zero) - of_one(zero))
    with forward_ad.dual_level():
        dual = of_one(forward_ad.make_dual(given[which], tangent))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, got)


Call = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
#: Stride 2, padding 1, dilation 2, groups 2, and output padding 1.
SIZES = {"conv_transpose1d": (2, 1, 1, 2, 2), "conv1d": (2, 1, 2, 2)}


def own(kind: str) -> Call:
    return lambda x, w, b: getattr(ft, kind)(x, w, b, *SIZES[kind])


def torchs(kind: str) -> Call:
    return lambda x, w, b: getattr(tf, kind)(x, w, b, *SIZES[kind])


def operator(kind: str) -> Call:
    """What compiled graphs call."""
    sizes = (2, 1, 1, 1, 2, 2, "zeros") if kind == "conv_transpose1d" else (2, 1, 1, 3, 2, "zeros")
    return lambda x, w, b: getattr(torch.ops.fracstride, kind)(x, w, b, *sizes)


def transforms() -> dict[str, Callable[[Any], Callable[..., Any]]]:
    f = torch.func

    def loss(g: Any) -> Any:
        return lambda *a: g(*a).pow(3).sum()

    def per_sample(g: Any) -> Any:
        return lambda x, w, b: f.vmap(
            f.grad(lambda w, b, x: loss(g)(x[None], w, b), (0, 1)), (None, None, 0)
        )(w, b, x)

    def each(dims: Any) -> Any:
        def make(g: Any) -> Any:
            def call(*a: torch.Tensor) -> Any:
                many = [
                    t if d is None else torch.stack([t, 2 * t, -t], d)
                    for t, d in zip(a, dims, strict=True)
                ]
                return f.vmap(g, dims)(*many)

            return call

        return make

    def nested(g: Any) -> Any:
        return lambda x, w, b: f.vmap(f.vmap(g, (0, None, None)), (None, 0, None))(
            torch.stack([x, -x]), torch.stack([w, 2 * w, -w]), b
        )

    return {
        "vjp": lambda g: lambda *a: f.vjp(loss(g), *a)[1](torch.tensor(1.0).double()),
        "jvp": lambda g: lambda *a: f.jvp(loss(g), a, tuple(t.cos() for t in a)),
        "jacrev": lambda g: f.jacrev(g, (0, 1, 2)),
        "jacfwd": lambda g: f.jacfwd(g, (0, 1, 2)),
        "hessian": lambda g: f.hessian(loss(g), (0, 1, 2)),
        "jacfwd(jacrev)": lambda g: f.jacfwd(f.jacrev(loss(g), (0, 1)), (0, 1)),
        "jacrev(jacfwd)": lambda g: f.jacrev(f.jacfwd(loss(g), (0, 1)), (0, 1)),
        "per sample": per_sample,
        "vmap nested": nested,
        "vmap of grad of each": lambda g: each((0, 0, 0))(f.grad(loss(g), (0, 1, 2))),
        **{
            f"vmap {dims}": each(dims)
            for dims in [
                (0, None, None),
                (2, None, None),
                (None, 1, None),
                (None, None, 0),
                (0, 0, 0),
                (1, 3, 1),
                (0, None, 0),
                (None, 0, None),
            ]
        },
    }


@KINDS
@pytest.mark.parametrize("name", transforms())
@pytest.mark.parametrize("way", [own, operator])
def test_transforms(way: Any, name: str, kind: str) -> None:
    """Of the function, and of the operator that compiled graphs call."""
    given = operands(kind, grad=False)
    transform = transforms()[name]
    torch.testing.assert_close(transform(way(kind))(*given), transform(torchs(kind))(*given))


@KINDS
def test_operator_alone(kind: str) -> None:
    """Without ``torch.func``, and with tangents where no gradient is wanted."""
    call = operator(kind)
    gradcheck(call, operands(kind), check_forward_ad=True, check_batched_grad=True)
    gradgradcheck(call, operands(kind), check_fwd_over_rev=True, fast_mode=True)
    x, w, b = operands(kind, grad=False)
    with torch.no_grad(), forward_ad.dual_level():
        dual = call(forward_ad.make_dual(x, x.cos()), w, b)
        torch.testing.assert_close(
            forward_ad.unpack_dual(dual).tangent, own(kind)(x.cos(), w, torch.zeros_like(b))
        )


@KINDS
@pytest.mark.parametrize("adjoint", ["_input_grad", "_weight_grad"])
@MODES
def test_operators_of_the_derivatives_alone(mode: str, adjoint: str, kind: str) -> None:
    """In forward and reverse mode, each with both of its operands."""
    x, w, _ = operands(kind)
    y = layer(mode, kind)(x, w).detach().requires_grad_()
    sizes = (2, 1, 3, 1, 2, 2, mode) if kind == "conv_transpose1d" else (2, 1, 3, 3, 2, mode)
    call = getattr(torch.ops.fracstride, kind + adjoint)
    given = (y, w) if adjoint == "_input_grad" else (x, y)
    size = x.shape[2] if adjoint == "_input_grad" else w.shape[2]

    def of(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = call(a, b, size, *sizes)
        return result

    gradcheck(of, given, check_forward_ad=True, check_batched_grad=True, fast_mode=True)
    gradgradcheck(of, given, check_fwd_over_rev=True, fast_mode=True)


@MODES
@KINDS
def test_hessian_in_every_mode(kind: str, mode: str) -> None:
    given = operands(kind, grad=False)

    def loss(*a: torch.Tensor) -> torch.Tensor:
        return layer(mode, kind)(*a).pow(3).sum()

    reverse = torch.func.jacrev(torch.func.jacrev(loss, (0, 1, 2)), (0, 1, 2))(*given)
    torch.testing.assert_close(torch.func.hessian(loss, (0, 1, 2))(*given), reverse)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64], ids=str
)
@KINDS
def test_bits_of_gradients(kind: str, dtype: torch.dtype) -> None:
    """The same bits for any number of threads, any layout, and with or without create_graph."""
    torch.manual_seed(0)
    length = 40_000  # enough for torch's own sum of a bias to be cut up by threads
    x, w, b = torch.randn(2, 3, length), torch.randn(3, 1, 4), torch.randn(1)
    gy = torch.randn(2, 1, 2 * length)
    if kind == "conv1d":
        x, w, gy = torch.randn(2, 3, 2 * length), torch.randn(1, 3, 4), gy[..., :length]
    given = [t.to(dtype).requires_grad_() for t in (x, w, b)]
    gy = gy.to(dtype)
    strided = torch.stack([gy, gy * 3], -1)[..., 0]
    before = fs.get_num_threads(), torch.get_num_threads()
    wanted = None
    try:
        for threads in (1, 2, 3):
            fs.set_num_threads(threads)
            torch.set_num_threads(threads)
            for g in (gy, strided):
                for graph in (False, True):
                    y = getattr(ft, kind)(*given, 2, 1)
                    got = torch.autograd.grad(y, given, g, create_graph=graph)
                    wanted = wanted or got
                    for one, want in zip(got, wanted, strict=True):
                        assert torch.equal(one, want)
    finally:
        fs.set_num_threads(before[0])
        torch.set_num_threads(before[1])
    exact = gy.to(torch.complex128 if dtype.is_complex else torch.float64).sum((0, 2))
    assert wanted is not None
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(wanted[2].to(exact.dtype), exact, rtol=8 * eps, atol=2000 * eps)


@KINDS
def test_backward_saves_input_and_weight_only(kind: str) -> None:
    x, w, b = operands(kind)
    saved: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer("reflect", kind)(x, w, b)
    assert sorted(t.data_ptr() for t in saved) == sorted([x.data_ptr(), w.data_ptr()])
    y.sum().backward()


@pytest.mark.parametrize(
    "change",
    [lambda t: t[:1], lambda t: t[..., :1], lambda t: t.double(), lambda t: t.bfloat16()],
    ids=["fewer", "shorter", "double", "half"],
)
@pytest.mark.parametrize("which", [0, 1])
@KINDS
def test_hooks_that_give_back_other_tensors(
    kind: str, which: int, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    x, w, b = operands(kind, torch.float32)
    seen: list[int] = []

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(1)
        return change(tensor) if len(seen) == which + 1 else tensor

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
        y = layer("zeros", kind)(x, w, b)
    with pytest.raises(RuntimeError, match=r"^(groups|weight|input|grad_output)( length L)? must "):
        y.sum().backward()


@KINDS
def test_saved_tensors_are_guarded_against_edits(kind: str) -> None:
    x, w, b = operands(kind)
    y = layer("zeros", kind)(x, w, b)
    with torch.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@KINDS
def test_gradients_accumulate_and_skip_what_is_frozen(kind: str) -> None:
    x, w, b = operands(kind)
    w.requires_grad_(False)
    for _ in range(2):
        y = layer("zeros", kind)(x, w, b)
        y.sum().backward()
    assert w.grad is None
    assert b.grad is not None
    torch.testing.assert_close(b.grad, torch.full_like(b, 2.0 * 2 * y.shape[2]))


@KINDS
def test_deterministic_algorithms(kind: str) -> None:
    x, w, b = operands(kind)
    torch.use_deterministic_algorithms(True)
    try:
        for mode in PADDING_MODES:
            layer(mode, kind)(x, w, b).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
