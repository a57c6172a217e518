"""The maps of both layers on CPU tensors: strides and addresses go to the compiled kernels.

No tensor becomes a NumPy array here unless it was made here: an array over a parameter's memory
would keep torch from ever resizing it, which FSDP does. Dtypes that the kernels do not know go
through torch's own operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fracstride._load import native
from fracstride.conv1d_geometry import AnyGeometry, Conv1dGeometry
from fracstride.extension import MODES
from fracstride.kernel_table import CONV1D, FORWARD, INPUT_GRAD, KERNELS
from fracstride.torch import fallback
from fracstride.torch.checks import (
    channels_of,
    check_forward,
    check_input_grad,
    check_weight_grad,
)
from fracstride.torch.complex_tensors import (
    join_signal,
    join_weight_grad,
    split_signal,
    split_weight,
)
from fracstride.torch.extension import extend
from fracstride.torch.results import empty, new_signal

__all__ = [
    "backward",
    "bias_grad",
    "fingerprint",
    "forward",
    "forward_of",
    "input_grad",
    "missing",
    "pack",
    "reads",
    "weight_grad",
]

_KERNELS = {getattr(torch, name): kernels for name, kernels in KERNELS.items()}
_STORED = frozenset(dtype for dtype in _KERNELS if not dtype.is_complex)
_HALVES = (torch.float16, torch.bfloat16)
_MODE_NUMBER = {name: mode.number for name, mode in MODES.items()}
_ZEROS = MODES["zeros"].number


def reads(dtype: torch.dtype) -> bool:
    """Whether the kernels take it as it is stored."""
    return dtype in _STORED


def pack(w: Tensor, geometry: AnyGeometry, groups: int) -> Any:
    """A checked weight, of any dtype that the kernels take, in the order in which they read it."""
    return _packed_for_forward(w, geometry, groups, once=False)[0]


def _packed_for_forward(
    w: Tensor, geometry: AnyGeometry, groups: int, once: bool
) -> tuple[Any, Tensor]:
    """The packed weight, and what it is read from if it was packed for one call."""
    if geometry.is_transposed:
        real = _real(w, groups)
        return _packed(real, geometry, groups, FORWARD, once), real
    # A Conv1d multiplies by the transpose of the real matrix, which conjugates.
    real = _real(_conjugate(w), groups)
    return _packed(real, geometry, groups, CONV1D, once), real


def _conjugate(w: Tensor) -> Tensor:
    return torch.conj_physical(w) if w.is_complex() else w


def _real(w: Tensor, groups: int) -> Tensor:
    """The weight as the kernels take it: contiguous, and its parts where it is complex."""
    return (split_weight(w, groups) if w.is_complex() else w).contiguous()


def _packed(w: Tensor, geometry: AnyGeometry, groups: int, direction: int, once: bool) -> Any:
    """``once``: for one call, until the end of which the weight has to stay where it is."""
    first, second, k = w.shape
    s, d = geometry.stride, geometry.dilation
    pack = _KERNELS[w.dtype].pack
    return pack(w.data_ptr() or missing(w), first, second, k, groups, s, d, direction, once)


def missing(tensor: Tensor) -> int:
    """The address 0 of a tensor without numbers; one whose memory was taken away raises."""
    if tensor.numel():
        raise RuntimeError(
            f"a tensor of shape {tuple(tensor.shape)} has no memory: its storage was resized to 0"
        )
    return 0


def fingerprint(w: Tensor) -> Any:
    """What tells whether a contiguous weight of a dtype that the kernels read has changed."""
    return _KERNELS[w.dtype].fingerprint(w.data_ptr(), *w.shape)


def forward(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    geometry: AnyGeometry,
    groups: int,
    pack: Callable[[Tensor, AnyGeometry, int, int], Any] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The layer's output, ``(B, C_out, L_out)``. ``RuntimeError`` if the tensors do not fit.

    ``pack`` is where the packed weight comes from, if it is kept (then nobody asks for derivatives,
    and nobody resizes the result's storage to save memory); ``out``, trusted, is where a
    result of a dtype that the kernels read goes.
    """
    length = check_forward(x, w, b, geometry, groups)
    dtype = x.dtype
    channels = w.shape[1] * groups if geometry.is_transposed else w.shape[0]
    if dtype not in _KERNELS:
        return fallback.forward(x, w, b, geometry, groups)
    if pack is not None:
        packed = pack(w, geometry, groups, x.shape[0] * x.shape[2])
        if out is None and not dtype.is_complex:
            out = new_signal(x.shape[0], channels, length, dtype)
    else:
        packed, _source = _packed_for_forward(w, geometry, groups, once=True)
    left, mode = geometry.padding_left, _MODE_NUMBER[geometry.padding_mode]
    if not dtype.is_complex:
        return _forward(x, packed, b, left, mode, channels, length, out)
    b = None if b is None else split_signal(b[None, :, None], groups).reshape(-1)
    parts = _forward(split_signal(x, groups), packed, b, left, mode, 2 * channels, length)
    return join_signal(parts, groups)


