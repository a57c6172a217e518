"""``draw``: the picture of a layer or of a network."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import fracstride as fs
from fracstride.commands.arguments import (
    BadArgumentError,
    Commands,
    add_command,
    add_model,
    check_stem,
    network_of,
)
from fracstride.drawing import Picture
from fracstride.extension import PADDING_MODES

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "draw",
        "print the picture of a layer or of a network, or write it to a file",
        "draw --kernel-size 4 --stride 2 --padding 1 --length 3\n"
        "draw --kernel-size 3 --stride 2 --dilation 2 --padding-mode reflect\n"
        "draw --conv1d --kernel-size 5 --padding causal --output layer.svg\n"
        "draw decoder.safetensors --output decoder.png",
    )
    add_model(parser, is_optional=True)
    layer = parser.add_argument_group("a layer, in place of a model")
    layer.add_argument("--kernel-size", type=int, metavar="K", help="taps")
    layer.add_argument("--conv1d", action="store_true", help="a Conv1d; else a ConvTranspose1d")
    layer.add_argument("--stride", type=int, metavar="S", help="1 if not given")
    layer.add_argument(
        "--padding",
        nargs="+",
        metavar="P",
        help="one number, or two for left and right, or valid, same or causal; 0 if not given",
    )
    layer.add_argument("--output-padding", type=int, metavar="A", help="0 if not given")
    layer.add_argument("--dilation", type=int, metavar="D", help="1 if not given")
    layer.add_argument(
        "--padding-mode", metavar="MODE", help=f"{', '.join(PADDING_MODES)}; zeros if not given"
    )
    layer.add_argument(
        "--length", type=int, metavar="L", help="frames of the input; a few if not given"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write .svg, .png or .txt instead")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Print the picture, or write it."""
    picture = fs.draw(network_of(given)) if _is_model(given) else _layer(given)
    if given.output is None:
        _show(picture)
        return
    if not given.output.lower().endswith((".svg", ".png", ".txt")):
        raise BadArgumentError(f"FILE must end with .svg, .png or .txt, got {given.output!r}")
    check_stem(given.output)
    picture.save(given.output)


def _is_model(given: argparse.Namespace) -> bool:
    names = ("kernel_size", "stride", "padding", "output_padding", "dilation", "padding_mode")
    options = [name for name in (*names, "length") if getattr(given, name) is not None]
    options += ["conv1d"] if given.conv1d else []
    if given.model is not None:
        if options:
            option = options[0].replace("_", "-")
            raise BadArgumentError(f"--{option} is for a layer, and MODEL is given too")
        return True
    if given.inputs or given.outputs:
        raise BadArgumentError("--inputs and --outputs are for ONNX models")
    if given.kernel_size is None:
        raise BadArgumentError("draw needs --kernel-size K of a layer, or a MODEL")
    return False


def _layer(given: argparse.Namespace) -> Picture:
    options: dict[str, Any] = {"kernel_size": given.kernel_size}
    for name in ("stride", "dilation", "padding_mode", "output_padding"):
        if getattr(given, name) is not None:
            options[name] = getattr(given, name)
    if given.padding is not None:
        options["padding"] = _padding(given.padding)
    if given.conv1d and given.output_padding is not None:
        raise BadArgumentError("--output-padding is for a ConvTranspose1d, and --conv1d is given")
    try:
        geometry = fs.Conv1dGeometry(**options) if given.conv1d else fs.Geometry(**options)
        return fs.draw(geometry, given.length)
    except (TypeError, ValueError) as error:
        raise BadArgumentError(str(error)) from None


def _padding(words: Sequence[str]) -> Any:
    """``1``, ``1 2`` or ``same``."""
    if len(words) == 1 and not words[0].lstrip("-").isdigit():
        return words[0]
    try:
        sizes = tuple(int(word) for word in words)
    except ValueError:
        raise BadArgumentError(
            "--padding must be one number, two numbers, valid, same or causal, "
            f"got {' '.join(words)}"
        ) from None
    return sizes[0] if len(sizes) == 1 else sizes


def _show(picture: Picture) -> None:
    """Print it: in colours in a terminal, if rich is installed and NO_COLOR is not set."""
    if sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        try:
            from rich.console import Console
        except ModuleNotFoundError:
            pass
        else:
            Console().print(picture, soft_wrap=True)
            return
    print(picture)
