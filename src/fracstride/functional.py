"""The transposed convolution and its two adjoints on NumPy arrays.

The map ``y = T(x, w)`` is bilinear. ``C(gy, w)`` and ``R(x, gy)`` are its adjoints in ``x`` and in
``w``: ``<T(x, w), gy> == <x, C(gy, w)> == <w, R(x, gy)>``, with no conjugates for complex numbers.

All three work on float32, float64, complex64 and complex128, and on float16 and bfloat16
(``ml_dtypes``), which are added up in float32 and rounded once. (Where the machine multiplies
bfloat16 itself, with AVX512-BF16, numbers below 2**-126 count as zero.) The same operands give the
same bits for any number of threads, any position in the batch and any memory layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fracstride._load import native
from fracstride.arrays import (
    Array,
    DType,
    aligned,
    as_operands,
    compute_dtype,
    join_channels,
    kernel_dtype,
    raw,
    ready,
    round_to,
    split_channels,
    split_weight,
)
from fracstride.geometry import (
    PADDING_MODES,
    Geometry,
    as_size,
    conv1d_output_length,
    conv1d_padding,
    geometry_of,
    source_frame,
)

__all__ = [
    "conv1d_adjoint",
    "conv_transpose1d",
    "conv_transpose1d_input_grad",
    "conv_transpose1d_weight_grad",
]

_EXTENSION = {mode: number for number, mode in enumerate(PADDING_MODES)}
_OVERLAP_WORK = 100_000  # steps of NumPy's exact overlap test before an overlap is assumed


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """A weight in the order in which the kernels read it; depends on stride and dilation too."""

    native: Any
    source: Array | None  # what a weight that is packed for one call is read from
    dtype: DType
    real: DType  # what the kernels read and write
    in_channels: int
    out_channels: int
    groups: int


def pack_weight(
    weight: Array,
    geometry: Geometry,
    groups: int,
    *,
    for_input_grad: bool = False,
    once: bool = False,
) -> PackedWeight:
    """Pack a checked weight ``(C_in, C_out/g, k)``.

    ``once``: for one call, which may read the weight itself if that costs less.
    """
    real = kernel_dtype(weight.dtype)
    split = split_weight(weight, groups, real)
    pack = getattr(native, f"pack_{real.name}")
    packed = pack(raw(split), groups, geometry.stride, geometry.dilation, for_input_grad, once)
    channels, out_per_group, _ = weight.shape
    source = split if once else None
    return PackedWeight(
        packed, source, weight.dtype, real, channels, out_per_group * groups, groups
    )


def pack_bias(bias: Array, groups: int) -> Array:
    """A checked bias ``(C_out,)`` as the kernels read it."""
    real = kernel_dtype(bias.dtype)
    return raw(aligned(split_channels(bias[None, :, None], groups, real).reshape(-1), real))


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
    """Transposed convolution, as ``torch.nn.functional.conv_transpose1d`` with what it lacks.

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
    length = _check_call(x, w.shape[0], geometry, output_size)
    if out is not None:
        check_out(
            out,
            (*x.shape[:-2], w.shape[1] * groups, length),
            x.dtype,
            (input, weight, bias, x, w, b),  # as given, and what it was that was given
        )
    packed = pack_weight(w, geometry, groups, once=True)
    packed_bias = None if b is None else pack_bias(b, groups)
    return _forward(x, packed, packed_bias, geometry, length, out, None, 1.0)


