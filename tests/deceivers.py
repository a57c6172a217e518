"""Modules written to deceive a tracer.

Each says in a line what it does. ``outcome`` is what :func:`fracstride.torch.compile` must make of
it: ``"right"`` (the module's results for all inputs), ``"refused"`` (ValueError, ``where`` in it),
or ``"limited"`` (right for some sizes, and a ValueError for others).
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 3
DECEIVERS: list[type[Deceiver]] = []


class Deceiver(nn.Module):
    """The base class: inputs ``(B, 3, T)``, and a convolution that the others may use."""

    outcome = "right"
    #: In the message of what is refused: path and operator.
    where = ""
    #: Lengths to try besides the usual ones.
    lengths: tuple[int, ...] = ()
    #: Length of the example.
    example = 11
    #: What the example is called with, and its axes of time.
    time: Any = -1

    def __init_subclass__(cls) -> None:
        DECEIVERS.append(cls)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1)

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        """Inputs of these sizes, with the values that the global generator gives."""
        return (torch.randn(batch, CHANNELS, length),)


# --- random numbers -------------------------------------------------------------------------------


class AddsNoise(Deceiver):
    """Adds random numbers."""

    outcome, where = "refused", "aten.randn_like"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + torch.randn_like(x)


class DropsOutAlways(Deceiver):
    """Drops out in eval mode too."""

    outcome, where = "refused", "aten.dropout"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.dropout(x, 0.5, training=True))


class StaysInTraining(Deceiver):
    """Puts itself back into training mode whenever it is asked for eval mode."""

    outcome, where = "refused", "drop (aten.dropout)"

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def eval(self) -> StaysInTraining:
        return self.train()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.conv(x))


class FillsWithNoise(Deceiver):
    """Draws in place, into memory of its own."""

    outcome, where = "refused", "aten.normal_"

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros(CHANNELS, 1).normal_()


class SeedsItsOwnGenerator(Deceiver):
    """Draws the same numbers each time."""

    outcome, where = "refused", "aten.rand"

    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return x * torch.rand(CHANNELS, 1, generator=generator)


class DrawsInNumPy(Deceiver):
    """Draws with NumPy, which no operator shows."""

    outcome, where = "refused", "aten.mul.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.from_numpy(np.random.randn(CHANNELS, 1).astype(np.float32))  # noqa: NPY002


class DrawsInPython(Deceiver):
    """Scales by a random number of Python."""

    outcome, where = "refused", "aten.mul.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * random.random()


class DrawsInACustomOperator(Deceiver):
    """Calls an operator that draws inside."""

    outcome, where = "refused", "random"

    def forward(self, x: Tensor) -> Tensor:
        return hidden_noise(x)


@torch.library.custom_op("fracstride_deceivers::noise", mutates_args=())
def hidden_noise(x: Tensor) -> Tensor:
    return x + torch.rand(x.shape)


class ScalesByTheTime(Deceiver):
    """Reads the clock."""

    outcome, where = "refused", "aten.mul.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return x * time.perf_counter()


# --- values that leave ----------------------------------------------------------------------------


class GoesThroughNumPy(Deceiver):
    """Computes in NumPy."""

    outcome, where = "refused", "Tensor.numpy"

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.tanh(self.conv(x).numpy()))


class GoesThroughAnArray(Deceiver):
    """Computes in NumPy, which asks for the array itself."""

    outcome, where = "refused", "Tensor.__array__"

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.tanh(np.asarray(x)))


class GoesThroughALazyArray(Deceiver):
    """Computes in NumPy by DLPack."""

    outcome, where = "refused", "Tensor.__dlpack__"

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.tanh(np.from_dlpack(x)))


class GoesThroughAList(Deceiver):
    """Computes in Python."""

    outcome, where = "refused", "Tensor.tolist"

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[[2 * v for v in c] for c in row] for row in x.tolist()])


class BranchesUnseen(Deceiver):
    """Clips loud signals only, and finds out in NumPy."""

    outcome, where = "refused", "Tensor.numpy"

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(-1, 1) if np.abs(x.numpy()).max() > 1e4 else x


class NormalisesByItem(Deceiver):
    """Divides by a Python number."""

    outcome, where = "refused", "aten.item"

    def forward(self, x: Tensor) -> Tensor:
        return x / x.abs().max().item()


class CatchesTheError(Deceiver):
    """Goes another way if it may not look at a number."""

    outcome, where = "refused", "aten.item"

    def forward(self, x: Tensor) -> Tensor:
        try:
            return x / x.abs().max().item()
        except ValueError:
            return x


class CatchesTheErrorOfNumPy(Deceiver):
    """Goes another way if it may not have an array."""

    outcome, where = "refused", "Tensor.numpy"

    def forward(self, x: Tensor) -> Tensor:
        try:
            return x / float(x.numpy().max())
        except ValueError:
            return x


class BranchesOnTheMean(Deceiver):
    """Goes one way for positive signals, another for negative ones."""

    outcome, where = "refused", "aten.is_nonzero"

    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else -2 * x


class ComparesTensors(Deceiver):
    """Goes another way for silence."""

    outcome, where = "refused", "aten.equal"

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if torch.equal(x, torch.zeros_like(x)) else x


class SelectsByMask(Deceiver):
    """Removes the mean of the positive numbers."""

    outcome, where = "refused", "aten.index.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return x - x[x > 0].mean()


class FindsPositions(Deceiver):
    """Counts the positive numbers."""

    outcome, where = "refused", "aten.nonzero"

    def forward(self, x: Tensor) -> Tensor:
        return x * len(torch.nonzero(x > 0))


class WritesByMask(Deceiver):
    """Writes where a mask says so; the shapes stay."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y.masked_fill_(y > 0.5, 0.5)
        return y


