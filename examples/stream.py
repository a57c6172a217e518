"""The voice of speak.py in pieces, as its frames arrive, with the bits of all of it at once.

For comparison, ONNX Runtime decodes overlapping windows, the usual way: each chunk of frames
together with enough of its neighbours, whose samples are then discarded.
"""

import argparse
from collections import defaultdict
from math import ceil
from time import perf_counter

import numpy as np
from rich import print
from rich.box import SIMPLE
from rich.table import Table
from voice import FLOW, MASK, SAMPLES, part, read_aloud

import fracstride as fs
import fracstride.onnx

CHUNKS = (1, 2, 4, 8, 16, 64)  # frames


def chunks(inputs: list[np.ndarray], size: int, context: int = 0) -> list[list[np.ndarray]]:
    """The inputs cut into so many frames, each with its neighbours."""
    starts = range(0, inputs[0].shape[2], size)
    return [[x[..., max(0, t - context) : t + size + context] for x in inputs] for t in starts]


def timed(calls: list) -> tuple[list[np.ndarray], list[float]]:
    """What each call gives, and when it was there."""
    begin = perf_counter()
    done = [(call(), perf_counter() - begin) for call in calls]
    return [result for result, _ in done], [time for _, time in done]


def main() -> None:
    """Stream the sentence in chunks of several sizes; compare bits and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fs.get_num_threads())
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each size")
    args = parser.parse_args()
    fs.set_num_threads(args.threads)

    sentence = read_aloud(args.threads)
    inputs = sentence.given(FLOW, MASK)
    net = fracstride.onnx.load(sentence.voice, [FLOW, MASK], [SAMPLES])
    stream, peer = net.stream(), part(sentence.voice, [FLOW, MASK], args.threads)
    frame = 1000 * stream.stride / sentence.rate  # in ms
    context = ceil(stream.latency / stream.stride)  # it looks back as far as it looks ahead
    whole = net(*inputs)
    took = defaultdict(list)
    for _ in range(1 + args.runs):  # the first run is for warming up
        took["ours"].append(timed([lambda: net(*inputs)])[1])
        took["ORT"].append(timed([lambda: peer(*inputs)])[1])
        for size in CHUNKS:
            pushes = [lambda c=c: stream.push(*c) for c in chunks(inputs, size)]
            pieces, times = timed([*pushes, stream.flush])
            if not np.array_equal(np.concatenate(pieces, -1), whole):
                raise SystemExit(f"Chunks of {size} frames: not the bits of the whole.")
            first = next(i for i, piece in enumerate(pieces) if piece.size)
            took[size].append([times[first] * 1000, first, times[-1]])
            windows = [lambda c=c: peer(*c) for c in chunks(inputs, size, context)]
            took[f"ORT {size}"].append(timed(windows)[1])
    of = {name: np.median(times[1:], axis=0) for name, times in took.items()}

    names = ("frames", "ms of audio", "ms a push", "first sample, ms", "offline", "ORT/ours")
    table = Table(*names, box=SIMPLE, padding=(0, 0, 0, 1))
    for size in CHUNKS:
        compute, first, total = of[size]
        push, arrived = 1000 * total / ceil(inputs[0].shape[2] / size), (first + 1) * size * frame
        shown = f"{size * frame:.0f}", f"{push:.2f}", f"{arrived:.0f} + {compute:.1f}"
        ratios = f"{total / of['ours'][-1]:.2f}", f"{of[f'ORT {size}'][-1] / total:.2f}"
        table.add_row(str(size), *shown, *ratios)
    print(
        table,
        "First sample: ms until its frames are there + ms of computing. Offline: all pushes; once,",
        f"all takes {of['ours'][-1]:.3f} s. ORT: windows with {context} frames on each side;",
        f"all at once, {of['ORT'][-1]:.3f} s. Threads: {args.threads}.",
    )


if __name__ == "__main__":
    main()
