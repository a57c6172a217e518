"""The commands of ``fracstride``, or ``python -m fracstride``.

Each command is a file of its own with ``add(commands)``, which describes its arguments, and a
function that runs it. A command that cannot be done raises; one sentence then says why.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches

import fracstride as fs
from fracstride.commands import bench, convert, draw, installed, show
from fracstride.commands.arguments import BadArgumentError
from fracstride.commands.printing import say_wrong

__all__ = ["main", "parser"]

_EXAMPLES = """\
examples:
  fracstride                                            what is installed
  fracstride draw --kernel-size 4 --stride 2 --padding 1 --length 3
  fracstride show voice.onnx --inputs /Mul_7_output_0 --outputs output
  fracstride bench vocoder.onnx
  fracstride convert vocoder.onnx vocoder.safetensors

`fracstride COMMAND --help` says more, and `python -m fracstride` is the same program.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: those of the command line if None.

    Returns:
        0, or 1 if the command could not be done, or 2 for arguments that do not fit; a sentence on
        standard error says why. (``argparse`` ends the program itself, with 2.)
    """
    given, unknown = parser().parse_known_args(arguments)
    if unknown:
        _refuse(given, unknown[0])
    try:
        given.run(given)
        if sys.stdout is not None:  # it is None where it is closed
            sys.stdout.flush()
    except BadArgumentError as error:
        return _failed(error, 2)
    except BrokenPipeError:  # fracstride show x.onnx | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        return _failed(error, 1)
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """What the commands and their arguments are."""
    parser = argparse.ArgumentParser(
        prog="fracstride",
        description="Transposed convolutions and the networks made of them: pictures, tables, "
        "times and files. Without a command: what is installed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fracstride {fs.__version__}")
    parser.set_defaults(run=installed.run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (draw, show, bench, convert):
        command.add(commands)
    return parser


def _refuse(given: argparse.Namespace, unknown: str) -> None:
    """End the program for an argument that the command does not have."""
    command: argparse.ArgumentParser = given.command if "command" in given else parser()
    options = re.findall(r"--[a-z0-9-]+", command.format_usage())
    near = get_close_matches(unknown.partition("=")[0], options, 1)
    hint = f"did you mean {near[0]}?" if near else f"see `{command.prog} --help`"
    command.error(f"{unknown!r} is no argument: {hint}")


def _failed(error: BaseException, code: int) -> int:
    sentence = " ".join(str(error).split()) or type(error).__name__
    say_wrong(sentence)
    return code
