"""What commands print, whatever a terminal's encoding and whatever names a file has."""

from __future__ import annotations

import sys
from typing import TextIO

from fracstride.drawing.text import printable

__all__ = ["say", "say_wrong"]


def say(text: object) -> None:
    """Print it, without control characters; a sign that the encoding lacks is a ``?``."""
    _write(text, sys.stdout)


def say_wrong(text: object) -> None:
    """The same on standard error."""
    _write(text, sys.stderr)


def _write(text: object, file: TextIO | None) -> None:
    if file is None:  # it is closed
        return
    whole = "\n".join(map(printable, str(text).split("\n")))
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(whole.encode(encoding, "replace").decode(encoding), file=file)
