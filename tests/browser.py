"""Headless Chromium, driven by its own protocol over aiohttp."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


class Tab:
    """A page in the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count()
        self.errors: list[str] = []  # of the console and of scripts

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; note the errors that are reported until it answers."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while (message := await self._socket.receive_json(timeout=60)).get("id") != number:
            event, told = message.get("method"), message.get("params", {})
            if event == "Runtime.exceptionThrown":
                self.errors.append(str(told["exceptionDetails"]))
            elif event == "Runtime.consoleAPICalled" and told["type"] == "error":
                self.errors.append(str(told["args"]))
            elif event == "Log.entryAdded" and told["entry"]["level"] == "error":
                self.errors.append(str(told["entry"]))
        assert "error" not in message, message
        return message["result"]

    async def open(self, url: str, first: str = "") -> None:
        """Open a page, and run a script before its own."""
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=first)
        await self.call("Page.navigate", url=url)
        await self.wait("document.readyState == 'complete' && location.href != 'about:blank'")

    async def value(self, expression: str) -> Any:
        """The value of an expression in JavaScript."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def wait(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        for _ in range(int(seconds * 20)):
            if await self.value(expression):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{expression}; the page shows {await self.text('body')!r}")

    async def text(self, selector: str) -> str:
        """What an element shows."""
        return str(await self.value(f"document.querySelector({selector!r}).innerText"))

    async def type(self, text: str) -> None:
        """Type into the element that has the focus, in place of what is there."""
        await self.value("document.activeElement.select()")
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        key_is = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **key_is)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **key_is)

    async def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = await self.value(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Tab]:
    """Start Chromium with an empty profile; a tab of it."""
    assert CHROMIUM
    command = [CHROMIUM, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while len(lines := port_file(profile)) < 2:  # the port is written when it listens
            assert process.poll() is None, "Chromium has ended"
            await asyncio.sleep(0.05)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{lines[0]}") as session:
            async with session.get("/json/list") as answer:
                tabs = [tab for tab in await answer.json() if tab["type"] == "page"]
            async with session.ws_connect(tabs[0]["webSocketDebuggerUrl"]) as socket:
                yield Tab(socket)
    finally:
        process.terminate()
        process.wait(30)


def port_file(profile: Path) -> list[str]:
    """The lines of the file in which Chromium says where it listens."""
    path = profile / "DevToolsActivePort"
    return path.read_text().splitlines() if path.exists() else []
