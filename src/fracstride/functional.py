"""The transposed convolution and its two adjoints on NumPy arrays.

The map ``y = T(x, w)`` is bilinear. ``C(gy, w)`` and ``R(x, gy)`` are its adjoints in ``x`` and in
``w``: ``<T(x, w), gy> == <x, C(gy, w)> == <w, R(x, gy)>``, with no conjugates for complex numbers.

All three work on float32, float64, complex64, complex128, float16 and bfloat16 (``ml_dtypes``).
Half precision is added up in float32 and rounded once. (On a machine that multiplies bfloat16
itself, with AVX512-BF16 or Arm's BF16, numbers below 2**-126 count as zero.) The same operands give
the same bits for any number of threads, any position in the batch and any memory layout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fracstride._load import native
from fracstride.arguments import as_size
from fracstride.arrays import (
    Array,
    as_operands,
    complex_of,
    compute_dtype,
    join_channels,
    kernel_dtype,
    kernels_of,
    ready,
    round_to,
    split_channels,
)
from fracstride.checks import (
    check_bias,
    check_call,
    check_channels,
    check_groups,
    check_length,
    check_out,
    check_rank,
    check_same_batch,
    check_weight,
)
from fracstride.complex_numbers import join_weight_grad
from fracstride.conv1d_geometry import conv1d_padding
from fracstride.extension import MODES
from fracstride.folding import fold
from fracstride.geometry import geometry_of
from fracstride.lengths import conv1d_output_length
from fracstride.packed import forward, pack_bias, pack_weight

__all__ = [
    "conv1d_adjoint",
    "conv_transpose1d",
    "conv_transpose1d_input_grad",
    "conv_transpose1d_weight_grad",
]


def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    padding_mode: str = "zeros",
    output_size: int | Sequence[int] | None = None,
    out: Array | None = None,
) -> Array:
    """Transposed convolution: ``torch.nn.functional.conv_transpose1d`` with more kinds of padding.

    ``y[b, c, n] = bias[c] + sum of xe[b, i, t] * weight[i, c, m]`` over all ``i, t, m`` with
    ``t*stride + m*dilation == n + padding_left``. ``xe`` is the input, *extended* past its ends as
    ``padding_mode`` says. (The adjoint of a Conv1d that has a padding mode is something else, see
    :func:`conv1d_adjoint`; for ``zeros`` they agree.)

    Args:
        input: ``(B, C_in, L)`` or ``(C_in, L)``, any layout; ``L >= 1`` frames, ``B >= 0``.
        weight: ``(C_in, C_out/groups, k)``, of the input's dtype.
        bias: ``(C_out,)`` or None.
        stride: samples from one frame to the next.
        padding: samples cropped: an int, ``(left, right)``, ``"valid"`` (none), or ``"same"`` or
            ``"causal"`` for ``L_out = L*stride`` (``causal``: nothing is cropped on the left).
        output_padding: samples added on the right, less than ``max(stride, dilation)``.
        groups: divides ``C_in``; ``C_out`` is ``groups`` times ``weight.shape[1]``.
        dilation: samples from one tap to the next.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        output_size: the wanted ``L_out``, in place of ``output_padding``.
        out: a writable array for the result, of its shape and dtype, with any strides. It may not
            overlap an operand.

    Returns:
        ``(B, C_out, L_out)``, or ``(C_out, L_out)`` for an input without batch, with ``L_out =
        (L - 1)*stride - left - right + dilation*(k - 1) + output_padding + 1``.

    Raises:
        ValueError: a size or shape that does not fit, with the argument's name. Nothing is written.
        TypeError: a dtype or type that does not.

    >>> conv_transpose1d([[1.0, 2.0, 3.0]], [[[1.0, 1.0]]], stride=2)
    array([[1., 1., 2., 2., 3., 3.]])
    >>> conv_transpose1d([[1.0, 2.0, 3.0]], [[[1.0, 1.0]]], padding=(1, 0), padding_mode="circular")
    array([[3., 5., 4.]])
    """
    x, w, b = as_operands(None, input=input, weight=weight, bias=bias)
    check_weight(w)
    geometry = geometry_of(w.shape[2], stride, padding, output_padding, dilation, padding_mode)
    groups = check_groups(groups, in_channels=w.shape[0])
    if b is not None:
        check_bias(b, w.shape[1] * groups)
    length = check_call(x, w.shape[0], geometry, output_size)
    if out is not None:
        check_out(
            out,
            (*x.shape[:-2], w.shape[1] * groups, length),
            x.dtype,
            (input, weight, bias, x, w, b),  # as the caller gave them, and as arrays
        )
    packed = pack_weight(w, geometry, groups, once=True)
    packed_bias = None if b is None else pack_bias(b, groups)
    return forward(x, packed, packed_bias, geometry, length, out)


def conv_transpose1d_input_grad(
    grad_output: ArrayLike,
    weight: ArrayLike,
    input_length: int,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    padding_mode: str = "zeros",
) -> Array:
    """``C(gy, w)``: the adjoint of :func:`conv_transpose1d` in its input.

    Args:
        grad_output: ``(B, C_out, L_out)`` or ``(C_out, L_out)``.
        weight: ``(C_in, C_out/groups, k)``.
        input_length: ``L``, the frames of the input; its ``L_out`` must be ``grad_output``'s.
        stride, padding, output_padding, groups, dilation, padding_mode: of the forward map.

    Returns:
        ``(B, C_in, L)`` or ``(C_in, L)``. The gradient of a frame of the extension is added to that
        of the frame that it copies.

    Raises:
        ValueError, TypeError: as :func:`conv_transpose1d`.

    >>> conv_transpose1d_input_grad([[1.0, 10.0, 2.0, 20.0]], [[[1.0, 1.0]]], 2, stride=2)
    array([[11., 22.]])
    """
    gy, w = as_operands(None, grad_output=grad_output, weight=weight)
    check_weight(w)
    geometry = geometry_of(w.shape[2], stride, padding, output_padding, dilation, padding_mode)
    groups = check_groups(groups, in_channels=w.shape[0])
    check_rank("grad_output", gy)
    check_channels("grad_output", gy, w.shape[1] * groups)
    length = as_size("input_length", input_length, 1)
    check_length("grad_output", gy, geometry.output_length(length))

    packed = pack_weight(w, geometry, groups, for_input_grad=True, once=True)
    source = ready(split_channels(gy if gy.ndim == 3 else gy[None], groups, packed.real))
    channels = w.shape[0] * (2 if gy.dtype.kind == "c" else 1)
    gx = np.empty((source.shape[0], channels, length), packed.real)
    native.input_grad(
        packed.native,
        source.shape[0],
        *native.signal_of(source),
        *native.signal_of(gx),
        geometry.padding_left,
        MODES[geometry.padding_mode].number,
        geometry.edges(length, gy.shape[-1]),
    )
    result = join_channels(gx, groups, gy.dtype)
    return result if gy.ndim == 3 else result[0]


def conv_transpose1d_weight_grad(
    input: ArrayLike,
    grad_output: ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    padding_mode: str = "zeros",
) -> Array:
    """``R(x, gy)``: the adjoint of :func:`conv_transpose1d` in its weight.

    Args:
        input: ``(B, C_in, L)`` or ``(C_in, L)``.
        grad_output: ``(B, C_out, L_out)`` or ``(C_out, L_out)``, with a batch where input has one.
        kernel_size: ``k``.
        stride, padding, output_padding, groups, dilation, padding_mode: of the forward map.

    Returns:
        ``(C_in, C_out/groups, k)``, summed over batch and time in an order that depends on the
        shapes alone.

    Raises:
        ValueError, TypeError: as :func:`conv_transpose1d`.

    >>> conv_transpose1d_weight_grad([[1.0, 2.0]], [[1.0, 10.0, 3.0, 30.0]], 2, stride=2)
    array([[[ 7., 70.]]])
    """
    x, gy = as_operands(None, input=input, grad_output=grad_output)
    geometry = geometry_of(kernel_size, stride, padding, output_padding, dilation, padding_mode)
    check_rank("input", x)
    check_rank("grad_output", gy)
    check_same_batch(x, gy)
    groups = check_groups(groups, in_channels=x.shape[-2], out_channels=gy.shape[-2])
    length = x.shape[-1]
    check_length("grad_output", gy, geometry.output_length(length))

    real = kernel_dtype(x.dtype)
    x3, gy3 = (ready(split_channels(a if a.ndim == 3 else a[None], groups, real)) for a in (x, gy))
    gw = np.empty((x3.shape[1], gy3.shape[1] // groups, geometry.kernel_size), real)
    kernels_of(x.dtype).weight_grad(
        x3.shape[0],
        *native.signal_of(x3),
        *native.signal_of(gy3),
        native.signal_of(gw)[0],
        *gw.shape,
        groups,
        geometry.stride,
        geometry.dilation,
        geometry.padding_left,
        MODES[geometry.padding_mode].number,
    )
    if x.dtype.kind != "c":
        return gw
    with np.errstate(invalid="ignore", over="ignore"):
        joined: Array = join_weight_grad(gw, groups, complex_of)
    return joined


def conv1d_adjoint(
    grad_output: ArrayLike,
    weight: ArrayLike,
    output_length: int,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    padding_mode: str = "zeros",
) -> Array:
    """The gradient of :func:`fracstride.conv1d` with respect to its input.

    The gradient of a position of the padding is added to that of the position that it copies.
    (:func:`conv_transpose1d` with a padding mode is something else: it extends its own input. For
    ``zeros`` the two agree.)

    Args:
        grad_output: ``(B, C_in, L)`` or ``(C_in, L)``, the gradient of the Conv1d's output.
        weight: the Conv1d's ``(out, in/groups, k)``. This function calls that
            ``(C_in, C_out/groups, k)``.
        output_length: the length of the Conv1d's input, which is the result's.
        stride, groups, dilation: the Conv1d's.
        padding: the Conv1d's: an int, ``(left, right)``, ``"valid"``, ``"same"`` (stride 1 only) or
            ``"causal"`` (all on the left).
        padding_mode: the Conv1d's.

    Returns:
        ``(B, C_out, output_length)`` or ``(C_out, output_length)``.

    Raises:
        ValueError, TypeError: as :func:`conv_transpose1d`.

    >>> conv1d_adjoint([[1.0, 0.0, 0.0]], [[[1.0, 10.0]]], 3, padding=(1, 0))
    array([[10.,  0.,  0.]])
    >>> w = [[[1.0, 10.0]]]
    >>> conv1d_adjoint([[1.0, 0.0, 0.0]], w, 3, padding=(1, 0), padding_mode="circular")
    array([[10.,  0.,  1.]])
    """
    gy, w = as_operands(None, grad_output=grad_output, weight=weight)
    check_weight(w)
    bare = geometry_of(w.shape[2], stride, 0, 0, dilation, padding_mode)
    left, right = conv1d_padding(padding, bare.kernel_size, bare.stride, bare.dilation)
    length = as_size("output_length", output_length, 1)
    k, s, d = bare.kernel_size, bare.stride, bare.dilation
    check_rank("grad_output", gy)
    check_channels("grad_output", gy, w.shape[0])
    made = conv1d_output_length(length, k, s, (left, right), d, name="output_length")
    check_length("grad_output", gy, made)
    if padding_mode == "zeros":
        return conv_transpose1d(gy, w, None, s, (left, right), 0, groups, d, output_size=length)
    if gy.dtype.kind != "c":  # half precision is rounded once, after the folding
        w = w.astype(compute_dtype(w.dtype), copy=False)
    wide = gy.astype(w.dtype, copy=False)
    whole = left + length + right
    padded = conv_transpose1d(wide, w, None, s, groups=groups, dilation=d, output_size=whole)
    gx = padded[..., left : left + length].copy()
    fold(gx, padded[..., :left], -left, padding_mode)
    fold(gx, padded[..., left + length :], length, padding_mode)
    return round_to(gx, gy.dtype)
