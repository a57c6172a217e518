"""What a padding mode is: what the frames before and after the input hold.

A transposed convolution reads frames past both ends of its input. They are its *extension*, and
each is either zero or a copy of a frame of the input. This table is the only place that says which,
and what follows from it: the rest of the library asks :data:`MODES`.

To add a mode, add a line to :data:`MODES`, with the next number. Then add the same function of
integers to its twins in the languages that cannot call Python: ``native/extension.hpp`` (C++),
``fracstride/torch/gpu/extension.py`` (Triton) and ``fracstride/torch/extension.py`` (tensors, for
graphs whose length is a symbol). Name the mode in the docstrings that list all of them, in the
picture below and in that of ``README.md``. The tests take their modes from this table; they fail
for each of these places that is forgotten.

=============  ==============================  =======================
padding mode   ``1234`` extended by 4 frames   as in
=============  ==============================  =======================
``zeros``      ``0000 1234 0000``              torch
``reflect``    ``3432 1234 3212``              ``numpy.pad`` "reflect"
``replicate``  ``1111 1234 4444``              ``numpy.pad`` "edge"
``circular``   ``1234 1234 1234``              ``numpy.pad`` "wrap"
=============  ==============================  =======================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "MODES",
    "PADDING_MODES",
    "STREAMING_MODES",
    "PaddingMode",
    "check_numbers",
    "source_frame",
    "streamed",
]


@dataclass(frozen=True)
class PaddingMode:
    """One padding mode.

    >>> MODES["reflect"].picture, MODES["reflect"].mirrored(3), MODES["replicate"].mirrored(3)
    ('3432 1234 3212', 3, 0)
    """

    #: What users call it.
    name: str
    #: What the compiled kernels call it.
    number: int
    #: ``1234`` extended by four frames on each side.
    picture: str
    #: The frame in ``[0, L)`` that frame ``t`` outside it is a copy of; None for zero.
    source: Callable[[int, int], int | None]
    #: ``mirrored(n)``: how far from the edge frame an extension of ``n`` frames reads. 0: the edge
    #: frame alone.
    mirrored: Callable[[int], int] = lambda frames: 0
    #: Why a stream cannot have this mode, as the end of a sentence; empty where it can.
    obstacle: str = ""

    @property
    def streams(self) -> bool:
        """Whether the extension on the left can be known before the input has ended."""
        return not self.obstacle


def _zeros(t: int, L: int) -> int | None:
    return None


def _reflect(t: int, L: int) -> int:
    if L == 1:
        return 0
    period = 2 * (L - 1)  # there and back, neither end twice
    t %= period
    return min(t, period - t)


def _replicate(t: int, L: int) -> int:
    return 0 if t < 0 else L - 1


def _circular(t: int, L: int) -> int:
    return t % L


#: The padding modes by name, in the order of their numbers.
MODES = {
    mode.name: mode
    for mode in (
        PaddingMode("zeros", 0, "0000 1234 0000", _zeros),
        PaddingMode("reflect", 1, "3432 1234 3212", _reflect, mirrored=lambda frames: frames),
        PaddingMode("replicate", 2, "1111 1234 4444", _replicate),
        PaddingMode(
            "circular",
            3,
            "1234 1234 1234",
            _circular,
            obstacle="its first samples are made of the last frames, which a stream does not have "
            "yet",
        ),
    )
}
#: Their names.
PADDING_MODES = tuple(MODES)
#: The names of those that can stream.
STREAMING_MODES = tuple(name for name, mode in MODES.items() if mode.streams)


def source_frame(t: int, L: int, padding_mode: str) -> int | None:
    """The frame in ``[0, L)`` whose value frame ``t`` of the extended input has, or ``None`` for 0.

    ``t`` is any integer, ``L >= 1``; nothing is checked (:meth:`fracstride.Geometry.source` does
    that).

    >>> [source_frame(t, 4, "reflect") for t in range(-4, 8)]
    [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
    """
    return t if 0 <= t < L else MODES[padding_mode].source(t, L)


def streamed() -> str:
    """The modes that can stream, for messages.

    >>> streamed()
    "'zeros', 'reflect' or 'replicate'"
    """
    *others, last = map(repr, STREAMING_MODES)
    return f"{', '.join(others)} or {last}"


def check_numbers(names: tuple[str, ...] | list[str]) -> None:
    """Raise ``ImportError`` unless the compiled module has these modes under these numbers.

    ``names`` are those of the compiled module, in the order of its numbers.
    """
    if tuple(names) != PADDING_MODES:
        raise ImportError(
            "fracstride's compiled module was built from other sources than its Python files: its "
            f"padding modes are {', '.join(names)}, theirs {', '.join(PADDING_MODES)}"
        )
