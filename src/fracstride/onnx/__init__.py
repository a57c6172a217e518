"""Networks from ONNX files: :func:`load`. Needs the package onnx."""

from __future__ import annotations

try:
    import onnx as _onnx  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "onnx":
        raise
    raise ModuleNotFoundError(
        "fracstride.onnx needs the package onnx: pip install 'fracstride[onnx]'", name="onnx"
    ) from None

from fracstride.onnx.load import load

__all__ = ["load"]
