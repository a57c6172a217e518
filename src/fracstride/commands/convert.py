"""``convert MODEL FILE``: a model as a saved network."""

from __future__ import annotations

import argparse
from pathlib import Path

from fracstride.commands.arguments import (
    SAVED,
    BadArgumentError,
    Commands,
    add_command,
    add_model,
    check_stem,
    network_of,
)
from fracstride.commands.printing import say

__all__ = ["add", "run"]

_DTYPES = ("float32", "float64", "float16", "bfloat16")


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "convert",
        "write a model to a file that fracstride.load reads without a framework",
        "convert vocoder.onnx vocoder.safetensors\n"
        "convert vocoder.onnx half.safetensors --dtype bfloat16",
    )
    add_model(parser)
    parser.add_argument("file", metavar="FILE", help=f"what is written, {SAVED}")
    parser.add_argument("--dtype", choices=_DTYPES, help="of the network; as the model has it")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Write the file, and say what it holds."""
    if not given.file.endswith(SAVED):
        raise BadArgumentError(f"FILE must end with {SAVED}, got {given.file!r}")
    check_stem(given.file)
    network = network_of(given)
    if given.dtype is not None:
        network = network.astype(given.dtype)
    network.save(given.file)
    size = Path(given.file).stat().st_size
    say(f"{given.file}: {network!r}, {size / 1e6:.3g} MB")