def forward_of(geometry: AnyGeometry, y: Tensor) -> Callable[[Tensor, Any, Tensor | None], Tensor]:
    """:func:`forward` for calls that give results like ``y``, of a dtype that the kernels read.

    It takes an input, a packed weight and a contiguous bias that are known to fit.
    """
    batch, channels, length = y.shape
    dtype, run = y.dtype, native.forward
    left, mode = geometry.padding_left, _MODE_NUMBER[geometry.padding_mode]

    def again(x: Tensor, packed: Any, b: Tensor | None) -> Tensor:
        out = new_signal(batch, channels, length, dtype)
        bias = 0 if b is None else b.data_ptr()
        place = x.data_ptr() or missing(x), *x.stride(), x.shape[2]
        target = out.data_ptr(), channels * length, length, 1, length
        run(packed, batch, *place, bias, *target, left, mode)
        return out

    return again


def _forward(
    x: Tensor,
    packed: Any,
    b: Tensor | None,
    padding_left: int,
    mode: int,
    out_channels: int,
    length: int,
    out: Tensor | None = None,
) -> Tensor:
    batch = x.shape[0]
    if out is None:
        by_batch = out_channels * length
        out = empty((batch, out_channels, length), (by_batch, length, 1), x.dtype)
    if batch:
        bias = None if b is None else b.contiguous()
        native.forward(
            packed,
            batch,
            x.data_ptr() or missing(x),
            *x.stride(),
            x.shape[2],
            0 if bias is None else bias.data_ptr() or missing(bias),
            out.data_ptr(),
            *out.stride(),
            length,
            padding_left,
            mode,
        )
    return out


def input_grad(gy: Tensor, w: Tensor, length: int, geometry: AnyGeometry, groups: int) -> Tensor:
    """The input's gradient, what falls on extended frames added to those that they copy."""
    check_input_grad(gy, w, length, geometry, groups)
    dtype = gy.dtype
    if dtype not in _KERNELS:
        return fallback.input_grad(gy, w, length, geometry, groups)
    if not dtype.is_complex:
        return _input_grad(gy, w, length, geometry, groups)
    if geometry.is_transposed:
        # C is bilinear, and so conjugates nothing; the transpose of the real matrix would.
        w = _conjugate(w)
    parts = _input_grad(split_signal(gy, groups), w, length, geometry, groups)
    return join_signal(parts, groups)


def _input_grad(gy: Tensor, w: Tensor, length: int, geometry: AnyGeometry, groups: int) -> Tensor:
    if isinstance(geometry, Conv1dGeometry):
        return _conv1d_input_grad(gy, w, length, geometry, groups)
    real = _real(w, groups)
    packed = _packed(real, geometry, groups, INPUT_GRAD, once=True)
    batch, channels = gy.shape[0], real.shape[0]
    by_batch = channels * length
    gx = empty((batch, channels, length), (by_batch, length, 1), gy.dtype)
    if batch:
        native.input_grad(
            packed,
            batch,
            gy.data_ptr() or missing(gy),
            *gy.stride(),
            gy.shape[2],
            gx.data_ptr(),
            by_batch,
            length,
            1,
            length,
            geometry.padding_left,
            _MODE_NUMBER[geometry.padding_mode],
            geometry.edges(length, gy.shape[2]),
        )
    return gx


