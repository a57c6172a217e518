"""ConvTranspose1d: a transposed convolution with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fracstride.arguments import as_size
from fracstride.arrays import Array, DType, as_dtype, as_operands, round_to
from fracstride.checks import check_bias, check_groups, check_weight
from fracstride.conv1d_geometry import geometry_of_conv1d
from fracstride.geometry import Geometry, geometry_of
from fracstride.packed import PackedLayer
from fracstride.streaming.layer import LayerStream

__all__ = ["ConvTranspose1d"]


class ConvTranspose1d:
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
        in_channels = as_size("in_channels", in_channels, 1)
        out_channels = as_size("out_channels", out_channels, 1)
        groups = check_groups(groups, in_channels=in_channels, out_channels=out_channels)
        if not isinstance(bias, (bool, np.bool_)):
            raise TypeError(f"bias must be True or False, got {bias!r}")
        found = as_dtype(dtype)
        shape = (in_channels, out_channels // groups, geometry.kernel_size)
        bound = (groups / (out_channels * geometry.kernel_size)) ** 0.5
        try:
            generator = np.random.default_rng(rng)
        except (TypeError, ValueError):
            raise TypeError(
                f"rng must be a seed (an int >= 0), a numpy.random.Generator or None, got {rng!r}"
            ) from None
        weight = _uniform(generator, bound, shape, found)
        values = _uniform(generator, bound, (out_channels,), found) if bias else None
        self._packed = PackedLayer(geometry, groups, weight, values)

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
        if w.ndim != 3 or 0 in w.shape:
            raise ValueError(
                "weight of a Conv1d must have the shape (C_out, C_in/groups, k) with no size 0, "
                f"got shape {w.shape}"
            )
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
        layer._packed = PackedLayer(geometry, count, weight, bias)
        return layer

    @property
    def packed(self) -> PackedLayer:
        """Sizes, weight and bias as the kernels read them; streams compute with it."""
        return self._packed

    @property
    def geometry(self) -> Geometry:
        """The sizes."""
        return self._packed.geometry

    @property
    def groups(self) -> int:
        """Blocks of channels that do not see each other."""
        return self._packed.groups

    @property
    def dtype(self) -> DType:
        """Of weight and bias, and of what the layer takes and gives."""
        return self._packed.dtype

    @property
    def in_channels(self) -> int:
        """``C_in``."""
        return self._packed.in_channels

    @property
    def out_channels(self) -> int:
        """``C_out``."""
        return self._packed.out_channels

    @property
    def weight(self) -> Array:
        """``(C_in, C_out/groups, k)``, read-only; assign to it to change it.

        Assignment copies, and rounds to the layer's dtype. Writing into the array would leave the
        packed form behind, so it raises.
        """
        view: Array = self._packed.weight.view()
        return view

    @weight.setter
    def weight(self, value: ArrayLike) -> None:
        array, shape = _cast("weight", value, self.dtype), self._packed.weight.shape
        if array.shape != shape:
            raise ValueError(f"weight must have the shape {shape}, got shape {array.shape}")
        self._packed.weight = array

    @property
    def bias(self) -> Array | None:
        """``(C_out,)`` or None, read-only; assign to it to change it."""
        bias = self._packed.bias
        return None if bias is None else bias.view()

    @bias.setter
    def bias(self, value: ArrayLike | None) -> None:
        array = None if value is None else _cast("bias", value, self.dtype)
        if array is not None:
            check_bias(array, self.out_channels)
        self._packed.bias = array

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

    def stream(
        self, batch_size: int | None = 1, *, negative_slope: float | None = None
    ) -> LayerStream:
        """A stream of this layer: fed chunk by chunk, it gives the layer's output bit for bit.

        Args:
            batch_size: rows ``B`` of a chunk ``(B, C_in, T)``, or None for chunks ``(C_in, T)``.
            negative_slope: of a leaky ReLU of the input, as in a call of the layer.

        Returns:
            A :class:`fracstride.streaming.LayerStream`, with ``push``, ``flush``, ``latency``; any
            number of them may share the layer.

        Raises:
            ValueError: the padding mode is ``circular``, or an argument does not fit.

        >>> layer = ConvTranspose1d.from_weights([[[1.0, 2.0, 1.0]]], stride=2)
        >>> stream = layer.stream()
        >>> stream.push([[[1.0]]]), stream.push([[[3.0, 5.0]]]), stream.flush()
        (array([[[1., 2.]]]), array([[[ 4.,  6.,  8., 10.]]]), array([[[5.]]]))
        """
        return LayerStream(self, batch_size, negative_slope=negative_slope)

    def __getstate__(self) -> dict[str, Any]:
        # A shallow copy has its own weight to assign to.
        return {**vars(self), "_packed": copy(self._packed)}

    def __repr__(self) -> str:
        g = self.geometry
        padding = repr(g.padding)
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={g.kernel_size}"]
        shown += [f"stride={g.stride}"] if g.stride != 1 else []
        shown += [f"padding={padding}"] if g.padding != (0, 0) else []
        shown += [f"output_padding={g.output_padding}"] if g.output_padding else []
        shown += [f"groups={self.groups}"] if self.groups != 1 else []
        shown += ["bias=False"] if self._packed.bias is None else []
        shown += [f"dilation={g.dilation}"] if g.dilation != 1 else []
        shown += [f"padding_mode={g.padding_mode!r}"] if g.padding_mode != "zeros" else []
        shown += [f"dtype={self.dtype.name}"] if self.dtype != np.float32 else []
        return f"{type(self).__name__}({', '.join(shown)})"


def _uniform(rng: np.random.Generator, bound: float, shape: tuple[int, ...], dtype: DType) -> Array:
    if dtype.kind != "c":
        return rng.uniform(-bound, bound, shape).astype(dtype)
    part = bound / 2**0.5
    real, imag = rng.uniform(-part, part, (2, *shape))
    return np.asarray(real + 1j * imag, dtype)


def _cast(name: str, value: ArrayLike, dtype: DType) -> Array:
    (array,) = as_operands(None, **{name: value})
    if array.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(f"{name} must be real for a layer of {dtype}, got {array.dtype}")
    return round_to(array, dtype)
