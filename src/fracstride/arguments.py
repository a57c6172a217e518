"""What users may write for a size, a padding or a padding mode, and the errors for anything else.

Each function takes an argument as it came and returns it in one form, or raises a ``ValueError``
(``TypeError`` for a wrong type) that names the argument, what it got and what would be right.
"""

from __future__ import annotations

import operator

from fracstride.extension import PADDING_MODES

__all__ = [
    "MAX_SIZE",
    "PADDING_FORMS",
    "are_plain",
    "as_size",
    "check_fits",
    "known_mode",
    "last_size",
    "one_size",
    "padding_pair",
]

MAX_SIZE = 2**62  # sums of two sizes still fit the 64-bit integers of the compiled code
PADDING_FORMS = "an int, (p,), (left, right), 'valid', 'same' or 'causal'"


def as_size(name: str, value: object, minimum: int = 0) -> int:
    """``value`` as a plain int of at least ``minimum`` and at most ``2**62``.

    Whatever has ``__index__`` is an integer (NumPy's are), bools excepted. Raises ``TypeError``
    for anything else and ``ValueError`` for an int out of range; ``name`` is for the message.

    >>> as_size("groups", 4, minimum=1)
    4
    >>> as_size("groups", 0, minimum=1)
    Traceback (most recent call last):
    ValueError: groups must be a positive int, got 0
    """
    wanted = {0: "a non-negative int", 1: "a positive int"}.get(minimum, f"an int >= {minimum}")
    if type(value).__name__ in ("bool", "bool_"):  # Python's and NumPy's, which 1.26 calls bool_
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    try:
        size = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be {wanted}, got {value!r}") from None
    if size < minimum:
        raise ValueError(f"{name} must be {wanted}, got {_shown(size)}")
    return check_fits(name, size)


def check_fits(name: str, size: int) -> int:
    """The size itself if it is at most ``2**62``, else ``ValueError``."""
    if size > MAX_SIZE:
        raise ValueError(f"{name} must be at most 2**62, got {_shown(size)}")
    return size


def _shown(size: int) -> str:  # Python refuses to print ints of more than 4300 digits
    return str(size) if size.bit_length() < 256 else f"an int of {size.bit_length()} bits"


def are_plain(
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    padding_mode: object,
    output_padding: object = 0,
) -> bool:
    """Whether these are of ints and strings and nothing else, and so may be a key of a cache.

    (``True == 1`` with the same hash, in tuples too: only exact types may meet the cache.)

    >>> are_plain(3, (2,), "same", 1, "zeros"), are_plain(3, 2, (0, True), 1, "zeros")
    (True, False)
    """
    return (
        (type(padding) is str or type(padding) is int or _plain(padding))
        and (type(kernel_size) is int or _plain(kernel_size))
        and (type(stride) is int or _plain(stride))
        and (type(dilation) is int or _plain(dilation))
        and (type(output_padding) is int or _plain(output_padding))
        and type(padding_mode) is str
    )


def _plain(value: object) -> bool:
    return type(value) is tuple and all(type(entry) is int for entry in value)


def one_size(name: str, value: object, minimum: int) -> int:
    """A size, or a tuple or list of one.

    >>> one_size("stride", (2,), 1)
    2
    """
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ValueError(f"{name} must be one int or a tuple of one, got {value!r}")
        value = value[0]
    return as_size(name, value, minimum)


def last_size(output_size: object) -> int:
    """The wanted length: an int, ``(L_out,)`` or the last entry of a shape of two or three.

    >>> last_size((1, 8, 10))
    10
    """
    if isinstance(output_size, (tuple, list)):
        if not 1 <= len(output_size) <= 3:
            raise ValueError(
                f"output_size must be an int, (L_out,) or a full shape, got {output_size!r}"
            )
        output_size = output_size[-1]
    return as_size("output_size", output_size, 1)


def padding_pair(value: object) -> tuple[int, int]:
    """Padding in numbers, or ``"valid"``, as ``(left, right)``.

    >>> padding_pair(1), padding_pair((1, 2)), padding_pair("valid")
    ((1, 1), (1, 2), (0, 0))
    """
    if isinstance(value, str) and value == "valid":
        return 0, 0
    if isinstance(value, (tuple, list)):
        if len(value) not in (1, 2):
            raise ValueError(f"padding must be {PADDING_FORMS}, got {value!r}")
        return as_size("padding", value[0]), as_size("padding", value[-1])
    p = as_size("padding", value)
    return p, p


def known_mode(value: object) -> str:
    """The name of a padding mode, as a plain str whatever subclass came in."""
    if isinstance(value, str) and value in PADDING_MODES:
        return PADDING_MODES[PADDING_MODES.index(value)]
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"padding_mode must be one of {', '.join(map(repr, PADDING_MODES))}, got {value!r}")
