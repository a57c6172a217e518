"""``assert_streams_exactly`` passes exact streams and says what is wrong with others."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fracstride as fs
from fracstride.streaming import Chain, Identity, Pad, Pointwise, Stream, Sum, Upsample
from fracstride.streaming.pieces import cut
from fracstride.streaming.testing import assert_streams_exactly
from fracstride.streaming.window import WindowStream


def signal(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


class Delayed(WindowStream):
    """Each frame and the one before it, added; a frame late, and as long as its input."""

    latency = 1

    def final_length(self, frames: int) -> int:
        return max(0, frames - 1)

    def length_at_end(self, frames: int) -> int:
        return frames

    def first_kept(self, frames: int) -> int:
        return max(0, frames - 2)

    def compute(self, window: Any, start: int, first: int, stop: int, last: bool) -> Any:
        now = window[..., first - start : stop - start]
        if first:
            return now + window[..., first - 1 - start : stop - 1 - start]
        later = now[..., 1:] + now[..., :-1]
        return np.concatenate([now[..., :1], later], -1)


def offline(x: Any) -> Any:
    y = x.copy()
    y[..., 1:] += x[..., :-1]
    return y


def test_streams_that_are_exact() -> None:
    layer = fs.ConvTranspose1d(2, 3, 8, stride=4, padding=2, padding_mode="reflect", rng=0)
    x = signal(3, 2, 20)
    for stream, function, given in (
        (layer.stream(3), layer, x),
        (layer.stream(None), layer, x[0]),
        (Delayed(), offline, x),
        (Delayed(), offline, x[0]),
        (Scaled(3), lambda x: np.float32(3) * offline(x), x),
        (Chain(Delayed(), Pointwise(np.tanh)), lambda x: np.tanh(offline(x)), x),
        (Sum(Identity(), Delayed()), lambda x: x + offline(x), x),
        (Upsample(3), lambda x: np.repeat(x, 3, -1), x),
        (Identity(), lambda x: x, x[:0]),
        (Pad(2, 0), lambda x: np.pad(x, ((0, 0), (0, 0), (2, 0))), x.astype(np.int16)),
    ):
        assert_streams_exactly(stream, function, given)
    short = fs.ConvTranspose1d(2, 3, 1, padding=5)  # inputs of 10 frames have no sample
    assert_streams_exactly(short.stream(3), short, x[..., :12])
    assert_streams_exactly(short.stream(3), short, x[..., :0])


class Scaled(Delayed):
    def __init__(self, factor: float) -> None:  # which calls no other
        self.factor = np.float32(factor)

    def compute(self, window: Any, start: int, first: int, stop: int, last: bool) -> Any:
        return self.factor * super().compute(window, start, first, stop, last)


class KeepsTheCallers(Delayed):
    def advance(self, chunk: Any, last: bool) -> Any:
        y = super().advance(chunk, last)
        if chunk is not None and chunk.shape[-1] > 1 and not last:
            self._carried = chunk[..., -2:]  # a view
        return y


class WritesIntoTheChunk(Delayed):
    def advance(self, chunk: Any, last: bool) -> Any:
        y = super().advance(chunk, last)
        if chunk is not None:
            chunk += 1
        return y


class ForgetsToSave(Delayed):
    def prepare_restore(self, state: Any) -> Callable[[], None]:
        return self.clear


class ForgetsToEnd(Delayed):
    def clear(self) -> None:
        if not hasattr(self, "_carried"):
            super().clear()


class EndsTooSoon(Delayed):
    def length_at_end(self, frames: int) -> int:
        return self.final_length(frames)


class ComesTooLate(Delayed):
    latency = 0


class ComesTooSoon(Delayed):
    latency = 2


class CountsChunks(Stream):
    """What comes out depends on the chunks."""

    count = 0

    def advance(self, chunk: Any, last: bool) -> Any:
        self.count = 0 if last else self.count + 1
        return None if chunk is None else cut(chunk, 0) + self.count

    def clear(self) -> None:
        self.count = 0

    def state(self) -> dict[str, Any]:
        return {}

    def prepare_restore(self, state: Any) -> Callable[[], None]:
        return lambda: None


class HoldsSamplesBack(Delayed):
    """Of a chunk of several frames, the last sample waits."""

    def advance(self, chunk: Any, last: bool) -> Any:
        y = super().advance(chunk, last)
        return y if last or y.shape[-1] != 4 else y[..., :3]


class SharesRows(Delayed):
    def clear_rows(self, rows: Any) -> None:
        if rows.all():
            self.clear()


class SaysTooMuch(Delayed):
    @property
    def lengths(self) -> Any:
        return super().lengths + 1


class Summed(Stream):
    """Each frame and all those before it, added up. What follows gets one thing wrong each."""

    total: Any = None

    def advance(self, chunk: Any, last: bool) -> Any:
        if chunk is None:
            if self.total is None:
                return None
            chunk = self.total[..., :0]
        if self.total is None:
            self.total = np.zeros((*chunk.shape[:-1], 1), chunk.dtype)
        samples = np.cumsum(np.concatenate([self.total, chunk], -1), -1)
        self.carry(samples)
        if last:
            self.end()
        return samples[..., 1:]

    def carry(self, samples: Any) -> None:
        self.total = samples[..., -1:].copy()

    def end(self) -> None:
        self.total = None

    def clear(self) -> None:
        self.total = None

    def state(self) -> dict[str, Any]:
        return {} if self.total is None else {"total": self.total.copy()}

    def prepare_restore(self, state: Any) -> Callable[[], None]:
        total = np.array(state["total"]) if state else None
        return lambda: setattr(self, "total", total)


class ForgetsToFlush(Summed):
    def end(self) -> None:
        pass


class ForgetsToReset(Summed):
    def clear(self) -> None:
        pass


class CarriesWhatItGave(Summed):
    def carry(self, samples: Any) -> None:
        self.total = samples[..., -1:]


class GivesOneMemory(Summed):
    memory = np.zeros((3, 2, 20), np.float32)

    def advance(self, chunk: Any, last: bool) -> Any:
        samples = super().advance(chunk, last)
        if samples is None:
            return None
        self.memory[..., : samples.shape[-1]] = samples
        return self.memory[..., : samples.shape[-1]]


class CarriesInPlace(Summed):
    def carry(self, samples: Any) -> None:
        self.total[...] = samples[..., -1:]


class SavesItsMemory(CarriesInPlace):
    def state(self) -> dict[str, Any]:
        return {} if self.total is None else {"total": self.total}


class KeepsWhatItRestores(CarriesInPlace):
    def prepare_restore(self, state: Any) -> Callable[[], None]:
        return lambda: setattr(self, "total", state.get("total"))


class RestoresAtOnce(Summed):
    def prepare_restore(self, state: Any) -> Callable[[], None]:
        super().prepare_restore(state)()
        return lambda: None


class SavesNothing(Summed):
    def state(self) -> dict[str, Any]:
        return {"total": self.total}


class FlushesAnotherKind(Summed):
    def advance(self, chunk: Any, last: bool) -> Any:
        samples = super().advance(chunk, last)
        return None if chunk is None else samples


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (ForgetsToFlush(), r"one piece, then once more in one piece after flush\(\): sample 0"),
        (ForgetsToReset(), r"finish\(\) at the end, then once more .* after reset\(\): sample 0"),
        (CarriesWhatItGave(), r"by frame, each chunk and its samples overwritten after the push: "),
        (GivesOneMemory(), r"later pushes changed the samples that came out after 1 frames"),
        (SavesItsMemory(), r"later pushes changed the state\(\) taken after 10 frames"),
        (KeepsWhatItRestores(), r"pushes changed the arrays that were given to restore\(\)"),
        (RestoresAtOnce(), r"prepare_restore\(\) changed the stream, which only the function"),
        (SavesNothing(), r"state\(\) must hold arrays or tensors, got total=None"),
        (FlushesAnotherKind(), r"samples have shape \(0, 0, 0\), but offline \(3, 2, 0\)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Stream) else "",
)
def test_slips_in_a_stream_that_carries_by_itself(stream: Stream, message: str) -> None:
    def offline(x: Any) -> Any:
        return np.cumsum(x, -1)

    for right in (Summed(), CarriesInPlace()):
        assert_streams_exactly(right, offline, signal(3, 2, 20))
    with pytest.raises(AssertionError, match=message):
        assert_streams_exactly(stream, offline, signal(3, 2, 20))


def test_the_example_of_a_stream_of_ones_own() -> None:
    names: dict[str, Any] = {"Stream": Stream, "np": np}
    (example,) = doctest.DocTestFinder(recurse=False).find(Stream, globs=names)
    assert doctest.DocTestRunner().run(example, clear_globs=False).failed == 0
    difference, x = example.globs["Difference"], signal(3, 2, 20)
    zero = np.float32(0)
    assert_streams_exactly(difference(), lambda x: np.diff(x, prepend=zero), x)
    layer = fs.ConvTranspose1d(2, 3, 4, rng=0)
    stream = Chain(difference(), layer.stream(3))
    with pytest.raises(ValueError, match="chunk must have the shape"):
        stream.push(signal(3, 5, 20))
    stream.push(x)
    assert_streams_exactly(stream, lambda x: layer(np.diff(x, prepend=zero)), x)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (KeepsTheCallers(), r"sample \d+ of row 0, channel 0 is .*, but offline makes"),
        (WritesIntoTheChunk(), r"pushed in one piece: push\(\) wrote into the chunk that ends"),
        (ForgetsToSave(), r"frame by frame, with the state restored after 10 frames and finish"),
        (ForgetsToEnd(), r"came from a second flush|samples are out|came out"),
        (EndsTooSoon(), r"offline makes 20 samples of 20 frames, but length_at_end says 19"),
        (ComesTooLate(), r"latency is 0, but 1 is the least number: after \d+ frames"),
        (ComesTooSoon(), r"latency is 2, but 1 is the least number: after \d+ frames"),
        (CountsChunks(), r"pushed in one piece: sample 0 of row 0, channel 0 is"),
        (HoldsSamplesBack(), r"are out after \d+ frames, but"),
        (SharesRows(), r"row 1 on its own, pushed with random masks: \d+ samples came out"),
        (SaysTooMuch(), r"lengths are \[20, 20, 20\] for a result of shape \(3, 2, 19\)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Stream) else "",
)
def test_streams_that_are_not(stream: Stream, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_streams_exactly(stream, offline, signal(3, 2, 20))


class Highest(WindowStream):
    """The highest of each three frames; what follows says one thing wrong each."""

    rate = Fraction(1, 3)
    latency = 1

    def final_length(self, frames: int) -> int:
        return frames // 3

    def length_at_end(self, frames: int) -> int:
        return frames // 3

    def first_kept(self, frames: int) -> int:
        return frames // 3 * 3

    def compute(self, window: Any, start: int, first: int, stop: int, last: bool) -> Any:
        begin = 3 * first - start
        return highest(window[..., begin : begin + 3 * (stop - first)])


def highest(x: Any) -> Any:
    count = x.shape[-1] // 3
    return x[..., : 3 * count].reshape(*x.shape[:-1], count, 3).max(-1)


class SaysFourFrames(Highest):
    rate = Fraction(1, 4)


class SaysOneFrame(Highest):
    stride = 1


class SaysNoLatency(Highest):
    latency = 0


class SaysMoreLatency(Highest):
    latency = 2


class SaysMoreComes(Highest):
    def output_length(self, frames: int) -> int:
        return (frames + 1) // 3


class SaysLongerWhole(Highest):
    def length_at_end(self, frames: int) -> int:
        return frames // 3 + 1


class SaysItIsAFloat(Highest):
    def __init__(self) -> None:
        self.latency = 1.0  # type: ignore[assignment]


class SaysNothing(Highest):
    final_length = Stream.final_length


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (SaysFourFrames(), r"rate is 1/4, but \d+ samples are out after \d+ frames"),
        (SaysOneFrame(), r"samples are out|rate"),
        (
            SaysNoLatency(),
            r"frame by frame: 1 samples are out after 4 frames, but 2 are due .*latency 0",
        ),
        (SaysMoreLatency(), r"latency is 2, but 1 is the least number: after \d+ frames"),
        (SaysMoreComes(), r"6 samples are out after 20 frames, but output_length says 7"),
        (SaysLongerWhole(), r"offline makes 6 samples of 20 frames, but length_at_end says 7"),
        (SaysItIsAFloat(), r"latency an int, got rate Fraction\(1, 3\), stride None, latency 1\.0"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Stream) else "",
)
def test_slips_in_a_stream_of_another_rate(stream: Stream, message: str) -> None:
    assert_streams_exactly(Highest(), highest, signal(3, 2, 20))
    with pytest.raises(AssertionError, match=message):
        assert_streams_exactly(stream, highest, signal(3, 2, 20))


def test_a_rate_needs_a_schedule() -> None:
    assert (Highest.stride, Highest().rate, Highest().overhang) == (None, Fraction(1, 3), None)
    with pytest.raises(NotImplementedError, match="rate 1/3 and must implement final_length"):
        SaysNothing().output_length(3)

    class Halves(Stream):
        advance = clear = state = prepare_restore = Stream.output_kind  # type: ignore[assignment]

        def __init__(self) -> None:
            self.rate = Fraction(1, 2)

    with pytest.raises(NotImplementedError, match="rate 1/2 and must implement length_at_end"):
        Halves().length_at_end(3)
    stream = Halves()
    stream.rate = 3
    assert (stream.stride, stream.rate) == (3, Fraction(3))
    stream.stride = None
    assert stream.rate == 3
    with pytest.raises(ValueError, match="frames must be a non-negative int, got -1"):
        Highest().output_length(-1)


def test_ends_that_are_refused() -> None:
    """Of 20 and of 10 frames the branches differ; offline refuses these, and so must the stream."""

    def make(cls: type[Sum] = Sum) -> Sum:
        return cls(Identity(), Chain(Highest(), Upsample(3)))

    def whole(x: Any) -> Any:
        if x.shape[-1] % 3:
            raise ValueError("the branches differ")
        return x + np.repeat(highest(x), 3, -1)

    for length in (20, 21):
        assert_streams_exactly(make(), whole, signal(3, 2, length), another=make())

    class EndsAnywhere(Sum):
        def __init__(self, *branches: Stream) -> None:
            super().__init__(*branches)
            self._count = None

    with pytest.raises(AssertionError, match="ended after 20 frames, but offline refuses it"):
        assert_streams_exactly(make(EndsAnywhere), whole, signal(3, 2, 20))

    class EndsNowhere(Sum):
        def check_end(self, frames: int) -> None:
            raise ValueError("never")

    with pytest.raises(AssertionError, match="refuses to end there: never"):
        assert_streams_exactly(make(EndsNowhere), whole, signal(3, 2, 21))


def test_what_offline_may_do() -> None:
    x = signal(1, 2, 9)

    def refuses(x: Any) -> Any:
        raise ValueError("too short")

    for function, message in (
        (refuses, "9 samples came out, but offline refuses the input"),
        (lambda x: x[..., 1:], "8 samples of 9 frames, but stride 1 and overhang 0 say 9"),
        (lambda x: x.astype(float), "samples have dtype float32, but offline float64"),
        (lambda x: x[:, :1], r"samples have shape \(1, 2, 9\), but offline \(1, 1, 9\)"),
    ):
        with pytest.raises(AssertionError, match=message):
            assert_streams_exactly(Identity(), function, x)


def test_bits() -> None:
    """Zeros have signs; which NaN a NaN is does not matter."""
    x = np.array([[[0.0, 1.0]]])
    with pytest.raises(AssertionError, match=r"sample 0 .* is 0.0, but offline makes -0.0"):
        assert_streams_exactly(Identity(), lambda x: np.where(x == 0, -0.0, x), x)
    assert_streams_exactly(Identity(), np.negative, np.array([[[np.nan, np.nan]]]))


def test_cuts_and_schedules_of_ones_own() -> None:
    x = signal(1, 2, 9)
    assert_streams_exactly(Identity(), lambda x: x, x, chunks=[[4, 0, 5], [9]], due=lambda t: t)
    with pytest.raises(ValueError, match=r"must add up to the 9 frames of x, got \[4, 4\]"):
        assert_streams_exactly(Identity(), lambda x: x, x, chunks=[[4, 4]])
    with pytest.raises(AssertionError, match=r"chunks of \[4, 5\] frames: 4 samples .* 3 are due"):
        assert_streams_exactly(Identity(), lambda x: x, x, chunks=[[4, 5]], due=lambda t: t - 1)


def test_it_needs_no_pytest() -> None:
    code = "import sys, fracstride.streaming.testing; print('pytest' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_tensors() -> None:
    pytest.importorskip("torch.nn")  # (`torch` alone may find the folder tests/torch)
    import torch

    import fracstride.torch

    module = torch.nn.Sequential(
        torch.nn.ReflectionPad1d(2), torch.nn.ConvTranspose1d(2, 2, 4, 2, 1), torch.nn.Tanh()
    )
    x = torch.from_numpy(signal(2, 2, 12))
    for dtype in (torch.float32, torch.bfloat16):
        stream = fracstride.torch.stream(module[:2].to(dtype), 2)
        whole = fracstride.torch.stream(module[:2], 2)
        assert_streams_exactly(stream, whole.finish, x.to(dtype))
        turned = x.to(dtype).mT.contiguous().mT  # of one frame: any stride will do
        assert_streams_exactly(stream, whole.finish, turned)
        with pytest.raises(AssertionError, match="sample 0 of row 0, channel 0 is"):
            assert_streams_exactly(stream, lambda x, whole=whole: 2 * whole.finish(x), x.to(dtype))
    pad, z = torch.nn.ZeroPad1d(2), torch.complex(x, -x)
    assert_streams_exactly(fracstride.torch.stream(pad, 2), pad, z)
    with pytest.raises(AssertionError, match=r"sample 0 .* is 0j, but offline makes -0j"):
        assert_streams_exactly(fracstride.torch.stream(pad, 2), lambda x: pad(x).conj(), z)
