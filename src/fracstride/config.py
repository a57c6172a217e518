"""Versions, instruction set, and the number of threads."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from fracstride._load import native
from fracstride.arguments import as_size

__all__ = ["config", "get_num_threads", "set_num_threads", "show_config"]

_MOST_THREADS = 1024  # more is a mistake; twin of most_threads in threads.cpp


def get_num_threads() -> int:
    """The threads that a call may use: as :func:`set_num_threads` set them, else OpenMP's choice.

    It is 1 without OpenMP, and in a process forked from one that had threads, since the child has
    none of them.

    >>> get_num_threads() >= 1
    True
    """
    return native.get_num_threads()


def set_num_threads(n: int) -> None:
    """Let a call use up to ``n`` threads (1 to 1024). The results keep their bits.

    Small calls stay on one thread whatever ``n`` is. More threads than cores are of no use. If the
    system refuses to start so many, calls use fewer.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    n = as_size("n", n, 1)
    if n > _MOST_THREADS:
        raise ValueError(f"n must be at most {_MOST_THREADS} threads, got {n}")
    native.set_num_threads(n)


def config() -> dict[str, Any]:
    """Versions and settings as a dictionary; :func:`show_config` prints them.

    >>> config()["isa"] in config()["isa_available"]
    True
    """
    return {
        "version": native.version,
        "isa": native.instruction_set(),
        "isa_available": native.available_instruction_sets(),
        "isa_built": native.built_instruction_sets(),
        "threads": get_num_threads(),
        "openmp": native.has_openmp(),
        "compiler": native.compiler.strip(),  # Clang ends its version with a space
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def show_config() -> None:
    """Print versions, instruction set and threads: what a bug report should begin with."""
    c = config()
    lower = [name for name in c["isa_available"] if name != c["isa"]]
    for key, value in {
        "fracstride": c["version"],
        "instruction set": f"{c['isa']} (FRACSTRIDE_ISA forces one of: "
        f"{', '.join([*lower, c['isa']])})",
        "threads": f"{c['threads']}" if c["openmp"] else "1 (built without OpenMP)",
        "compiler": c["compiler"],
        "numpy": c["numpy"],
        "python": f"{c['python']} on {c['machine']}",
    }.items():
        print(f"{key + ':':<17}{value}")
