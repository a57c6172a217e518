"""A real voice speaks through fracstride: run this, then listen to demo.wav.

The voice is an ONNX model. What is slow in it, the flow and the HiFi-GAN decoder that makes 256
samples of each of its frames, runs on the kernels of this library. The rest, and all of it for
comparison, runs in ONNX Runtime.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import onnxruntime
from rich import print
from rich.table import Table
from voice import FLOW, FRAMES, MASK, SAMPLES, read_aloud, seconds, snr, write_wav

import fracstride as fs
import fracstride.onnx

ENOUGH_DB = 80  # sums in another order agree better than this; a single wrong tap does not


def main() -> None:
    """Speak, compare, and speak once more in a process without ONNX."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo.wav"))
    parser.add_argument("--threads", type=int, default=fs.get_num_threads())
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    args = parser.parse_args()
    fs.set_num_threads(args.threads)

    sentence = read_aloud(args.threads)
    peer = sentence.part([FLOW, MASK], args.threads)
    (wanted,), given = sentence.given(SAMPLES), sentence.given(FLOW, MASK)
    net = fracstride.onnx.load(sentence.voice, inputs=[FLOW, MASK], outputs=[SAMPLES])
    flow = fracstride.onnx.load(sentence.voice, inputs=[FLOW, MASK], outputs=[FRAMES])
    decoder = fracstride.onnx.load(sentence.voice, inputs=[FRAMES], outputs=[SAMPLES])
    half = decoder.astype("bfloat16")
    in_half = lambda: half(flow(*given).astype(half.dtype))  # noqa: E731
    audio, half_audio = net(*given), in_half()
    write_wav(args.output, audio, sentence.rate)
    took = seconds(args.runs, lambda: net(*given), in_half, peer)

    ours, theirs = f"fracstride {fs.__version__}", f"ONNX Runtime {onnxruntime.__version__}"
    table = Table("", ours, "decoder in bfloat16", theirs)
    table.add_row("instruction set", *[fs.config()["isa"]] * 2, "its own choice")
    table.add_row("threads", *[str(args.threads)] * 3)
    length = audio.size / sentence.rate
    table.add_row("seconds of audio per second", *(f"{length / t:.1f}" for t in took))
    agreement = snr(audio, wanted)
    decibels = (agreement, snr(half_audio, wanted))
    table.add_row("agreement", *(f"{n:.1f} dB SNR" for n in decibels), "(the reference)")
    print(table, f"{args.output}: {length:.2f} seconds of speech")
    if not agreement >= ENOUGH_DB:  # also where it is not a number
        raise SystemExit(f"The two disagree: {agreement:.1f} dB, and {ENOUGH_DB} were expected.")
    saved = args.output.with_suffix(".safetensors")
    net.save(saved)
    command = [sys.executable, Path(__file__).with_name("speak_saved.py"), saved, args.output]
    given[0].tofile(saved.with_suffix(".frames"))
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
