"""The arithmetic of sizes: integers in, integers out.

A transposed convolution lays its kernel down once per input position and adds up what overlaps.
An input position is a *frame* ``t``, an output position a *sample* ``n``, a kernel position a
*tap* ``m``. With stride ``s``, dilation ``d`` and ``p_l`` samples cropped on the left,

    tap m of frame t lands on sample  n = t*s + m*d - p_l.

Kernel size 4, stride 2, padding 1, three frames::

    frame 0     0 1 2 3
    frame 1         0 1 2 3
    frame 2             0 1 2 3
    uncropped   . . . . . . . .        (L - 1)*s + span + a = 8 samples
    samples       0 1 2 3 4 5          less p_l = p_r = 1: L_out = 6

A kernel covers ``span = d*(k - 1) + 1`` samples; ``a`` samples of output padding are added on the
right before cropping. Near either end, taps of frames that do not exist would land on samples too:
these frames are the *extension*, and the padding mode says what they hold. Every size in the
library comes from this file, which knows nothing but integers.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import gcd
from typing import Any

MAX_SIZE = 2**62  # sums of two sizes still fit the 64-bit integers of the compiled code
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_PADDING_FORMS = "an int, (p,), (left, right), 'valid', 'same' or 'causal'"

__all__ = [
    "MAX_SIZE",
    "PADDING_MODES",
    "Geometry",
    "as_size",
    "conv1d_geometry",
    "conv1d_output_length",
    "conv1d_padding",
    "geometry_of",
    "source_frame",
]


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
    return _fits(name, size)


def _fits(name: str, size: int) -> int:
    if size > MAX_SIZE:
        raise ValueError(f"{name} must be at most 2**62, got {_shown(size)}")
    return size


def _shown(size: int) -> str:  # Python refuses to print ints of more than 4300 digits
    return str(size) if size.bit_length() < 256 else f"an int of {size.bit_length()} bits"


def _one(name: str, value: object, minimum: int) -> int:
    """A size, or a tuple or list of one."""
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ValueError(f"{name} must be one int or a tuple of one, got {value!r}")
        value = value[0]
    return as_size(name, value, minimum)


def _pair(value: object) -> tuple[int, int]:
    """Padding in numbers as ``(left, right)``."""
    if isinstance(value, (tuple, list)):
        if len(value) not in (1, 2):
            raise ValueError(f"padding must be {_PADDING_FORMS}, got {value!r}")
        return as_size("padding", value[0]), as_size("padding", value[-1])
    p = as_size("padding", value)
    return p, p


def _mode(value: object) -> str:
    if isinstance(value, str) and value in PADDING_MODES:
        return PADDING_MODES[PADDING_MODES.index(value)]  # a plain str, whatever subclass came in
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"padding_mode must be one of {', '.join(map(repr, PADDING_MODES))}, got {value!r}")


def source_frame(t: int, L: int, padding_mode: str) -> int | None:
    """The frame in ``[0, L)`` whose value frame ``t`` of the extended input has, or ``None`` for 0.

    ``t`` is any integer, ``L >= 1``; nothing is checked (:meth:`Geometry.source` does that).

    =============  ==============================  =======================
    padding mode   ``1234`` extended by 4 frames   as in
    =============  ==============================  =======================
    ``zeros``      ``0000 1234 0000``              torch
    ``reflect``    ``3432 1234 3212``              ``numpy.pad`` "reflect"
    ``replicate``  ``1111 1234 4444``              ``numpy.pad`` "edge"
    ``circular``   ``1234 1234 1234``              ``numpy.pad`` "wrap"
    =============  ==============================  =======================

    >>> [source_frame(t, 4, "reflect") for t in range(-4, 8)]
    [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
    """
    if 0 <= t < L:
        return t
    if padding_mode == "zeros":
        return None
    if padding_mode == "replicate":
        return 0 if t < 0 else L - 1
    if padding_mode == "circular":
        return t % L
    if L == 1:
        return 0
    period = 2 * (L - 1)  # there and back, neither end twice
    t %= period
    return min(t, period - t)


@dataclass(frozen=True)
class Geometry:
    """The sizes of one transposed convolution, checked and in one form; usable as a key.

    Args:
        kernel_size: taps, ``k >= 1``.
        stride: samples from one frame to the next, ``s >= 1``.
        padding: samples cropped: an int, ``(p,)``, ``(left, right)`` or ``"valid"`` (none), kept as
            ``(left, right)``; or ``"same"`` or ``"causal"``, kept as they are, for
            ``L_out = L*s``: of the ``e = span - s`` samples too many, ``same`` crops ``e//2`` left
            and the rest right, ``causal`` all right. If ``e < 0``, nothing is cropped and ``-e``
            samples of output padding make up for it.
        output_padding: samples added on the right, less than ``max(stride, dilation)``.
        dilation: samples from one tap to the next, ``d >= 1``.
        padding_mode: what frames outside the input hold, see :func:`source_frame`.

    Sizes are ints (NumPy's too, bools not) or tuples of one. A wrong value raises ``ValueError``,
    a wrong type ``TypeError``, and so does, as ``ValueError``, any size beyond ``2**62``.

    >>> g = Geometry(kernel_size=4, stride=2, padding=1)
    >>> g.padding, g.output_length(3), g.input_length(6)
    ((1, 1), 6, 3)
    >>> g.taps(0, 3), g.taps(1, 3)
    ([(0, 1)], [(1, 0), (0, 2)])
    """

    kernel_size: int
    stride: int = 1
    padding: int | Sequence[int] | str = 0
    output_padding: int = 0
    dilation: int = 1
    padding_mode: str = "zeros"

    #: Samples cropped in effect, ``p_l`` and ``p_r``, whatever form ``padding`` has.
    padding_left: int = field(init=False, repr=False, compare=False)
    padding_right: int = field(init=False, repr=False, compare=False)
    #: Output padding in effect, ``a``: with ``same`` and ``causal`` what makes ``L_out = L*s``.
    total_output_padding: int = field(init=False, repr=False, compare=False)
    #: Samples that one kernel covers, ``d*(k - 1) + 1``.
    span: int = field(init=False, repr=False, compare=False)
    #: ``L_out - L*s``, the same for every ``L``; negative where more is cropped.
    overhang: int = field(init=False, repr=False, compare=False)
    #: Frames before 0 and after ``L - 1`` that can land on a sample: the most an extension needs.
    extension_left: int = field(init=False, repr=False, compare=False)
    extension_right: int = field(init=False, repr=False, compare=False)
    #: Samples by which the output of a stream trails ``stride*frames``.
    latency: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        k = _one("kernel_size", self.kernel_size, 1)
        s = _one("stride", self.stride, 1)
        d = _one("dilation", self.dilation, 1)
        a = _one("output_padding", self.output_padding, 0)
        mode = _mode(self.padding_mode)
        span = _fits("dilation*(kernel_size - 1) + 1", d * (k - 1) + 1)
        padding: tuple[int, int] | str
        if not isinstance(self.padding, str) or self.padding == "valid":
            left, right = padding = (0, 0) if self.padding == "valid" else _pair(self.padding)
            if a >= max(s, d):
                raise ValueError(
                    f"output_padding must be less than max(stride, dilation) = {max(s, d)}, got {a}"
                )
        elif self.padding in ("same", "causal"):
            padding = "same" if self.padding == "same" else "causal"
            if a:
                raise ValueError(
                    f"output_padding must be 0 with padding={padding!r}, which makes "
                    f"L_out = L*stride by itself, got {a}"
                )
            excess = span - s
            a = max(0, -excess)
            left = max(0, excess) // 2 if padding == "same" else 0
            right = max(0, excess) - left
        else:
            raise ValueError(f"padding must be {_PADDING_FORMS}, got {self.padding!r}")
        overhang = span - s + a - left - right
        vars(self).update(  # the class is frozen to everyone else
            kernel_size=k,
            stride=s,
            padding=padding,
            output_padding=0 if isinstance(padding, str) else a,
            dilation=d,
            padding_mode=mode,
            padding_left=left,
            padding_right=right,
            total_output_padding=a,
            span=span,
            overhang=overhang,
            # From t*s + m*d == n + p_l: the earliest t has the last tap on sample 0, the latest has
            # tap 0 on sample L_out - 1 == (L - 1)*s - p_l - p_r + d*(k - 1) + a.
            extension_left=max(0, (span - 1 - left) // s),
            extension_right=max(0, (span - 1 - right + a) // s),
            # A later frame reaches down to T*s - p_l; an input ending now has T*s + overhang.
            latency=max(left, -overhang),
        )

    def output_length(self, L: int, output_size: int | Sequence[int] | None = None) -> int:
        """``L_out = (L - 1)*s - p_l - p_r + span + a``, in samples, of ``L`` frames.

        With ``output_size``, that size if some output padding reaches it
        (:meth:`output_padding_for`). ``ValueError`` if no sample is left.

        >>> Geometry(4, stride=2, padding="causal").output_length(10)
        20
        """
        if output_size is not None:
            self.output_padding_for(L, output_size)
            return _last(output_size)
        if type(L) is int and L > 0:
            length = L * self.stride + self.overhang
            if 0 < length <= MAX_SIZE - self.padding_left - self.padding_right:
                return length
        return self._output_length(L, self.total_output_padding)  # or its message

    def _output_length(self, L: int, a: int) -> int:
        L = as_size("input length L", L, 1)
        uncropped = _fits(
            "(L - 1)*stride + dilation*(kernel_size - 1) + 1 + output_padding",
            (L - 1) * self.stride + self.span + a,
        )
        length = L * self.stride + self.overhang + a - self.total_output_padding
        if length <= 0:
            raise ValueError(
                f"input length L must be at least {L - (length - 1) // self.stride}, got {L}: "
                f"padding ({self.padding_left}, {self.padding_right}) crops all of the "
                f"{uncropped} samples"
            )
        return length

    def output_padding_for(self, L: int, output_size: int | Sequence[int]) -> int:
        """The output padding in ``[0, stride)`` that gives ``output_size`` samples.

        ``output_size`` is an int, a tuple of one, or a shape of two or three, of which the last
        entry counts. This geometry's own output padding plays no part. ``ValueError`` with the
        possible range if there is none, and with ``same`` or ``causal`` padding.

        >>> Geometry(3, stride=2, padding=1).output_padding_for(5, (1, 8, 10))
        1
        """
        if isinstance(self.padding, str):
            raise ValueError(
                f"output_size must be None with padding={self.padding!r}, which makes "
                f"L_out = L*stride by itself, got {output_size!r}"
            )
        wanted = _last(output_size)
        largest = self._output_length(L, self.stride - 1)
        a = wanted - (largest - self.stride + 1)
        if not 0 <= a < self.stride:
            raise ValueError(
                f"output_size must be from {max(1, largest - self.stride + 1)} to {largest} "
                f"for input length {L}, got {wanted}"
            )
        return a

    def with_output_size(self, L: int, output_size: int | Sequence[int]) -> Geometry:
        """This geometry with the output padding that makes ``output_size`` samples of ``L`` frames.

        >>> Geometry(3, stride=2, padding=1).with_output_size(5, 10).output_padding
        1
        """
        a = self.output_padding_for(L, output_size)
        return geometry_of(
            self.kernel_size, self.stride, self.padding, a, self.dilation, self.padding_mode
        )

    def input_length(self, L_out: int) -> int:
        """The one ``L`` from which some output padding in ``[0, stride)`` reaches ``L_out``.

        It is what a Conv1d with these arguments makes of length ``L_out``. This geometry's own
        output padding plays no part. ``ValueError`` if there is no such ``L >= 1``.

        >>> Geometry(3, stride=2, padding=1).input_length(10)
        5
        """
        L_out = as_size("output length L_out", L_out, 1)
        pads = (self.padding_left, self.padding_right)
        return conv1d_output_length(L_out, self.kernel_size, self.stride, pads, self.dilation)

    def final_length(self, frames: int) -> int:
        """The samples that are final after so many frames of an input that may go on, or end.

        No later frame can change them, and an input that ends now has them too:
        ``min(T*s - p_l, L_out(T))``, which is ``T*s - latency``, or 0 while that is negative. With
        ``reflect`` it is 0 for as long as the frames that the left edge mirrors are not there.
        Not for ``circular``, where the last frame reaches the first sample. ``frames`` is trusted.

        >>> same = Geometry(4, stride=2, padding="same")
        >>> same.latency, [same.final_length(T) for T in range(4)]
        (1, [0, 1, 3, 5])
        """
        if self.padding_mode == "reflect" and frames <= self.extension_left:
            return 0
        return max(0, frames * self.stride - self.latency)

    def first_kept(self, frames: int) -> int:
        """The first of so many frames that some sample beyond :meth:`final_length` still needs.

        That is what the left end of a stream's memory is; ``frames`` itself if none is needed.

        >>> Geometry(7, padding=3).first_kept(100), Geometry(8, stride=8).first_kept(100)
        (94, 100)
        """
        next_sample = self.final_length(frames) + self.padding_left
        # The earliest frame has its last tap there; a sample between taps counts as its frame's.
        first = min(-((self.span - 1 - next_sample) // self.stride), next_sample // self.stride)
        if self.overhang + self.latency > 0:  # samples are left at the end: the edge is needed
            mirrored = self.extension_right if self.padding_mode == "reflect" else 0
            first = min(first, frames - 1 - mirrored)
        return max(0, min(first, frames))

    def length_at_end(self, frames: int) -> int:
        """The samples of an input that ends after so many frames; 0 where it is too short.

        :meth:`output_length` without its errors. ``frames`` is trusted.

        >>> Geometry(1, padding=2).length_at_end(3), Geometry(1, padding=2).length_at_end(5)
        (0, 1)
        """
        return max(0, frames * self.stride + self.overhang) if frames else 0

    def crop_of_part(self, first_frame: int, first_sample: int) -> int:
        """The ``padding_left`` of a part of a signal, counted from its own first frame and sample.

        Tap ``m`` of frame ``t`` lands on sample ``t*s + m*d - p_l`` of the whole. ``first_frame``
        is at most the first that the sample needs (:meth:`first_kept`). Both are trusted.

        >>> Geometry(4, stride=2, padding=1).crop_of_part(first_frame=9, first_sample=19)
        2
        """
        return first_sample + self.padding_left - first_frame * self.stride

    def of_part(
        self, first_frame: int, frames: int, first_sample: int, samples: int, padding_mode: str
    ) -> Geometry:
        """The geometry that makes so many samples of a part of a signal, given as an input.

        ``padding_mode`` is what the part's own ends are extended by. All is trusted.

        >>> Geometry(4, stride=2, padding=1).of_part(9, 3, 19, 4, "zeros").padding
        (2, 2)
        """
        left = self.crop_of_part(first_frame, first_sample)
        right = (frames - 1) * self.stride + self.span - left - samples
        pads, a = (left, max(0, right)), max(0, -right)
        return geometry_of(self.kernel_size, self.stride, pads, a, self.dilation, padding_mode)

    def frames_of_part(self, L: int, first_sample: int, samples: int) -> tuple[int, int]:
        """The frames ``[start, stop)`` that so many samples are computed from by :meth:`of_part`.

        All that are reached, and where neighbouring samples have no taps, one that is not. Of all
        integers where the padding mode extends the input, of ``[0, L)`` for ``zeros``. All is
        trusted; ``samples >= 1``.

        >>> Geometry(16, stride=8, padding=4).frames_of_part(100, first_sample=400, samples=80)
        (49, 61)
        """
        runs = self.frames_reached(L, first_sample + samples, first_sample)
        # Tap 0 of these two is the last that lands before, or on, the first and the last sample.
        start = (first_sample + self.padding_left) // self.stride
        stop = (first_sample + samples - 1 + self.padding_left) // self.stride + 1
        if runs:
            start, stop = min(start, runs[0][0]), max(stop, runs[-1][1])
        if self.padding_mode != "zeros":
            return start, stop
        start = min(start, L - 1)
        return start, max(min(stop, L), start + 1)

    def samples_of_frames(self, first: int, stop: int) -> tuple[int, int]:
        """The samples ``[start, stop)`` that take no tap of any frame outside ``[first, stop)``.

        Of all integers, and none if ``start >= stop``. All is trusted.

        >>> Geometry(16, stride=8, padding=4).samples_of_frames(50, 60)
        (404, 476)
        """
        return (first - 1) * self.stride + self.span - self.padding_left, (
            stop * self.stride - self.padding_left
        )

    def source(self, t: int, L: int) -> int | None:
        """The frame in ``[0, L)`` that frame ``t``, any integer, is a copy of; ``None`` for 0.

        >>> Geometry(3, padding_mode="replicate").source(-2, 4)
        0
        """
        return source_frame(operator.index(t), as_size("input length L", L, 1), self.padding_mode)

    def taps(self, n: int, L: int) -> list[tuple[int, int]]:
        """``[(frame, tap), ...]`` that sample ``n`` is the sum of, by rising tap.

        Extended frames appear as the frames in ``[0, L)`` that they copy; extension zeros are
        absent. ``ValueError`` unless ``0 <= n < L_out``.

        >>> Geometry(3).taps(0, 2), Geometry(3, padding_mode="circular").taps(0, 2)
        ([(0, 0)], [(0, 0), (1, 1), (0, 2)])
        """
        length = self.output_length(L)
        if as_size("sample n", n) >= length:
            raise ValueError(f"sample n must be less than L_out = {length}, got {n}")
        L, n = operator.index(L), operator.index(n)
        # Solve t*s + m*d == n + p_l for t and m: m*d == n + p_l modulo s. If g = gcd(d, s) does not
        # divide n + p_l, no tap does; else every (s/g)-th, while the frame falls by d/g each time.
        g = gcd(self.dilation, self.stride)
        target, rest = divmod(n + self.padding_left, g)
        s, d = self.stride // g, self.dilation // g
        if rest:
            return []
        first = target * pow(d, -1, s) % s
        latest = (target - first * d) // s
        start, stop = 0, max(0, -((first - self.kernel_size) // s))
        if self.padding_mode == "zeros":  # 0 <= latest - j*d < L
            start, stop = max(start, -((L - 1 - latest) // d)), min(stop, latest // d + 1)
        pairs = ((latest - j * d, first + j * s) for j in range(start, stop))
        sources = ((source_frame(t, L, self.padding_mode), m) for t, m in pairs)
        return [(t, m) for t, m in sources if t is not None]

    def frames_reached(
        self, L: int, output_length: int, first_sample: int = 0
    ) -> tuple[tuple[int, int], ...]:
        """The frames of which some tap lands on a sample in ``[first_sample, output_length)``.

        Sorted disjoint intervals ``[start, stop)``: of all integers where the padding mode extends
        the input, of ``[0, L)`` for ``zeros``. Strides can leave gaps: frames that nothing hears.

        >>> Geometry(2, padding=1, padding_mode="circular").frames_reached(5, output_length=6)
        ((0, 7),)
        >>> Geometry(2, stride=2, dilation=6).frames_reached(9, output_length=3)
        ((0, 2),)
        >>> Geometry(16, stride=8, padding=4).frames_reached(100, 480, first_sample=400)
        ((49, 61),)
        """
        L = as_size("input length L", L, 1)
        stop, start = as_size("output_length", output_length), as_size("first_sample", first_sample)
        return _frames_reached(self, L, start, stop)


@lru_cache(maxsize=256)
def _frames_reached(
    g: Geometry, L: int, first_sample: int, output_length: int
) -> tuple[tuple[int, int], ...]:
    s, d, last = g.stride, g.dilation, g.kernel_size - 1

    def reach(early: int, late: int) -> tuple[int, int]:
        """Frames t with first_sample + p_l - early*d <= t*s < output_length + p_l - late*d."""
        start = -((early * d - g.padding_left - first_sample) // s)
        return start, (output_length + g.padding_left - late * d - 1) // s + 1

    if output_length - first_sample >= d:  # no gap between one tap's t*s and the next's: one run
        runs = [reach(last, 0)]
    else:
        runs = []
        for m in range(last, -1, -1):  # both ends rise as m falls
            start, stop = reach(m, m)
            if start >= stop:
                continue
            if runs and start <= runs[-1][1]:
                start = runs.pop()[0]
            runs.append((start, stop))
    if g.padding_mode == "zeros":
        runs = [(max(start, 0), min(stop, L)) for start, stop in runs]
    return tuple((start, stop) for start, stop in runs if start < stop)


def _last(output_size: object) -> int:
    if isinstance(output_size, (tuple, list)):
        if not 1 <= len(output_size) <= 3:
            raise ValueError(
                f"output_size must be an int, (L_out,) or a full shape, got {output_size!r}"
            )
        output_size = output_size[-1]
    return as_size("output_size", output_size, 1)


def geometry_of(
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    padding_mode: Any,
) -> Geometry:
    """``Geometry(...)``, remembered from call to call.

    >>> geometry_of(4, 2, 1, 0, 1, "zeros") is geometry_of(4, 2, 1, 0, 1, "zeros")
    True
    """
    # True == 1 with the same hash, in tuples too: only exact types may meet the cache.
    if (
        (type(padding) in _PLAIN or _plain(padding))
        and (type(kernel_size) is int or _plain(kernel_size))
        and (type(stride) is int or _plain(stride))
        and (type(output_padding) is int or _plain(output_padding))
        and (type(dilation) is int or _plain(dilation))
        and type(padding_mode) is str
    ):
        return _cached(kernel_size, stride, padding, output_padding, dilation, padding_mode)
    return Geometry(kernel_size, stride, padding, output_padding, dilation, padding_mode)


_PLAIN = (int, str)
_cached = lru_cache(maxsize=1024)(Geometry)


def _plain(value: object) -> bool:
    return type(value) is tuple and all(type(entry) is int for entry in value)


def conv1d_padding(
    padding: int | Sequence[int] | str, kernel_size: int, stride: int = 1, dilation: int = 1
) -> tuple[int, int]:
    """The padding of a *Conv1d* as frames ``(left, right)`` added to its input.

    An int, ``(p,)``, ``(left, right)``, ``"valid"`` (none), ``"same"`` (``d*(k - 1)`` in all, the
    odd one on the right as in torch, stride 1 only) or ``"causal"`` (``d*(k - 1)`` on the left).
    ``TypeError`` or ``ValueError`` for anything else.

    >>> conv1d_padding("same", kernel_size=4), conv1d_padding("causal", kernel_size=4)
    ((1, 2), (3, 0))
    """
    k, s = _one("kernel_size", kernel_size, 1), _one("stride", stride, 1)
    total = _one("dilation", dilation, 1) * (k - 1)
    if not isinstance(padding, str):
        return _pair(padding)
    _fits("dilation*(kernel_size - 1)", total)
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return total, 0
    if padding != "same":
        raise ValueError(f"padding must be {_PADDING_FORMS}, got {padding!r}")
    if s != 1:
        raise ValueError(f"stride must be 1 for a Conv1d with padding='same', got {s}")
    return total // 2, total - total // 2


def conv1d_output_length(
    length: int,
    kernel_size: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    name: str = "length",
) -> int:
    """What a *Conv1d* makes of ``length``: ``(length + left + right - span)//stride + 1``.

    ``ValueError`` if the kernel does not fit into the padded input once; ``name`` is what its
    message calls the length. Sizes are trusted.

    >>> conv1d_output_length(10, kernel_size=3, stride=2, padding=(1, 1), dilation=1)
    5
    """
    span = dilation * (kernel_size - 1) + 1
    padded = _fits("the length with its padding", length + padding[0] + padding[1])
    if padded < span:
        raise ValueError(
            f"{name} must be at least {span - padding[0] - padding[1]} for a kernel that spans "
            f"{span} with padding {padding}, got {length}"
        )
    return (padded - span) // stride + 1


def conv1d_geometry(
    kernel_size: Any,
    padding: int | Sequence[int] | str = 0,
    dilation: Any = 1,
    padding_mode: str = "zeros",
) -> Geometry:
    """The transposed convolution that a stride-1 *Conv1d* is, with taps flipped, channels swapped.

    Tap ``m`` of a Conv1d reads frame ``n + m*d - left``; flipped, it is tap ``k - 1 - m`` of frame
    ``t = n + m*d - left``, so ``p_l = d*(k - 1) - left``. More than ``d*(k - 1)`` is a
    ``ValueError``: samples that no tap reaches.

    >>> conv1d_geometry(4, "causal").padding
    (0, 3)
    """
    left, right = conv1d_padding(padding, kernel_size, 1, dilation)
    most = Geometry(kernel_size, dilation=dilation).span - 1
    if max(left, right) > most:
        raise ValueError(
            f"padding of a Conv1d must be at most dilation*(kernel_size - 1) = {most} on a side, "
            f"got ({left}, {right})"
        )
    return Geometry(
        kernel_size,
        padding=(most - left, most - right),
        dilation=dilation,
        padding_mode=padding_mode,
    )