class GathersThePeak(Deceiver):
    """Divides by the number at a position that it looks for."""

    def forward(self, x: Tensor) -> Tensor:
        peak = x.abs().argmax(-1, keepdim=True)
        return x / (1 + x.gather(-1, peak).abs())


class RepeatsByValues(Deceiver):
    """Repeats frames as often as their values say."""

    outcome, where = "refused", "aten.repeat_interleave"

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave((x[0, 0] > 0).long() + 1, -1)


# --- state ----------------------------------------------------------------------------------------


class CountsItsCalls(Deceiver):
    """Gives another result with each call."""

    outcome, where = "refused", "aten.mul.Tensor"

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class CountsTwoCalls(Deceiver):
    """Is another module from its fourth call on."""

    outcome, where = "refused", "aten.tanh"

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.tanh(x) if self.calls < 4 else torch.sin(x)


class KeepsTheLastFrame(Deceiver):
    """Begins with the end of the signal of the call before."""

    outcome, where = "refused", "aten.cat"

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor = torch.zeros(1, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.last, x], -1)
        self.last = x[..., -1:]
        return y


class KeepsAList(Deceiver):
    """Adds the signal of the first call to each one."""

    outcome, where = "refused", "aten"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x + self.seen[0][:1, :, :1]


class AveragesOverCalls(Deceiver):
    """Updates a buffer in place."""

    outcome, where = "refused", "aten.lerp_"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.lerp_(x.mean((0, 2))[:, None], 0.1)
        return x - self.mean


class ReplacesItsBuffer(Deceiver):
    """Updates a buffer by another tensor."""

    outcome, where = "refused", "aten.sub.Tensor"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = x - self.mean
        self.mean = 0.9 * self.mean + 0.1 * x.mean((0, 2))[:, None]
        return y


