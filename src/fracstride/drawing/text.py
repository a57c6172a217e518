"""Text with styles: plain, in ASCII, or in colours by rich."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from fracstride.drawing.palette import TAPS

__all__ = ["Lines", "Span", "coloured", "plain", "printable"]

_ASCII = str.maketrans(
    {
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
        "\N{BOX DRAWINGS LIGHT VERTICAL}": "|",
        "\N{BOX DRAWINGS LIGHT DOWN AND RIGHT}": "+",
        "\N{BOX DRAWINGS LIGHT UP AND RIGHT}": "+",
        "\N{BOX DRAWINGS LIGHT VERTICAL AND RIGHT}": "+",
        "\N{DOWNWARDS ARROW}": "v",
        "\N{HORIZONTAL ELLIPSIS}": ":",
        "\N{VERTICAL ELLIPSIS}": ":",
    }
)


@dataclass(frozen=True)
class Span:
    """Some text in one style: ``"bold"``, ``"dim"``, ``"tap0"`` to ``"tap7"`` or none."""

    text: str
    style: str = ""


Lines: TypeAlias = list[list[Span]]


def printable(text: str) -> str:
    """The text without control characters, which names in a file from elsewhere may have.

    >>> printable("conv" + chr(27) + "[2J") == "conv" + chr(0xFFFD) + "[2J"
    True
    """
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def plain(lines: Lines, encoding: str | None = None) -> str:
    """The text alone; in ASCII where the encoding lacks a sign."""
    lines = _fitting(lines, encoding)
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def _fitting(lines: Lines, encoding: str | None) -> Lines:
    lines = [[Span(printable(span.text), span.style) for span in line] for line in lines]
    try:
        "".join(span.text for line in lines for span in line).encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return [[Span(_in_ascii(span.text), span.style) for span in line] for line in lines]
    return lines


def _in_ascii(text: str) -> str:
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def coloured(lines: Lines, encoding: str | None = None) -> Any:
    """The text in colours, as rich prints it; in ASCII where the encoding lacks a sign."""
    from rich.text import Text

    # Letters on the colour can be read on terminals of any background.
    styles = {f"tap{n}": f"{ink} on {fill}" for n, (fill, ink) in enumerate(TAPS)}
    text = Text(no_wrap=True, overflow="ignore", end="\n")
    for number, line in enumerate(_fitting(lines, encoding)):
        text.append("\n" if number else "")
        for span in line:
            text.append(span.text, styles.get(span.style, span.style))
    return text
