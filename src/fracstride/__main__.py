"""``python -m fracstride``: what is installed; ``show FILE``: the table of a model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import fracstride as fs

SAVED = ".safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1 if it cannot be done, after a sentence that says why."""
    parser = argparse.ArgumentParser(prog="python -m fracstride", description=__doc__)
    commands = parser.add_subparsers(dest="command", title="commands")
    show = commands.add_parser(
        "show",
        help="print the table of a network, or of an ONNX model",
        description="Print the operations of a network: sizes, look-ahead, costs, memory.",
        epilog="python -m fracstride show voice.onnx --inputs /Mul_7_output_0 --outputs output",
    )
    show.add_argument("file", help=f"a network that was saved ({SAVED}), or an ONNX model")
    show.add_argument("--inputs", nargs="+", metavar="NAME", help="of a part of an ONNX model")
    show.add_argument("--outputs", nargs="+", metavar="NAME", help="of a part of an ONNX model")
    given = parser.parse_args(arguments)
    if given.command is None:
        fs.show_config()
        return 0
    try:
        print(_network(given.file, given.inputs, given.outputs))
    except (ModuleNotFoundError, OSError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _network(file: str, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> object:
    if file.endswith(SAVED):
        if inputs or outputs:
            raise ValueError("--inputs and --outputs are for ONNX models")
        return fs.load(file)
    import fracstride.onnx

    return fracstride.onnx.load(file, inputs, outputs)


if __name__ == "__main__":
    sys.exit(main())
