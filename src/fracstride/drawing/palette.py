"""The colours of pictures, in light and dark.

Taps have the colours of Okabe and Ito, which people who see colours differently can tell apart, in
an order in which neighbours differ in brightness too. Each tap is labelled, so that no picture
depends on its colours.
"""

from __future__ import annotations

__all__ = ["DARK", "LIGHT", "TAPS", "ink_on", "tap_colour"]

#: Fill, and the colour of text on it.
TAPS = (
    ("#0072B2", "#ffffff"),  # blue
    ("#E69F00", "#000000"),  # orange
    ("#009E73", "#000000"),  # green
    ("#F0E442", "#000000"),  # yellow
    ("#D55E00", "#000000"),  # vermilion
    ("#56B4E9", "#000000"),  # sky
    ("#CC79A7", "#000000"),  # purple
    ("#BBBBBB", "#000000"),  # grey
)

#: Colours by role. A role is also the class of what is drawn in it.
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "faint": "#57606a",
    "rule": "#8c959f",
    "band": "#eaeef2",
    "box": "#f6f8fa",
}
DARK = {
    "paper": "#161b22",
    "ink": "#e6edf3",
    "faint": "#a6b0bb",
    "rule": "#768390",
    "band": "#262c36",
    "box": "#1f252e",
}


def tap_colour(tap: int) -> str:
    """The fill of a tap; it repeats after eight."""
    return TAPS[tap % len(TAPS)][0]


def ink_on(tap: int) -> str:
    """The colour of text on it."""
    return TAPS[tap % len(TAPS)][1]
