"""A server that speaks what its listeners type, as it is decoded: open http://localhost:8000.

The voice's text encoder runs in ONNX Runtime, a sentence at a time. Its flow and its decoder are
one network of this library, shared by all listeners. Each listener has a stream of that network and
gets the samples of each piece of a sentence when they are decoded, with the bits of decoding the
whole sentence at once. Without a browser: curl -sN -d 'Hello there.' localhost:8000/speak | aplay
"""

import argparse
import asyncio
import struct
import unicodedata
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import onnx
from aiohttp import web  # one package for the server, and for the client in the tests
from piper.phonemize_espeak import EspeakPhonemizer  # brings espeak-ng and its data; GPL
from voice import FLOW, MASK, SAMPLES, load_voice, model_inputs, pcm, session

import fracstride as fs
import fracstride.onnx
from fracstride.network.streaming import NetworkStream

PAGE = Path(__file__).with_suffix(".html")
MOST_CHARACTERS = 500
MOST_PHONEMES = 1000  # the encoder's memory grows with their square
MOST_FRAMES = 64  # in a piece
PATIENCE = 30  # seconds that a listener may take to receive a piece
THREADS = web.AppKey("THREADS", ThreadPoolExecutor)


class Speaker:
    """The voice, for so many listeners at once."""

    def __init__(self, listeners: int) -> None:
        model, self.config = load_voice()
        self.rate = self.config["audio"]["sample_rate"]
        inputs = list(model_inputs("", self.config))
        encoder = onnx.utils.Extractor(model).extract_model(inputs, [FLOW, MASK])
        self.encoder = session(encoder, threads=1)
        self.net = fracstride.onnx.load(model, [FLOW, MASK], [SAMPLES])
        self.espeak = EspeakPhonemizer()
        self.spare = [self.net.stream() for _ in range(listeners)]
        for _ in self.pieces(self.spare[-1], self.sentences("Ready to speak.")):
            pass  # the first run of a stream plans its steps

    def sentences(self, text: str) -> list[str]:
        """The phonemes of each sentence. For one thread: espeak-ng has one state."""
        found = self.espeak.phonemize(self.config["espeak"]["voice"], text)
        return ["".join(symbols) for symbols in found if any(map(str.isalpha, symbols))]

    def values(self, phonemes: str) -> list[np.ndarray]:
        """What the network reads for a sentence."""
        return self.encoder.run([FLOW, MASK], model_inputs(phonemes, self.config))

    def pieces(self, stream: NetworkStream, sentences: list[str]) -> Iterator[bytes]:
        """The samples of the sentences, piece by piece."""
        stream.reset()  # the listener before may have left half way
        ahead = -(-stream.latency // int(stream.rate))
        for phonemes in sentences:
            values = self.values(phonemes)
            for part in parts(values[0].shape[-1], ahead):
                if piece := pcm(stream.push(*(x[..., part] for x in values))):
                    yield piece
            yield pcm(stream.flush())


def parts(frames: int, ahead: int) -> Iterator[slice]:
    """Where to cut a sentence, for a network that looks so many frames ahead.

    The first part is short, for an early sound. The next ones grow: a long one costs less a frame.
    """
    start, size = 0, 16
    stop = ahead + size
    while start < frames:
        yield slice(start, stop)
        size = min(2 * size, MOST_FRAMES)
        start, stop = stop, stop + size


async def typed(request: web.Request) -> str:
    """The text of a request. One that the voice cannot speak is refused, in a sentence."""
    too_long = f"At most {MOST_CHARACTERS} characters are spoken at a time"
    try:
        text = unicodedata.normalize("NFC", (await request.read()).decode()).strip()
    except UnicodeDecodeError:
        raise web.HTTPBadRequest(text="The text is not UTF-8.") from None
    except web.HTTPRequestEntityTooLarge:
        raise web.HTTPBadRequest(text=f"{too_long}.") from None
    if not text:
        raise web.HTTPBadRequest(text="Type a sentence first.")
    if len(text) > MOST_CHARACTERS:
        raise web.HTTPBadRequest(text=f"{too_long}, and these are {len(text)}.")
    if silent := [character for character in text if not has_sound(character)]:
        raise web.HTTPBadRequest(text=f"This voice speaks English and cannot say {silent[0]!r}.")
    return text


def has_sound(character: str) -> bool:
    """Whether it is a Latin letter, a number or a sign; of others espeak-ng says the script."""
    if unicodedata.category(character)[0] in "LC":
        return character.isspace() or unicodedata.name(character, "").startswith("LATIN")
    return True


def wav_header(rate: int) -> bytes:
    """The header of 16-bit mono PCM whose length is not known yet."""
    unknown, sound = 2**32 - 1, struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    size = struct.pack("<I", unknown)
    return b"RIFF" + size + b"WAVEfmt " + sound + b"data" + size


async def speak(speaker: Speaker, request: web.Request) -> web.StreamResponse:
    """Send the samples of the text, each piece when it is decoded."""
    sentences = speaker.sentences(await typed(request))
    if not sentences:
        raise web.HTTPBadRequest(text="There is nothing to say in this text.")
    if sum(map(len, sentences)) > MOST_PHONEMES:
        raise web.HTTPBadRequest(text="The text is too long when its numbers are spelt out.")
    if not speaker.spare:
        raise web.HTTPServiceUnavailable(text="All voices are speaking: try again in a moment.")
    stream = speaker.spare.pop()  # the last one given back, whose steps are planned
    # A cancelled request, too, gives its stream back only when no thread computes in it any more.
    return await asyncio.shield(send(speaker, request, stream, sentences))


async def send(
    speaker: Speaker, request: web.Request, stream: NetworkStream, sentences: list[str]
) -> web.StreamResponse:
    """Send the samples while the listener is there; then the stream is free."""
    headers = {"Content-Type": "audio/wav", "Cache-Control": "no-store"}
    response = web.StreamResponse(headers=headers | {"Phonemes": quote("\n".join(sentences))})
    loop, pieces = asyncio.get_running_loop(), speaker.pieces(stream, sentences)
    piece = wav_header(speaker.rate)
    try:
        await response.prepare(request)
        while piece:
            await asyncio.wait_for(response.write(piece), PATIENCE)
            # Kernels and ONNX Runtime release the GIL: listeners do not wait for one another.
            piece = await loop.run_in_executor(request.app[THREADS], next, pieces, None)
    except (ConnectionResetError, asyncio.TimeoutError):
        if request.transport:
            request.transport.abort()  # there may be unsent samples for a listener who stalls
    finally:
        speaker.spare.append(stream)
    return response


def make_app(speaker: Speaker) -> web.Application:
    """The page, and what it asks for."""
    page = PAGE.read_text("utf-8").replace("{rate}", str(speaker.rate))

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def threads(app: web.Application) -> AsyncIterator[None]:
        with ThreadPoolExecutor(len(speaker.spare), "speaker") as app[THREADS]:
            yield

    app = web.Application(client_max_size=16 * MOST_CHARACTERS)
    app.router.add_get("/", show)
    app.router.add_post("/speak", partial(speak, speaker))
    app.cleanup_ctx.append(threads)
    return app


def main() -> None:
    """Load the voice, then serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--listeners", type=int, default=8, help="at once; more are turned away")
    parser.add_argument("--threads", type=int, default=1, help="of the kernels, for each listener")
    args = parser.parse_args()
    fs.set_num_threads(args.threads)
    web.run_app(
        make_app(Speaker(args.listeners)), host=args.host, port=args.port, shutdown_timeout=1
    )


if __name__ == "__main__":
    main()