class UpdatesStatisticsUnseen(Deceiver):
    """Uses a batch norm whose schema does not say that it writes."""

    outcome, where = "refused", "aten.batch_norm"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(CHANNELS))
        self.register_buffer("variance", torch.ones(CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.variance, training=True)


class WritesToItsWeight(Deceiver):
    """Normalises its weight in place with each call."""

    outcome, where = "refused", "aten.mul_.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.conv.weight.mul_(0.5)
        return self.conv(x)


class WritesToItsWeightByNumPy(Deceiver):
    """Changes a buffer where no operator shows it."""

    outcome, where = "refused", "changes offset"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.zeros(CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.offset.numpy()[...] += 1
        return x + self.offset


class ReadsAGlobal(Deceiver):
    """Scales by a number that its calls change elsewhere."""

    outcome, where = "refused", "aten.mul.Tensor"
    gain: ClassVar[list[float]] = [1.0]

    def forward(self, x: Tensor) -> Tensor:
        self.gain[0] += 1
        return x * self.gain[0]


class PadsToTheLongest(Deceiver):
    """Remembers the longest signal so far, and pads to it."""

    outcome, where = "refused", "aten"

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0

    def forward(self, x: Tensor) -> Tensor:
        self.longest = max(self.longest, x.shape[-1])
        return F.pad(x, (0, self.longest - x.shape[-1]))


# --- writes in place ------------------------------------------------------------------------------


class DoublesItsInput(Deceiver):
    """Writes to the caller's tensor."""

    outcome, where = "refused", "aten.mul_.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.mul_(2))


class SilencesTheFirstFrame(Deceiver):
    """Writes to a view of the caller's tensor."""

    outcome, where = "refused", "aten.fill_"

    def forward(self, x: Tensor) -> Tensor:
        x[..., 0] = 0
        return self.conv(x)


class WritesToACopy(Deceiver):
    """Writes to a clone, and reads the input afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[..., 1:] *= 2
        y[:, 0] = 0.5
        return self.conv(y) + x


class Interleaves(Deceiver):
    """Writes two signals into an empty one, in turns."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.empty(x.shape[0], CHANNELS, 2 * x.shape[-1])
        y[..., ::2] = self.conv(x)
        y[..., 1::2] = x
        return y


class ReadsWhatItDidNotWrite(Deceiver):
    """Leaves half of an empty tensor as it is."""

    outcome, where = "refused", "torch.empty"

    def forward(self, x: Tensor) -> Tensor:
        y = torch.empty(x.shape[0], CHANNELS, 2 * x.shape[-1])
        y[..., ::2] = x
        return y


class WritesThroughAView(Deceiver):
    """Writes to a view after another view was made, and reads that one."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        rows, turned = y.view(-1), y.transpose(1, 2)
        rows.mul_(3)
        turned[..., 0].add_(1)
        return y + turned.transpose(1, 2).tanh() + rows.view_as(y)


class WritesToAPartOfAPart(Deceiver):
    """Writes to a slice of a slice, of parts of a split, and of an unsqueezed view."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x, self.conv(x)], 1)
        first, second = y.split(CHANNELS, 1)
        first[:, 1:][:, :1].mul_(0.5)
        second.unsqueeze(0)[0, :, 0].sub_(first[:, 2])
        a, b = y.chunk(2, 1)
        a += b
        y.unbind(1)[4].zero_()
        return y


class KeepsAnOldView(Deceiver):
    """Returns a view, and writes to its base afterwards."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        late = y[:, :2]
        early = y[:, :2].clone()
        y += 1
        return late, early


class SquaresThroughOverlaps(Deceiver):
    """Writes through ``as_strided``, for which there is no functional form."""

    outcome, where = "refused", "aten"

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        flat = torch.as_strided(y, (y.numel(),), (1,))
        flat.mul_(2)
        return y


class UsesOut(Deceiver):
    """Writes by ``out=``."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        torch.add(self.conv(x), x, out=y)
        torch.mul(y, 2, out=y)
        return y


class UsesOutOfAnotherType(Deceiver):
    """Writes float64 results into float32 memory."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros(x.shape)
        torch.mul(x.double(), 2.0, out=y)
        y += x.double() * 0.1
        return y


class TurnsItselfInPlace(Deceiver):
    """Changes sizes in place."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y.unsqueeze_(1)
        y.transpose_(2, 3)
        y *= 2
        return y.squeeze_(1)


class SwapsItsData(Deceiver):
    """Gives a tensor the memory of another one."""

    def forward(self, x: Tensor) -> Tensor:
        y, z = self.conv(x), x * 2
        y.data = z
        y += 1
        return y + z


class FillsWithItsMean(Deceiver):
    """Fills memory with one number of the signal."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros(2, 2)
        y.fill_(2.0)
        z = torch.zeros_like(x)
        z[..., :] = x.mean(-1, keepdim=True)
        return z * y[0, 0]


class WritesToForeach(Deceiver):
    """Writes to several tensors at once."""

    outcome, where = "refused", "aten._foreach_mul_"

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        torch._foreach_mul_([y], 2.0)
        return y


# --- lengths --------------------------------------------------------------------------------------


class PadsShortSignals(Deceiver):
    """Goes another way for short signals."""

    outcome = "limited"

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] < 5:
            x = F.pad(x, (0, 5 - x.shape[-1]), value=1.0)
        return self.conv(x)


class TilesLongSignals(Deceiver):
    """Goes another way for signals that are longer than any that are tried."""

    outcome, lengths = "limited", (9999, 10000, 10001)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 10000:
            return torch.cat([self.conv(x[..., :10000]), self.conv(x[..., 10000:])], -1)
        return self.conv(x)


class TilesInALoop(Deceiver):
    """Works in windows, of which the example fills one."""

    outcome, lengths = "limited", (4999, 5000, 5001)

    def forward(self, x: Tensor) -> Tensor:
        windows = range(0, x.shape[-1], 5000)
        return torch.cat([self.conv(x[..., i : i + 5000]) for i in windows], -1)


class SplitsIntoWindows(Deceiver):
    """Splits into windows, of which the example fills one."""

    outcome, lengths = "limited", (4999, 5000, 5001)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(part) for part in x.split(5000, -1)], -1)


class CutsLongSignals(Deceiver):
    """Throws away what is beyond a limit."""

    outcome, lengths = "any", (4999, 5000, 5001)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x[..., :5000])


class LimitsWithMin(Deceiver):
    """Computes a limit in Python."""

    outcome, lengths = "limited", (2499, 2500, 2501)

    def forward(self, x: Tensor) -> Tensor:
        n = min(2 * x.shape[-1], 5000) // 2
        return self.conv(x)[..., :n]


class LikesOneLength(Deceiver):
    """Goes another way for one length only."""

    outcome, lengths = "limited", (7776, 7777, 7778)

    def forward(self, x: Tensor) -> Tensor:
        return -x if x.shape[-1] == 7777 else x * 2


class LikesALargeBatch(Deceiver):
    """Goes another way for large batches."""

    outcome = "limited"

    def forward(self, x: Tensor) -> Tensor:
        return -x if x.size(0) > 5 else x * 2


class LikesManyNumbers(Deceiver):
    """Goes another way by the number of elements."""

    outcome, lengths = "limited", (1111, 4000)

    def forward(self, x: Tensor) -> Tensor:
        return -x if x.numel() > 10000 else x * 2


class DropsOddFrames(Deceiver):
    """Goes another way for odd lengths."""

    outcome, where = "refused", "aten"

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 1:] * 2 if x.shape[-1] % 2 else x.tanh()


class FoldsPairs(Deceiver):
    """Raises for odd lengths."""

    outcome, where = "refused", "aten.view"

    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], CHANNELS, x.shape[-1] // 2, 2).sum(-1)


class FoldsPairsOfAnEvenExample(FoldsPairs):
    """Raises for odd lengths, and the example's is even: the network takes even lengths."""

    outcome, where, example = "limited", "", 12


class SumsUpThreeAndFour(Deceiver):
    """Works in blocks of three and of four frames."""

    outcome, example, lengths = "limited", 36, (24, 36, 48, 120)

    def forward(self, x: Tensor) -> Tensor:
        threes = x.reshape(*x.shape[:2], -1, 3).sum(-1)
        return threes + x.unfold(-1, 4, 4).mean(-1).repeat_interleave(4, -1)[..., ::3]


class AddsPositions(Deceiver):
    """Adds a table that grows with the length."""

    outcome, where = "refused", "aten.add.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + torch.arange(x.shape[-1]) / 100


class AddsCachedPositions(Deceiver):
    """Adds a part of a table that it keeps."""

    outcome, where = "refused", "aten.add.Tensor"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(1, CHANNELS, 20000), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x + self.table[..., : x.shape[-1]])


class AsksACache(Deceiver):
    """Multiplies by a window that a cache keeps by length."""

    outcome, where = "refused", "aten.mul.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return x * window(x.shape[-1])


@functools.lru_cache
def window(length: int) -> Tensor:
    return torch.hann_window(length)


class AttendsToThePast(Deceiver):
    """Attends with a mask that grows with the length."""

    outcome, where = "refused", "aten"

    def forward(self, x: Tensor) -> Tensor:
        scores = x.transpose(1, 2) @ x
        mask = torch.ones(x.shape[-1], x.shape[-1]).tril() == 0
        return x @ scores.masked_fill(mask, -1e9).softmax(-1).transpose(1, 2)


class DividesByATensorOfTheLength(Deceiver):
    """Divides by the length, as a tensor."""

    outcome, where = "refused", "aten.div.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.tensor(float(x.shape[-1]))


class DividesByTheRootOfTheLength(Deceiver):
    """Divides by a number that is in proportion to nothing."""

    outcome, where = "refused", "aten.div.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return x / x.shape[-1] ** 0.5


class MeansByHand(Deceiver):
    """Subtracts the mean, and counts the frames itself."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        return x - x.sum(-1, keepdim=True) / x.shape[-1]


class PadsToEights(Deceiver):
    """Pads to a multiple of eight, computes, and crops."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        return self.conv(F.pad(x, (0, -n % 8), value=0.5))[..., :n]


class StretchesToAFixedLength(Deceiver):
    """Gives 50 frames, whatever comes in."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=50)


class MasksWithOnes(Deceiver):
    """Multiplies by a mask that is all ones, of the signal's length."""

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.full((x.shape[0],), x.shape[-1])
        mask = torch.arange(x.shape[-1])[None] < lengths[:, None]
        return self.conv(x) * mask[:, None]


class RepeatsItsBias(Deceiver):
    """Adds and joins a bias that it expands to the signal's size itself."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(1, CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias.expand(x.shape[0], CHANNELS, x.shape[-1])
        return torch.cat([x + bias, bias.contiguous()], 1)


class ReturnsItsLength(Deceiver):
    """Returns a number that depends on the length."""

    outcome, where = "refused", "returns"

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x * 2, x.shape[-1]


# --- the batch ------------------------------------------------------------------------------------


class LooksAcrossTheBatch(Deceiver):
    """Subtracts the mean over the batch."""

    outcome = "limited"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) - x.mean(0, keepdim=True)


class TurnsTheBatch(Deceiver):
    """Gives the rows in reverse."""

    outcome = "limited"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).flip(0)


class ScalesByTheBatch(Deceiver):
    """Multiplies by the number of rows."""

    outcome = "limited"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * x.shape[0]


class SqueezesEverything(Deceiver):
    """Removes the batch where it is one."""

    outcome = "limited"

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).squeeze()


class FoldsTheBatchIntoChannels(Deceiver):
    """Convolves all rows as groups of one."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, length = x.shape
        weight = self.conv.weight.repeat(batch, 1, 1)
        return F.conv1d(x.reshape(1, -1, length), weight, groups=batch).view(batch, channels, -1)


class LoopsOverTheBatch(Deceiver):
    """Computes each row by itself."""

    outcome = "limited"

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.conv(row) for row in x])