def apply_packed(
    packed: PackedWeight,
    input: ArrayLike,
    bias: Array | None,
    geometry: Geometry,
    output_size: int | Sequence[int] | None,
    negative_slope: float | None = None,
    residual: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """:func:`conv_transpose1d` for a weight and a bias that are packed.

    ``residual + conv_transpose1d(leaky_relu(input))``, as far as these are given.
    """
    if type(input) is np.ndarray and input.dtype == packed.dtype:
        x = input
    else:
        (x,) = as_operands(packed.dtype, input=input)
    length = _check_call(x, packed.in_channels, geometry, output_size)
    if negative_slope is None and residual is None and out is None:
        return _forward(x, packed, bias, geometry, length, None, None, 1.0)
    slope = 1.0 if negative_slope is None else check_slope(negative_slope, packed.dtype)
    more, shape = None, (*x.shape[:-2], packed.out_channels, length)
    if residual is not None:
        (more,) = as_operands(packed.dtype, residual=residual)
        if more.shape != shape:
            raise ValueError(f"residual must have the output's shape {shape}, got {more.shape}")
    if out is not None:
        check_out(out, shape, packed.dtype, (input, residual, x, more))
    if packed.dtype == packed.real:
        return _forward(x, packed, bias, geometry, length, out, more, slope)
    # Complex numbers: their parts are put together again in between.
    with np.errstate(invalid="ignore", over="ignore"):
        y = _forward(x, packed, bias, geometry, length, None, None, 1.0)
        y = y if more is None else np.asarray(more + y)
    if out is None:
        return y
    out[...] = y
    return out


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
        ``(B, C_in, L)`` or ``(C_in, L)``. What falls on an extended frame is added to the frame
        that it copies.

    Raises:
        ValueError, TypeError: as :func:`conv_transpose1d`.

    >>> conv_transpose1d_input_grad([[1.0, 10.0, 2.0, 20.0]], [[[1.0, 1.0]]], 2, stride=2)
    array([[11., 22.]])
    """
    gy, w = as_operands(None, grad_output=grad_output, weight=weight)
    check_weight(w)
    geometry = geometry_of(w.shape[2], stride, padding, output_padding, dilation, padding_mode)
    groups = check_groups(groups, in_channels=w.shape[0])
    _check_rank("grad_output", gy)
    _check_channels("grad_output", gy, w.shape[1] * groups)
    length = as_size("input_length", input_length, 1)
    _check_length("grad_output", gy, geometry.output_length(length))

    # Where edges are folded, they are calls of their own, added up before anything is rounded.
    folded = geometry.padding_mode != "zeros"
    real = compute_dtype(gy.dtype) if folded else kernel_dtype(gy.dtype)
    # C is bilinear, and so conjugates nothing; the transpose of the real matrix would.
    w = w.conj() if w.dtype.kind == "c" else w.astype(real, copy=False)
    packed = pack_weight(w, geometry, groups, for_input_grad=True, once=not folded)
    source = ready(split_channels(_batched(gy), groups, real))
    channels = w.shape[0] * (2 if gy.dtype.kind == "c" else 1)

    def frames(first: int, count: int) -> Array:
        part = np.empty((source.shape[0], channels, count), real)
        native.input_grad(packed.native, raw(source), raw(part), geometry.padding_left, first)
        return part

    gx = frames(0, length)
    if folded:
        for start, stop in geometry.frames_reached(length, gy.shape[-1]):
            if start < 0:
                left = min(stop, 0)
                fold(gx, frames(start, left - start), start, geometry.padding_mode)
            if stop > length:
                right = max(start, length)
                fold(gx, frames(right, stop - right), right, geometry.padding_mode)
    return _like(gy, join_channels(gx, groups, gy.dtype))


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
    _check_rank("input", x)
    _check_rank("grad_output", gy)
    if x.shape[:-2] != gy.shape[:-2]:
        raise ValueError(
            f"grad_output must have the batch of input, shape {x.shape}, got shape {gy.shape}"
        )
    groups = check_groups(groups, in_channels=x.shape[-2], out_channels=gy.shape[-2])
    length = x.shape[-1]
    _check_length("grad_output", gy, geometry.output_length(length))

    real, is_complex = kernel_dtype(x.dtype), x.dtype.kind == "c"
    x3, gy3 = (ready(split_channels(_batched(a), groups, real)) for a in (x, gy))
    shape = (x3.shape[1], gy3.shape[1] // groups, geometry.kernel_size)
    gw = np.empty(shape, real)
    getattr(native, f"weight_grad_{real.name}")(
        raw(x3),
        raw(gy3),
        raw(gw),
        groups,
        geometry.stride,
        geometry.dilation,
        geometry.padding_left,
        _EXTENSION[geometry.padding_mode],
    )
    if not is_complex:
        return gw
    parts = gw.reshape(groups, 2, shape[0] // groups // 2, 2, shape[1] // 2, shape[2])
    result = np.empty((groups, *parts.shape[2:3], *parts.shape[4:]), x.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        result.real = parts[:, 0, :, 0] - parts[:, 1, :, 1]
        result.imag = parts[:, 0, :, 1] + parts[:, 1, :, 0]
    joined: Array = result.reshape(x.shape[-2], *result.shape[2:])
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
    """The gradient of a *Conv1d* with this ``padding_mode`` with respect to its input.

    What falls on the Conv1d's padding is folded back to the positions that it copies. (The layer
    of this library, :func:`conv_transpose1d`, extends its own input instead; for ``zeros`` the two
    agree.)

    Args:
        grad_output: ``(B, C_in, L)`` or ``(C_in, L)``, the gradient of the Conv1d's output.
        weight: the Conv1d's own ``(out, in/groups, k)``, which is ``(C_in, C_out/groups, k)``
            seen from here.
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
    _check_rank("grad_output", gy)
    _check_channels("grad_output", gy, w.shape[0])
    made = conv1d_output_length(length, k, s, (left, right), d, name="output_length")
    _check_length("grad_output", gy, made)
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


