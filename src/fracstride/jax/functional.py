"""The functions of the NumPy face on JAX's arrays.

On CPUs the numbers are those of the NumPy face, bit for bit (but that XLA takes numbers below the
smallest normal one for zero). On other platforms ``lax`` computes them. All functions can be
transformed and differentiated to any order. What does not fit is an error when they are traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import Array
from jax.typing import ArrayLike

from fracstride.checks import (
    check_bias,
    check_channels,
    check_groups,
    check_length,
    check_rank,
    check_same_batch,
    check_weight,
)
from fracstride.conv1d_geometry import conv1d_geometry_of
from fracstride.geometry import geometry_of
from fracstride.jax.operands import as_operands, length_of, samples_of
from fracstride.jax.primitives import (
    call,
    conv1d_input_grad,
    conv1d_p,
    forward_p,
    input_grad_p,
    weight_grad_p,
)

__all__ = [
    "conv1d",
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
) -> Array:
    """Transposed convolution with torch's arguments, and more kinds of padding.

    ``y[b, c, n] = bias[c] + sum of xe[b, i, t] * weight[i, c, m]`` over all ``i, t, m`` with
    ``t*stride + m*dilation == n + padding_left``. ``xe`` is the input, *extended* past its ends as
    ``padding_mode`` says.

    Args:
        input: ``(B, C_in, L)`` or ``(C_in, L)``, an array of JAX or NumPy; ``L >= 1`` frames.
        weight: ``(C_in, C_out/groups, k)``, of the input's dtype: float32, float64, float16,
            bfloat16, complex64 or complex128.
        bias: ``(C_out,)`` or None.
        stride: samples from one frame to the next.
        padding: samples cropped: an int, ``(left, right)``, ``"valid"`` (none), or ``"same"`` or
            ``"causal"`` for ``L_out = L*stride`` (``causal``: nothing is cropped on the left).
        output_padding: samples added on the right, less than ``max(stride, dilation)``.
        groups: divides ``C_in``; ``C_out`` is ``groups`` times ``weight.shape[1]``.
        dilation: samples from one tap to the next.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        output_size: the wanted ``L_out``, in place of ``output_padding``.

    Returns:
        ``(B, C_out, L_out)``, or ``(C_out, L_out)`` for an input without batch.

    Raises:
        ValueError: a size or shape that does not fit, with the argument's name.
        TypeError: a dtype or type that does not.

    >>> import jax, jax.numpy as jnp
    >>> x, w = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[[1.0, 1.0]]])
    >>> conv_transpose1d(x, w, stride=2).tolist()
    [[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]]
    >>> jax.grad(lambda w: conv_transpose1d(x, w, stride=2).sum())(w).tolist()
    [[[6.0, 6.0]]]
    """
    x, w, b = as_operands(input=input, weight=weight, bias=bias)
    check_weight(w)
    geometry = geometry_of(w.shape[2], stride, padding, output_padding, dilation, padding_mode)
    groups = check_groups(groups, in_channels=w.shape[0])
    if b is not None:
        check_bias(b, w.shape[1] * groups)
    check_rank("input", x)
    check_channels("input", x, w.shape[0])
    size = samples_of(geometry, x.shape[-1], output_size)
    y = call(forward_p, _batch(x), w, b, geometry=geometry, groups=groups, size=size)
    return _ranked(y, x)


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
    """``C(gy, w)``: the adjoint of :func:`conv_transpose1d` in its input, without conjugates.

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

    >>> import jax.numpy as jnp
    >>> gy, w = jnp.array([[1.0, 10.0, 2.0, 20.0]]), jnp.ones((1, 1, 2))
    >>> conv_transpose1d_input_grad(gy, w, 2, stride=2).tolist()
    [[11.0, 22.0]]
    """
    gy, w = as_operands(grad_output=grad_output, weight=weight)
    check_weight(w)
    geometry = geometry_of(w.shape[2], stride, padding, output_padding, dilation, padding_mode)
    groups = check_groups(groups, in_channels=w.shape[0])
    check_rank("grad_output", gy)
    check_channels("grad_output", gy, w.shape[1] * groups)
    length = length_of("input_length", input_length)
    check_length("grad_output", gy, samples_of(geometry, length))
    gx = call(input_grad_p, _batch(gy), w, geometry=geometry, groups=groups, size=length)
    return _ranked(gx, gy)


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
    """``R(x, gy)``: the adjoint of :func:`conv_transpose1d` in its weight, without conjugates.

    Args:
        input: ``(B, C_in, L)`` or ``(C_in, L)``.
        grad_output: ``(B, C_out, L_out)`` or ``(C_out, L_out)``, with a batch where input has one.
        kernel_size: ``k``.
        stride, padding, output_padding, groups, dilation, padding_mode: of the forward map.

    Returns:
        ``(C_in, C_out/groups, k)``, summed over batch and time.

    Raises:
        ValueError, TypeError: as :func:`conv_transpose1d`.

    >>> import jax.numpy as jnp
    >>> x, gy = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 10.0, 3.0, 30.0]])
    >>> conv_transpose1d_weight_grad(x, gy, 2, stride=2).tolist()
    [[[7.0, 70.0]]]
    """
    x, gy = as_operands(input=input, grad_output=grad_output)
    geometry = geometry_of(kernel_size, stride, padding, output_padding, dilation, padding_mode)
    check_rank("input", x)
    check_rank("grad_output", gy)
    check_same_batch(x, gy)
    groups = check_groups(groups, in_channels=x.shape[-2], out_channels=gy.shape[-2])
    check_length("grad_output", gy, samples_of(geometry, x.shape[-1]))
    x, gy, size = _batch(x), _batch(gy), geometry.kernel_size
    gw: Array = call(weight_grad_p, x, gy, geometry=geometry, groups=groups, size=size)
    return gw


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
) -> Array:
    """Convolution with torch's arguments, and more kinds of padding.

    ``y[b, c, t] = bias[c] + sum of xe[b, i, t*stride + m*dilation - padding_left] * weight[c, i,
    m]`` over all ``i, m``. ``xe`` is the input, extended by the padding as ``padding_mode`` says,
    however short it is.

    Args:
        input: ``(B, C_in, L)`` or ``(C_in, L)``, an array of JAX or NumPy; ``L >= 1`` frames.
        weight: ``(C_out, C_in/groups, k)``, of the input's dtype.
        bias: ``(C_out,)`` or None.
        stride: frames from one sample to the next.
        padding: frames added: an int, ``(left, right)``, ``"valid"`` (none), ``"same"`` (stride 1
            only; ``dilation*(k - 1)`` in all, the odd one on the right as in torch) or ``"causal"``
            (``dilation*(k - 1)`` on the left).
        dilation: frames from one tap to the next.
        groups: divides ``C_out``; ``C_in`` is ``groups`` times ``weight.shape[1]``.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Returns:
        ``(B, C_out, L_out)``, or ``(C_out, L_out)`` for an input without batch.

    Raises:
        ValueError, TypeError: as :func:`conv_transpose1d`.

    >>> import jax.numpy as jnp
    >>> conv1d(jnp.array([[1.0, 2.0, 3.0, 4.0]]), jnp.ones((1, 1, 2)), stride=2).tolist()
    [[3.0, 7.0]]
    """
    x, w, b = as_operands(input=input, weight=weight, bias=bias)
    check_weight(w, of_conv1d=True)
    geometry = conv1d_geometry_of(w.shape[2], stride, padding, dilation, padding_mode)
    groups = check_groups(groups, out_channels=w.shape[0])
    if b is not None:
        check_bias(b, w.shape[0])
    check_rank("input", x)
    check_channels("input", x, w.shape[1] * groups)
    size = samples_of(geometry, x.shape[-1])
    y = call(conv1d_p, _batch(x), w, b, geometry=geometry, groups=groups, size=size)
    return _ranked(y, x)


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
    """The gradient of :func:`conv1d` with respect to its input, without conjugates.

    The gradient of a position of the padding is added to that of the position that it copies.
    (:func:`conv_transpose1d` with a padding mode is something else: it extends its own input. For
    ``zeros`` the two agree.)

    Args:
        grad_output: ``(B, C_in, L)`` or ``(C_in, L)``, the gradient of the Conv1d's output.
        weight: the Conv1d's ``(out, in/groups, k)``. This function calls that
            ``(C_in, C_out/groups, k)``.
        output_length: the length of the Conv1d's input, which is the result's.
        stride, padding, groups, dilation, padding_mode: the Conv1d's.

    Returns:
        ``(B, C_out, output_length)`` or ``(C_out, output_length)``.

    Raises:
        ValueError, TypeError: as :func:`conv_transpose1d`.

    >>> import jax.numpy as jnp
    >>> gy, w = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[[1.0, 10.0]]])
    >>> conv1d_adjoint(gy, w, 3, padding=(1, 0), padding_mode="circular").tolist()
    [[10.0, 0.0, 1.0]]
    """
    gy, w = as_operands(grad_output=grad_output, weight=weight)
    check_weight(w)
    geometry = conv1d_geometry_of(w.shape[2], stride, padding, dilation, padding_mode)
    groups = check_groups(groups, in_channels=w.shape[0])
    length = length_of("output_length", output_length)
    check_rank("grad_output", gy)
    check_channels("grad_output", gy, w.shape[0])
    check_length("grad_output", gy, samples_of(geometry, length, name="output_length"))
    gx = conv1d_input_grad(_batch(gy), w, geometry=geometry, groups=groups, size=length)
    return _ranked(gx, gy)


def _batch(x: Any) -> Any:
    return x if x.ndim == 3 else x[None]


def _ranked(result: Array, like: Any) -> Array:
    return result if like.ndim == 3 else result[0]
