"""SVG, written element by element.

Colours are attributes, so that every program shows them, and classes, whose style is another one
where the reader's pages are dark.
"""

from __future__ import annotations

from hashlib import sha256
from xml.sax.saxutils import escape, quoteattr

from fracstride.drawing.palette import DARK, LIGHT
from fracstride.drawing.text import printable

__all__ = ["FONT", "Canvas"]

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


class Canvas:
    """The elements of a picture, in the order in which they are painted."""

    def __init__(self) -> None:
        self._elements: list[str] = []

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "none",
        stroke: str = "none",
        dash: str = "",
        radius: float = 4,
        title: str = "",
    ) -> None:
        """A rectangle. Colours are roles of the palette, or colours."""
        attributes = _place(x=x, y=y, width=width, height=height, rx=radius)
        inner = f"<title>{_escaped(title)}</title>" if title else ""
        self._add("rect", attributes + _paint(fill, stroke, dash), inner)

    def line(
        self, *points: tuple[float, float], stroke: str, width: float = 1, dash: str = ""
    ) -> None:
        """A line through points."""
        path = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        attributes = f' points="{path}" stroke-width="{_number(width)}" stroke-linejoin="round"'
        self._add("polyline", attributes + _paint("none", stroke, dash))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        fill: str = "ink",
        anchor: str = "start",
        size: float = 13,
        bold: bool = False,
    ) -> None:
        """A line of text on the base line ``y``."""
        attributes = _place(x=x, y=y) + _paint(fill, "none", "")
        attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
        attributes += f' font-size="{_number(size)}"' if size != 13 else ""
        attributes += ' font-weight="bold"' if bold else ""
        self._add("text", attributes, _escaped(text))

    def _add(self, name: str, attributes: str, inner: str = "") -> None:
        self._elements.append(
            f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes}/>"
        )

    def document(
        self, width: float, height: float, title: str, description: str, *, themes: bool = True
    ) -> str:
        """The picture. With ``themes`` it has dark colours for those who ask for them."""
        body = "\n".join(self._elements)
        name = "fs" + sha256((body + description).encode("utf-8", "replace")).hexdigest()[:8]
        style = f"<style>{_style()}</style>\n" if themes else ""
        size = f'width="{_number(width)}" height="{_number(height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
            f'viewBox="0 0 {_number(width)} {_number(height)}" role="img" '
            f'aria-labelledby="{name}-title {name}-text" font-family={quoteattr(FONT)} '
            f'font-size="13">\n<title id="{name}-title">{_escaped(title)}</title>\n'
            f'<desc id="{name}-text">{_escaped(description)}</desc>\n{style}'
            f'<rect width="100%" height="100%" rx="6"{_paint("paper", "none", "")}/>\n'
            f"{body}\n</svg>\n"
        )


def _style() -> str:
    rules = "".join(
        f".fs-fill-{role}{{fill:{colour}}}.fs-stroke-{role}{{stroke:{colour}}}"
        for role, colour in DARK.items()
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"


def _paint(fill: str, stroke: str, dash: str) -> str:
    classes = [f"fs-fill-{fill}"] if fill in LIGHT else []
    classes += [f"fs-stroke-{stroke}"] if stroke in LIGHT else []
    attributes = f' class="{" ".join(classes)}"' if classes else ""
    attributes += f' fill="{LIGHT.get(fill, fill)}"'
    attributes += f' stroke="{LIGHT.get(stroke, stroke)}"' if stroke != "none" else ""
    return attributes + (f' stroke-dasharray="{dash}"' if dash else "")


def _place(**values: float) -> str:
    return "".join(f' {name}="{_number(value)}"' for name, value in values.items() if value)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _escaped(text: str) -> str:
    return escape("\n".join(map(printable, text.split("\n"))))
