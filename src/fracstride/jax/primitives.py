"""The maps as primitives of JAX, with all that its transformations ask of them.

T, the transposed convolution, is bilinear, and so are C and R, its adjoints in the input and in the
weight: ``<T(x, w), gy> == <x, C(gy, w)> == <w, R(x, gy)>``. Each derivative of one is made of the
other two, so derivatives of every order need nothing else. The Conv1d is a primitive of its own,
since its sums have another order than those of C; its derivatives are T, R and the folding of what
falls on the padding. A layer with a bias is a primitive too, because the kernel adds the bias
before it rounds.

The parameters of all of them: the ``geometry`` of the layer, its ``groups``, and ``size``, the last
axis of the result, which the operands do not tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from fracstride.geometry import geometry_of
from fracstride.jax import fallback, kernels
from fracstride.jax.batching import SIGNAL, VALUES, WEIGHT, batched
from fracstride.jax.extension import extend, fold

__all__ = ["call", "conv1d_input_grad", "conv1d_p", "forward_p", "input_grad_p", "weight_grad_p"]


def call(primitive: Primitive, *operands: Any, geometry: Any, groups: int, size: Any) -> Any:
    """The map of operands that are known to fit, a bias of None left out."""
    given = _varying_alike([x for x in operands if x is not None])
    if len(given) == 3:
        primitive = _WITH_BIAS[primitive]
    return primitive.bind(*given, geometry=geometry, groups=groups, size=size)


def _varying_alike(operands: list[Any]) -> list[Any]:
    """Operands that vary over the same axes of a mesh, which JAX wants inside ``shard_map``."""
    axes = [_varying(x) for x in operands]
    union = frozenset().union(*axes)
    return [_vary(x, tuple(union - own)) for x, own in zip(operands, axes, strict=True)]


def _varying(x: Any) -> frozenset[Any]:
    aval = jax.typeof(x)
    mat = getattr(aval, "mat", None)  # since JAX 0.10; `vma` before
    found: frozenset[Any] = aval.vma if mat is None else mat.varying
    return found


def _vary(x: Any, axes: tuple[Any, ...]) -> Any:
    if not axes:
        return x
    if hasattr(lax, "pcast"):
        return lax.pcast(x, axes, to="varying")
    return lax.pvary(x, axes)  # type: ignore[attr-defined]  # of JAX 0.6 and 0.7


# --- shapes -----------------------------------------------------------------------------------


def _samples(x: Any, w: Any, b: Any = None, *, groups: int, size: Any, **_: Any) -> Any:
    return _like(x, (x.shape[0], w.shape[1] * groups, size))


def _frames(x: Any, w: Any, b: Any = None, *, size: Any, **_: Any) -> Any:
    return _like(x, (x.shape[0], w.shape[0], size))


def _taps(x: Any, gy: Any, *, groups: int, size: Any, **_: Any) -> Any:
    return _like(x, (x.shape[1], gy.shape[1] // groups, size), has_batch=False)


def _like(x: Any, shape: tuple[Any, ...], has_batch: bool = True) -> Any:
    """The type of a result: that of ``x``, cut over devices as its batch is, if it has one."""
    batch = x.sharding.spec[0] if has_batch else None
    sharding = NamedSharding(x.sharding.mesh, PartitionSpec(batch, None, None))
    return x.update(shape=shape, weak_type=False, sharding=sharding)


# --- the primitives -----------------------------------------------------------------------------


def _primitive(
    name: str,
    kinds: Sequence[str],
    kind_of_result: str,
    shape: Callable[..., Any],
    on_cpu: Callable[..., Any],
    elsewhere: Callable[..., Any],
) -> Primitive:
    made = Primitive(f"fracstride_{name}")
    made.def_abstract_eval(shape)
    made.def_impl(partial(_run, made))
    batching.primitive_batchers[made] = partial(batched, made, kinds, kind_of_result)

    def on_this_cpu(*operands: Any, **params: Any) -> Any:
        return (on_cpu if kernels.available() else elsewhere)(*operands, **params)

    mlir.register_lowering(made, mlir.lower_fun(elsewhere, multiple_results=False))
    mlir.register_lowering(
        made, mlir.lower_fun(on_this_cpu, multiple_results=False), platform="cpu"
    )
    return made


def _run(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    with jax.disable_jit(False):  # where it is disabled, this is what is called in its place
        return _compiled(primitive, *params.items())(*operands)


@lru_cache(maxsize=1024)
def _compiled(primitive: Primitive, *params: tuple[str, Any]) -> Any:
    def call(*operands: Any) -> Any:
        return primitive.bind(*operands, **dict(params))

    call.__name__ = call.__qualname__ = primitive.name
    # By this jax_debug_nans sees that there is nothing inside. Else it would call this for ever.
    vars(call)["_apply_primitive"] = True
    return jax.jit(call)


_LAYER = (SIGNAL, WEIGHT)
forward_p = _primitive(
    "conv_transpose1d", _LAYER, SIGNAL, _samples, kernels.forward, fallback.forward
)
input_grad_p = _primitive(
    "conv_transpose1d_input_grad",
    _LAYER,
    SIGNAL,
    _frames,
    kernels.input_grad,
    fallback.input_grad,
)
weight_grad_p = _primitive(
    "conv_transpose1d_weight_grad",
    (SIGNAL, SIGNAL),
    WEIGHT,
    _taps,
    kernels.weight_grad,
    fallback.weight_grad,
)
conv1d_p = _primitive("conv1d", _LAYER, SIGNAL, _frames, kernels.conv1d, fallback.conv1d)


# --- derivatives --------------------------------------------------------------------------------

_T: Callable[..., Any] = forward_p.bind
_C: Callable[..., Any] = input_grad_p.bind
_R: Callable[..., Any] = weight_grad_p.bind


def conv1d_input_grad(gy: Any, w: Any, *, geometry: Any, groups: int, size: Any) -> Any:
    """The input's gradient of a Conv1d: T, with what falls on the padding folded back.

    As :func:`fracstride.conv1d_adjoint` does it, so that both have the same bits.
    """
    gy, w = _varying_alike([gy, w])
    k, s, d = geometry.kernel_size, geometry.stride, geometry.dilation
    left, right = geometry.padding_left, geometry.padding_right
    if geometry.padding_mode == "zeros":
        onto = geometry_of(k, s, (left, right), 0, d, "zeros")
        return _T(gy, w, geometry=onto, groups=groups, size=size)
    dtype = gy.dtype
    if dtype in (jnp.float16, jnp.bfloat16):  # rounded once, after the folding
        gy, w = gy.astype(jnp.float32), w.astype(jnp.float32)
    bare = geometry_of(k, s, 0, 0, d, "zeros")
    padded = _T(gy, w, geometry=bare, groups=groups, size=left + size + right)
    return fold(padded, left, size, geometry.padding_mode).astype(dtype)


def _conv1d_weight_grad(x: Any, gy: Any, *, geometry: Any, groups: int, size: int) -> Any:
    """The weight's: R of the operands the other way round."""
    left, right = geometry.padding_left, geometry.padding_right
    if geometry.padding_mode != "zeros":
        x, left, right = extend(x, left, right, geometry.padding_mode), 0, 0
    onto = geometry_of(size, geometry.stride, (left, right), 0, geometry.dilation, "zeros")
    return _R(gy, x, geometry=onto, groups=groups, size=size)


