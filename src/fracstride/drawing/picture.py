"""A picture: as SVG, as a file, in a notebook, as text."""

from __future__ import annotations

import os
import shutil
import sys
from abc import ABC, abstractmethod
from html import escape
from pathlib import Path
from typing import Any

from fracstride.drawing.svg import FONT
from fracstride.drawing.text import Lines, coloured, plain

__all__ = ["Picture"]

_WIDTH = 100  # characters, where no terminal says how wide it is
_LEAST_WIDTH = 40
_TRIAL = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20" '
    f'font-family="{FONT}"><text y="16">{{}}</text></svg>'
)
_SCALE = 2  # pixels of a PNG for each of the SVG


class Picture(ABC):
    """What :func:`fracstride.draw` returns.

    A notebook shows it; ``str`` is its form for terminals, in which ``rich`` prints it in colours;
    :meth:`save` writes it to a file.
    """

    @abstractmethod
    def svg(self, *, themes: bool = True) -> str:
        """The picture as SVG, with a title and a description for screen readers.

        Args:
            themes: whether it has dark colours for readers whose system asks for dark pages.
        """

    @property
    @abstractmethod
    def title(self) -> str:
        """What it shows, in a line."""

    @abstractmethod
    def lines(self, width: int) -> Lines:
        """The picture as text, of about so many characters in a line."""

    def text(self, width: int = _WIDTH, encoding: str = "utf-8") -> str:
        """The picture as text.

        Args:
            width: characters of a line; a picture that is too wide is shown in parts.
            encoding: of whoever shows it. Where it has no box drawing, the picture is in ASCII.

        >>> from fracstride import Geometry, draw
        >>> print(draw(Geometry(2, stride=2), L=2).text(encoding="ascii"))
        ConvTranspose1d: kernel_size=2, stride=2
        2 frames make 4 samples: tap m of frame t lands on sample 2*t + m
        <BLANKLINE>
        frame 0 x0  w0 w1
        frame 1 x1        w0 w1
                   ------------
        samples     y0 y1 y2 y3
        phase        0  1  0  1
        <BLANKLINE>
        phase 0: w0; phase 1: w1
        """
        return plain(self.lines(width), encoding)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file.

        Args:
            path: ends with ``.svg``, ``.png`` (needs resvg-py) or ``.txt``.

        Raises:
            ValueError: it ends otherwise.
            ModuleNotFoundError: resvg-py is not installed.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind == ".svg":
            path.write_text(self.svg(), encoding="utf-8")
        elif kind == ".png":
            path.write_bytes(_png(self.svg(themes=False)))
        elif kind == ".txt":
            path.write_text(self.text() + "\n", encoding="utf-8")
        else:
            raise ValueError(f"path must end with .svg, .png or .txt, got {str(path)!r}")

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        words = f"<details><summary>as text</summary><pre>{escape(self.text())}</pre></details>"
        return f'<figure style="margin:0;overflow-x:auto">{self.svg()}{words}</figure>'

    def __rich__(self) -> Any:
        return coloured(self.lines(_terminal_width()), _encoding())

    def __repr__(self) -> str:
        return f"<picture of {self.title}>"

    def __str__(self) -> str:
        return self.text(_terminal_width(), _encoding())


def _encoding() -> str:
    """Of what is printed."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _terminal_width() -> int:
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size((_WIDTH, 0)).columns if is_terminal else _WIDTH
    return max(_LEAST_WIDTH, width)


def _png(svg: str) -> bytes:
    try:
        from resvg_py import svg_to_bytes
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a PNG needs the package resvg-py: pip install 'fracstride[draw]'"
        ) from None
    empty, letter = (_TRIAL.format(text) for text in ("", "x"))
    if svg_to_bytes(svg_string=empty) == svg_to_bytes(svg_string=letter):
        raise OSError("a PNG needs a font, and none is installed: on Debian, fonts-dejavu-core")
    return bytes(svg_to_bytes(svg_string=svg, zoom=_SCALE))
