"""Parts of a signal: which frames give which samples when only some of either are at hand.

A stream has the last frames only, and a signal that is cut along time has its own frames and some
of its neighbours'. Both compute samples of the whole from a part, as a transposed convolution with
another crop, or as a Conv1d with other padding. The functions take the geometry of either.
"""

from __future__ import annotations

from typing import Any

from fracstride.conv1d_geometry import (
    AnyGeometry,
    Conv1dGeometry,
    GeometryType,
    conv1d_geometry_of,
)
from fracstride.geometry import geometry_of
from fracstride.reach import Intervals, frames_reaching, positions_read

__all__ = ["frames_needed", "frames_of_part", "geometry_of_part", "samples_of_frames"]


def geometry_of_part(
    g: GeometryType,
    first_frame: int,
    frames: int,
    first_sample: int,
    samples: int,
    padding_mode: str,
) -> GeometryType:
    """The geometry that makes so many samples of a part of a signal, given as an input.

    ``padding_mode`` is what the part's own ends are extended by. All is trusted. (A Conv1d of
    stride 1 that reads no frame of the part makes one sample more, whose last tap reads one.)

    >>> from fracstride.geometry import Geometry
    >>> geometry_of_part(Geometry(4, stride=2, padding=1), 9, 3, 19, 4, "zeros").padding
    (2, 2)
    >>> geometry_of_part(Conv1dGeometry(4, stride=2, padding=1), 0, 9, 0, 5, "zeros").padding
    (1, 2)
    """
    left = g.crop_of_part(first_frame, first_sample)
    k, s, d = g.kernel_size, g.stride, g.dilation
    part: Any
    # L_out == samples, solved for what is on the right (test_frames_of_part). Of a Conv1d it is the
    # least padding.
    if isinstance(g, Conv1dGeometry):
        right = (samples - 1) * s + g.span - left - frames
        part = conv1d_geometry_of(k, s, (left, max(0, right)), d, padding_mode)
    else:
        right = (frames - 1) * s + g.span - left - samples
        part = geometry_of(k, s, (left, max(0, right)), max(0, -right), d, padding_mode)
    return part  # type: ignore[no-any-return]


def frames_of_part(g: AnyGeometry, L: int, first_sample: int, samples: int) -> tuple[int, int]:
    """The frames ``[start, stop)`` from which :func:`geometry_of_part` computes so many samples.

    All that reach a sample, and at least one even if none does. Of all integers where the padding
    mode extends the input, of ``[0, L)`` for ``zeros``. (A Conv1d's samples of nothing but padding
    get the frame that comes after it.) All is trusted; ``samples >= 1``.

    >>> from fracstride.geometry import Geometry
    >>> frames_of_part(Geometry(16, stride=8, padding=4), 100, first_sample=400, samples=80)
    (49, 61)
    >>> frames_of_part(Conv1dGeometry(16, stride=8, padding=4), 800, first_sample=50, samples=10)
    (396, 484)
    """
    if isinstance(g, Conv1dGeometry):
        start = first_sample * g.stride - g.padding_left
        stop = start + (samples - 1) * g.stride + g.span
        if g.padding_mode != "zeros":
            return start, stop
        first, after = max(start, 0), min(stop, L)
        return (first, after) if first < after else (stop, stop + 1)
    intervals = g.frames_reached(L, first_sample + samples, first_sample)
    # Tap 0 of these two is the last that lands before, or on, the first and the last sample: they
    # count where no tap reaches these samples.
    start = (first_sample + g.padding_left) // g.stride
    stop = (first_sample + samples - 1 + g.padding_left) // g.stride + 1
    if intervals:
        start, stop = min(start, intervals[0][0]), max(stop, intervals[-1][1])
    if g.padding_mode != "zeros":
        return start, stop
    start = min(start, L - 1)
    return start, max(min(stop, L), start + 1)


def frames_needed(
    g: AnyGeometry, first_sample: int, stop: int, within: tuple[int, int]
) -> Intervals:
    """The frames in a range of which some tap is a term of a sample in ``[first_sample, stop)``.

    As sorted disjoint intervals. Strides and dilations leave gaps. All is trusted.

    >>> frames_needed(Conv1dGeometry(2, stride=4, padding=1), 0, 3, within=(-1, 99))
    ((-1, 1), (3, 5), (7, 9))
    """
    p, sizes = g.padding_left, (g.kernel_size, g.stride, g.dilation)
    if not isinstance(g, Conv1dGeometry):
        return frames_reaching(first_sample + p, stop + p, *sizes, within)
    read = positions_read(first_sample, stop, *sizes, (within[0] + p, within[1] + p))
    return tuple((a - p, b - p) for a, b in read)


def samples_of_frames(g: AnyGeometry, first: int, stop: int) -> tuple[int, int]:
    """The samples ``[start, stop)`` that take no tap of any frame outside ``[first, stop)``.

    Of all integers, and none if ``start >= stop``. All is trusted. The sample before ``start`` has
    a tap of a frame before ``first``, and sample ``stop`` a tap of frame ``stop`` or a later one.

    >>> from fracstride.geometry import Geometry
    >>> samples_of_frames(Geometry(16, stride=8, padding=4), 50, 60)
    (404, 476)
    >>> samples_of_frames(Conv1dGeometry(16, stride=8, padding=4), 400, 480)
    (51, 59)
    """
    s, p = g.stride, g.padding_left
    if isinstance(g, Conv1dGeometry):
        return -((-first - p) // s), (stop + p - g.span) // s + 1
    return (first - 1) * s + g.span - p, stop * s - p
