"""The time of a push into a stream, against its kernel alone and against reading its weights.

A push of one frame multiplies every weight once, so it takes at least the time of reading them.
The weights of a decoder that do not fit into the caches come from memory at each push; this case is
measured on several layers in turn. The kernel alone is the same call of the compiled module on the
same frames, without the stream around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import timing
from peers import Candidate
from rich.table import Table

import fracstride as fs
from fracstride._load import native

# (C_in, C_out, k, s, p), frames of a push, number of layers in turn, and the target of a push.
LAYERS = (
    ((512, 256, 16, 8, 4), 1, 12, "1.3 of reading"),
    ((512, 256, 16, 8, 4), 1, 1, "10 us over the kernel"),
    ((64, 32, 4, 2, 1), 8, 1, "15 us in all"),
    ((64, 32, 4, 2, 1), 1, 1, ""),
    ((32, 32, 7, 1, 3), 256, 1, ""),
)
PUSHES_BEFORE = 4  # after these the number of kept frames no longer changes


class _Timed(Candidate):
    def __init__(self, calls: Sequence[Callable[[], Any]]) -> None:
        def in_turn() -> None:
            for call in calls:
                call()

        self.call = calls[0] if len(calls) == 1 else in_turn


def _calls(sizes: Sequence[int], frames: int) -> list[Callable[[], Any]]:
    """A push, its kernel, and reading the weights."""
    channels, out_channels, k, s, p = sizes
    layer = fs.ConvTranspose1d(channels, out_channels, k, stride=s, padding=p, rng=0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, channels, (PUSHES_BEFORE + 1) * frames), np.float32)
    chunks = [np.ascontiguousarray(c) for c in np.split(x, PUSHES_BEFORE + 1, -1)]
    stream = layer.stream()
    for chunk in chunks[:-1]:
        stream.push(chunk)
    carried, received = stream.state()["frames"], int(stream.state()["received"][0])
    g, kept = layer.geometry, carried.shape[-1]
    y = stream.push(chunks[-1])
    out, weight, bias = np.empty_like(y), layer.packed.packed_weight(), layer.packed.packed_bias
    crop = g.crop_of_part(received - kept, g.final_length(received))
    chunk, result, before = (native.signal_of(a) for a in (chunks[-1], out, carried))
    numbers = (1, *chunk, bias.address, *result, crop, 0, 0, 0, 0, 0, 1.0, *before)
    kernel = partial(native.forward, weight.native, *numbers)
    kernel.keep = bias, carried, out  # type: ignore[attr-defined]
    kernel()
    assert np.array_equal(out, y)
    values = np.ones(layer.weight.size, np.float32)
    read = partial(native.read_floats, values.ctypes.data, values.size)
    read.keep = values  # type: ignore[attr-defined]
    return [partial(stream.push, chunks[-1]), kernel, read]


def measure(seconds: float) -> tuple[Table, list[dict[str, Any]]]:
    """Time the pushes, for so many seconds in total: a table, and its numbers."""
    table = Table(title="A push into a stream (microseconds)")
    table.add_column("layer")
    for name in ("frames", "in turn", "push", "kernel", "over it", "weights read", "push / read"):
        table.add_column(name, justify="right")
    table.add_column("wanted at most")
    numbers = []
    for (channels, out_channels, k, s, p), frames, layers, wanted in LAYERS:
        calls = [_calls((channels, out_channels, k, s, p), frames) for _ in range(layers)]
        candidates = [_Timed(kind) for kind in zip(*calls, strict=True)]
        times = timing.measure(candidates, seconds / len(LAYERS)) * 1e6 / layers
        push, kernel, read = np.median(times, axis=0)
        over = float(np.median(times[:, 0] - times[:, 1]))
        ratio = float(np.median(times[:, 0] / times[:, 2]))
        name = f"{channels}->{out_channels} k{k} s{s}"
        shown = (f"{value:.1f}" for value in (push, kernel, over, read))
        table.add_row(name, str(frames), str(layers), *shown, f"{ratio:.2f}", wanted)
        numbers.append(
            {
                "layer": name,
                "frames": frames,
                "layers_in_turn": layers,
                "push_us": float(push),
                "kernel_us": float(kernel),
                "over_us": over,
                "weights_read_us": float(read),
                "push_per_read": ratio,
            }
        )
    return table, numbers
