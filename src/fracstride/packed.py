"""Weights and biases in the order in which the kernels read them, and the call of the kernel.

Kernels take addresses (``native.signal_of``): an array must have a name here for as long as a
kernel uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
from numpy.typing import ArrayLike

from fracstride._load import native
from fracstride.arrays import (
    Array,
    DType,
    aligned,
    as_operands,
    join_channels,
    kernel_dtype,
    kernels_of,
    ready,
    split_channels,
    split_weight,
)
from fracstride.checks import check_call, check_out, check_slope
from fracstride.conv1d_geometry import AnyGeometry, GeometryType
from fracstride.extension import MODES
from fracstride.kernel_table import CONV1D, FORWARD, INPUT_GRAD

__all__ = [
    "PackedBias",
    "PackedLayer",
    "PackedWeight",
    "forward",
    "pack_bias",
    "pack_weight",
    "samples",
]


_NO_SIGNAL: tuple[int, ...] = (0, 0, 0, 0, 0)  # an absent argument of a kernel: address 0


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """A weight in the order in which the kernels read it; depends on stride and dilation too."""

    #: The compiled module's object.
    native: Any
    #: The array that a weight packed for one call is read from, kept alive for that call.
    source: Array | None
    #: Of the weight, and of the signals that go with it.
    dtype: DType
    #: The real dtype that the kernels read and write.
    real: DType
    in_channels: int
    out_channels: int
    groups: int
    #: Whether the kernels read and write the dtype itself; if not, it is complex.
    as_stored: bool
    #: Channels that the kernels write: those of the real parts if the numbers are complex.
    written_channels: int


def pack_weight(
    weight: Array,
    geometry: AnyGeometry,
    groups: int,
    *,
    for_input_grad: bool = False,
    once: bool = False,
) -> PackedWeight:
    """Pack a checked weight, for many calls or ``once``.

    Args:
        weight: ``(C_in, C_out/g, k)``, or ``(C_out, C_in/g, k)`` of a Conv1d, of any dtype that the
            kernels know.
        geometry: the kind of layer, stride and dilation count.
        groups: blocks of channels that do not see each other.
        for_input_grad: for the gradient of the input of a transposed convolution, in place of the
            forward map.
        once: for a single call, which may read the weight itself if that costs less.
    """
    direction = INPUT_GRAD if for_input_grad else FORWARD
    if not geometry.is_transposed:
        direction = CONV1D
    if direction != FORWARD and weight.dtype.kind == "c":
        # C is bilinear, and so conjugates nothing; the transpose of the matrix of parts would.
        weight = weight.conj()
    real = kernel_dtype(weight.dtype)
    split = split_weight(weight, groups, real)
    packed = kernels_of(weight.dtype).pack(
        native.signal_of(split)[0],
        *split.shape,
        groups,
        geometry.stride,
        geometry.dilation,
        direction,
        once,
    )
    source = split if once else None
    in_channels, out_channels = _channels(weight, geometry, groups)
    as_stored = weight.dtype == real
    return PackedWeight(
        native=packed,
        source=source,
        dtype=weight.dtype,
        real=real,
        in_channels=in_channels,
        out_channels=out_channels,
        groups=groups,
        as_stored=as_stored,
        written_channels=out_channels if as_stored else 2 * out_channels,
    )


def _channels(weight: Array, geometry: AnyGeometry, groups: int) -> tuple[int, int]:
    """``C_in`` and ``C_out``."""
    first, second = weight.shape[0], weight.shape[1] * groups
    return (first, second) if geometry.is_transposed else (second, first)


@dataclass(frozen=True, slots=True)
class PackedBias:
    """A bias as the kernels read it."""

    values: Array
    #: Where they lie; they stay there for as long as this object holds them.
    address: int


def pack_bias(bias: Array, groups: int) -> PackedBias:
    """Pack a checked bias ``(C_out,)``."""
    real = kernel_dtype(bias.dtype)
    values = aligned(split_channels(bias[None, :, None], groups, real).reshape(-1), real)
    return PackedBias(values, native.signal_of(values)[0])


class PackedLayer(Generic[GeometryType]):
    """A layer of either kind with its weight and bias, packed once and again when assigned.

    What :class:`fracstride.ConvTranspose1d` and :class:`fracstride.Conv1d` compute with, and what
    their streams ask: sizes, dtype, samples. Any number of threads may use one while another
    assigns: each call computes with one weight, the old one or the new.

    Args:
        geometry: the sizes, and with them the kind of layer.
        groups: blocks of channels that do not see each other.
        weight: ``(C_in, C_out/groups, k)``, or ``(C_out, C_in/groups, k)`` of a Conv1d, checked; a
            copy is kept.
        bias: ``(C_out,)`` of the same dtype, checked, or None.
    """

    def __init__(
        self, geometry: GeometryType, groups: int, weight: Array, bias: Array | None
    ) -> None:
        self.geometry = geometry
        self.groups = groups
        self.dtype: DType = weight.dtype
        #: The real dtype that the kernels read and write.
        self.real = kernel_dtype(weight.dtype)
        self.in_channels, self.out_channels = _channels(weight, geometry, groups)
        self._extension = MODES[geometry.padding_mode].number
        self._packed: tuple[Array, PackedWeight] | None = None
        self.weight = weight
        self.bias = bias

    @property
    def weight(self) -> Array:
        """The weight, read-only; assign an array of its shape and dtype."""
        return self._weight

    @weight.setter
    def weight(self, value: Array) -> None:
        self._weight = _frozen(value)

    @property
    def bias(self) -> Array | None:
        """``(C_out,)`` or None, read-only; assign an array of its shape and dtype, or None."""
        return self._bias

    @bias.setter
    def bias(self, value: Array | None) -> None:
        self._bias = None if value is None else _frozen(value)
        #: The bias as the kernels read it.
        self.packed_bias = None if self._bias is None else pack_bias(self._bias, self.groups)

    def packed_weight(self) -> PackedWeight:
        """The weight as it is now, packed."""
        weight, packed = self._weight, self._packed
        # Packed together with what it was packed from: a weight that another thread assigns
        # meanwhile is noticed by the next call.
        if packed is None or packed[0] is not weight:
            packed = weight, pack_weight(weight, self.geometry, self.groups)
            self._packed = packed
        return packed[1]

    def output(
        self,
        input: ArrayLike,
        output_size: int | Sequence[int] | None = None,
        negative_slope: float | None = None,
        residual: ArrayLike | None = None,
        out: Array | None = None,
    ) -> Array:
        """``residual + layer(leaky_relu(input))``; residual and slope may be None.

        The arguments are those of a call of the layer, and are checked. Of a Conv1d, the output
        size is None.
        """
        packed, bias, geometry = self.packed_weight(), self.packed_bias, self.geometry
        if type(input) is np.ndarray and input.dtype == packed.dtype:
            x = input
        else:
            (x,) = as_operands(packed.dtype, input=input)
        length = check_call(x, packed.in_channels, geometry, output_size)
        if negative_slope is None and residual is None and out is None:
            return forward(x, packed, bias, geometry, length)
        slope = 1.0 if negative_slope is None else check_slope(negative_slope, packed.dtype)
        more, shape = None, (*x.shape[:-2], packed.out_channels, length)
        if residual is not None:
            (more,) = as_operands(packed.dtype, residual=residual)
            if more.shape != shape:
                raise ValueError(f"residual must have the output's shape {shape}, got {more.shape}")
        if out is not None:
            check_out(out, shape, packed.dtype, (input, residual, x, more))
        if packed.as_stored:
            return forward(x, packed, bias, geometry, length, out, more, slope)
        # Complex numbers: their parts are put together again in between.
        with np.errstate(invalid="ignore", over="ignore"):
            y = forward(x, packed, bias, geometry, length)
            y = y if more is None else np.asarray(more + y)
        if out is None:
            return y
        out[...] = y
        return out

    def samples(
        self,
        source: Array,
        padding_left: int,
        length: int,
        out: Array | None = None,
        residual: Array | None = None,
        negative_slope: float = 1.0,
        carried: Array | None = None,
        residual_carried: Array | None = None,
    ) -> Array:
        """:func:`samples` of this layer, with its padding mode; nothing is checked."""
        return samples(
            source,
            self.packed_weight(),
            self.packed_bias,
            padding_left,
            self._extension,
            length,
            out,
            residual,
            negative_slope,
            carried,
            residual_carried,
        )

    def __getstate__(self) -> dict[str, Any]:
        # What is packed belongs to one process, and is packed again.
        return {**vars(self), "_packed": None, "packed_bias": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._weight.flags.writeable = False
        self.bias = self._bias


def _frozen(array: Array) -> Array:
    """A contiguous copy that nobody else holds and nobody writes to."""
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy


def forward(
    x: Array,
    packed: PackedWeight,
    bias: PackedBias | None,
    geometry: AnyGeometry,
    length: int,
    out: Array | None = None,
    residual: Array | None = None,
    negative_slope: float = 1.0,
) -> Array:
    """``length`` samples of a checked input, with a batch or without one."""
    batched = x.ndim == 3
    y = samples(
        ready(split_channels(x if batched else x[None], packed.groups, packed.real)),
        packed,
        bias,
        geometry.padding_left,
        MODES[geometry.padding_mode].number,
        length,
        out if out is None or batched else out[None],
        residual if residual is None or batched else residual[None],
        negative_slope,
    )
    if out is not None:
        return out
    return y if batched else y[0]


def samples(
    source: Array,
    packed: PackedWeight,
    bias: PackedBias | None,
    padding_left: int,
    extension: int,
    length: int,
    out: Array | None = None,
    residual: Array | None = None,
    negative_slope: float = 1.0,
    carried: Array | None = None,
    residual_carried: Array | None = None,
) -> Array:
    """Samples ``[0, length)``, with a batch, of frames that the kernels can read as they are.

    Args:
        source: the frames, as :func:`fracstride.arrays.ready` leaves them; complex ones as their
            real parts.
        packed: the weight.
        bias: packed too.
        padding_left: samples cropped on the left; of a Conv1d frames added, or if negative
            skipped.
        extension: number of the padding mode that the frames are extended by.
        length: of the result.
        out: where the result goes, with any strides.
        residual: added to the result.
        negative_slope: of a leaky ReLU of the frames.
        carried: frames that come before ``source``.
        residual_carried: what comes before the ``residual`` (stride 1 or a Conv1d only).
    """
    if out is not None and packed.as_stored and _kernel_can_write(out):
        target = out
    else:
        target = np.empty((source.shape[0], packed.written_channels, length), packed.real)
    numbers: tuple[float, ...] = ()  # what a call may leave out
    if residual is not None or carried is not None or negative_slope != 1.0:
        beside = before = _NO_SIGNAL
        if residual is not None:
            residual = ready(residual)  # this name keeps a copy alive until the kernel has read it
            beside = native.signal_of(residual)
        if carried is not None:
            before = native.signal_of(carried)
        numbers = (*beside[:4], negative_slope, *before)
        if residual_carried is not None:
            numbers += native.signal_of(residual_carried)
    native.forward(
        packed.native,
        source.shape[0],
        *native.signal_of(source),
        0 if bias is None else bias.address,
        *native.signal_of(target),
        padding_left,
        extension,
        *numbers,
    )
    if target is out:
        return out
    result = target if packed.as_stored else join_channels(target, packed.groups, packed.dtype)
    if out is None:
        return result
    out[...] = result
    return out


def _kernel_can_write(out: Array) -> bool:
    """Whether each element has a place of its own, at a whole number of elements."""
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
