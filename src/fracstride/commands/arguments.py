"""Arguments that several commands have: a model, and the part of it that is meant."""

from __future__ import annotations

import argparse
import os
from typing import Any

import fracstride as fs

__all__ = [
    "SAVED",
    "BadArgumentError",
    "Commands",
    "add_command",
    "add_model",
    "check_stem",
    "is_saved",
    "network_of",
]

SAVED = ".safetensors"

Commands = Any  # what argparse's add_subparsers returns; it has no public name


class BadArgumentError(Exception):
    """Arguments that do not fit: the message is a sentence."""


def add_command(commands: Commands, name: str, about: str, examples: str) -> Any:
    """The parser of a command, with its examples at the end of its help."""
    lines = "".join(f"\n  fracstride {example}" for example in examples.splitlines())
    command = commands.add_parser(
        name,
        allow_abbrev=False,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"examples:{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=command)
    return command


def add_model(parser: argparse.ArgumentParser, *, is_optional: bool = False) -> None:
    """A model, and the names of a part of it."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?" if is_optional else None,
        help=f"an ONNX model, or a network that was saved ({SAVED})",
    )
    parser.add_argument(
        "--inputs",
        nargs="+",
        metavar="NAME",
        help="names of values at which the part of the ONNX model begins",
    )
    parser.add_argument(
        "--outputs",
        nargs="+",
        metavar="NAME",
        help="names of values at which the part of the ONNX model ends",
    )


def is_saved(model: str) -> bool:
    """Whether it is the name of a saved network."""
    return model.lower().endswith(SAVED)


def check_stem(path: str) -> None:
    """Refuse a name that is a suffix alone, such as ``.svg``."""
    if path.endswith(("/", os.sep)) or os.path.basename(path).rfind(".") <= 0:
        raise BadArgumentError(f"FILE must have a name before its suffix, got {path!r}")


def network_of(given: argparse.Namespace) -> Any:
    """The network of the model that is given.

    Raises:
        BadArgumentError: names of a part of a saved network are given.
        OSError, TypeError, ValueError, ModuleNotFoundError: there is no such network.
    """
    if os.path.isdir(given.model):
        raise BadArgumentError(f"{given.model!r} is a directory")
    if is_saved(given.model):
        if given.inputs or given.outputs:
            raise BadArgumentError("--inputs and --outputs are for ONNX models")
        return fs.load(given.model)
    import fracstride.onnx

    return fracstride.onnx.load(given.model, given.inputs, given.outputs)
