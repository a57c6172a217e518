"""ONNX by torch's exporter of today, which loads its operators once for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import pytest
from installed import torch


@cache
def _operators(find: Callable[[], list[Any]]) -> tuple[Any, ...]:
    return tuple(find())


def export_by_dynamo(module: Any, inputs: tuple[Any, ...], *file: Any, **options: Any) -> Any:
    """``torch.onnx.export(..., dynamo=True)``.

    For each export torch reads the sources of 500 operators again, which takes longer than to
    export a layer.
    """
    registration = import_module("torch.onnx._internal.exporter._registration")
    library = registration.onnxscript_apis
    find = library.get_torchlib_ops
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "get_torchlib_ops", lambda: list(_operators(find)))
        return torch.onnx.export(module, inputs, *file, dynamo=True, verbose=False, **options)