class NormalisesOverTheBatch(Deceiver):
    """Uses a batch norm without statistics."""

    outcome = "limited"

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(CHANNELS, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


# --- results --------------------------------------------------------------------------------------


class Pair(NamedTuple):
    signal: Tensor
    rate: int


@dataclass
class Bundle:
    signal: Tensor
    note: str
    extra: Any = None


class ReturnsManyThings(Deceiver):
    """Returns a nested structure, with its input, constants and one tensor twice."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("constant", torch.arange(4.0))

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.conv(x)
        return {
            "pair": Pair(y, 16000),
            "bundle": Bundle(y[:, :1], "mono", [None, True, y]),
            "input": x,
            "constant": (self.constant, torch.zeros(x.shape[0], 2, x.shape[-1])),
        }


class ReturnsAnUnknownObject(Deceiver):
    """Returns an object that only it knows."""

    outcome, where = "refused", "ReturnsAnUnknownObject"

    def forward(self, x: Tensor) -> Any:
        return self, x


class ReturnsNoTensor(Deceiver):
    """Returns what does not depend on its input."""

    outcome = "any"

    def forward(self, x: Tensor) -> Any:
        return torch.ones(3)


# --- ways of calling ------------------------------------------------------------------------------


class ComputesInAnotherThread(Deceiver):
    """Computes where no recording sees it."""

    outcome, where = "refused", "result 0"

    def forward(self, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: x.tanh()).result() * 2


class ForksInTorchScript(Deceiver):
    """Computes a part in a task of TorchScript."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        return torch.jit.wait(torch.jit.fork(torch.tanh, x)) * 2


class HasAScriptedPart(Deceiver):
    """Calls TorchScript."""

    def __init__(self) -> None:
        super().__init__()
        self.scripted = torch.jit.script(nn.Sequential(nn.Conv1d(CHANNELS, 2, 1), nn.Tanh()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scripted(x)


class DefinesADerivative(Deceiver):
    """Uses an ``autograd.Function``."""

    def forward(self, x: Tensor) -> Tensor:
        return Twice.apply(self.conv(x))


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


class Differentiates(Deceiver):
    """Returns a derivative in its input."""

    outcome, where = "refused", "raises"

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x.clone().requires_grad_()
            (grad,) = torch.autograd.grad(self.conv(y).sin().sum(), y)
        return grad


class MapsOverRows(Deceiver):
    """Uses ``torch.vmap``."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(lambda row: row * 2 + row.sum(-1, keepdim=True))(x)


class HasHooks(Deceiver):
    """Has hooks that change inputs and outputs of a part."""

    def __init__(self) -> None:
        super().__init__()
        self.conv.register_forward_pre_hook(lambda module, given: (given[0] * 2,))
        self.conv.register_forward_hook(lambda module, given, result: result.tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class HidesItsParts(Deceiver):
    """Keeps modules in a plain list, and calls one twice."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Any] = [nn.Conv1d(CHANNELS, CHANNELS, 1), self.conv, self.conv]

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class MakesAWeightOfItsInput(Deceiver):
    """Convolves with a kernel that the signal gives."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, x.mean((0, 2))[:, None, None].expand(-1, 1, 3), groups=CHANNELS)


class ChangesTypes(Deceiver):
    """Computes in float64, int64 and back."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        y = (x.double() * 10).round().long()
        return (y % 7).to(x.dtype) + x.half().float()


class GoesThroughFrequencies(Deceiver):
    """Halves the upper frequencies of the whole signal."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * 0.5, n=x.shape[-1])


class SortsTime(Deceiver):
    """Sorts, sums up and normalises over time."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sort(-1).values + x.cumsum(-1).softmax(-1) + F.instance_norm(x)


class ChangesTheDefaultType(Deceiver):
    """Sets the default dtype for all that comes after."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return x + torch.ones(1)


class HasParametrisedWeights(Deceiver):
    """Computes its weights anew in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.utils.parametrizations.weight_norm(self.conv)
        self.second = torch.nn.utils.parametrizations.spectral_norm(nn.Conv1d(CHANNELS, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.pad(self.conv(x), (1, 1)))


class LooksAtTheStack(Deceiver):
    """Goes another way while a dispatch mode is on."""

    outcome, where = "refused", "while it is recorded"

    def forward(self, x: Tensor) -> Tensor:
        watched = torch.utils._python_dispatch._get_current_dispatch_mode() is not None
        return x if watched else x * 2


class HasACompiledPart(Deceiver):
    """Calls ``torch.compile``."""

    outcome = "any"

    def __init__(self) -> None:
        super().__init__()
        self.compiled = torch.compile(nn.Sequential(nn.Tanh(), self.conv), backend="eager")

    def forward(self, x: Tensor) -> Tensor:
        return self.compiled(x) + 1


class HasATracedPart(Deceiver):
    """Calls what ``torch.jit.trace`` made, which has sizes of its own."""

    outcome = "any"

    def __init__(self) -> None:
        super().__init__()
        example = torch.zeros(1, CHANNELS, 22)
        self.traced = torch.jit.trace(nn.Sequential(self.conv, nn.GLU(-1), nn.ELU()), example)

    def forward(self, x: Tensor) -> Tensor:
        return self.traced(torch.cat([x, x], -1))


class UsesAutocast(Deceiver):
    """Computes a part in bfloat16."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.conv(x).float()


class LikesDenseMemory(Deceiver):
    """Goes another way where the input does not lie in order in memory."""

    outcome, where = "refused", "aten.mul.Tensor"

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.is_contiguous() else -x


class WantsDenseMemory(Deceiver):
    """Raises where the input does not lie in order in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).view(x.shape[0], -1).view(x.shape) + x.view(-1).view(x.shape)


class LearnsItsFirstState(Deceiver):
    """Has an LSTM whose first state is a parameter, expanded to the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(CHANNELS, 4, batch_first=True)
        self.first = nn.Parameter(torch.randn(2, 1, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        h, c = self.first.expand(2, 1, x.shape[0], 4).contiguous()
        return self.lstm(x.transpose(1, 2), (h, c))[0]


class RunsInBothDirections(Deceiver):
    """Has a GRU that runs in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(CHANNELS, 2, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x.transpose(1, 2))[0].transpose(1, 2)


class AttendsToAll(Deceiver):
    """Has a layer of a transformer, which torch computes in a faster way in eval mode."""

    outcome = "any"

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.project = nn.Conv1d(CHANNELS, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.project(x).transpose(1, 2))


class ReturnsStatistics(Deceiver):
    """Returns numbers of each row besides the signal."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.conv(x)
        return {"mean": y.mean((1, 2)), "peak": y.abs().amax(-1), "signal": y, "last": y[..., -1]}


class ComputesALoss(Deceiver):
    """Returns one number for the whole batch."""

    outcome = "limited"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        return y, (y - x).square().mean()


class WorksFrameByFrame(Deceiver):
    """Loops over time in Python."""

    outcome, where = "refused", "aten"

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.shape[0], CHANNELS)
        states = []
        for frame in x.unbind(-1):
            state = 0.9 * state + frame
            states.append(state)
        return torch.stack(states, -1)


class LoopsUntilItFits(Deceiver):
    """Doubles the signal until it is longer than a limit."""

    outcome = "limited"

    def forward(self, x: Tensor) -> Tensor:
        while x.shape[-1] < 40:
            x = torch.cat([x, x], -1)
        return self.conv(x)


class RollsTime(Deceiver):
    """Moves frames from one end to the other, and mirrors."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.roll(2, -1)) + x.flip(-1)


class TakesEveryThirdFrame(Deceiver):
    """Strides over time by a slice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., 1::3]


class ComputesASpectrogram(Deceiver):
    """Goes through an STFT and back."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        window = torch.hann_window(16)
        found = torch.stft(x[:, 0], 16, 4, window=window, return_complex=True)
        return torch.istft(found * 0.5, 16, 4, window=window, length=x.shape[-1])


class MixesComplexNumbers(Deceiver):
    """Turns phases."""

    outcome = "any"

    def forward(self, x: Tensor) -> Tensor:
        return torch.view_as_real(torch.polar(x.abs(), x) * 1j).sum(-1)


class FindsNoNumbers(Deceiver):
    """Replaces NaN and infinite numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nan_to_num(self.conv(x) / 0.0, nan=0.25, posinf=1.0, neginf=-1.0)


class QuantisesToCodes(Deceiver):
    """Returns integers: the nearest of some vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("book", torch.randn(8, CHANNELS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        codes = torch.cdist(x.transpose(1, 2), self.book[None]).argmin(-1)
        return codes, self.book[codes].transpose(1, 2)


class ChecksItsInput(Deceiver):
    """Asserts something about its values."""

    outcome, where = "refused", "aten.is_nonzero"

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.isnan(x).any()
        return x * 2


class ChecksItsInputInTorch(Deceiver):
    """Asserts something about its values by an operator without a result."""

    outcome, where = "refused", "aten._assert_async"

    def forward(self, x: Tensor) -> Tensor:
        torch._assert_async((x < 1e9).all())
        return x * 2


class PrintsItsInput(Deceiver):
    """Formats numbers of the signal."""

    outcome, where = "refused", "aten"

    def forward(self, x: Tensor) -> Tensor:
        self.note = f"{x.mean():.3f}"
        return x * 2


# --- several inputs -------------------------------------------------------------------------------


class ConditionsOnASpeaker(Deceiver):
    """Adds a vector per utterance."""

    time = (-1, None)

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, CHANNELS)

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        return torch.randn(batch, CHANNELS, length), torch.randn(batch, 4)

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        return self.conv(x) + self.linear(speaker)[..., None]


class ScalesByAnInput(Deceiver):
    """Multiplies by a number that has no batch."""

    time = (-1, None)

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        return torch.randn(batch, CHANNELS, length), torch.rand(1) + 0.5

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.conv(x) * scale


class MixesTwoRates(Deceiver):
    """Adds a source at four times the rate, in another layout."""

    time = (-1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(CHANNELS, 2, 8, stride=4, padding=2)

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        return torch.randn(batch, CHANNELS, length), torch.randn(batch, 4 * length, 2)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return self.up(x) + source.transpose(1, 2)


class ReadsCodes(Deceiver):
    """Looks codes up in tables, and sums them up."""

    time = -1

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(10, CHANNELS) for _ in range(2))

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        return (torch.randint(0, 10, (batch, 2, length)),)

    def forward(self, codes: Tensor) -> Tensor:
        found = [table(codes[:, i]) for i, table in enumerate(self.tables)]
        return self.conv(torch.stack(found).sum(0).transpose(1, 2))


class ReadsCodesOfASilentExample(ReadsCodes):
    """Looks codes up, and the example has one code only."""

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        high = 1 if (batch, length) == (1, self.example) else 10
        return (torch.randint(0, high, (batch, 2, length)),)


class HasOneCode(Deceiver):
    """Looks codes up in a table of one."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1, CHANNELS)

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, length, dtype=torch.int64),)

    def forward(self, codes: Tensor) -> Tensor:
        return self.conv(self.table(codes).transpose(1, 2))


class FindsACodeInNumPy(Deceiver):
    """Scales by a code, which it reads where no operator shows it."""

    outcome, where = "refused", "Tensor.numpy"

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, length, dtype=torch.int64),)

    def forward(self, codes: Tensor) -> Tensor:
        return codes * int(codes.numpy().max())


class BranchesOnACode(Deceiver):
    """Goes another way for one code."""

    outcome, where = "refused", "aten.is_nonzero"
    inputs: Callable[..., Any] = ReadsCodes.inputs

    def forward(self, codes: Tensor) -> Tensor:
        return codes * 2 if (codes == 3).any() else codes


class MasksByLengths(Deceiver):
    """Masks by the lengths of the utterances, which are an input."""

    time, outcome = (-1, None), "any"

    def inputs(self, batch: int, length: int) -> tuple[Tensor, ...]:
        return torch.randn(batch, CHANNELS, length), torch.full((batch,), length)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return x * (torch.arange(x.shape[-1])[None] < lengths[:, None])[:, None]
