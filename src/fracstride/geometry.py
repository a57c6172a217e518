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
these frames are the *extension*, and the padding mode says what they hold
(:mod:`fracstride.extension`). Every size in the library comes from this file, which knows nothing
but integers, or from the files that it is the base of: ``part_geometry.py`` (parts of a signal) and
``conv1d_geometry.py`` (the convolution whose adjoint this is).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

from fracstride.arguments import (
    MAX_SIZE,
    PADDING_FORMS,
    are_plain,
    as_size,
    check_fits,
    known_mode,
    last_size,
    one_size,
    padding_pair,
)
from fracstride.extension import MODES, source_frame
from fracstride.lengths import (
    check_no_output_size,
    conv1d_output_length,
    output_length,
    output_padding_for,
)
from fracstride.reach import frames_reaching, taps_reaching

__all__ = ["Geometry", "geometry_of"]


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
        padding_mode: what frames outside the input hold, see :mod:`fracstride.extension`.

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

    is_transposed: ClassVar[bool] = True  #: Conv1dGeometry is not
    #: Samples cropped in effect, ``p_l`` and ``p_r``, whatever form ``padding`` has.
    padding_left: int = field(init=False, repr=False, compare=False)
    padding_right: int = field(init=False, repr=False, compare=False)
    #: Output padding in effect, ``a``: with ``same`` and ``causal`` what makes ``L_out = L*s``.
    total_output_padding: int = field(init=False, repr=False, compare=False)
    #: Samples that one kernel covers, ``d*(k - 1) + 1``.
    span: int = field(init=False, repr=False, compare=False)
    #: ``L_out - L*s``, the same for every ``L``; negative where more is cropped.
    overhang: int = field(init=False, repr=False, compare=False)
    #: The overhang without output padding, ``overhang - a``.
    bare_overhang: int = field(init=False, repr=False, compare=False)
    #: Frames before 0 and after ``L - 1`` that can land on a sample: the most an extension needs.
    extension_left: int = field(init=False, repr=False, compare=False)
    extension_right: int = field(init=False, repr=False, compare=False)
    #: ``mirrored(extension_left)`` and ``mirrored(extension_right)`` of the padding mode.
    mirrored_left: int = field(init=False, repr=False, compare=False)
    mirrored_right: int = field(init=False, repr=False, compare=False)
    #: Samples of latency: after ``T`` frames a stream has given ``T*s - latency`` samples.
    latency: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        k = one_size("kernel_size", self.kernel_size, 1)
        s = one_size("stride", self.stride, 1)
        d = one_size("dilation", self.dilation, 1)
        a = one_size("output_padding", self.output_padding, 0)
        mode = known_mode(self.padding_mode)
        span = check_fits("dilation*(kernel_size - 1) + 1", d * (k - 1) + 1)
        padding: tuple[int, int] | str
        if not isinstance(self.padding, str) or self.padding == "valid":
            left, right = padding = padding_pair(self.padding)
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
            raise ValueError(f"padding must be {PADDING_FORMS}, got {self.padding!r}")
        bare_overhang = span - s - left - right
        overhang = bare_overhang + a
        # The outermost frames of frames_reached(L, L_out), or beyond them where L_out < d. They do
        # not depend on L. (A test compares both: test_extensions_reach_as_far_as_frames_reached.)
        # From t*s + m*d == n + p_l: the earliest t has the last tap on sample 0, the latest has
        # tap 0 on sample L_out - 1 == (L - 1)*s - p_l - p_r + d*(k - 1) + a.
        before, after = max(0, (span - 1 - left) // s), max(0, (span - 1 - right + a) // s)
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
            bare_overhang=bare_overhang,
            extension_left=before,
            extension_right=after,
            mirrored_left=MODES[mode].mirrored(before),
            mirrored_right=MODES[mode].mirrored(after),
            # A later frame reaches down to T*s - p_l; an input ending now has T*s + overhang.
            latency=max(left, -overhang),
        )

    @property
    def rate(self) -> Fraction:
        """Samples per frame: the stride."""
        return Fraction(self.stride)

    def output_length(self, L: int, output_size: int | Sequence[int] | None = None) -> int:
        """``L_out = (L - 1)*s - p_l - p_r + span + a``, in samples, of ``L`` frames.

        With ``output_size``, that size if some output padding reaches it
        (:meth:`output_padding_for`). ``ValueError`` if no sample is left.

        >>> Geometry(4, stride=2, padding="causal").output_length(10)
        20
        """
        if output_size is not None:
            self.output_padding_for(L, output_size)
            return last_size(output_size)
        if type(L) is int and L > 0:
            length = L * self.stride + self.overhang  # lengths.output_length, without a call
            if 0 < length <= MAX_SIZE - self.padding_left - self.padding_right:
                return length
        return self._output_length(L, self.total_output_padding)  # which says what is wrong

    def _output_length(self, L: int, a: int) -> int:
        L = as_size("input length L", L, 1)
        length = int(output_length(L, self.stride, self.bare_overhang + a))
        uncropped = check_fits(
            "(L - 1)*stride + dilation*(kernel_size - 1) + 1 + output_padding",
            length + self.padding_left + self.padding_right,
        )
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
        check_no_output_size(self.padding, output_size)
        wanted = last_size(output_size)
        self._output_length(L, self.stride - 1)  # the largest, or what is wrong with L
        return int(output_padding_for(operator.index(L), wanted, self.stride, self.bare_overhang))

    def with_output_size(self, L: int, output_size: int | Sequence[int]) -> Geometry:
        """This geometry with the output padding that makes ``output_size`` samples of ``L`` frames.

        >>> Geometry(3, stride=2, padding=1).with_output_size(5, 10).output_padding
        1
        """
        a = self.output_padding_for(L, output_size)
        return geometry_of(
            self.kernel_size, self.stride, self.padding, a, self.dilation, self.padding_mode
        )

    def with_unchecked_output_padding(self, a: Any) -> Geometry:
        """This geometry with another output padding, which may be a symbol of a graph.

        It has no ``extension_right``, ``mirrored_right`` and ``latency``: they need a comparison
        with the symbol.
        """
        other = copy(self)
        overhang = self.bare_overhang + a
        vars(other).update(output_padding=a, total_output_padding=a, overhang=overhang)
        del vars(other)["extension_right"], vars(other)["mirrored_right"], vars(other)["latency"]
        return other

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
        ``min(T*s - p_l, L_out(T))``, which is ``T*s - latency``, or 0 while that is negative. It is
        0, too, until the frames that the left edge mirrors are there. Only for padding modes that
        stream. ``frames`` is trusted.

        >>> same = Geometry(4, stride=2, padding="same")
        >>> same.latency, [same.final_length(T) for T in range(4)]
        (1, [0, 1, 3, 5])
        """
        if frames <= self.mirrored_left:
            return 0
        return max(0, frames * self.stride - self.latency)

    def first_kept(self, frames: int) -> int:
        """Index of the first of the ``frames`` received that later samples still need.

        (Those from :meth:`final_length` on.) ``frames`` itself if none is needed.

        >>> Geometry(7, padding=3).first_kept(100), Geometry(8, stride=8).first_kept(100)
        (94, 100)
        """
        # The start of frames_of_part from that sample on, which a stream asks for at every push: in
        # closed form (tests/streaming/test_layer.py: test_geometry_of_streams).
        # The earliest frame needed has its last tap on the sample. Where no tap lands on it, the
        # frame before it counts.
        next_sample = self.final_length(frames) + self.padding_left
        first = min(-((self.span - 1 - next_sample) // self.stride), next_sample // self.stride)
        if self.overhang + self.latency > 0:  # samples are left at the end: the edge is needed
            first = min(first, frames - 1 - self.mirrored_right)
        return max(0, min(first, frames))

    def length_at_end(self, frames: int) -> int:
        """The samples of an input that ends after so many frames; 0 where it is too short.

        :meth:`output_length` without its errors. ``frames`` is trusted.

        >>> Geometry(1, padding=2).length_at_end(3), Geometry(1, padding=2).length_at_end(5)
        (0, 1)
        """
        return max(0, int(output_length(frames, self.stride, self.overhang))) if frames else 0

    def crop_of_part(self, first_frame: int, first_sample: int) -> int:
        """The ``padding_left`` of a part of a signal, counted from its own first frame and sample.

        ``first_frame`` is at most the first that the sample needs (:meth:`first_kept`). Both are
        trusted.

        >>> Geometry(4, stride=2, padding=1).crop_of_part(first_frame=9, first_sample=19)
        2
        """
        return first_sample + self.padding_left - first_frame * self.stride

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
        within = (0, L) if self.padding_mode == "zeros" else None
        pairs = taps_reaching(
            n + self.padding_left, self.kernel_size, self.stride, self.dilation, within
        )
        sources = ((source_frame(t, L, self.padding_mode), m) for t, m in pairs)
        return [(t, m) for t, m in sources if t is not None]

    def frames_reached(
        self, L: int, output_length: int, first_sample: int = 0
    ) -> tuple[tuple[int, int], ...]:
        """The frames of which some tap lands on a sample in ``[first_sample, output_length)``.

        Sorted disjoint intervals ``[start, stop)``: of all integers where the padding mode extends
        the input, of ``[0, L)`` for ``zeros``. Strides can leave gaps: frames that reach no sample.

        >>> Geometry(2, padding=1, padding_mode="circular").frames_reached(5, output_length=6)
        ((0, 7),)
        >>> Geometry(2, stride=2, dilation=6).frames_reached(9, output_length=3)
        ((0, 2),)
        >>> Geometry(16, stride=8, padding=4).frames_reached(100, 480, first_sample=400)
        ((49, 61),)
        """
        L = as_size("input length L", L, 1)
        stop, start = as_size("output_length", output_length), as_size("first_sample", first_sample)
        p, within = self.padding_left, (0, L) if self.padding_mode == "zeros" else None
        return frames_reaching(
            start + p, stop + p, self.kernel_size, self.stride, self.dilation, within
        )

    def edges(self, L: int, output_length: int) -> tuple[int, ...]:
        """The frames outside ``[0, L)`` of which some tap lands on a sample of the output.

        As the compiled kernels take them: ``start, stop`` of each interval, one after the other,
        in rising order. None for ``zeros``.

        >>> Geometry(4, padding=(1, 0), padding_mode="reflect").edges(5, output_length=7)
        (-2, 0, 5, 8)
        """
        if self.padding_mode == "zeros":
            return ()
        flat: list[int] = []
        for start, stop in self.frames_reached(L, output_length):
            flat += (start, min(stop, 0)) if start < 0 else ()
            flat += (max(start, L), stop) if stop > L else ()
        return tuple(flat)


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
    if are_plain(kernel_size, stride, padding, dilation, padding_mode, output_padding):
        return _cached(kernel_size, stride, padding, output_padding, dilation, padding_mode)
    return Geometry(kernel_size, stride, padding, output_padding, dilation, padding_mode)


_cached = lru_cache(maxsize=1024)(Geometry)
