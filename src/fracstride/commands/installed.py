"""Without a command: what is installed."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version

import fracstride as fs

__all__ = ["run"]

#: Packages that add something, and what.
_OTHERS = {
    "torch": "fracstride.torch",
    "jax": "fracstride.jax",
    "onnx": "fracstride.onnx, networks from ONNX files",
    "onnxruntime": "what `fracstride bench` compares with",
    "safetensors": "saved networks",
    "ml_dtypes": "bfloat16",
    "rich": "colours of pictures in terminals",
    "resvg-py": "pictures as PNG",
}


def run(given: argparse.Namespace) -> None:
    """Print versions, instruction set, threads, and the packages that add something."""
    fs.show_config()
    print("\nPackages that add something:")
    for name, adds in _OTHERS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "-"
        print(f"  {name:<15}{found:<12}{adds}")
