"""Arguments that several commands have: a model, and the part of it that is meant."""

from __future__ import annotations

import argparse
from typing import Any

import fracstride as fs

__all__ = ["SAVED", "BadArgumentError", "Commands", "add_command", "add_model", "network_of"]

SAVED = ".safetensors"

Commands = Any  # what argparse's add_subparsers returns; it has no public name


class BadArgumentError(Exception):
    """Arguments that do not fit: the message is a sentence."""


def add_command(commands: Commands, name: str, about: str, examples: str) -> Any:
    """The parser of a command, with its examples at the end of its help."""
    lines = "".join(f"\n  fracstride {example}" for example in examples.splitlines())
    return commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"examples:{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model(parser: argparse.ArgumentParser, *, is_optional: bool = False) -> None:
    """A model, and the names of a part of it."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?" if is_optional else None,
        help=f"an ONNX model, or a network that was saved ({SAVED})",
    )
    parser.add_argument("--inputs", nargs="+", metavar="NAME", help="of a part of an ONNX model")
    parser.add_argument("--outputs", nargs="+", metavar="NAME", help="of a part of an ONNX model")


def network_of(given: argparse.Namespace) -> Any:
    """The network of the model that is given.

    Raises:
        BadArgumentError: names of a part of a saved network are given.
        OSError, TypeError, ValueError, ModuleNotFoundError: there is no such network.
    """
    if given.model.endswith(SAVED):
        if given.inputs or given.outputs:
            raise BadArgumentError("--inputs and --outputs are for ONNX models")
        return fs.load(given.model)
    import fracstride.onnx

    return fracstride.onnx.load(given.model, given.inputs, given.outputs)