def check_weight(weight: Array) -> None:
    """Raise ValueError unless the weight has the shape of one."""
    if weight.ndim != 3 or 0 in weight.shape:
        raise ValueError(
            "weight must have the shape (C_in, C_out/groups, k) with no size 0, "
            f"got shape {weight.shape}"
        )


def check_bias(bias: Array, out_channels: int) -> None:
    """Raise ValueError unless the bias has one value per output channel."""
    if bias.shape != (out_channels,):
        raise ValueError(f"bias must have the shape ({out_channels},), got shape {bias.shape}")


def check_groups(groups: object, **channels: int) -> int:
    """``groups`` as an int that divides each of the named numbers of channels, else ValueError."""
    count = as_size("groups", groups, 1)
    for name, number in channels.items():
        if number < 1 or number % count:
            raise ValueError(f"groups must divide {name} = {number}, got {count}")
    return count


def _check_call(
    x: Array, in_channels: int, geometry: Geometry, output_size: int | Sequence[int] | None
) -> int:
    """``L_out``, once the input is known to fit."""
    _check_rank("input", x)
    _check_channels("input", x, in_channels)
    return geometry.output_length(x.shape[-1], output_size)


def _check_rank(name: str, array: Array) -> None:
    if array.ndim not in (2, 3):
        raise ValueError(
            f"{name} must have the shape (batch, channels, length) or (channels, length), "
            f"got shape {array.shape}"
        )


def _check_channels(name: str, array: Array, channels: int) -> None:
    if array.shape[-2] != channels:
        raise ValueError(
            f"{name} must have {channels} channels as the weight has, got shape {array.shape}"
        )


def _check_length(name: str, array: Array, length: int) -> None:
    if array.shape[-1] != length:
        raise ValueError(f"{name} must have length {length}, got shape {array.shape}")


def check_slope(slope: object, dtype: DType) -> float:
    """The slope as it is in the dtype, else ``TypeError`` or ``ValueError``."""
    if dtype.kind == "c":
        raise TypeError(f"negative_slope must be None for a layer of {dtype}, got {slope!r}")
    if isinstance(slope, (bool, np.bool_)) or not isinstance(slope, Real):
        raise TypeError(f"negative_slope must be a number or None, got {slope!r}")
    try:
        with np.errstate(over="ignore"):
            value = float(dtype.type(float(slope)))
    except OverflowError:
        value = np.inf
    if not np.isfinite(value):
        raise ValueError(f"negative_slope must be finite as {dtype}, got {slope!r}")
    return value


def check_out(
    out: object, shape: tuple[int, ...], dtype: DType, operands: tuple[ArrayLike | None, ...]
) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless a result can go there."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out must have the shape {shape}, got {out.shape}")
    if out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"out must have the dtype {dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    for operand in operands:
        if isinstance(operand, np.ndarray) and _overlap(out, operand):
            raise ValueError("out must not overlap an operand in memory")


