"""When the samples of a stream come out: its rate, its latency, its lengths."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from fracstride.arguments import as_size
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.geometry import Geometry
from fracstride.streaming.staircase import Staircase

__all__ = ["Scheduled", "ScheduledByGeometry"]

#: Frames from which on no stream of a user's own is taken to wait for its first samples.
_FAR = 2**20
#: Frames of which a user's own ``final_length`` is asked, at most, to find what it is in the end.
_ASKED = 4096


class Scheduled:
    """What every stream says of the number of its samples, in whatever state it is.

    A class of one's own sets ``stride`` if each frame makes a whole number of samples, else
    ``rate``; and ``latency``, and ``overhang`` or :meth:`length_at_end`.
    """

    #: Samples per frame, if that is a whole number; else None.
    stride: int | None = 1
    #: The least number of samples with ``output_length(T) >= T*rate - latency`` for all ``T``, but
    #: for the first frames, where an edge waits for the frames that it mirrors.
    latency: int = 0
    #: Samples of the whole output beyond ``rate`` times its frames, negative where that many are
    #: missing; None if that depends on the frames. ``latency + overhang`` samples are left for
    #: ``flush`` if the rate is a whole number.
    overhang: int | None = 0

    _rate: Fraction | None = None  # where it is no whole number

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        rate = vars(cls).get("rate")
        if isinstance(rate, (int, Fraction)):  # as a class attribute, such as Fraction(1, 2)
            del cls.rate  # the property is used again
            cls._set_rate(cls, Fraction(rate))
            if "overhang" not in vars(cls) and cls.stride is None:
                cls.overhang = None

    @property
    def rate(self) -> Fraction:
        """Samples per frame, a ``Fraction``: ``stride`` where that is a number.

        >>> import fracstride as fs
        >>> fs.ConvTranspose1d(1, 1, 4, stride=2).stream().rate
        Fraction(2, 1)
        """
        if self.stride is not None:
            return Fraction(self.stride)
        if self._rate is None:
            raise TypeError(f"rate must be set where stride is None: {self!r}")
        return self._rate

    @rate.setter
    def rate(self, value: int | Fraction) -> None:
        self._set_rate(self, Fraction(value))

    @staticmethod
    def _set_rate(owner: Any, rate: Fraction) -> None:
        owner._rate = rate
        owner.stride = int(rate) if rate.denominator == 1 else None

    def output_length(self, frames: int) -> int:
        """The samples that are out after so many frames of a signal that goes on.

        Whatever has been pushed so far: it is asked of a signal as a whole.

        >>> import fracstride as fs
        >>> half = fs.Conv1d(1, 1, 4, stride=2, padding=1).stream()
        >>> stream = fs.streaming.Chain(half)
        >>> [stream.output_length(T) for T in range(7)], stream.latency
        ([0, 0, 0, 1, 1, 2, 2], 1)
        """
        return self.final_length(as_size("frames", frames))

    def final_length(self, frames: int) -> int:
        """:meth:`output_length` of a number that is trusted.

        A class of one's own whose first samples wait for a mirrored edge, or whose rate is no whole
        number, implements it.
        """
        if self.stride is None:
            raise NotImplementedError(
                f"{type(self).__name__} has the rate {self.rate} and must implement final_length: "
                "how many samples are out after so many frames"
            )
        return max(0, frames * self.stride - self.latency) if frames else 0

    def length_at_end(self, frames: int) -> int:
        """The samples of an input of so many frames; 0 where it would be refused.

        A class of one's own whose ``overhang`` is None implements it. ``frames`` is trusted.
        """
        if self.stride is None or self.overhang is None:
            raise NotImplementedError(
                f"{type(self).__name__} has the rate {self.rate} and must implement length_at_end: "
                "how many samples an input of so many frames has"
            )
        return max(0, frames * self.stride + self.overhang) if frames else 0

    # What compositions ask.

    def check_end(self, frames: int) -> None:
        """Raise ValueError if a signal cannot end after so many frames, as branches then differ."""

    #: Whether :meth:`check_end` may raise.
    may_end_uneven = False

    def staircases(self) -> tuple[Staircase, ...]:
        """:meth:`final_length` in the long run: the least of these."""
        rate, latency = self.rate, self.latency
        p, q = rate.numerator, rate.denominator
        if q == 1:
            return (Staircase.of(p, -latency),)
        found = None
        if type(self).final_length is not Scheduled.final_length:
            found = _staircase_of(self.final_length, rate)
        # Else what the latency promises.
        return (found or Staircase.of(p, q - 1 - latency * q, q),)

    def staircase_at_end(self) -> Staircase | None:
        """:meth:`length_at_end` in the long run; None if it is no staircase that is known."""
        if self.stride is not None and self.overhang is not None:
            return Staircase.of(self.stride, self.overhang)
        if type(self).length_at_end is Scheduled.length_at_end:
            return None
        return _staircase_of(self.length_at_end, self.rate)


def _staircase_of(length: Callable[[int], int], rate: Fraction) -> Staircase | None:
    """The staircase of one step that a function of the frames is in the long run, if it is one."""
    p, q = rate.numerator, rate.denominator
    if q > _ASKED:
        return None
    asked = [(x, length(x)) for x in range(_FAR * q, (_FAR + 1) * q)]
    lag = max(p * x - q * y for x, y in asked)
    found = Staircase.of(p, q - 1 - lag, q)
    return found if all(found(x) == y for x, y in asked) else None


class ScheduledByGeometry(Scheduled):
    """The schedule of a layer, as its geometry says."""

    _geometry: AnyGeometry

    def _keep_schedule(self, geometry: AnyGeometry) -> None:
        self._geometry = geometry
        self.rate, self.latency = geometry.rate, geometry.latency
        at_end = self.staircase_at_end()
        self.overhang = at_end.steps[0][1] if self.stride is not None else None

    @property
    def _each_frame_gives(self) -> bool:
        """Whether each frame gives its samples at once, and waits for no mirrored edge."""
        return self._geometry.final_length(1) == self.rate

    def final_length(self, frames: int) -> int:
        return self._geometry.final_length(frames)

    def length_at_end(self, frames: int) -> int:
        return self._geometry.length_at_end(frames)

    def staircases(self) -> tuple[Staircase, ...]:
        g = self._geometry
        if isinstance(g, Geometry):
            return (Staircase.of(g.stride, -g.latency),)
        return (Staircase.of(1, g.padding_left - g.span + g.stride, g.stride),)

    def staircase_at_end(self) -> Staircase:
        g = self._geometry
        if isinstance(g, Geometry):
            return Staircase.of(g.stride, g.overhang)
        padding = g.padding_left + g.padding_right
        return Staircase.of(1, padding - g.span + g.stride, g.stride)