def _conv1d_input_grad(
    gy: Tensor, w: Tensor, length: int, geometry: Conv1dGeometry, groups: int
) -> Tensor:
    """``T`` itself, of the same weight; onto the padded input where a mode says what that holds."""
    real, left, dtype = _real(w, groups), geometry.padding_left, gy.dtype
    channels = real.shape[1] * groups
    if geometry.padding_mode == "zeros":
        packed = _packed(real, geometry, groups, FORWARD, once=True)
        return _forward(gy, packed, None, left, _ZEROS, channels, length)
    if dtype in _HALVES:  # rounded once, after the folding
        gy, real = gy.float(), real.float()
    packed = _packed(real, geometry, groups, FORWARD, once=True)
    whole = left + length + geometry.padding_right
    padded = _forward(gy, packed, None, 0, _ZEROS, channels, whole)
    mode = geometry.padding_mode
    return fallback.folded(padded, left, length, mode, one_by_one=True).to(dtype)


def weight_grad(x: Tensor, gy: Tensor, geometry: AnyGeometry, groups: int) -> Tensor:
    """The weight's gradient, summed in an order that depends on the shapes alone."""
    check_weight_grad(x, gy, geometry, groups)
    dtype = x.dtype
    if dtype not in _KERNELS:
        return fallback.weight_grad(x, gy, geometry, groups)
    if not dtype.is_complex:
        return _weight_grad(x, gy, geometry, groups)
    parts = split_signal(x, groups), split_signal(gy, groups)
    return join_weight_grad(_weight_grad(*parts, geometry, groups), groups)


def _weight_grad(x: Tensor, gy: Tensor, geometry: AnyGeometry, groups: int) -> Tensor:
    left, mode = geometry.padding_left, _MODE_NUMBER[geometry.padding_mode]
    if isinstance(geometry, Conv1dGeometry):  # R of the operands the other way round
        if mode != _ZEROS:
            x, left = extend(x, left, geometry.padding_right, geometry.padding_mode), 0
        x, gy, mode = gy, x, _ZEROS
    shape = (x.shape[1], gy.shape[1] // groups, geometry.kernel_size)
    if not x.shape[0]:
        return torch.zeros(shape, dtype=x.dtype)
    gw = empty(shape, (shape[1] * shape[2], shape[2], 1), x.dtype)
    _KERNELS[x.dtype].weight_grad(
        x.shape[0],
        x.data_ptr() or missing(x),
        *x.stride(),
        x.shape[2],
        gy.data_ptr() or missing(gy),
        *gy.stride(),
        gy.shape[2],
        gw.data_ptr(),
        *shape,
        groups,
        geometry.stride,
        geometry.dilation,
        left,
        mode,
    )
    return gw


def bias_grad(gy: Tensor) -> Tensor:
    """The sum ``(C_out,)`` over batch and time, in an order that depends on the shape alone.

    (torch's own sum depends on the number of threads where there are few channels.)
    """
    dtype = gy.dtype
    if dtype not in _KERNELS:
        return gy.sum((0, 2))
    if not dtype.is_complex:
        return _bias_grad(gy)
    return join_signal(_bias_grad(split_signal(gy, 1))[None, :, None], 1).reshape(-1)


def _bias_grad(gy: Tensor) -> Tensor:
    batch, channels, length = gy.shape
    gb = empty((channels,), (1,), gy.dtype)
    add_up = _KERNELS[gy.dtype].bias_grad
    add_up(batch, channels, gy.data_ptr() or missing(gy), *gy.stride(), length, gb.data_ptr())
    return gb


def backward(
    x: Tensor,
    w: Tensor,
    gy: Tensor,
    geometry: AnyGeometry,
    groups: int,
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Those of the gradients of input, weight and bias that are needed.

    Operands that went through :func:`forward` are checked again: hooks on saved tensors may have
    put others in their place.
    """
    length = check_forward(x, w, None, geometry, groups)
    shape = x.shape[0], channels_of(w, geometry, groups)[1], length
    if gy.shape != shape or gy.dtype != x.dtype:
        raise RuntimeError(
            f"grad_output must have the shape {shape} and the dtype {x.dtype}, got "
            f"{tuple(gy.shape)} and {gy.dtype}"
        )
    known = x.dtype in _STORED
    of_input, of_weight = (_input_grad, _weight_grad) if known else (input_grad, weight_grad)
    return (
        of_input(gy, w, x.shape[2], geometry, groups) if needs[0] else None,
        of_weight(x, gy, geometry, groups) if needs[1] else None,
        bias_grad(gy) if needs[2] else None,
    )
