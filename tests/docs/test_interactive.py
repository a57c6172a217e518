"""The sizes and pictures of the interactive page are those of fracstride, in headless Chromium."""

from __future__ import annotations

import asyncio
import json
import random
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

if find_spec("aiohttp") is None:
    pytest.skip("aiohttp is not installed", allow_module_level=True)

from aiohttp import web
from aiohttp.test_utils import TestServer
from browser import CHROMIUM, browser

import fracstride as fs
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.drawing import words
from fracstride.drawing.diagram import Diagram, Line
from fracstride.extension import MODES, PADDING_MODES, STREAMING_MODES

SCRIPTS = Path(__file__).parents[2] / "docs" / "javascripts"
AT_A_TIME = 40
# The same as `expected` below, of the twins.
COMPUTE = """
  window.compute = ({transposed, L, ...sizes}) => {
    const fs = window.fracstride;
    try {
      const g = transposed ? new fs.Geometry(sizes) : new fs.Conv1dGeometry(sizes);
      const all = {
        outputLength: g.outputLength(L), padding: [g.paddingLeft, g.paddingRight], span: g.span,
        latency: g.latency, sources: fs.range(-2 * L - 3, 3 * L + 3).map(t => g.source(t, L)),
        taps: fs.range(0, g.outputLength(L)).map(n => g.taps(n, L)), extension: g.extension(L),
      };
      if (transposed) {
        all.outputPadding = [g.outputPadding, g.totalOutputPadding];
        all.beyond = [g.overhang, g.extensionLeft, g.extensionRight];
      }
      if (!g.mode.obstacle) all.final = fs.range(0, L + 2).map(T => g.finalLength(T));
      const picture = new fs.Diagram(g, L);
      const line = l => [l.number, l.kind, l.source ?? null, l.phase ?? null];
      all.columns = picture.columns.map(line);
      all.rows = picture.rows.map(line);
      all.terms = picture.terms.map(t => [t.row, t.column, t.tap, t.counts]);
      all.phases = picture.phases;
      all.phaseLines = fs.phaseLines(picture);
      all.heading = fs.heading(picture);
      all.description = fs.description(picture);
      return all;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return {refused: error.message};
    }
  };
"""


def geometry_of(case: dict[str, Any]) -> AnyGeometry:
    padding = case["padding"]
    sizes = {
        "kernel_size": case["kernelSize"],
        "stride": case["stride"],
        "padding": padding if isinstance(padding, str) else tuple(padding),
        "dilation": case["dilation"],
        "padding_mode": case["paddingMode"],
    }
    if not case["transposed"]:
        return fs.Conv1dGeometry(**sizes)
    return fs.Geometry(**sizes, output_padding=case["outputPadding"])


def expected(case: dict[str, Any]) -> dict[str, Any]:
    """What Python computes, as the browser gives it."""
    L = case["L"]
    try:
        g = geometry_of(case)
        length = g.output_length(L)
    except ValueError as error:
        return {"refused": str(error)}
    picture = Diagram(g, L, most_columns=1 << 20, most_rows=1 << 20)
    found: dict[str, Any] = {
        "outputLength": length,
        "padding": [g.padding_left, g.padding_right],
        "span": g.span,
        "latency": g.latency,
        "sources": [g.source(t, L) for t in range(-2 * L - 3, 3 * L + 3)],
        "taps": [g.taps(n, L) for n in range(length)],
        "extension": [t for start, stop in picture.extension for t in range(start, stop)],
        "columns": [line(column) for column in picture.columns],
        "rows": [line(row) for row in picture.rows],
        "terms": [[t.row, t.column, t.tap, t.counts] for t in picture.terms],
        "phases": [list(phase.taps) for phase in picture.phases(1 << 20)],
        "phaseLines": words.phase_lines(picture),
        "heading": words.heading(picture),
        "description": words.description(picture),
    }
    if isinstance(g, fs.Geometry):
        found["outputPadding"] = [g.output_padding, g.total_output_padding]
        found["beyond"] = [g.overhang, g.extension_left, g.extension_right]
    if g.padding_mode in STREAMING_MODES:
        found["final"] = [g.final_length(T) for T in range(L + 2)]
    return json.loads(json.dumps(found))


