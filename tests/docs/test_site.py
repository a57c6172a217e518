"""The site builds without a warning, its links lead somewhere, and a browser shows its pages."""

from __future__ import annotations

import asyncio
import html.parser
import json
import re
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


class Prose(html.parser.HTMLParser):
    """The text of a page's article, without its code."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.text, self.inside, self.code = "", False, 0
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside |= tag == "article"
        self.code += tag in CODE

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "article"
        self.code -= tag in CODE

    def handle_data(self, data: str) -> None:
        self.text += data if self.inside and not self.code else ""


CODE = ("pre", "code", "script", "style")


def test_markdown_is_rendered(site: Path) -> None:
    """No page shows the marks of Markdown, of Sphinx or of a doctest."""
    for path in site.rglob("*.html"):
        marks = r".*(?:``|>>>|\]\(|^- |:(?:class|func|meth|mod|attr|data):|<BLANKLINE).*"
        assert re.findall(marks, Prose(path).text, re.MULTILINE) == [], path
    for path in site.rglob("reference/*.html"):
        assert "<blockquote" not in path.read_text("utf-8"), path


def test_a_file_can_be_searched(site: Path, tmp_path: Path) -> None:
    """Without a server, from a page in a folder."""
    browser = needs_browser()

    async def search() -> None:
        async with browser(tmp_path) as tab:
            await tab.open((site / "reference" / "layers.html").as_uri())
            await tab.value("document.querySelector('[data-md-component=search-query]').focus()")
            await tab.call("Input.insertText", text="circular")
            results = "[...document.querySelectorAll('.md-search-result__item a')].map(a => a.href)"
            await tab.wait(f"{results}.length > 3")
            links = await tab.value(results)
            assert (site / "guides" / "padding-modes.html").as_uri() in links
            assert tab.errors == []

    asyncio.run(asyncio.wait_for(search(), 60))


# Drawers do not glide when the width changes.
AT_ONCE = """document.head.append(Object.assign(document.createElement("style"), {
  textContent: "* { transition: none !important; }"}))"""
LOOKS = ((1400, "light"), (390, "light"), (390, "dark"), (1400, "dark"))


def test_a_browser_shows_every_page(site: Path, tmp_path: Path) -> None:
    """Without an error, without a scroll bar below the page, and without the net."""
    browser = needs_browser()
    from aiohttp import web
    from aiohttp.test_utils import TestServer

    async def look() -> None:
        app = web.Application()
        app.add_routes([web.static("/", site)])
        async with TestServer(app) as server, browser(tmp_path) as tab:
            for number, path in enumerate(sorted(site.rglob("*.html"))):
                if "source" in path.parts or path.name == "404.html":
                    continue
                page = path.relative_to(site).as_posix()
                await tab.open(str(server.make_url(f"/{page}")))
                await tab.value(AT_ONCE)
                for width, scheme in LOOKS[:: (-1) ** number]:  # as few changes as can be
                    await change(tab, width, scheme)
                    wide = await tab.value("document.documentElement.scrollWidth - innerWidth")
                    assert wide <= 0, (page, width, wide)
                    assert tab.errors == [], (page, width, scheme)
                loaded = "performance.getEntriesByType('resource').map(e => e.name)"
                ours = ("data:", "blob:", str(server.make_url("/")))
                for url in await tab.value(loaded):
                    assert url.startswith(ours), (page, url)

    asyncio.run(asyncio.wait_for(look(), 240))


async def change(tab: Any, width: int, scheme: str) -> None:
    """Show the page in a width and a colour scheme."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    await tab.call("Emulation.setDeviceMetricsOverride", **metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await tab.call("Emulation.setEmulatedMedia", features=features)
    named = {"light": "default", "dark": "slate"}[scheme]
    await tab.wait(f"document.body.dataset.mdColorScheme == '{named}'", 5)


def needs_browser() -> Any:
    """What starts Chromium."""
    pytest.importorskip("aiohttp")
    from browser import CHROMIUM, browser

    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    return browser
