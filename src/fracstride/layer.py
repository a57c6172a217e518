"""ConvTranspose1d: a transposed convolution with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fracstride.arrays import Array, as_operands
from fracstride.checks import check_bias, check_groups, check_weight
from fracstride.conv1d_geometry import geometry_of_conv1d
from fracstride.convolution import Convolution, random_layer
from fracstride.geometry import Geometry, geometry_of
from fracstride.packed import PackedLayer

__all__ = ["ConvTranspose1d"]


class ConvTranspose1d(Convolution[Geometry]):
    """A transposed convolution with its weights, packed once for all calls.

    The arguments are those of ``torch.nn.ConvTranspose1d``, and more kinds of padding; sizes and
    padding are explained in :class:`fracstride.Geometry` and :func:`fracstride.conv_transpose1d`.

    Args:
        in_channels: ``C_in``, a multiple of ``groups``.
        out_channels: ``C_out``, a multiple of ``groups``.
        kernel_size: taps ``k``, an int or a tuple of one, as the other sizes.
        stride: samples from one frame to the next.
        padding: samples cropped: an int, ``(left, right)``, ``"valid"``, ``"same"``, ``"causal"``.
        output_padding: samples added on the right.
        groups: blocks of channels that do not see each other.
        bias: whether there is one.
        dilation: samples from one tap to the next.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``: what the input
            is extended by past its ends.
        dtype: float32, float64, float16, bfloat16 (``ml_dtypes``), complex64 or complex128.
        rng: seed or ``numpy.random.Generator`` of the initial values: weight and bias from
            U(-sqrt(q), sqrt(q)) with ``q = groups/(C_out*k)``, as torch documents them. (Real and
            imaginary part of complex ones each from that divided by sqrt(2).)

    Raises:
        ValueError, TypeError: for an argument that does not fit, with its name.

    >>> layer = ConvTranspose1d(2, 3, kernel_size=4, stride=2, padding=1, rng=0)
    >>> layer
    ConvTranspose1d(2, 3, kernel_size=4, stride=2, padding=(1, 1))
    >>> layer(np.ones((1, 2, 5), np.float32)).shape
    (1, 3, 10)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        *,
        dtype: DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        geometry = geometry_of(kernel_size, stride, padding, output_padding, dilation, padding_mode)
        packed = random_layer(geometry, in_channels, out_channels, groups, bias, dtype, rng)
        super().__init__(packed)

    @classmethod
    def from_weights(
        cls,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
    ) -> ConvTranspose1d:
        """A layer from a weight ``(C_in, C_out/groups, k)`` and a bias ``(C_out,)``, copied.

        >>> ConvTranspose1d.from_weights(np.ones((1, 1, 2)), stride=2)(np.array([[1.0, 2.0]]))
        array([[1., 1., 2., 2.]])
        """
        w, b = as_operands(None, weight=weight, bias=bias)
        check_weight(w)
        geometry = geometry_of(w.shape[2], stride, padding, output_padding, dilation, padding_mode)
        return cls._from(geometry, groups, w, b)

    @classmethod
    def from_conv1d(
        cls,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        padding: int | Sequence[int] | str = 0,
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
    ) -> ConvTranspose1d:
        """The layer that a stride-1 *Conv1d* is: taps flipped, channels swapped.

        Args:
            weight: the Conv1d's, ``(C_out, C_in/groups, k)``.
            bias: ``(C_out,)`` or None.
            padding: the Conv1d's: an int, ``(left, right)``, ``"valid"``, ``"same"`` (an odd total
                has one more on the right, as in torch) or ``"causal"`` (all on the left); at most
                ``dilation*(k - 1)`` on a side.
            groups: divides ``C_in`` and ``C_out``.
            dilation: frames from one tap to the next.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

        >>> edges = ConvTranspose1d.from_conv1d(np.array([[[-1.0, 1.0]]]), padding="causal")
        >>> edges(np.array([[1.0, 3.0, 6.0]]))
        array([[1., 2., 3.]])
        """
        w, b = as_operands(None, weight=weight, bias=bias)
        check_weight(w, of_conv1d=True)
        out_channels, in_per_group, taps = w.shape
        geometry = geometry_of_conv1d(taps, padding, dilation, padding_mode)
        groups = check_groups(groups, out_channels=out_channels)
        by_group = w.reshape(groups, out_channels // groups, in_per_group, taps)
        swapped = by_group.transpose(0, 2, 1, 3)[..., ::-1]
        w = swapped.reshape(groups * in_per_group, out_channels // groups, taps)
        return cls._from(geometry, groups, w, b)

    @classmethod
    def _from(
        cls, geometry: Geometry, groups: object, weight: Array, bias: Array | None
    ) -> ConvTranspose1d:
        count = check_groups(groups, in_channels=weight.shape[0])
        if bias is not None:
            check_bias(bias, weight.shape[1] * count)
        layer = cls.__new__(cls)
        Convolution.__init__(layer, PackedLayer(geometry, count, weight, bias))
        return layer

    def __call__(
        self,
        input: ArrayLike,
        output_size: int | Sequence[int] | None = None,
        *,
        negative_slope: float | None = None,
        residual: ArrayLike | None = None,
        out: Array | None = None,
    ) -> Array:
        """The output ``(B, C_out, L_out)`` of an input ``(B, C_in, L)``, or both without ``B``.

        Args:
            input: of the layer's dtype.
            output_size: the wanted ``L_out``, in place of the layer's output padding.
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

        >>> layer = ConvTranspose1d.from_weights([[[1.0, 1.0]]], stride=2)
        >>> layer([[-1.0, 2.0]], negative_slope=0.1, residual=[[10.0, 20.0, 30.0, 40.0]])
        array([[ 9.9, 19.9, 32. , 42. ]])
        """
        return self._packed.output(input, output_size, negative_slope, residual, out)
