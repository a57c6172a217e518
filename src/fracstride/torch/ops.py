"""The operators ``torch.ops.fracstride``: what compilers, subclasses, modes and devices meet.

Three maps, each under one name on every device: CPU tensors go to the compiled kernels, others
through torch's own operators (on NVIDIA GPUs to the Triton kernels where they are asked for).
Importing this module registers them.

Where a layer says ``groups``, an operator says how many input channels a group has: a shard of the
groups has fewer of them, and a shard of one group's channels is one group still, but that number is
the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function

from fracstride.geometry import Geometry
from fracstride.torch import batching, fallback, gpu, kernels, operators
from fracstride.torch.autograd import Forward, InputGrad, WeightGrad, apply_here
from fracstride.torch.checks import (
    check_forward,
    check_input_grad,
    check_weight_grad,
    geometry_of_call,
    groups_among,
    with_symbol,
)
from fracstride.torch.dispatch import needs_derivative
from fracstride.torch.gpu.capture import see_through

__all__: list[str] = []

_SIZES = (
    "int stride, int padding_left, int padding_right, SymInt output_padding, int group_channels, "
    "int dilation, str padding_mode"
)
_SCHEMAS = (
    f"conv_transpose1d(Tensor input, Tensor weight, Tensor? bias, {_SIZES}) -> Tensor",
    f"conv_transpose1d_input_grad(Tensor grad_output, Tensor weight, SymInt input_length, "
    f"{_SIZES}) -> Tensor",
    f"conv_transpose1d_weight_grad(Tensor input, Tensor grad_output, int kernel_size, "
    f"{_SIZES}) -> Tensor",
)
_AUTOCAST = ("CPU", "CUDA", "XPU", "MPS", "HPU", "MTIA", "PrivateUse1")

_library = torch.library.Library("fracstride", "DEF")
for _schema in _SCHEMAS:
    _library.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))
_BelowAutograd: Any = torch._C._AutoDispatchBelowAutograd


def _layer(channels: int, kernel_size: int, sizes: tuple[Any, ...]) -> tuple[Geometry, int]:
    """The geometry, and the groups among so many input channels."""
    stride, left, right, a, group_channels, dilation, mode = sizes
    number = a if type(a) is int else 0
    geometry = geometry_of_call(kernel_size, stride, (left, right), number, dilation, mode)
    if a is not number:
        geometry = with_symbol(geometry, a)
    return geometry, groups_among(channels, group_channels)


def _layer_of(w: Tensor, sizes: tuple[Any, ...]) -> tuple[Geometry, int]:
    if w.dim() != 3:
        raise RuntimeError(
            f"weight must have the shape (C_in, C_out/groups, k), got shape {tuple(w.shape)}"
        )
    return _layer(w.shape[0], int(w.shape[2]), sizes)


def _layer_for(x: Tensor, kernel_size: int, sizes: tuple[Any, ...]) -> tuple[Geometry, int]:
    if x.dim() != 3:
        raise RuntimeError(f"input must have the shape (B, C, length), got shape {tuple(x.shape)}")
    return _layer(x.shape[1], kernel_size, sizes)


def _forward(x: Tensor, w: Tensor, b: Tensor | None, *sizes: Any) -> Tensor:
    return kernels.forward(x, w, b, *_layer_of(w, sizes))


def _forward_anywhere(x: Tensor, w: Tensor, b: Tensor | None, *sizes: Any) -> Tensor:
    layer = _layer_of(w, sizes)
    check_forward(x, w, b, *layer)
    return fallback.forward(x, w, b, *layer).contiguous()


def _forward_cuda(x: Tensor, w: Tensor, b: Tensor | None, *sizes: Any) -> Tensor:
    if not gpu.available(x.device):
        return _forward_anywhere(x, w, b, *sizes)
    return _tensor(gpu.triton_maps().forward(x, w, b, *_layer_of(w, sizes)))


def _forward_fake(x: Tensor, w: Tensor, b: Tensor | None, *sizes: Any) -> Tensor:
    geometry, groups = _layer_of(w, sizes)
    length = check_forward(x, w, b, geometry, groups)
    return x.new_empty((x.shape[0], w.shape[1] * groups, length))


def _forward_autograd(x: Tensor, w: Tensor, b: Tensor | None, *sizes: Any) -> Tensor:
    if needs_derivative(x, w, b):
        return _tensor(_apply(Forward, x, w, b, *_layer_of(w, sizes)))
    with _BelowAutograd():
        return _tensor(torch.ops.fracstride.conv_transpose1d(x, w, b, *sizes))


def _forward_vmap(info: Any, in_dims: Any, x: Tensor, w: Tensor, b: Any, *sizes: Any) -> Any:
    layer = _layer_of(w if in_dims[1] is None else w.movedim(in_dims[1], 0)[0], sizes)
    return batching.forward(operators.forward, info.batch_size, in_dims, x, w, b, *layer)


def _input_grad(gy: Tensor, w: Tensor, length: int, *sizes: Any) -> Tensor:
    return kernels.input_grad(gy, w, length, *_layer_of(w, sizes))


def _input_grad_anywhere(gy: Tensor, w: Tensor, length: int, *sizes: Any) -> Tensor:
    layer = _layer_of(w, sizes)
    check_input_grad(gy, w, length, *layer)
    return fallback.input_grad(gy, w, length, *layer).contiguous()


def _input_grad_cuda(gy: Tensor, w: Tensor, length: int, *sizes: Any) -> Tensor:
    if not gpu.available(gy.device):
        return _input_grad_anywhere(gy, w, length, *sizes)
    return _tensor(gpu.triton_maps().input_grad(gy, w, length, *_layer_of(w, sizes)))


def _input_grad_fake(gy: Tensor, w: Tensor, length: int, *sizes: Any) -> Tensor:
    check_input_grad(gy, w, length, *_layer_of(w, sizes))
    return gy.new_empty((gy.shape[0], w.shape[0], length))


def _input_grad_autograd(gy: Tensor, w: Tensor, length: int, *sizes: Any) -> Tensor:
    if needs_derivative(gy, w, None):
        return _tensor(_apply(InputGrad, gy, w, length, *_layer_of(w, sizes)))
    with _BelowAutograd():
        return _tensor(torch.ops.fracstride.conv_transpose1d_input_grad(gy, w, length, *sizes))


def _input_grad_vmap(
    info: Any, in_dims: Any, gy: Tensor, w: Tensor, length: int, *sizes: Any
) -> Any:
    layer = _layer_of(w if in_dims[1] is None else w.movedim(in_dims[1], 0)[0], sizes)
    n = info.batch_size
    return batching.input_grad(operators.input_grad, n, in_dims, gy, w, length, *layer)


def _weight_grad(x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any) -> Tensor:
    return kernels.weight_grad(x, gy, *_layer_for(x, kernel_size, sizes))


def _weight_grad_anywhere(x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any) -> Tensor:
    layer = _layer_for(x, kernel_size, sizes)
    check_weight_grad(x, gy, *layer)
    return fallback.weight_grad(x, gy, *layer).contiguous()


def _weight_grad_cuda(x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any) -> Tensor:
    if not gpu.available(x.device):
        return _weight_grad_anywhere(x, gy, kernel_size, *sizes)
    return _tensor(gpu.triton_maps().weight_grad(x, gy, *_layer_for(x, kernel_size, sizes)))


def _weight_grad_fake(x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any) -> Tensor:
    geometry, groups = _layer_for(x, kernel_size, sizes)
    check_weight_grad(x, gy, geometry, groups)
    return x.new_empty((x.shape[1], gy.shape[1] // groups, kernel_size))


def _weight_grad_autograd(x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any) -> Tensor:
    if needs_derivative(x, gy, None):
        return _tensor(_apply(WeightGrad, x, gy, *_layer_for(x, kernel_size, sizes)))
    with _BelowAutograd():
        return _tensor(
            torch.ops.fracstride.conv_transpose1d_weight_grad(x, gy, kernel_size, *sizes)
        )


def _weight_grad_vmap(
    info: Any, in_dims: Any, x: Tensor, gy: Tensor, kernel_size: int, *sizes: Any
) -> Any:
    one = x if in_dims[0] is None else x.movedim(in_dims[0], 0)[0]
    n, layer = info.batch_size, _layer_for(one, kernel_size, sizes)
    return batching.weight_grad(operators.weight_grad, n, in_dims, x, gy, *layer)


def _autocast(device: str) -> Callable[..., Tensor]:
    """``T`` in the dtype of autocast, as torch's own transposed convolutions are."""
    key = getattr(torch._C.DispatchKey, f"Autocast{device}")
    without = torch._C.DispatchKeySet(key)
    exclude: Any = torch._C._ExcludeDispatchKeyGuard
    device_type = "cpu" if device == "CPU" else device.lower()

    def cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        if tensor is None or not tensor.is_floating_point() or tensor.dtype == torch.float64:
            return tensor
        return tensor.to(dtype)

    def forward(x: Tensor, w: Tensor, b: Tensor | None, *sizes: Any) -> Tensor:
        dtype = torch.get_autocast_dtype(
            torch._C._get_privateuse1_backend_name() if device == "PrivateUse1" else device_type
        )
        with exclude(without):
            return _tensor(
                torch.ops.fracstride.conv_transpose1d(
                    cast(x, dtype), cast(w, dtype), cast(b, dtype), *sizes
                )
            )

    return forward


