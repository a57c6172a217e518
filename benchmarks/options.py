"""Options of the command line that several benchmarks have: layers, threads, time."""

from __future__ import annotations

import argparse
import time
from typing import Any

import draws
import layers
import timing


def parser_of(description: str | None, seconds: float) -> argparse.ArgumentParser:
    """A parser with the options that every timed comparison has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--layers", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument(
        "--random",
        type=int,
        metavar="N",
        help=f"N layers drawn at random instead, by kind: {', '.join(draws.KINDS)}",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random layers")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for every candidate")
    parser.add_argument("--seconds", type=float, default=seconds, help="of timing, about")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the time of the process, not of the clock on the wall: for one thread on a "
        "machine that others use",
    )
    return parser


def parsed(parser: argparse.ArgumentParser) -> Any:
    """The arguments, with the layers themselves, the ``cores`` of the process, and the ``clock``.

    Freed memory stays with the process from here on, as :mod:`timing` explains.
    """
    arguments = parser.parse_args()
    if arguments.cpu_time and arguments.threads > 1:
        parser.error("--cpu-time counts the time of all threads: it needs --threads 1")
    arguments.clock = time.process_time if arguments.cpu_time else time.perf_counter
    try:
        arguments.layers = layers.load(arguments.layers)
        if arguments.random is not None:
            arguments.layers = draws.draw(arguments.random, arguments.seed)
        arguments.cores = timing.pin(arguments.threads)
    except ValueError as error:
        parser.error(str(error))
    timing.keep_freed_memory()
    return arguments
