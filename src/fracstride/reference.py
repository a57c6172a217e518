"""The definition in NumPy, slow and obvious: what every fast path is tested against.

With stride ``s``, dilation ``d`` and left padding ``p_l``,

    y[b, c, n] = bias[c] + sum of xe[b, i, t] * w[i, c, m]
                 over all i, t, m with t*s + m*d == n + p_l,

where ``xe`` is the input extended by the padding mode. :func:`_products` lists the ``t`` and ``n``
of each tap ``m``; the three maps below run over the same list and differ only in which of the
three factors ``x``, ``w`` and ``y`` of each entry they solve for. So the map is bilinear, and

    <T(x, w), gy> == <x, C(gy, w)> == <w, R(x, gy)>     with <u, v> = (u * v).sum(), no conjugates.

A frame that is an extension zero makes no entry: its product is absent, not zero.

A *Conv1d* reads frame ``n`` where the transposed convolution writes sample ``n``:

    y[b, c, t] = bias[c] + sum of xe[b, i, t*s + m*d - p_l] * w[c, i, m]   over all i, m.

Arrays are ``(batch, channels, length)`` and ``(C_in, C_out/groups, k)`` of any numeric dtype;
results are float64, or complex128 if an operand is complex. Sizes are trusted. Called with absolute
values, the functions give the sums ``|x| |w|`` that bound rounding errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fracstride.conv1d_geometry import Conv1dGeometry
from fracstride.extension import source_frame
from fracstride.geometry import Geometry
from fracstride.lengths import conv1d_output_length

__all__ = [
    "conv1d",
    "conv1d_adjoint",
    "conv_transpose1d",
    "conv_transpose1d_input_grad",
    "conv_transpose1d_weight_grad",
]

Array = NDArray[Any]
Indices = NDArray[np.int64]

_silent = np.errstate(over="ignore", invalid="ignore")  # Inf and NaN are numbers like any other


@_silent
def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    geometry: Geometry,
    groups: int = 1,
    output_length: int | None = None,
) -> Array:
    """``T(x, w) + bias``: input ``(B, C_in, L)`` to output ``(B, C_out, L_out)``.

    ``bias`` is ``(C_out,)`` or None. ``output_length``, if given, takes the place of ``L_out``:
    the definition holds for every sample ``n >= 0``.

    >>> conv_transpose1d([[[1, 2, 3]]], [[[1, 10]]], None, Geometry(2, stride=2))
    array([[[ 1., 10.,  2., 20.,  3., 30.]]])
    >>> conv_transpose1d([[[1, 2, 3]]], [[[1, 10]]], [0.5], Geometry(2, padding=(1, 0)))
    array([[[12.5, 23.5, 30.5]]])
    """
    x, w = _by_group(_array(input), groups), _weight_by_group(_array(weight), groups)
    if output_length is None:
        output_length = geometry.output_length(x.shape[-1])
    y = np.zeros((x.shape[0], groups, w.shape[2], output_length), np.result_type(x, w))
    for m, frames, samples in _products(geometry, x.shape[-1], output_length):
        y[..., samples] += np.einsum("bgit,gic->bgct", x[..., frames], w[..., m])
    return _joined(y) if bias is None else _joined(y) + _array(bias)[:, None]


@_silent
def conv_transpose1d_input_grad(
    grad_output: ArrayLike,
    weight: ArrayLike,
    input_length: int,
    geometry: Geometry,
    groups: int = 1,
) -> Array:
    """``C(gy, w)``: grad_output ``(B, C_out, L_out)`` to the input's gradient ``(B, C_in, L)``.

    The gradient of a frame of the extension is added to that of the frame that it copies.

    >>> conv_transpose1d_input_grad([[[1, 0, 2, 0]]], [[[1, 10]]], 2, Geometry(2, stride=2))
    array([[[1., 2.]]])
    """
    gy, w = _by_group(_array(grad_output), groups), _weight_by_group(_array(weight), groups)
    gx = np.zeros((gy.shape[0], groups, w.shape[1], input_length), np.result_type(gy, w))
    for m, frames, samples in _products(geometry, input_length, gy.shape[-1]):
        _add_at(gx, frames, np.einsum("bgct,gic->bgit", gy[..., samples], w[..., m]))
    return _joined(gx)


@_silent
def conv_transpose1d_weight_grad(
    input: ArrayLike, grad_output: ArrayLike, geometry: Geometry, groups: int = 1
) -> Array:
    """``R(x, gy)``: input and grad_output to the weight's gradient ``(C_in, C_out/groups, k)``.

    >>> conv_transpose1d_weight_grad([[[1, 2]]], [[[1, 0, 0, 5]]], Geometry(2, stride=2))
    array([[[ 1., 10.]]])
    """
    x, gy = _by_group(_array(input), groups), _by_group(_array(grad_output), groups)
    C_in, C_out, k = x.shape[2], gy.shape[2], geometry.kernel_size
    gw = np.zeros((groups, C_in, C_out, k), np.result_type(x, gy))
    for m, frames, samples in _products(geometry, x.shape[-1], gy.shape[-1]):
        gw[..., m] = np.einsum("bgit,bgct->gic", x[..., frames], gy[..., samples])
    return gw.reshape(groups * C_in, C_out, k)


@_silent
def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    geometry: Conv1dGeometry,
    groups: int = 1,
) -> Array:
    """A *Conv1d*: input ``(B, C_in, L)`` to output ``(B, C_out, L_out)``.

    ``y[b, c, t] = bias[c] + sum of xe[b, i, t*s + m*d - p_l] * w[c, i, m]`` over all ``i``, ``m``.
    ``weight`` is ``(C_out, C_in/groups, k)``, ``bias`` ``(C_out,)`` or None.

    >>> conv1d([[[1, 2, 3]]], [[[1, 10]]], None, Conv1dGeometry(2))
    array([[[21., 32.]]])
    >>> conv1d([[[1, 2, 3]]], [[[1, 10]]], [0.5], Conv1dGeometry(2, stride=2, padding=(1, 0)))
    array([[[10.5, 32.5]]])
    """
    x, w = _by_group(_array(input), groups), _weight_by_group(_array(weight), groups)
    L, length = x.shape[-1], geometry.output_length(x.shape[-1])
    y = np.zeros((x.shape[0], groups, w.shape[1], length), np.result_type(x, w))
    for m in range(geometry.kernel_size):
        positions = np.arange(length) * geometry.stride + m * geometry.dilation
        frames = _sources(positions - geometry.padding_left, L, geometry.padding_mode)
        there = frames >= 0
        y[..., there] += np.einsum("bgit,gci->bgct", x[..., frames[there]], w[..., m])
    return _joined(y) if bias is None else _joined(y) + _array(bias)[:, None]


@_silent
def conv1d_adjoint(
    grad_output: ArrayLike,
    weight: ArrayLike,
    output_length: int,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    dilation: int = 1,
    padding_mode: str = "zeros",
) -> Array:
    """The gradient of a *Conv1d* with respect to its input, of length ``output_length``.

    The Conv1d pads its input by ``padding`` frames as ``padding_mode`` says; its sample ``t`` reads
    the padded input at ``t*stride + m*dilation`` with tap ``m``. The gradient of a position in the
    padding is added to that of the position that it copies. ``grad_output`` is ``(B, C_in, L)``,
    ``weight`` ``(C_in, C_out/groups, k)``, the result ``(B, C_out, output_length)``: channels have
    the names that the transposed convolution gives them.

    >>> conv1d_adjoint([[[1, 0, 5]]], [[[7, 10, 8]]], 3, padding=(1, 1), padding_mode="circular")
    array([[[50., 43., 57.]]])
    """
    gy, w = _by_group(_array(grad_output), groups), _weight_by_group(_array(weight), groups)
    L, k = gy.shape[-1], w.shape[-1]
    if conv1d_output_length(output_length, k, stride, padding, dilation) != L:
        raise ValueError(f"a Conv1d does not make {L} samples of output_length {output_length}")
    gx = np.zeros((gy.shape[0], groups, w.shape[2], output_length), np.result_type(gy, w))
    for m in range(k):
        positions = np.arange(L) * stride + m * dilation - padding[0]
        sources = _sources(positions, output_length, padding_mode)
        there = sources >= 0
        _add_at(gx, sources[there], np.einsum("bgit,gic->bgct", gy[..., there], w[..., m]))
    return _joined(gx)


def _products(
    geometry: Geometry, input_length: int, output_length: int
) -> Iterator[tuple[int, Indices, Indices]]:
    """For each tap m, the frames and the samples with t*s + m*d == n + p_l, side by side.

    Every such t and n is listed, t over all integers and n over [0, output_length), but for
    extension zeros; extended frames are given as the frames in [0, input_length) that they copy.
    No sample occurs twice for one tap; a frame may.
    """
    s = geometry.stride
    for m in range(geometry.kernel_size):
        shift = m * geometry.dilation - geometry.padding_left
        t = np.arange(-(shift // s), -((shift - output_length) // s))  # 0 <= t*s + shift < L_out
        frames = _sources(t, input_length, geometry.padding_mode)
        there = frames >= 0
        yield m, frames[there], (t * s + shift)[there]


def _sources(positions: Indices, length: int, padding_mode: str) -> Indices:
    """:func:`source_frame` of each position, -1 for zeros."""
    sources: Indices = positions.copy()
    for i in np.flatnonzero((positions < 0) | (positions >= length)):
        source = source_frame(int(positions[i]), length, padding_mode)
        sources[i] = -1 if source is None else source
    return sources


def _add_at(target: Array, positions: Indices, values: Array) -> None:
    """``target[..., positions] += values``, with positions that occur twice added twice."""
    index: Any = (..., positions)
    np.add.at(target, index, values)


def _array(operand: ArrayLike) -> Array:
    array = np.asarray(operand)
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def _by_group(x: Array, groups: int) -> Array:
    """(B, C, length) as (B, groups, C/groups, length)."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, x.shape[2])


def _weight_by_group(w: Array, groups: int) -> Array:
    """(C_in, C_out/groups, k) as (groups, C_in/groups, C_out/groups, k)."""
    return w.reshape(groups, w.shape[0] // groups, *w.shape[1:])


def _joined(x: Array) -> Array:
    """(B, groups, C/groups, length) as (B, C, length)."""
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