def _apply(function: Any, *operands: Any) -> Any:
    # Within torch.func.grad this is the autograd of one level already.
    if not torch._C._are_functorch_transforms_active():
        return apply_here(function, *operands)
    with enable_single_level_autograd_function():
        return apply_here(function, *operands)


def _tensor(result: Any) -> Tensor:
    checked: Tensor = result
    return checked


for _name, _cpu, _cuda, _anywhere, _fake, _derivative, _vmap in (
    (
        "conv_transpose1d",
        _forward,
        _forward_cuda,
        _forward_anywhere,
        _forward_fake,
        _forward_autograd,
        _forward_vmap,
    ),
    (
        "conv_transpose1d_input_grad",
        _input_grad,
        _input_grad_cuda,
        _input_grad_anywhere,
        _input_grad_fake,
        _input_grad_autograd,
        _input_grad_vmap,
    ),
    (
        "conv_transpose1d_weight_grad",
        _weight_grad,
        _weight_grad_cuda,
        _weight_grad_anywhere,
        _weight_grad_fake,
        _weight_grad_autograd,
        _weight_grad_vmap,
    ),
):
    _library.impl(_name, _cpu, "CPU")
    _library.impl(_name, _cuda, "CUDA")
    _library.impl(_name, _anywhere, "CompositeExplicitAutograd")
    _library.impl(_name, _derivative, "Autograd")
    torch.library.register_fake(f"fracstride::{_name}", _fake, lib=_library)
    torch.library.register_vmap(f"fracstride::{_name}", _vmap, lib=_library)
    see_through(f"fracstride::{_name}", _cuda, gpu.available, _library)
for _device in _AUTOCAST:
    if hasattr(torch._C.DispatchKey, f"Autocast{_device}"):
        _library.impl("conv_transpose1d", _autocast(_device), f"Autocast{_device}")
