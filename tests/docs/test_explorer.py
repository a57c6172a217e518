"""What the interactive page shows for settings of its sliders is what fracstride computes."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

if find_spec("aiohttp") is None:
    pytest.skip("aiohttp is not installed", allow_module_level=True)

from browser import CHROMIUM, browser

import fracstride as fs
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.drawing.palette import DARK, LIGHT, TAPS
from fracstride.extension import PADDING_MODES, STREAMING_MODES

DOCS = Path(__file__).parents[2] / "docs"
LATENCY = re.compile(r"([\d,]+) samples?(?:, once more than ([\d,]+) frames? (?:is|are) there)?")
AT_A_TIME = 20
# Sets the controls, and reads the page.
LOOK = """
  window.look = given => {
    const page = document.getElementById("layer-explorer");
    const set = (name, value) => { page.querySelector(`[name=${name}]`).value = value; };
    const moved = name => page.querySelector(`[name=${name}]`)
      .dispatchEvent(new Event("input", {bubbles: true}));
    const {sample, ...sizes} = given;
    for (const [name, value] of Object.entries(sizes)) set(name, value);
    moved("L");
    set("sample", sample);
    if (!page.querySelector("[name=sample]").disabled) moved("sample");
    const all = selector => [...page.querySelectorAll(selector)];
    const texts = ["refusal", "sum", "L_out", "formula", "latency", "python"];
    return {
      ...Object.fromEntries(texts.map(id => [id, document.getElementById(id).textContent])),
      sample: Number(page.querySelector("[name=sample]").value),
      values: Object.fromEntries(all("label input").map(
        slider => [slider.name, slider.parentElement.querySelector(".value").textContent])),
      taps: all("g.fs-tap").length,
      absent: all("g.fs-tap.fs-absent").length,
      picked: all("g.fs-tap.is-selected").length,
      hidden: all("[aria-hidden=true]:not(.value)").map(part => part.tagName),
      outdated: !document.getElementById("last").hidden,
    };
  };