def line(shown: Line | None) -> list[Any]:
    assert shown is not None
    return [shown.number, shown.kind, shown.source, shown.phase]


def drawn(seed: int, kind: str) -> dict[str, Any]:
    """The arguments of a layer at random: of a kind, since a draw of all would hardly meet some."""
    draw = random.Random(f"{kind} {seed}")
    case: dict[str, Any] = {
        "transposed": draw.random() < 0.6,
        "kernelSize": draw.randint(1, 9),
        "stride": draw.randint(1, 6),
        "dilation": draw.choice([1, 1, draw.randint(1, 5)]),
        "padding": draw.choice([[0, 0], [draw.randint(0, 4), draw.randint(0, 4)]]),
        "outputPadding": 0,
        "paddingMode": PADDING_MODES[seed % len(PADDING_MODES)],
        "L": draw.randint(1, 9),
    }
    if kind == "named":
        case["padding"] = draw.choice(["same", "causal"])
    elif kind == "output padding":  # more than there may be, sometimes
        case |= {"transposed": True, "outputPadding": draw.randint(0, 7)}
        case["padding"] = draw.choice([case["padding"], "same"])
    elif kind == "gaps":  # samples, or frames, that no tap reaches
        case |= {"stride": draw.randint(3, 8), "kernelSize": draw.randint(1, 3)}
        case["dilation"] = draw.randint(2, 6)
    elif kind == "short":  # the extension is longer than the input
        case |= {"L": draw.randint(1, 2), "kernelSize": draw.randint(5, 12), "stride": 1}
    elif kind == "cropped":  # some of them to nothing
        case["padding"] = [draw.randint(0, 20), draw.randint(0, 20)]
    elif kind == "not positive":
        name = draw.choice(["kernelSize", "stride", "dilation", "L"])
        case |= {name: draw.randint(-1, 0)}
        case["outputPadding"] = 0
    return case


KINDS = ("any", "named", "output padding", "gaps", "short", "cropped", "not positive")
CASES = [drawn(seed, kind) for kind in KINDS for seed in range(100)]


def answers(tmp_path: Path, scripts: str) -> list[Any]:
    """What the browser computes of all cases."""

    async def blank(_: web.Request) -> web.Response:
        head = '<!doctype html><title>-</title><link rel="icon" href="data:,">'
        return web.Response(text=head + scripts, content_type="text/html")

    async def compute() -> list[Any]:
        app = web.Application()
        app.add_routes([web.get("/", blank), web.static("/", SCRIPTS)])
        async with TestServer(app) as server, browser(tmp_path) as tab:
            await tab.open(str(server.make_url("/")), COMPUTE)
            found = []
            for start, stop in pairwise([*range(0, len(CASES), AT_A_TIME), len(CASES)]):
                given = json.dumps(CASES[start:stop])
                found += await tab.value(f"{given}.map(compute)")
            assert tab.errors == []
            return found

    return asyncio.run(asyncio.wait_for(compute(), 120))


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_the_twins(tmp_path: Path) -> None:
    names = ("geometry.js", "diagram.js")
    scripts = "".join(f'<script src="/{name}"></script>' for name in names)
    refused = 0
    for case, answer in zip(CASES, answers(tmp_path, scripts), strict=True):
        assert answer == expected(case), case
        refused += "refused" in answer
    assert len(CASES) // 10 < refused < len(CASES) // 2


def test_every_mode_has_a_twin() -> None:
    script = (SCRIPTS / "geometry.js").read_text("utf-8")
    for mode in MODES.values():
        assert f"    {mode.name}: {{" in script
        assert mode.obstacle in script
