"""``show MODEL``: the table of a network."""

from __future__ import annotations

import argparse

from fracstride.commands.arguments import Commands, add_command, add_model, network_of
from fracstride.commands.printing import say

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "show",
        "print the operations of a network: sizes, look-ahead, costs, memory",
        "show decoder.safetensors\nshow voice.onnx --inputs /Mul_7_output_0 --outputs output",
    )
    add_model(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Print the table."""
    say(network_of(given))
