"""The site builds without a warning, its links lead somewhere, and a browser shows its pages."""

from __future__ import annotations

import asyncio
import html.parser
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

if not all(map(find_spec, ("mkdocs", "material", "mkdocstrings"))):
    pytest.skip("the extra `docs` is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[2]
PUBLIC = (
    "fracstride",
    "fracstride.streaming",
    "fracstride.streaming.testing",
    "fracstride.network",
    "fracstride.torch",
    "fracstride.torch.distributed",
    "fracstride.jax",
    "fracstride.onnx",
    "fracstride.drawing",
    "fracstride.reference",
)


class Contents(html.parser.HTMLParser):
    """The anchors of a page, what it links to and loads, and its images without words."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loads, self.silent = set(), [], [], []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {given["id"]} if given.get("id") else set()
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("img", "script", "link"):
            self.loads += [given[key] for key in ("src", "href") if given.get(key)]
        if tag == "img" and not given.get("alt"):
            self.silent.append(given.get("src"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_pages(site: Path) -> None:
    """Links, anchors, images, names; nothing is loaded from elsewhere."""
    pages = {path: Contents(path) for path in site.rglob("*.html")}
    assert len(pages) > 40
    for path, page in pages.items():
        if path.name == "404.html":  # its paths are those of the server's root
            continue
        assert not page.silent, path
        for target in page.links + page.loads:
            if target.startswith("data:") or (target in page.links and "://" in target):
                continue
            assert "://" not in target, (path, target)
            name, _, anchor = unquote(target).partition("#")
            linked = (path.parent / name).resolve() if name else path
            assert linked.exists(), (path, target)
            if anchor and not anchor.startswith("__"):
                assert linked not in pages or anchor in pages[linked].anchors, (path, target)


def test_every_public_name_is_there(site: Path) -> None:
    anchors = {a for path in site.rglob("reference/*.html") for a in Contents(path).anchors}
    for module in PUBLIC:
        source = ROOT / "src" / module.replace(".", "/")
        file = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
        listed = re.search(r"^__all__ = (\[.*?\])", file.read_text("utf-8"), re.M | re.S)
        assert listed
        for name in json.loads(re.sub(r",\s*\]", "]", listed[1])):
            if (module, name) == ("fracstride", "streaming"):
                continue  # a module
            # `fracstride.conv1d` is the name of a module, too: its function is below that.
            shown = {f"{module}.{name}", f"{module}.{name}.{name}"}
            shown |= (
                {"fracstride.draw"} if (module, name) == ("fracstride.drawing", "draw") else set()
            )
            assert shown & anchors, (module, name)


def test_docstrings_are_markdown(site: Path) -> None:
    for path in site.rglob("reference/*.html"):
        text = path.read_text("utf-8")
        assert not re.search(
            r":(class|func|meth|mod|attr|data):<|&lt;BLANKLINE|<blockquote", text
        ), path


def test_a_browser_shows_every_page(site: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    from aiohttp import web
    from aiohttp.test_utils import TestServer
    from browser import CHROMIUM, browser

    if not CHROMIUM:
        pytest.skip("Chromium is not installed")

    async def look() -> None:
        app = web.Application()
        app.add_routes([web.static("/", site)])
        async with TestServer(app) as server, browser(tmp_path) as tab:
            for number, path in enumerate(sorted(site.rglob("*.html"))):
                if "source" in path.parts or path.name == "404.html":
                    continue
                width, scheme = ((1400, "light"), (390, "dark"))[number % 2]
                await tab.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=900,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                await tab.call(
                    "Emulation.setEmulatedMedia",
                    features=[{"name": "prefers-color-scheme", "value": scheme}],
                )
                page = path.relative_to(site).as_posix()
                await tab.open(str(server.make_url(f"/{page}")))
                wide = await tab.value("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, (page, width, wide)
                loaded = "performance.getEntriesByType('resource').map(e => e.name)"
                for url in await tab.value(loaded):
                    assert url.startswith(("data:", "blob:", str(server.make_url("/")))), (
                        page,
                        url,
                    )
                assert tab.errors == [], page
            await tab.open(str(server.make_url("/interactive.html")))
            assert await tab.text("#L_out") == "8"
            await move(tab, "kernel_size", 7)
            assert await tab.text("#L_out") == "11"
            await move(tab, "output_padding", 2)
            assert await tab.text("#refusal") == (
                "ValueError: output_padding must be less than max(stride, dilation) = 2, got 2"
            )
            await move(tab, "stride", 3)
            assert await tab.text("#refusal") == ""
            assert await tab.text("#L_out") == "16"
            assert tab.errors == []

    async def move(tab: Any, name: str, value: int) -> None:
        slider = f"document.querySelector('[name={name}]')"
        event = "new Event('input', {bubbles: true})"
        await tab.value(f"{slider}.value = {value}, {slider}.dispatchEvent({event})")

    asyncio.run(asyncio.wait_for(look(), 240))
