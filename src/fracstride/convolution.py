"""What both layers are: sizes, a weight and a bias, packed once for all calls."""

from __future__ import annotations

from copy import copy
from typing import Any, Generic

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fracstride.arguments import as_size
from fracstride.arrays import Array, DType, as_dtype, as_operands, round_to
from fracstride.checks import check_bias, check_groups
from fracstride.conv1d_geometry import GeometryType
from fracstride.packed import PackedLayer
from fracstride.streaming.layer import LayerStream

__all__ = ["Convolution", "random_layer"]


class Convolution(Generic[GeometryType]):
    """The base of :class:`fracstride.ConvTranspose1d` and :class:`fracstride.Conv1d`.

    Args:
        packed: what the layer computes with.
    """

    def __init__(self, packed: PackedLayer[GeometryType]) -> None:
        self._packed = packed

    @property
    def packed(self) -> PackedLayer[GeometryType]:
        """Sizes, weight and bias as the kernels read them; streams compute with it."""
        return self._packed

    @property
    def geometry(self) -> GeometryType:
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
        """The weight, read-only; assign to it to change it.

        ``(C_in, C_out/groups, k)`` of a ``ConvTranspose1d``, ``(C_out, C_in/groups, k)`` of a
        ``Conv1d``. Assignment copies, and rounds to the layer's dtype. Writing into the array would
        leave the packed form behind, so it raises.
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

        >>> import fracstride as fs
        >>> layer = fs.ConvTranspose1d.from_weights([[[1.0, 2.0, 1.0]]], stride=2)
        >>> stream = layer.stream()
        >>> stream.push([[[1.0]]]), stream.push([[[3.0, 5.0]]]), stream.flush()
        (array([[[1., 2.]]]), array([[[ 4.,  6.,  8., 10.]]]), array([[[5.]]]))
        >>> stream = fs.Conv1d.from_weights([[[1.0, 2.0, 1.0]]], stride=2).stream()
        >>> [stream.push([[[frame]]]).tolist() for frame in (1.0, 3.0, 5.0, 7.0, 9.0)]
        [[[[]]], [[[]]], [[[12.0]]], [[[]]], [[[28.0]]]]
        """
        return LayerStream(self, batch_size, negative_slope=negative_slope)

    def __getstate__(self) -> dict[str, Any]:
        # A shallow copy has its own weight to assign to.
        return {**vars(self), "_packed": copy(self._packed)}

    def __repr__(self) -> str:
        g = self.geometry
        output_padding = getattr(g, "output_padding", 0)
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={g.kernel_size}"]
        shown += [f"stride={g.stride}"] if g.stride != 1 else []
        shown += [f"padding={g.padding!r}"] if g.padding != (0, 0) else []
        shown += [f"output_padding={output_padding}"] if output_padding else []
        shown += [f"groups={self.groups}"] if self.groups != 1 else []
        shown += ["bias=False"] if self._packed.bias is None else []
        shown += [f"dilation={g.dilation}"] if g.dilation != 1 else []
        shown += [f"padding_mode={g.padding_mode!r}"] if g.padding_mode != "zeros" else []
        shown += [f"dtype={self.dtype.name}"] if self.dtype != np.float32 else []
        return f"{type(self).__name__}({', '.join(shown)})"


def random_layer(
    geometry: GeometryType,
    in_channels: int,
    out_channels: int,
    groups: int,
    bias: bool,
    dtype: DTypeLike,
    rng: Any,
) -> PackedLayer[GeometryType]:
    """A layer with torch's initial values: U(-sqrt(q), sqrt(q)), one over the products in a row.

    A row of the weight is ``weight[0]``: ``q = 1/(weight.shape[1]*k)``. All but the geometry is
    checked here.
    """
    in_channels = as_size("in_channels", in_channels, 1)
    out_channels = as_size("out_channels", out_channels, 1)
    groups = check_groups(groups, in_channels=in_channels, out_channels=out_channels)
    if not isinstance(bias, (bool, np.bool_)):
        raise TypeError(f"bias must be True or False, got {bias!r}")
    found = as_dtype(dtype)
    first, second = in_channels, out_channels
    if not geometry.is_transposed:
        first, second = second, first
    shape = (first, second // groups, geometry.kernel_size)
    bound = (1 / (shape[1] * shape[2])) ** 0.5
    try:
        generator = np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(
            f"rng must be a seed (an int >= 0), a numpy.random.Generator or None, got {rng!r}"
        ) from None
    weight = _uniform(generator, bound, shape, found)
    values = _uniform(generator, bound, (out_channels,), found) if bias else None
    return PackedLayer(geometry, groups, weight, values)


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
