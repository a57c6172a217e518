"""A real voice speaks through fracstride: run this, then listen to demo.wav.

The voice is an ONNX model. Its flow and its HiFi-GAN decoder, which take most of the time, run on
the kernels of this library; the rest, and all of it for comparison, in ONNX Runtime.
"""

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path

import onnxruntime
from rich import print
from rich.table import Table
from voice import ENOUGH_DB, FLOW, FRAMES, MASK, SAMPLES, part, read_aloud, seconds, snr, write_wav

import fracstride as fs
import fracstride.onnx


def main() -> None:
    """Speak, compare, and speak once more in a process without ONNX."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo.wav"))
    parser.add_argument("--threads", type=int, default=fs.get_num_threads())
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    args = parser.parse_args()
    fs.set_num_threads(args.threads)

    sentence = read_aloud(args.threads)
    (wanted,), given = sentence.given(SAMPLES), sentence.given(FLOW, MASK)
    peer = partial(part(sentence.voice, [FLOW, MASK], args.threads), *given)
    load = partial(fracstride.onnx.load, sentence.voice)  # the part between some names and others
    net, flow = load([FLOW, MASK], [SAMPLES]), load([FLOW, MASK], [FRAMES])
    half = load([FRAMES], [SAMPLES]).astype("bfloat16")
    in_half = lambda: half(flow(*given).astype(half.dtype))  # noqa: E731
    audio, half_audio = net(*given), in_half()
    write_wav(args.output, audio, sentence.rate)
    took = seconds(args.runs, lambda: net(*given), in_half, peer)

    ours, theirs = f"fracstride {fs.__version__}", f"ONNX Runtime {onnxruntime.__version__}"
    title = f"{args.threads} threads, {fs.config()['isa']}"
    table = Table("", ours, "decoder in bfloat16", theirs, title=title)
    length = audio.size / sentence.rate
    table.add_row("seconds of audio per second", *(f"{length / t:.1f}" for t in took))
    agreement, of_half = snr(audio, wanted), snr(half_audio, wanted)
    table.add_row("agreement", f"{agreement:.1f} dB SNR", f"{of_half:.1f} dB SNR", "(reference)")
    print(table, f"{args.output}: {length:.2f} seconds of speech")
    if not agreement >= ENOUGH_DB:  # also where it is not a number
        raise SystemExit(f"The two disagree: {agreement:.1f} dB, and {ENOUGH_DB} were expected.")
    net.save(saved := args.output.with_suffix(".safetensors"))
    given[0].tofile(args.output.with_suffix(".frames"))
    alone = Path(__file__).with_name("speak_saved.py")
    subprocess.run([sys.executable, alone, saved, args.output], check=True)


if __name__ == "__main__":
    main()
