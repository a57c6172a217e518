"""The sizes of a *Conv1d*, whose adjoint the transposed convolution is.

With stride ``s``, dilation ``d`` and ``p_l`` frames of padding on the left,

    sample t is the sum of tap m times frame  n = t*s + m*d - p_l.

It is the equation of :mod:`fracstride.geometry` with *frame* and *sample* in each other's place.
Frames before 0 and after ``L - 1`` are the padding, and the padding mode says what they hold
(:mod:`fracstride.extension`). Kernel size 4, stride 2, padding 1, six frames::

    padded      p 0 1 2 3 4 5 p        L + p_l + p_r = 8 frames
    sample 0    0 1 2 3
    sample 1        0 1 2 3
    sample 2            0 1 2 3        L_out = (8 - span)//s + 1 = 3
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias, TypeVar

from fracstride.arguments import (
    MAX_SIZE,
    PADDING_FORMS,
    are_plain,
    as_size,
    check_fits,
    known_mode,
    one_size,
    padding_pair,
)
from fracstride.extension import MODES, source_frame
from fracstride.geometry import Geometry, geometry_of
from fracstride.lengths import conv1d_output_length

__all__ = [
    "AnyGeometry",
    "Conv1dGeometry",
    "GeometryType",
    "conv1d_geometry_of",
    "conv1d_padding",
    "geometry_of_conv1d",
]


@dataclass(frozen=True)
class Conv1dGeometry:
    """The sizes of one *Conv1d*, checked and in one form; usable as a key.

    Args:
        kernel_size: taps, ``k >= 1``.
        stride: frames from one sample to the next, ``s >= 1``.
        padding: frames added: an int, ``(p,)``, ``(left, right)`` or ``"valid"`` (none), kept as
            ``(left, right)``; or ``"same"`` (``d*(k - 1)`` in all, the odd one on the right as in
            torch, stride 1 only) or ``"causal"`` (``d*(k - 1)`` on the left), kept as they are.
        dilation: frames from one tap to the next, ``d >= 1``.
        padding_mode: what the frames added hold, see :mod:`fracstride.extension`.

    Sizes are ints (NumPy's too, bools not) or tuples of one. A wrong value raises ``ValueError``,
    a wrong type ``TypeError``, and so does, as ``ValueError``, any size beyond ``2**62``.

    >>> g = Conv1dGeometry(kernel_size=4, stride=2, padding=1)
    >>> g.padding, g.output_length(6)
    ((1, 1), 3)
    >>> g.taps(0, 6), g.taps(1, 6)
    ([(0, 1), (1, 2), (2, 3)], [(1, 0), (2, 1), (3, 2), (4, 3)])
    """

    kernel_size: int
    stride: int = 1
    padding: int | Sequence[int] | str = 0
    dilation: int = 1
    padding_mode: str = "zeros"

    is_transposed: ClassVar[bool] = False  #: Geometry is
    #: Frames added in effect, ``p_l`` and ``p_r``, whatever form ``padding`` has.
    padding_left: int = field(init=False, repr=False, compare=False)
    padding_right: int = field(init=False, repr=False, compare=False)
    #: Frames that one kernel covers, ``d*(k - 1) + 1``.
    span: int = field(init=False, repr=False, compare=False)
    #: ``mirrored(p_l)`` and ``mirrored(p_r)`` of the padding mode.
    mirrored_left: int = field(init=False, repr=False, compare=False)
    mirrored_right: int = field(init=False, repr=False, compare=False)
    #: Samples of latency: after ``T`` frames a stream has given at least ``T/s - latency``.
    latency: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        k = one_size("kernel_size", self.kernel_size, 1)
        s = one_size("stride", self.stride, 1)
        d = one_size("dilation", self.dilation, 1)
        mode = known_mode(self.padding_mode)
        span = check_fits("dilation*(kernel_size - 1) + 1", d * (k - 1) + 1)
        left, right = conv1d_padding(self.padding, k, s, d)
        padding: tuple[int, int] | str = left, right
        if isinstance(self.padding, str) and self.padding != "valid":
            padding = "same" if self.padding == "same" else "causal"
        vars(self).update(  # the class is frozen to everyone else
            kernel_size=k,
            stride=s,
            padding=padding,
            dilation=d,
            padding_mode=mode,
            padding_left=left,
            padding_right=right,
            span=span,
            mirrored_left=MODES[mode].mirrored(left),
            mirrored_right=MODES[mode].mirrored(right),
            # The most of T/s - floor((T + p_l - span)/s) - 1, which is (span - 1 - p_l)/s, as a
            # whole number.
            latency=max(0, -((left - span + 1) // s)),
        )

    @property
    def rate(self) -> Fraction:
        """Samples per frame: ``1/s``."""
        return Fraction(1, self.stride)

    def output_length(self, L: int) -> int:
        """``L_out = floor((L + p_l + p_r - span)/s) + 1``, in samples, of ``L`` frames.

        ``ValueError`` if the kernel does not fit into the padded input once.

        >>> Conv1dGeometry(4, stride=2, padding="causal").output_length(10)
        5
        """
        if type(L) is int and L > 0:
            padded = L + self.padding_left + self.padding_right
            if self.span <= padded <= MAX_SIZE:
                return (padded - self.span) // self.stride + 1
        L, pads = as_size("input length L", L, 1), (self.padding_left, self.padding_right)
        k, s, d = self.kernel_size, self.stride, self.dilation
        return conv1d_output_length(L, k, s, pads, d, name="input length L")

    def length_at_end(self, frames: int) -> int:
        """The samples of an input that ends after so many frames; 0 where it is too short.

        :meth:`output_length` without its errors. ``frames`` is trusted.

        >>> Conv1dGeometry(3).length_at_end(2), Conv1dGeometry(3).length_at_end(3)
        (0, 1)
        """
        padded = frames + self.padding_left + self.padding_right
        return max(0, (padded - self.span) // self.stride + 1) if frames else 0

    def final_length(self, frames: int) -> int:
        """The samples that are final after so many frames of an input that may go on, or end.

        Their last tap is on a frame received: ``floor((T + p_l - span)/s) + 1``, or 0 while that is
        negative. It is 0, too, without any frame, and until the frames that the left edge mirrors
        are there. Only for padding modes that stream. ``frames`` is trusted.

        >>> halves = Conv1dGeometry(4, stride=2, padding=1)
        >>> halves.latency, [halves.final_length(T) for T in range(7)]
        (1, [0, 0, 0, 1, 1, 2, 2])
        """
        if frames <= self.mirrored_left:
            return 0
        return max(0, (frames + self.padding_left - self.span) // self.stride + 1)

    def first_kept(self, frames: int) -> int:
        """Index of the first of the ``frames`` received that later samples still need.

        (Those from :meth:`final_length` on.) ``frames`` itself if none is needed.

        >>> Conv1dGeometry(7, padding=3).first_kept(100), Conv1dGeometry(8, 8).first_kept(96)
        (94, 96)
        """
        first = self.final_length(frames) * self.stride - self.padding_left
        if self.padding_right:  # made of the frames up to the last, whenever that comes
            first = min(first, frames - 1 - self.mirrored_right)
        return max(0, min(first, frames))

    def crop_of_part(self, first_frame: int, first_sample: int) -> int:
        """The ``padding_left`` of a part of a signal, counted from its own first frame and sample.

        Negative where the sample reads no tap of the first frames of the part: they are skipped.
        Both are trusted.

        >>> Conv1dGeometry(4, stride=2, padding=1).crop_of_part(first_frame=9, first_sample=5)
        0
        """
        return self.padding_left + first_frame - first_sample * self.stride

    def source(self, t: int, L: int) -> int | None:
        """The frame in ``[0, L)`` that frame ``t``, any integer, is a copy of; ``None`` for 0.

        >>> Conv1dGeometry(3, padding_mode="replicate").source(-2, 4)
        0
        """
        return source_frame(operator.index(t), as_size("input length L", L, 1), self.padding_mode)

    def taps(self, n: int, L: int) -> list[tuple[int, int]]:
        """``[(frame, tap), ...]`` that sample ``n`` is the sum of, by rising tap.

        Frames of the padding appear as the frames in ``[0, L)`` that they copy; zeros are absent.
        ``ValueError`` unless ``0 <= n < L_out``.

        >>> Conv1dGeometry(3, padding=1, padding_mode="circular").taps(0, 4)
        [(3, 0), (0, 1), (1, 2)]
        """
        length = self.output_length(L)
        if as_size("sample n", n) >= length:
            raise ValueError(f"sample n must be less than L_out = {length}, got {n}")
        L, first = operator.index(L), operator.index(n) * self.stride - self.padding_left
        d, taps = self.dilation, range(self.kernel_size)
        if self.padding_mode == "zeros":  # 0 <= first + m*d < L
            taps = range(max(0, -(first // d)), min(self.kernel_size, -((first - L) // d)))
        pairs = ((source_frame(first + m * d, L, self.padding_mode), m) for m in taps)
        return [(t, m) for t, m in pairs if t is not None]

    def transposed(self, L: int) -> Geometry:
        """The transposed convolution that is the adjoint of this Conv1d of ``L`` frames of zeros.

        From its samples to its frames, with the same weight. Another padding mode leaves the
        gradient of the padding to be folded back (:func:`fracstride.conv1d_adjoint`).

        >>> Conv1dGeometry(3, stride=2, padding=1).transposed(10).output_padding
        1
        """
        pads = (self.padding_left, self.padding_right)
        bare = geometry_of(self.kernel_size, self.stride, pads, 0, self.dilation, "zeros")
        return bare.with_output_size(self.output_length(L), L)


#: The sizes of a layer of either kind, and a variable for the one that a layer has.
AnyGeometry: TypeAlias = Geometry | Conv1dGeometry
GeometryType = TypeVar("GeometryType", bound=AnyGeometry)


def conv1d_geometry_of(
    kernel_size: Any, stride: Any, padding: Any, dilation: Any, padding_mode: Any
) -> Conv1dGeometry:
    """``Conv1dGeometry(...)``, remembered from call to call.

    >>> conv1d_geometry_of(4, 2, 1, 1, "zeros") is conv1d_geometry_of(4, 2, 1, 1, "zeros")
    True
    """
    if are_plain(kernel_size, stride, padding, dilation, padding_mode):
        return _cached(kernel_size, stride, padding, dilation, padding_mode)
    return Conv1dGeometry(kernel_size, stride, padding, dilation, padding_mode)


_cached = lru_cache(maxsize=1024)(Conv1dGeometry)


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
    k, s = one_size("kernel_size", kernel_size, 1), one_size("stride", stride, 1)
    total = one_size("dilation", dilation, 1) * (k - 1)
    if not isinstance(padding, str):
        return padding_pair(padding)
    check_fits("dilation*(kernel_size - 1)", total)
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return total, 0
    if padding != "same":
        raise ValueError(f"padding must be {PADDING_FORMS}, got {padding!r}")
    if s != 1:
        raise ValueError(f"stride must be 1 for a Conv1d with padding='same', got {s}")
    return total // 2, total - total // 2


def geometry_of_conv1d(
    kernel_size: Any,
    padding: int | Sequence[int] | str = 0,
    dilation: Any = 1,
    padding_mode: str = "zeros",
) -> Geometry:
    """The transposed convolution that a stride-1 *Conv1d* is, with taps flipped, channels swapped.

    Tap ``m`` of a Conv1d reads frame ``n + m*d - left``; flipped, it is tap ``k - 1 - m`` of frame
    ``t = n + m*d - left``, so ``p_l = d*(k - 1) - left``. More than ``d*(k - 1)`` is a
    ``ValueError``: samples that no tap reaches.

    >>> geometry_of_conv1d(4, "causal").padding
    (0, 3)
    """
    g = Conv1dGeometry(kernel_size, 1, padding, dilation, padding_mode)
    left, right, most = g.padding_left, g.padding_right, g.span - 1
    if max(left, right) > most:
        raise ValueError(
            f"padding of a Conv1d must be at most dilation*(kernel_size - 1) = {most} on a side, "
            f"got ({left}, {right})"
        )
    pads = (most - left, most - right)
    return Geometry(g.kernel_size, 1, pads, 0, g.dilation, g.padding_mode)
