"""What a stack of layers costs on N ranks: multiply-adds, bytes on the wire, messages.

Cut along time, a rank computes 1/N of each layer and waits for at most one message from each side.
The frames in a message are counted by :func:`fracstride.torch.distributed.messages`, not estimated.
Cut along channels, a rank computes 1/N of each layer as well, and each pair of layers ends in one
all-reduce of its whole output. That is a ring: 2(N - 1) steps, which carry 2(N - 1)/N of the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from fracstride.geometry import Geometry
from fracstride.torch.distributed import messages


@dataclass(frozen=True)
class Machine:
    """A rank and its connection to the others. A multiply-add counts as two operations."""

    flops: float  # per second, as measured on layers
    latency: float  # of a message
    bandwidth: float  # bytes per second, each way
    layer: float = 0.0  # seconds per layer of any size: Python, launches


@dataclass(frozen=True)
class Step:
    """One layer of a stack."""

    in_channels: int
    out_channels: int
    geometry: Geometry


@dataclass(frozen=True)
class Stack:
    """Layers one after the other, fed with ``(batch, C_in, L)``; ``itemsize`` bytes a number."""

    steps: Sequence[Step]
    batch: int
    L: int
    itemsize: int = 4

    @cached_property
    def lengths(self) -> list[int]:
        """``L`` of each layer's input, and of the last one's output."""
        lengths = [self.L]
        for step in self.steps:
            lengths.append(step.geometry.output_length(lengths[-1]))
        return lengths

    @property
    def flops(self) -> int:
        """Of all layers."""
        return sum(
            2 * self.batch * s.in_channels * s.out_channels * s.geometry.kernel_size * L
            for s, L in zip(self.steps, self.lengths, strict=False)
        )

    @property
    def weight_bytes(self) -> int:
        """Of all layers."""
        return self.itemsize * sum(
            s.in_channels * s.out_channels * s.geometry.kernel_size for s in self.steps
        )

    @property
    def signal_bytes(self) -> int:
        """Of the layer whose input and output together are largest."""
        channels = [self.steps[0].in_channels, *(s.out_channels for s in self.steps)]
        sizes = [
            c * L * self.batch * self.itemsize for c, L in zip(channels, self.lengths, strict=True)
        ]
        return max(a + b for a, b in pairwise(sizes))

    @property
    def channels(self) -> int:
        """The largest number of ranks for channels: those between the two layers of each pair."""
        return min(step.out_channels for step in self.steps[::2])

    def halo_bytes(self, ranks: int) -> list[int]:
        """Bytes that the rank with the largest halo receives, layer by layer."""
        received = []
        for s, L in zip(self.steps, self.lengths, strict=False):
            frames = [0] * ranks
            for (_, receiver), count in messages(s.geometry, L, ranks).items():
                frames[receiver] += count
            received.append(max(frames) * self.batch * s.in_channels * self.itemsize)
        return received

    def sum_bytes(self) -> list[int]:
        """The outputs of pairs of layers, which are summed over the ranks."""
        pairs = list(zip(self.steps, self.lengths[1:], strict=True))[1::2]
        return [self.batch * s.out_channels * L * self.itemsize for s, L in pairs]


def along_time(stack: Stack, ranks: int, machine: Machine) -> float:
    """Seconds of a forward call, cut along time over the ranks."""
    m = machine
    seconds = stack.flops / ranks / m.flops + m.layer * len(stack.steps)
    if ranks > 1:
        seconds += m.latency  # the ranks exchange their shapes
        seconds += sum(m.latency + size / m.bandwidth for size in stack.halo_bytes(ranks))
    return seconds


def along_channels(stack: Stack, ranks: int, machine: Machine) -> float:
    """Seconds of a forward call, cut along channels over the ranks, in pairs of layers."""
    m = machine
    seconds = stack.flops / ranks / m.flops + m.layer * len(stack.steps)
    if ranks > 1:
        seconds += sum(all_reduce(size, ranks, m) for size in stack.sum_bytes())
    return seconds


def all_reduce(size: int, ranks: int, machine: Machine) -> float:
    """Seconds of an all-reduce in a ring."""
    steps = 2 * (ranks - 1)
    return steps * (machine.latency + size / ranks / machine.bandwidth)