#: Of each bilinear map, the adjoints in its first and in its second operand. They take the gradient
#: of the result and both operands; of the one that is wanted, JAX knows the shape alone.
_ADJOINTS: dict[Primitive, tuple[Callable[..., Any], Callable[..., Any]]] = {
    forward_p: (
        lambda gy, x, w, size, **to: _C(gy, w, size=x.aval.shape[2], **to),
        lambda gy, x, w, size, **to: _R(x, gy, size=w.aval.shape[2], **to),
    ),
    input_grad_p: (
        lambda x, gy, w, size, **to: _T(x, w, size=gy.aval.shape[2], **to),
        lambda x, gy, w, size, **to: _R(x, gy, size=w.aval.shape[2], **to),
    ),
    weight_grad_p: (
        lambda w, x, gy, size, **to: _C(gy, w, size=x.aval.shape[2], **to),
        lambda w, x, gy, size, **to: _T(x, w, size=gy.aval.shape[2], **to),
    ),
    conv1d_p: (
        lambda gy, x, w, size, **to: conv1d_input_grad(gy, w, size=x.aval.shape[2], **to),
        lambda gy, x, w, size, **to: _conv1d_weight_grad(x, gy, size=w.aval.shape[2], **to),
    ),
}
for _map, _adjoints in _ADJOINTS.items():
    ad.defbilinear(_map, *_adjoints)


# --- with a bias --------------------------------------------------------------------------------


def _with_bias(
    name: str, bilinear: Primitive, shape: Any, on_cpu: Any, elsewhere: Any
) -> Primitive:
    def with_lax(x: Any, w: Any, b: Any, **params: Any) -> Any:
        return elsewhere(x, w, **params) + b[:, None]

    kinds = (*_LAYER, VALUES)
    made = _primitive(f"{name}_with_bias", kinds, SIGNAL, shape, on_cpu, with_lax)
    ad.primitive_jvps[made] = partial(_affine_jvp, made, bilinear)
    ad.primitive_transposes[made] = partial(_affine_transpose, bilinear)
    return made


def _affine_jvp(
    primitive: Primitive,
    bilinear: Primitive,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    **params: Any,
) -> tuple[Any, Any]:
    """``T(dx, w) + T(x, dw) + db``, of the tangents that are not zero by themselves."""
    x, w, _ = primals
    dx, dw, db = tangents
    y = primitive.bind(*primals, **params)
    parts = [] if type(dx) is ad.Zero else [bilinear.bind(dx, w, **params)]
    parts += [] if type(dw) is ad.Zero else [bilinear.bind(x, dw, **params)]
    parts = parts or [jnp.zeros_like(y)]
    parts += [] if type(db) is ad.Zero else [db[:, None]]
    return y, reduce(add, parts)


def _affine_transpose(
    bilinear: Primitive, gy: Any, x: Any, w: Any, b: Any, **params: Any
) -> list[Any]:
    """Of a layer that is linear in the operands that are wanted: a bias, and one of the others.

    (Derivatives do not come here: the rule above leaves maps without a bias.)
    """
    wanted = [ad.is_undefined_primal(operand) for operand in (x, w, b)]
    if type(gy) is ad.Zero:
        pairs = zip((x, w, b), wanted, strict=True)
        return [ad.Zero(operand.aval) if asked else None for operand, asked in pairs]
    of_first, of_second = _ADJOINTS[bilinear]
    return [
        of_first(gy, x, w, **params) if wanted[0] else None,
        of_second(gy, x, w, **params) if wanted[1] else None,
        gy.sum((0, 2)) if wanted[2] else None,
    ]


_WITH_BIAS = {
    forward_p: _with_bias(
        "conv_transpose1d", forward_p, _samples, kernels.forward, fallback.forward
    ),
    conv1d_p: _with_bias("conv1d", conv1d_p, _frames, kernels.conv1d, fallback.conv1d),
}
