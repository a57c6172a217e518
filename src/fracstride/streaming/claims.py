"""Whether what a stream says of its rate and latency is what its ``output_length`` says."""

from __future__ import annotations

from fractions import Fraction

from fracstride.streaming.schedule import Scheduled
from fracstride.streaming.stream import Stream

__all__ = ["check_claims", "each_frame_alike", "may_wait"]

#: Frames from which on nothing waits any more, and how many there are looked at.
_FAR, _LOOKED_AT = 2**32, 2048


def each_frame_alike(stream: Stream) -> bool:
    """Whether each frame gives ``stride`` samples, once no edge waits any more."""
    staircases = stream.staircases()
    return all(len(one.steps) <= 1 and one.rate.denominator == 1 for one in staircases)


def may_wait(stream: Stream) -> bool:
    """Whether first samples may wait for frames without ``output_length`` knowing it.

    So it is of a stream of a user's own that has no ``final_length``.
    """
    return any(type(part).final_length is Scheduled.final_length for part in stream.nested())


def check_claims(stream: Stream) -> None:
    """Raise AssertionError unless ``stride``, ``rate``, ``latency`` of a new stream are right."""
    rate, latency = stream.rate, stream.latency
    stride = int(rate) if rate.denominator == 1 else None
    if not isinstance(rate, Fraction) or stream.stride != stride or type(latency) is not int:
        raise AssertionError(
            f"rate must be a Fraction, stride {stride} where rate is {rate}, and latency an int, "
            f"got rate {rate!r}, stride {stream.stride!r}, latency {latency!r}: {stream!r}"
        )
    some = 64 if each_frame_alike(stream) else _LOOKED_AT
    p, q = rate.numerator, rate.denominator
    ahead = [p * t - q * stream.output_length(t) for t in range(_FAR, _FAR + some)]
    later = 2 * _FAR * p - q * stream.output_length(2 * _FAR)
    # A wrong rate drives the two apart; a period makes a difference of some samples.
    if abs(later - ahead[0]) > _FAR // 2**12:
        raise AssertionError(
            f"rate is {rate}, but {stream.output_length(_FAR)} samples are out after {_FAR} frames "
            f"and {stream.output_length(2 * _FAR)} after as many again: {stream!r}"
        )
    least, at = max((-(-value // q), _FAR + i) for i, value in enumerate(ahead))
    period = next(
        (i for i in range(1, some // 2) if ahead[i] == ahead[0] and ahead[i:] == ahead[:-i]), None
    )
    if latency < least or (period is not None and latency > max(least, 0)):
        raise AssertionError(
            f"latency is {latency}, but {least} is the least number: after {at} frames, "
            f"{stream.output_length(at)} samples are out with a rate of {rate}: {stream!r}"
        )
