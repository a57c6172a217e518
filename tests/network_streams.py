"""Streams of networks against their offline outputs, in many chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from networks import outputs_of, same_bits

from fracstride.network import Network
from fracstride.network.layout import TIME

Rng = np.random.Generator


def ways(ticks: int, rng: Rng, period: int = 1) -> Iterator[list[int]]:
    """How to cut so many ticks: at once, one by one, at random, and a period at a time."""
    yield [ticks]
    yield [1] * ticks
    for most in (4, 1 + ticks // 2, 1 + 2 * period):
        sizes: list[int] = []
        while sum(sizes) < ticks:
            sizes.append(min(int(rng.integers(0, most + 1)), ticks - sum(sizes)))
        yield sizes
    yield [*[period] * (ticks // period), ticks % period]


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def check_streams(network: Network, inputs: Sequence[Any], ticks: int, rng: Rng) -> None:
    """The stream has the bits of the network, in any chunks, and gives what is final.

    Args:
        network: any.
        inputs: of so many ticks, with a batch, as the network takes them.
        ticks: that they last.
        rng: cuts them.
    """
    values, layouts = network.graph.inputs, network.layouts
    axes = [2] * len(values)
    out_axes = [2] * len(network.graph.outputs)
    if layouts is not None:
        axes = [a.index(TIME) if TIME in a else 0 for a in layouts.inputs]
        out_axes = [a.index(TIME) for a in layouts.outputs]
    timed = [i for i, value in enumerate(values) if value.rate]
    constants = [x for i, x in enumerate(inputs) if i not in timed]
    batch = inputs[timed[0]].shape[0]
    stream = network.stream(batch, constants)
    expected = outputs_of(network, inputs) if ticks >= network.least else None

    def chunks(start: int, stop: int) -> list[Any]:
        found = []
        for i in timed:
            rate = int(values[i].rate)
            part: Any = [slice(None)] * inputs[i].ndim
            part[axes[i]] = slice(rate * start, rate * stop)
            found.append(inputs[i][tuple(part)])
        return found

    for sizes in ways(ticks, rng, stream.schedule.period):
        pieces: list[list[Any]] = [[] for _ in out_axes]
        now = 0
        for size in sizes:
            given = as_tuple(stream.push(*chunks(now, now + size)))
            now += size
            for number, (so_far, piece) in enumerate(zip(pieces, given, strict=True)):
                so_far.append(piece)
                out = sum(p.shape[out_axes[number]] for p in so_far)
                assert out == stream.schedule.output_length(number, now)
        for so_far, piece in zip(pieces, as_tuple(stream.flush()), strict=True):
            so_far.append(piece)
        found = [np.concatenate(p, axis) for p, axis in zip(pieces, out_axes, strict=True)]
        if expected is None:
            assert all(y.shape[axis] == 0 for y, axis in zip(found, out_axes, strict=True))
        else:
            same_bits(found, expected)
