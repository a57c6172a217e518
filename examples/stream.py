"""The voice of speak.py in pieces, as its frames arrive, with the bits of all of it at once.

For comparison, ONNX Runtime decodes overlapping windows, the usual way: each chunk of frames with
enough of its neighbours, whose samples are then discarded.
"""

import argparse
from collections import defaultdict
from functools import partial
from math import ceil

import numpy as np
from rich import print
from rich.box import SIMPLE
from rich.table import Table
from voice import FLOW, MASK, SAMPLES, chunks, part, read_aloud, timed

import fracstride as fs
import fracstride.onnx

CHUNKS = (1, 2, 4, 8, 16, 64)  # frames


def main() -> None:
    """Stream the sentence in chunks of several sizes; compare bits and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fs.get_num_threads())
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each size")
    parser.add_argument("--frames", type=int, help="only so many of the sentence")
    args = parser.parse_args()
    fs.set_num_threads(args.threads)

    sentence = read_aloud(args.threads)
    inputs = [x[..., : args.frames] for x in sentence.given(FLOW, MASK)]
    net = fracstride.onnx.load(sentence.voice, [FLOW, MASK], [SAMPLES])
    stream, peer = net.stream(), part(sentence.voice, [FLOW, MASK], args.threads)
    context = ceil(stream.latency / stream.stride)  # it looks back as far as it looks ahead
    whole, whole_peer = net(*inputs), peer(*inputs)
    took = defaultdict(list)
    for _ in range(1 + args.runs):  # the first run is for warming up
        took["ours"].append(timed([partial(net, *inputs)])[1])
        took["ORT"].append(timed([partial(peer, *inputs)])[1])
        for size in CHUNKS:
            pushes = [partial(stream.push, *chunk) for chunk in chunks(inputs, size)]
            pieces, times = timed([*pushes, stream.flush])
            if not np.array_equal(np.concatenate(pieces, -1), whole):
                raise SystemExit(f"Chunks of {size} frames: not the bits of the whole.")
            first = next(i for i, piece in enumerate(pieces) if piece.size)
            took[size].append([1000 * times[first], first, times[-1]])
            windows, times = timed([partial(peer, *c) for c in chunks(inputs, size, context)])
            took[f"ORT {size}"].append(times)
            starts = [min(i * size, context) * stream.stride for i in range(len(windows))]
            placed, samples = zip(starts, windows, strict=True), size * stream.stride
            kept = [window[..., at : at + samples] for at, window in placed]
            if not np.abs(np.concatenate(kept, -1) - whole_peer).max() < 1e-4:
                raise SystemExit(f"{context} frames of context are too few for ONNX Runtime.")
    of = {name: np.median(times[1:] or times, axis=0) for name, times in took.items()}

    names = "frames", "ms of audio", "ms a push", "first sample, ms", "offline", "ORT/ours"
    table = Table(*names, box=SIMPLE, padding=(0, 0, 0, 1))
    frame = 1000 * stream.stride / sentence.rate  # in ms
    for size in CHUNKS:
        compute, first, total = of[size]
        push = 1000 * total / ceil(inputs[0].shape[2] / size)
        waited = f"{(first + 1) * size * frame:.0f} + {compute:.1f}"
        ratios = f"{total / of['ours'][-1]:.2f}", f"{of[f'ORT {size}'][-1] / total:.2f}"
        table.add_row(f"{size}", f"{size * frame:.0f}", f"{push:.2f}", waited, *ratios)
    late, ours, ort = 1000 * stream.latency / sentence.rate, of["ours"][-1], of["ORT"][-1]
    print(table)
    print(f"The bits of the whole; {stream.latency} samples ahead: {late:.0f} ms of latency.")
    print("First sample: ms until its frames are there + ms of computing. Offline: all pushes,")
    print(
        f"where all at once takes {ours:.3f} s, and in ONNX Runtime {ort:.3f} s. ORT: windows with"
    )
    print(f"{context} frames on each side. Threads: {args.threads}.")


if __name__ == "__main__":
    main()
