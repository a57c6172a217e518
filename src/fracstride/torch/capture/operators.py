"""What the operators of torch are to a recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fracstride.torch.capture.called import Called, written_names

__all__ = [
    "SHAPE_ONLY",
    "UNINITIALISED",
    "changes_nothing",
    "depends_on_values",
    "functional_form",
    "hidden_writes",
    "is_identity",
    "is_metadata",
    "is_random",
]

# The result has the values of the argument, where dtype and shape are the same.
_IDENTITIES = frozenset(
    [
        "aten.alias",
        "aten.alias_copy",
        "aten.alpha_dropout",
        "aten.clone",
        "aten.contiguous",
        "aten.detach",
        "aten.detach_copy",
        "aten.dropout",
        "aten.feature_alpha_dropout",
        "aten.feature_dropout",
        "aten.lift",
        "aten.lift_fresh",
        "aten.lift_fresh_copy",
        "aten.positive",
        "aten.resolve_conj",
        "aten.resolve_neg",
        "aten.to",
        "aten._to_copy",
        "aten.type_as",
    ]
)
# The result does not depend on the values of the argument.
UNINITIALISED = frozenset(
    [
        "aten.empty",
        "aten.empty_like",
        "aten.empty_strided",
        "aten.empty_permuted",
        "aten.new_empty",
        "aten.new_empty_strided",
    ]
)
SHAPE_ONLY = UNINITIALISED | frozenset(
    [
        "aten.full_like",
        "aten.new_full",
        "aten.new_ones",
        "aten.new_zeros",
        "aten.ones_like",
        "aten.zeros_like",
    ]
)
# Operators that give no tensor, and look at sizes and dtypes only.
_METADATA = frozenset(
    [
        "aten.can_cast",
        "aten.dense_dim",
        "aten.dim",
        "aten.is_complex",
        "aten.is_floating_point",
        "aten.is_inference",
        "aten.is_nonzero_size",
        "aten.is_pinned",
        "aten.is_same_size",
        "aten.is_signed",
        "aten.numel",
        "aten.result_type",
        "aten.size",
        "aten.storage_offset",
        "aten.stride",
        "aten.sym_numel",
        "aten.sym_size",
        "aten.sym_storage_offset",
        "aten.sym_stride",
        "aten._has_compatible_shallow_copy_type",
        "aten.is_conj",
        "aten.is_neg",
        "aten.output_nr",
        "aten.is_leaf",
        "aten._version",
        "aten._nnpack_available",
        "aten._use_cudnn_rnn_flatten_weight",
    ]
)
# Operators whose result has a shape that depends on values, and that torch does not tag as such:
# the argument that decides. An index depends on them where it is a mask.
_SHAPED_BY = {
    "aten.nonzero_numpy": "self",
    "aten.one_hot": "self",
    "aten.repeat_interleave": "repeats",
    "aten.tensor_split": "tensor_indices_or_sections",
    "aten.narrow": "start",
    "aten._pack_padded_sequence": "lengths",
    "aten._pad_packed_sequence": "batch_sizes",
    "aten.is_nonzero": "self",
}
_INDEXED = frozenset(["aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_"])
_DEPENDS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
# Operators that write to these arguments without saying so in their schema.
_NORMS = frozenset(
    [
        "aten.batch_norm",
        "aten.instance_norm",
        "aten.native_batch_norm",
        "aten._batch_norm_impl_index",
        "aten.cudnn_batch_norm",
        "aten.miopen_batch_norm",
        "aten._native_batch_norm_legit",
    ]
)
_ABSENT = object()


def is_identity(call: Called, result: Tensor) -> bool:
    """Whether the result has the values of the first tensor argument, bit for bit."""
    if call.packet not in _IDENTITIES:
        return False
    source = call.bound[call.first]
    return bool(
        result.dtype == source.dtype
        and result.shape == source.shape
        and result.is_conj() == source.is_conj()
        and result.is_neg() == source.is_neg()
    )


def changes_nothing(call: Called) -> bool:
    """Whether a call that writes, writes what is there."""
    return call.packet.endswith("dropout_") and call.bound.get("train") is False


def hidden_writes(call: Called) -> list[Tensor]:
    """The arguments that it writes to, though its schema does not say so."""
    if call.packet not in _NORMS:
        return []
    if not (call.bound.get("training") or call.bound.get("use_input_stats")):
        return []
    names = ("running_mean", "running_var")
    return [call.bound[name] for name in names if isinstance(call.bound.get(name), Tensor)]


def is_random(call: Called) -> bool:
    """Whether the call draws random numbers."""
    bound = call.bound
    if isinstance(bound.get("generator"), torch.Generator):
        return True
    if torch.Tag.nondeterministic_seeded not in call.func.tags:
        return False
    if any(bound.get(switch) is False for switch in ("train", "training")):
        return False
    for share in ("dropout_p", "dropout"):
        if share in bound:
            return bool(bound[share])
    return bool(bound["p"]) if call.packet.endswith("dropout") and "p" in bound else True


def depends_on_values(call: Called, live: Callable[[Tensor], bool]) -> bool:
    """Whether Python, or the shape of a result, would depend on the values of live tensors."""
    bound = call.bound
    if call.packet in _INDEXED:
        return any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) and live(index)
            for index in bound["indices"] or ()
        )
    if call.packet == "aten.where":
        return "other" not in bound
    if call.packet == "aten.one_hot" and bound["num_classes"] != -1:
        return False
    if call.packet in _SHAPED_BY:
        decisive = bound.get(_SHAPED_BY[call.packet])
        return isinstance(decisive, Tensor) and live(decisive)
    return any(tag in call.func.tags for tag in _DEPENDS)


def is_metadata(call: Called) -> bool:
    """Whether the operator looks at sizes and dtypes only, and gives no tensor."""
    return call.packet in _METADATA or call.operator.startswith("prim.")


def functional_form(func: Any) -> Any | None:
    """The operator without side effects that computes what this one writes, or None."""
    namespace, _, name = func._schema.name.partition("::")
    targets = set(written_names(func))
    arguments = func._schema.arguments
    wanted = [(a.name, str(a.type)) for a in arguments if a.name not in targets or not a.kwarg_only]
    family = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    if family is None:
        return None
    forms = [getattr(family, overload) for overload in family.overloads()]
    forms.sort(key=lambda form: form._schema.overload_name != func._schema.overload_name)
    for form in forms:
        if not written_names(form) and wanted == [
            (a.name, str(a.type)) for a in form._schema.arguments
        ]:
            return form
    return None