"""


def drawn(seed: int, kind: str) -> dict[str, Any]:
    """Settings at random: of a kind, since a draw of all would hardly meet some."""
    draw = random.Random(f"{kind} {seed}")
    settings: dict[str, Any] = {
        "layer": draw.choice(["ConvTranspose1d", "Conv1d"]),
        "kernel_size": draw.randint(1, 12),
        "stride": draw.randint(1, 8),
        "dilation": draw.choice([1, draw.randint(1, 6)]),
        "padding": "numbers",
        "padding_left": draw.randint(0, 4),
        "padding_right": draw.randint(0, 4),
        "output_padding": 0,
        "padding_mode": PADDING_MODES[seed % len(PADDING_MODES)],
        "L": draw.randint(1, 12),
        "sample": draw.randint(0, 60),
    }
    if kind == "named":
        settings["padding"] = draw.choice(["same", "causal"])
    elif kind == "output padding":
        settings |= {"layer": "ConvTranspose1d", "output_padding": draw.randint(0, 8)}
    elif kind == "mirrored":
        settings |= {"padding_mode": "reflect", "kernel_size": draw.randint(6, 12)}
        settings["stride"] = draw.randint(1, 3)
    elif kind == "cropped":
        settings |= {"padding_left": draw.randint(0, 12), "padding_right": draw.randint(0, 12)}
    return settings


KINDS = ("any", "named", "output padding", "mirrored", "cropped")
CASES = [drawn(seed, kind) for kind in KINDS for seed in range(24)]


def geometry_of(settings: dict[str, Any]) -> AnyGeometry:
    names = ("kernel_size", "stride", "dilation", "padding_mode")
    sizes = {name: settings[name] for name in names}
    padding: Any = settings["padding"]
    if padding == "numbers":
        padding = settings["padding_left"], settings["padding_right"]
    if settings["layer"] == "Conv1d":
        return fs.Conv1dGeometry(**sizes, padding=padding)
    return fs.Geometry(**sizes, padding=padding, output_padding=settings["output_padding"])


@pytest.fixture(scope="module")
def shown(site: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the page shows for each of the settings."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")

    async def look() -> list[dict[str, Any]]:
        async with browser(tmp_path_factory.mktemp("profile")) as tab:
            await tab.open((site / "interactive.html").as_uri(), LOOK)
            found = []
            for start in range(0, len(CASES), AT_A_TIME):
                given = json.dumps(CASES[start : start + AT_A_TIME])
                found += await tab.value(f"{given}.map(look)")
            assert tab.errors == []
            return found

    return asyncio.run(asyncio.wait_for(look(), 120))


def fitting(shown: list[dict[str, Any]]) -> list[tuple[AnyGeometry, int, dict[str, Any]]]:
    pairs = zip(CASES, shown, strict=True)
    return [(geometry_of(case), case["L"], page) for case, page in pairs if not page["refusal"]]


def test_refusals(shown: list[dict[str, Any]]) -> None:
    """The words of the error; the last picture is neither current nor read out."""
    refused = 0
    for case, page in zip(CASES, shown, strict=True):
        try:
            geometry_of(case).output_length(case["L"])
            expected = ""
        except ValueError as error:
            expected = f"ValueError: {error}"
        assert page["refusal"] == expected, case
        assert page["outdated"] == bool(expected)
        parts = ["P", "DIV", "FORM", "UL", "DL", "PRE", "NOSCRIPT"]
        assert page["hidden"] == (parts if expected else []), case
        refused += bool(expected)
    assert len(CASES) // 20 < refused < len(CASES) // 2


def test_sizes(shown: list[dict[str, Any]]) -> None:
    for geometry, L, page in fitting(shown):
        length = geometry.output_length(L)
        assert page["L_out"] == str(length)
        for frames in (L, L + 1, L + 7):
            formula = eval(page["formula"], {"floor": math.floor, "L": frames})
            assert formula == geometry.output_length(frames), (geometry, frames)
        sides = [page["values"][f"padding_{side}"] for side in ("left", "right")]
        assert sides == [str(geometry.padding_left), str(geometry.padding_right)]


def test_the_code(shown: list[dict[str, Any]]) -> None:
    names = {"Geometry": fs.Geometry, "Conv1dGeometry": fs.Conv1dGeometry}
    module = SimpleNamespace(**names, draw=lambda geometry, L: (geometry, L))
    for geometry, L, page in fitting(shown):
        assert eval(page["python"], {"fs": module}) == (geometry, L)


def test_the_sum(shown: list[dict[str, Any]]) -> None:
    """The sample that is picked out: its terms, and as many boxes."""
    for geometry, L, page in fitting(shown):
        n = page["sample"]
        name, sum_ = page["sum"].split(" = ")
        terms = [(int(t), int(m)) for t, m in re.findall(r"x(\d+)\*w(\d+)", sum_)]
        assert (name, terms) == (f"y{n}", geometry.taps(n, L))
        assert sum_ == (" + ".join(f"x{t}*w{m}" for t, m in terms) or "the bias alone")
        assert page["picked"] == len(terms)


def test_the_taps(shown: list[dict[str, Any]]) -> None:
    """A box for each product, and in the mode of zeros one for each tap of a row."""
    for geometry, L, page in fitting(shown):
        length = geometry.output_length(L)
        products = sum(len(geometry.taps(n, L)) for n in range(length))
        assert page["taps"] - page["absent"] == products, (geometry, L)
        if geometry.padding_mode == "zeros":
            rows = L if isinstance(geometry, fs.Geometry) else length
            assert page["taps"] == rows * geometry.kernel_size, (geometry, L)


def test_latency(shown: list[dict[str, Any]]) -> None:
    """So many samples late, once the frames that the left edge mirrors are there."""
    mirrored = 0
    for geometry, _, page in fitting(shown):
        if geometry.padding_mode not in STREAMING_MODES:
            assert page["latency"].startswith("none: ")
            continue
        found = LATENCY.fullmatch(page["latency"])
        assert found, page["latency"]
        latency, missing = int(found[1]), int(found[2] or 0)
        mirrored += missing > 0
        late = []
        for frames in range(1, missing + geometry.span + 3 * geometry.stride + 1):
            final = geometry.final_length(frames)
            if frames <= missing:
                assert final == 0, (geometry, frames)
            else:  # a layer that makes fewer samples than frames: in fractions of one
                late.append(frames * geometry.rate - final)
        if isinstance(geometry, fs.Geometry):
            assert max(late) == latency, geometry
        else:
            assert latency - 1 < max(0, max(late)) <= latency, geometry
        assert isinstance(max(late), int | Fraction)
    assert mirrored > len(CASES) // 10


def test_colours() -> None:
    script = (DOCS / "javascripts" / "drawing.js").read_text("utf-8")
    assert tuple(re.findall(r'\["(#\w{6})", "(#\w{6})"\]', script)) == TAPS
    style = (DOCS / "stylesheets" / "site.css").read_text("utf-8")
    blocks = re.findall(r"^[^{}]*\{[^{}]*--fs-paper:[^{}]*\}", style, re.MULTILINE)
    roles = [dict(re.findall(r"--fs-(\w+): (#\w{6});", block)) for block in blocks]
    assert roles == [LIGHT, DARK]
