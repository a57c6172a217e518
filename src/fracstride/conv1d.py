"""The *Conv1d* on NumPy arrays: the layer whose adjoint the transposed convolution is.

As a function and as a layer with its weights. What :mod:`fracstride.functional` says of dtypes and
bits holds here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fracstride.arrays import Array, as_operands
from fracstride.checks import check_bias, check_call, check_groups, check_out, check_weight
from fracstride.conv1d_geometry import Conv1dGeometry, conv1d_geometry_of
from fracstride.convolution import Convolution, random_layer
from fracstride.packed import PackedLayer, forward, pack_bias, pack_weight

__all__ = ["Conv1d", "conv1d"]


def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    out: Array | None = None,
) -> Array:
    """Convolution: ``torch.nn.functional.conv1d`` with more kinds of padding.

    ``y[b, c, t] = bias[c] + sum of xe[b, i, t*stride + m*dilation - padding_left] * weight[c, i,
    m]`` over all ``i, m``. ``xe`` is the input, extended by the padding as ``padding_mode`` says:
    as ``numpy.pad`` extends it, however short it is. (Products with padding zeros are absent.) The
    gradient with respect to the input is :func:`fracstride.conv1d_adjoint`.

    Args:
        input: ``(B, C_in, L)`` or ``(C_in, L)``, any layout; ``L >= 1`` frames, ``B >= 0``.
        weight: ``(C_out, C_in/groups, k)``, of the input's dtype.
        bias: ``(C_out,)`` or None.
        stride: frames from one sample to the next.
        padding: frames added: an int, ``(left, right)``, ``"valid"`` (none), ``"same"`` (stride 1
            only; ``dilation*(k - 1)`` in all, the odd one on the right as in torch) or ``"causal"``
            (``dilation*(k - 1)`` on the left).
        dilation: frames from one tap to the next.
        groups: divides ``C_out``; ``C_in`` is ``groups`` times ``weight.shape[1]``.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        out: a writable array for the result, of its shape and dtype, with any strides. It may not
            overlap an operand.

    Returns:
        ``(B, C_out, L_out)``, or ``(C_out, L_out)`` for an input without batch, with ``L_out =
        floor((L + left + right - dilation*(k - 1) - 1)/stride) + 1``.

    Raises:
        ValueError: a size or shape that does not fit, with the argument's name. Nothing is written.
        TypeError: a dtype or type that does not.

    >>> conv1d([[1.0, 2.0, 3.0, 4.0]], [[[1.0, 1.0]]], stride=2)
    array([[3., 7.]])
    >>> conv1d([[1.0, 2.0, 3.0]], [[[1.0, 10.0]]], padding=(1, 0), padding_mode="circular")
    array([[13., 21., 32.]])
    """
    x, w, b = as_operands(None, input=input, weight=weight, bias=bias)
    check_weight(w, of_conv1d=True)
    geometry = conv1d_geometry_of(w.shape[2], stride, padding, dilation, padding_mode)
    groups = check_groups(groups, out_channels=w.shape[0])
    if b is not None:
        check_bias(b, w.shape[0])
    length = check_call(x, w.shape[1] * groups, geometry)
    if out is not None:
        shape = (*x.shape[:-2], w.shape[0], length)
        # The operands as the caller gave them, and as arrays.
        check_out(out, shape, x.dtype, (input, weight, bias, x, w, b))
    packed = pack_weight(w, geometry, groups, once=True)
    packed_bias = None if b is None else pack_bias(b, groups)
    return forward(x, packed, packed_bias, geometry, length, out)


class Conv1d(Convolution[Conv1dGeometry]):
    """A *Conv1d* with its weights, packed once for all calls.

    The arguments are those of ``torch.nn.Conv1d``, and more kinds of padding, each for every length
    of the input; sizes and padding are explained in :class:`fracstride.Conv1dGeometry` and
    :func:`fracstride.conv1d`.

    Args:
        in_channels: ``C_in``, a multiple of ``groups``.
        out_channels: ``C_out``, a multiple of ``groups``.
        kernel_size: taps ``k``, an int or a tuple of one, as the other sizes.
        stride: frames from one sample to the next.
        padding: frames added: an int, ``(left, right)``, ``"valid"``, ``"same"``, ``"causal"``.
        dilation: frames from one tap to the next.
        groups: blocks of channels that do not see each other.
        bias: whether there is one.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``: what the frames
            added hold.
        dtype: float32, float64, float16, bfloat16 (``ml_dtypes``), complex64 or complex128.
        rng: seed or ``numpy.random.Generator`` of the initial values: weight and bias from
            U(-sqrt(q), sqrt(q)) with ``q = groups/(C_in*k)``, as torch documents them. (Real and
            imaginary part of complex ones each from that divided by sqrt(2).)

    Raises:
        ValueError, TypeError: for an argument that does not fit, with its name.

    >>> layer = Conv1d(2, 3, kernel_size=4, stride=2, padding=1, rng=0)
    >>> layer
    Conv1d(2, 3, kernel_size=4, stride=2, padding=(1, 1))
    >>> layer(np.ones((1, 2, 10), np.float32)).shape
    (1, 3, 5)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        geometry = conv1d_geometry_of(kernel_size, stride, padding, dilation, padding_mode)
        packed = random_layer(geometry, in_channels, out_channels, groups, bias, dtype, rng)
        super().__init__(packed)

    @classmethod
    def from_weights(
        cls,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
    ) -> Conv1d:
        """A layer from a weight ``(C_out, C_in/groups, k)`` and a bias ``(C_out,)``, copied.

        >>> Conv1d.from_weights([[[-1.0, 1.0]]], padding="causal")([[1.0, 3.0, 6.0]])
        array([[1., 2., 3.]])
        """
        w, b = as_operands(None, weight=weight, bias=bias)
        check_weight(w, of_conv1d=True)
        geometry = conv1d_geometry_of(w.shape[2], stride, padding, dilation, padding_mode)
        count = check_groups(groups, out_channels=w.shape[0])
        if b is not None:
            check_bias(b, w.shape[0])
        layer = cls.__new__(cls)
        Convolution.__init__(layer, PackedLayer(geometry, count, w, b))
        return layer

    def __call__(
        self,
        input: ArrayLike,
        *,
        negative_slope: float | None = None,
        residual: ArrayLike | None = None,
        out: Array | None = None,
    ) -> Array:
        """The output ``(B, C_out, L_out)`` of an input ``(B, C_in, L)``, or both without ``B``.

        Args:
            input: of the layer's dtype.
            negative_slope: a leaky ReLU of the input comes first: values that are not above 0 are
                multiplied by this.
            residual: an array of the output's shape and dtype; the output is added to it.
            out: a writable array for the result, of its shape and dtype, with any strides. It may
                not overlap input or residual.

        ``negative_slope`` and ``residual`` save passes over memory in decoders, and give the bits
        of the separate operations: of
        ``residual + layer(np.where(input > 0, input, input * negative_slope))``.

        Raises:
            ValueError, TypeError: for an argument that does not fit, with its name.

        >>> layer = Conv1d.from_weights([[[1.0, 1.0]]], stride=2)
        >>> layer([[-1.0, 2.0, 3.0, 4.0]], negative_slope=0.1, residual=[[10.0, 20.0]])
        array([[11.9, 27. ]])
        """
        return self._packed.output(input, None, negative_slope, residual, out)