def _overlap(a: Array, b: Array) -> bool:
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, _OVERLAP_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _batched(array: Array) -> Array:
    return array if array.ndim == 3 else array[None]


def _like(operand: Array, result: Array) -> Array:
    """The result with a batch only where the operand has one."""
    return result if operand.ndim == 3 else result[0]


def _forward(
    x: Array,
    packed: PackedWeight,
    bias: Array | None,
    geometry: Geometry,
    length: int,
    out: Array | None,
    residual: Array | None,
    negative_slope: float,
) -> Array:
    """Everything is checked; the bias is packed."""
    y = forward_part(
        ready(split_channels(_batched(x), packed.groups, packed.real)),
        packed,
        bias,
        geometry.padding_left,
        geometry.padding_mode,
        length,
        None if out is None else _batched(out),
        None if residual is None else _batched(residual),
        negative_slope,
    )
    return _like(x, y) if out is None else out


def forward_part(
    source: Array,
    packed: PackedWeight,
    bias: Array | None,
    padding_left: int,
    padding_mode: str,
    length: int,
    out: Array | None,
    residual: Array | None,
    negative_slope: float,
    carried: Array | None = None,
    residual_carried: Array | None = None,
) -> Array:
    """Samples ``[0, length)``, with a batch, of what the kernels can read as it is.

    ``source`` is :func:`ready`, in real parts, and so is ``carried``, frames that come before it;
    ``out`` may have any strides. ``residual_carried`` comes before the ``residual`` (stride 1).
    """
    as_stored = packed.dtype == packed.real
    if out is not None and as_stored and _kernel_can_write(out):
        target = out
    else:
        channels = packed.out_channels * (2 if packed.dtype.kind == "c" else 1)
        target = np.empty((source.shape[0], channels, length), packed.real)
    native.forward(
        packed.native,
        raw(source),
        bias,
        raw(target),
        padding_left,
        _EXTENSION[padding_mode],
        None if residual is None else raw(ready(residual)),
        negative_slope,
        None if carried is None else raw(carried),
        None if residual_carried is None else raw(residual_carried),
    )
    if target is out:
        return out
    result = target if as_stored else join_channels(target, packed.groups, packed.dtype)
    if out is None:
        return result
    out[...] = result
    return out


def _kernel_can_write(out: Array) -> bool:
    if not (out.dtype.isnative and out.flags.aligned):
        return False
    if out.flags.c_contiguous:
        return True
    # Elements that lie on one another (a zero stride, a sliding window) are written by NumPy.
    if any(stride % out.itemsize for stride in out.strides):
        return False
    extents = sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True) if n > 1)
    reach = out.itemsize
    for stride, count in extents:
        if stride < reach:
            return False
        reach = stride * (count - 1) + reach
    return True


def fold(
    target: Any,
    extended: Any,
    first_frame: int,
    padding_mode: str,
    flip: Callable[[Any, int], Any] = np.flip,
) -> None:
    """Add frames ``first_frame ...`` of an extended signal to the frames that they copy.

    In rising order for each frame of the target, whatever is added together. Of arrays, or of
    tensors with a ``flip`` of theirs.
    """
    length, count = target.shape[-1], extended.shape[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        done = 0
        while done < count:
            # Neighbours are copies of neighbours, rising or falling, up to where the mode turns.
            start = source_frame(first_frame + done, length, padding_mode)
            if start is None:
                raise ValueError("zeros have nothing to fold")
            after = source_frame(first_frame + done + 1, length, padding_mode)
            if after == start + 1:
                run = extended[..., done : done + length - start]
                target[..., start : start + run.shape[-1]] += run
            elif after == start - 1:
                run = extended[..., done : done + start + 1]
                target[..., start - run.shape[-1] + 1 : start + 1] += flip(run, -1)
            else:
                run = extended[..., done : done + 1]
                target[..., start] += run[..., 0]
            done += run.shape[-1]
