"""Parts of a signal: which frames give which samples when only some of either are at hand.

A stream has the last frames only, and a signal that is cut along time has its own frames and some
of its neighbours'. Both compute samples of the whole from a part, as a transposed convolution with
another crop.
"""

from __future__ import annotations

from fracstride.geometry import Geometry, geometry_of

__all__ = ["frames_of_part", "geometry_of_part", "samples_of_frames"]


def geometry_of_part(
    g: Geometry, first_frame: int, frames: int, first_sample: int, samples: int, padding_mode: str
) -> Geometry:
    """The geometry that makes so many samples of a part of a signal, given as an input.

    ``padding_mode`` is what the part's own ends are extended by. All is trusted.

    >>> geometry_of_part(Geometry(4, stride=2, padding=1), 9, 3, 19, 4, "zeros").padding
    (2, 2)
    """
    left = g.crop_of_part(first_frame, first_sample)
    # L_out == samples (lengths.output_length), solved for the crop (test_frames_of_part).
    right = (frames - 1) * g.stride + g.span - left - samples
    pads, a = (left, max(0, right)), max(0, -right)
    return geometry_of(g.kernel_size, g.stride, pads, a, g.dilation, padding_mode)


def frames_of_part(g: Geometry, L: int, first_sample: int, samples: int) -> tuple[int, int]:
    """The frames ``[start, stop)`` from which :func:`geometry_of_part` computes so many samples.

    All that reach a sample, and at least one even if none does. Of all integers where the padding
    mode extends the input, of ``[0, L)`` for ``zeros``. All is trusted; ``samples >= 1``.

    >>> frames_of_part(Geometry(16, stride=8, padding=4), 100, first_sample=400, samples=80)
    (49, 61)
    """
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


def samples_of_frames(g: Geometry, first: int, stop: int) -> tuple[int, int]:
    """The samples ``[start, stop)`` that take no tap of any frame outside ``[first, stop)``.

    Of all integers, and none if ``start >= stop``. All is trusted. The sample before ``start`` has
    the last tap of the frame before ``first``, and sample ``stop`` the first tap of frame ``stop``.

    >>> samples_of_frames(Geometry(16, stride=8, padding=4), 50, 60)
    (404, 476)
    """
    return (first - 1) * g.stride + g.span - g.padding_left, (stop * g.stride - g.padding_left)
