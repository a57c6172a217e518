"""The voice of speak.py, decoded as its frames arrive, with the bits of decoding them all at once.

A server has the first frames of a sentence long before the last ones. Here the decoder is a
composition of streams, which receives a few frames at a time. For comparison, ONNX Runtime decodes
overlapping windows, the usual way: each chunk of frames together with enough of its neighbours,
whose samples are then discarded.
"""

import argparse
import math
from collections.abc import Callable
from time import perf_counter

import numpy as np
import onnx
from rich import print
from rich.box import SIMPLE
from rich.table import Table
from voice import FRAMES, read_aloud, session

import fracstride as fs
from fracstride.streaming import Chain, Identity, Pointwise, Stream, Sum

CHUNKS = (1, 2, 4, 8, 16, 64)  # frames
SAMPLES = "/dec/Tanh_output_0"
CONVOLUTIONS = ("Conv", "ConvTranspose")


def attributes(node: onnx.NodeProto) -> dict:
    """The attributes of a node, by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def make_layer(node: onnx.NodeProto, given: dict, weights: list) -> fs.ConvTranspose1d:
    """The layer of a node. A stride-1 Conv is a ConvTranspose with its taps flipped."""
    known = {"kernel_shape", "strides", "pads", "dilations", "group"}
    (stride,), (dilation,) = given.get("strides", [1]), given.get("dilations", [1])
    if given.keys() - known or (node.op_type == "Conv" and stride != 1):
        raise NotImplementedError(f"{node.name}: no rule here for {node.op_type} {given}")
    options = {"padding": tuple(given.get("pads", [0, 0])), "groups": given.get("group", 1)}
    if node.op_type == "Conv":
        return fs.ConvTranspose1d.from_conv1d(*weights, dilation=dilation, **options)
    return fs.ConvTranspose1d.from_weights(*weights, stride=stride, dilation=dilation, **options)


def stream_of(graph: onnx.GraphProto) -> Stream:
    """Compose streams that compute what the graph computes."""
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    source = graph.input[0].name
    nodes = {node.output[0]: node for node in graph.node}  # by output, in topological order
    read = {v: [n for n in node.input if n not in constants] for v, node in nodes.items()}
    # For each value, the values that every path from the source to it goes through, in order.
    passed = {source: [source]}
    for value in nodes:
        first, *others = (passed[name] for name in read[value])
        passed[value] = [v for v in first if all(v in other for other in others)] + [value]

    def branch(start: str, end: str) -> list[Stream]:
        """The streams that compute ``end`` from ``start``, one after the other."""
        if end == start:
            return []
        node, given = nodes[end], attributes(nodes[end])
        if node.op_type == "Add":
            a, b = read[end]
            fork = [v for v in passed[a] if v in passed[b]][-1]
            branches = (branch(fork, name) or [Identity()] for name in (a, b))
            both = Sum(*(Chain(*streams) for streams in branches))
            return [*branch(start, fork), both]
        (before,) = read[end]
        slope = None
        if node.op_type in CONVOLUTIONS:
            if before != start and nodes[before].op_type == "LeakyRelu":
                slope = attributes(nodes[before]).get("alpha", 0.01)
                (before,) = read[before]
            layer = make_layer(node, given, [constants[n] for n in node.input[1:]])
            return [*branch(start, before), layer.stream(negative_slope=slope)]
        match node.op_type:
            case "LeakyRelu" if 0 <= (alpha := given.get("alpha", 0.01)) <= 1:
                stream = Pointwise(lambda x: np.maximum(x, x * alpha))
            case "Div":
                divisor = constants[node.input[1]]
                stream = Pointwise(lambda x: x / divisor)
            case "Tanh":
                stream = Pointwise(np.tanh)
            case _:
                raise NotImplementedError(f"{node.name}: no rule here for {node.op_type} {given}")
        return [*branch(start, before), stream]

    return Chain(*branch(source, graph.output[0].name))


def in_chunks(stream: Stream, frames: np.ndarray, size: int) -> tuple[np.ndarray, list[float], int]:
    """Push all frames: audio, seconds of each push, number of pushes up to the first sample."""
    pieces, times = [], []
    for t in range(0, frames.shape[-1], size):
        begin = perf_counter()
        pieces.append(stream.push(frames[..., t : t + size]))
        times.append(perf_counter() - begin)
    begin = perf_counter()
    pieces.append(stream.flush())
    times.append(perf_counter() - begin)
    first = next(i for i, piece in enumerate(pieces) if piece.shape[-1])
    return np.concatenate(pieces, -1), times, first + 1


def in_windows(
    decode: Callable[[np.ndarray], np.ndarray],
    frames: np.ndarray,
    size: int,
    context: int,
    stride: int,
) -> tuple[np.ndarray, float]:
    """Decode each chunk with its neighbours, keep the samples of the chunk: audio and seconds."""
    pieces, begin = [], perf_counter()
    for t in range(0, frames.shape[-1], size):
        start = max(0, t - context)
        audio = decode(frames[..., start : t + size + context])
        pieces.append(audio[..., (t - start) * stride : (t - start + size) * stride])
    took = perf_counter() - begin
    return np.concatenate(pieces, -1), took


def main() -> None:
    """Stream the sentence in chunks of several sizes; compare bits and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fs.get_num_threads())
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each size")
    parser.add_argument("--frames", type=int, help="decode only so many frames of the sentence")
    args = parser.parse_args()
    fs.set_num_threads(args.threads)

    sentence = read_aloud(args.threads)
    rate, frames = sentence.rate, sentence.values[FRAMES][..., : args.frames]
    model = onnx.utils.Extractor(sentence.voice).extract_model([FRAMES], [SAMPLES])
    stream, peer = stream_of(model.graph), session(model, args.threads)

    def decoder(frames: np.ndarray) -> np.ndarray:
        """All of it in one push."""
        return np.concatenate([stream.push(frames), stream.flush()], -1)

    expected = decoder(frames)
    decode = lambda x: peer.run(None, {FRAMES: x})[0]  # noqa: E731
    by_peer = decode(frames)
    frame_ms = 1000 * stream.stride / rate
    # The decoder looks back as many frames as it looks ahead.
    context = math.ceil(stream.latency / stream.stride)

    offline, offline_peer = [], []
    took: dict[int, list[list[float]]] = {size: [] for size in CHUNKS}
    took_peer: dict[int, list[float]] = {size: [] for size in CHUNKS}
    first: dict[int, int] = {}
    for _ in range(1 + args.runs):  # the first run is for warming up
        begin = perf_counter()
        decoder(frames)
        offline.append(perf_counter() - begin)
        begin = perf_counter()
        decode(frames)
        offline_peer.append(perf_counter() - begin)
        for size in CHUNKS:
            audio, times, first[size] = in_chunks(stream, frames, size)
            if not np.array_equal(audio.view(np.uint32), expected.view(np.uint32)):
                raise SystemExit(f"Chunks of {size} frames: not the bits of the offline decoder.")
            took[size].append(times)
            audio, seconds = in_windows(decode, frames, size, context, stream.stride)
            if not np.abs(audio - by_peer).max() < 1e-4:
                raise SystemExit(f"{context} frames of context are too few for ONNX Runtime.")
            took_peer[size].append(seconds)

    whole, whole_peer = (np.median(t[1:] or t) for t in (offline, offline_peer))
    table = Table(box=SIMPLE, padding=(0, 0, 0, 1))
    for name in ("frames", "ms of audio", "ms a push", "of real time", "first sample", "offline"):
        table.add_column(name, justify="right")
    for name in ("ORT", "ORT/ours"):
        table.add_column(name, justify="right")
    for size in CHUNKS:
        times = np.median(took[size][1:] or took[size], axis=0)
        total, total_peer = times.sum(), np.median(took_peer[size][1:] or took_peer[size])
        push, pushes = 1000 * np.median(times[:-1]), first[size]
        table.add_row(
            str(size),
            f"{size * frame_ms:.0f}",
            f"{push:.2f}",
            f"{push / (size * frame_ms):.3f}",
            f"{pushes * size * frame_ms:.0f} + {1000 * times[:pushes].sum():.1f}",
            f"{total / whole:.2f}",
            f"{total_peer / whole_peer:.2f}",
            f"{total_peer / total:.2f}",
        )
    print(table)
    print(
        f"Streamed with the bits of the offline decoder. It looks {stream.latency} samples ahead: "
        f"{1000 * stream.latency / rate:.0f} ms of latency.\n"
        "First sample: ms until its frames have arrived + ms of computing. "
        "Offline: time of all pushes, divided by that of decoding all at once. "
        f"ORT: the same for ONNX Runtime, which decodes {context} more frames on each side. "
        f"Threads: {args.threads}."
    )


if __name__ == "__main__":
    main()
