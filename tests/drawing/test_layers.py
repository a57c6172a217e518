"""Pictures of layers: what is drawn is what the definition adds up."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fracstride as fs
from fracstride import reference
from fracstride.conv1d_geometry import AnyGeometry
from fracstride.drawing import Picture, words
from fracstride.drawing.diagram import Diagram
from fracstride.drawing.layer import LayerPicture
from fracstride.drawing.layer_svg import layer_svg
from fracstride.drawing.layer_text import layer_text
from fracstride.drawing.text import plain
from fracstride.extension import PADDING_MODES

#: Of each sample: how often it adds each (frame, tap).
Sums = dict[int, Counter[tuple[int, int]]]
ALL = 10**9  # columns and rows
examples = settings(max_examples=150, deadline=None)


@st.composite
def layers(draw: st.DrawFn) -> tuple[AnyGeometry, int]:
    """A layer of either kind, and a length that it accepts."""
    k, d = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    padding: Any = draw(
        st.one_of(
            st.tuples(st.integers(0, 12), st.integers(0, 12)), st.sampled_from(["same", "causal"])
        )
    )
    mode = draw(st.sampled_from(PADDING_MODES))
    L = draw(st.integers(1, 9))
    g: AnyGeometry
    if draw(st.booleans()):
        s = draw(st.integers(1, 6))
        most = 0 if isinstance(padding, str) else max(s, d) - 1
        g = fs.Geometry(k, s, padding, draw(st.integers(0, most)), d, mode)
    else:
        s = 1 if padding == "same" else draw(st.integers(1, 6))
        g = fs.Conv1dGeometry(k, s, padding, d, mode)
    assume(g.length_at_end(L) > 0)
    return g, L


def sums_of_the_definition(g: AnyGeometry, L: int) -> Sums:
    """Unit impulses through a layer whose taps each have an output channel of their own."""
    x, k = np.eye(L)[:, None], g.kernel_size
    if isinstance(g, fs.Geometry):
        y = reference.conv_transpose1d(x, np.eye(k)[None], None, g)
    else:
        y = reference.conv1d(x, np.eye(k)[:, None], None, g)
    sums: Sums = {n: Counter() for n in range(y.shape[2])}
    for frame, tap, n in np.argwhere(y).tolist():
        sums[n][frame, tap] = int(y[frame, tap, n])
    return sums


def add_up(labels: dict[tuple[float, float], str], is_transposed: bool) -> Sums:
    """What labels x0, w0, y0 at their places (across, down) add up to."""
    across = {
        x: label for (x, _), label in labels.items() if label[0] == ("y" if is_transposed else "x")
    }
    down = {
        y: label for (_, y), label in labels.items() if label[0] == ("x" if is_transposed else "y")
    }
    order = sorted(labels, key=lambda place: (place[1], place[0]))  # as one reads
    for y in down:
        taps = [
            int(labels[place][1:])
            for place in order
            if place[1] == y and place in labels and labels[place][0] == "w"
        ]
        assert taps == sorted(taps)
    samples = [int(labels[place][1:]) for place in order if labels[place][0] == "y"]
    assert samples == sorted(samples)
    sums: Sums = {int(label[1:]): Counter() for label in labels.values() if label[0] == "y"}
    for (x, y), label in labels.items():
        if label[0] == "w" and x in across and y in down:
            frame, sample = (down[y], across[x]) if is_transposed else (across[x], down[y])
            sums[int(sample[1:])][int(frame[1:]), int(label[1:])] += 1
    return sums


def labels_of_svg(svg: str) -> dict[tuple[float, float], str]:
    """Where the labels stand, all of them in boxes."""
    texts = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return {
        (float(text.get("x", 0)), float(text.get("y", 0))): str(text.text)
        for text in texts
        if re.fullmatch(r"[wxy]\d+", str(text.text))
    }


def labels_of_text(text: str) -> dict[tuple[float, float], str]:
    """Where the labels end; without heading and notes."""
    rows = text.split("\n\n")[1].splitlines()
    return {
        (found.end(), y): found[0]
        for y, row in enumerate(rows)
        for found in re.finditer(r"[wxy]\d+", row)
    }


@examples
@given(layers())
def test_every_label_is_where_the_definition_has_it(layer: tuple[AnyGeometry, int]) -> None:
    g, L = layer
    diagram = Diagram(g, L, ALL, ALL)
    assert not diagram.is_excerpt
    wanted, is_transposed = sums_of_the_definition(g, L), isinstance(g, fs.Geometry)
    assert add_up(labels_of_svg(layer_svg(diagram)), is_transposed) == wanted
    assert add_up(labels_of_text(plain(layer_text(diagram, 80))), is_transposed) == wanted
    assert {
        n: Counter(g.taps(n, L)) for n in range(g.output_length(L))
    } == wanted  # so that the picture is that of the geometry, too


@examples
@given(layers())
def test_what_is_drawn_beside_the_sums(layer: tuple[AnyGeometry, int]) -> None:
    """Whole kernels of the input's frames, or of the samples; no idle row beyond the input."""
    g, L = layer
    diagram = Diagram(g, L, ALL, ALL)
    taps = {
        line.number: [t for t in diagram.terms if t.row == line.number]
        for line in diagram.rows
        if line
    }
    for row, terms in taps.items():
        if diagram.row(row).kind == "copy":
            assert any(term.counts for term in terms)
        else:
            assert [term.tap for term in terms] == list(range(g.kernel_size))
    columns = [line for line in diagram.columns if line]
    if isinstance(g, fs.Geometry):
        cropped = sum(line.kind == "cropped" for line in columns)
        assert cropped == g.padding_left + g.padding_right
        assert len(columns) == cropped + g.output_length(L)
    else:
        assert [line.number for line in columns] == list(
            range(-g.padding_left, L + g.padding_right)
        )
    for line in columns:
        here = [term.tap for term in diagram.terms if term.column == line.number]
        phase = next((p for p in diagram.phases(99) if p.first == line.phase), None)
        assert set(here) <= set(phase.taps if phase else ())


@examples
@given(layers(), st.integers(6, 20), st.integers(4, 12))
def test_an_excerpt_is_a_part_of_the_whole(
    layer: tuple[AnyGeometry, int], most_columns: int, most_rows: int
) -> None:
    g, L = layer
    whole, part = Diagram(g, L, ALL, ALL), Diagram(g, L, most_columns, most_rows)
    columns = {line.number for line in part.columns if line}
    rows = {line.number for line in part.rows if line}
    assert len(rows) <= most_rows
    assert len(columns) <= most_columns
    assert part.terms == [t for t in whole.terms if t.row in rows and t.column in columns]
    assert part.is_excerpt == (part.columns != whole.columns or part.rows != whole.rows)
    assert ("An excerpt:" in plain(layer_text(part, 80))) == part.is_excerpt
    for shown, everything in ((part.columns, whole.columns), (part.rows, whole.rows)):
        # Dots stand wherever lines are left out, and nowhere else.
        at = 0
        for line in shown:
            if line is None:
                assert everything[at] not in shown
                while at < len(everything) and everything[at] not in shown:
                    at += 1
            else:
                assert everything[at] == line
                at += 1
        assert at == len(everything)


def test_the_picture_of_the_contract() -> None:
    assert str(fs.draw(fs.Geometry(4, stride=2, padding=1), L=3)).splitlines() == [
        "ConvTranspose1d: kernel_size=4, stride=2, padding=(1, 1)",
        "3 frames make 6 samples: tap m of frame t lands on sample 2*t + m - 1",
        "",
        "frame 0 x0  w0 w1 w2 w3",
        "frame 1 x1        w0 w1 w2 w3",
        "frame 2 x2              w0 w1 w2 w3",
        "           ────────────────────────",
        "samples      × y0 y1 y2 y3 y4 y5  ×",
        "phase        0  1  0  1  0  1  0  1",
        "",
        "phase 0: w0 w2; phase 1: w1 w3",
        "The padding crops 1 position on the left and 1 position on the right (×).",
        "Frames before 0 and after 2 are zeros, absent from the sums (padding_mode='zeros').",
    ]


@pytest.mark.parametrize(
    ("g", "L", "note"),
    [
        (
            fs.Geometry(3, 2, dilation=2),
            4,
            "No tap lands on samples 1, 3, 5, 7 and 9: the bias alone.",
        ),
        (fs.Geometry(1, 2, output_padding=1), 1, "No tap lands on sample 1: the bias alone."),
        (
            fs.Geometry(2, padding_mode="reflect"),
            3,
            "2 frames beyond the ends of the input reach samples: padding_mode='reflect', "
            "frame -1 = x1, frame 3 = x1.",
        ),
        (fs.Geometry(4, 4), 2, None),
        (fs.Conv1dGeometry(2, 3), 8, "No tap reads frames 2 and 5."),
        (fs.Conv1dGeometry(2, 2), 5, "No tap reads frame 4."),
        (fs.Conv1dGeometry(1, padding=1), 1, "Samples 0 and 2: zeros, so the bias alone."),
        (
            fs.Conv1dGeometry(3, padding="causal"),
            4,
            "The padding adds 2 frames: zeros, absent from the sums.",
        ),
        (
            fs.Conv1dGeometry(3, padding="causal", padding_mode="replicate"),
            4,
            "The padding adds 2 frames: padding_mode='replicate', frame -2 = x0, frame -1 = x0.",
        ),
        (
            fs.Geometry(3, 5),
            1000,
            "Of the samples shown, no tap lands on 3, 4, 8, 9, 13 and 13 more: the bias alone.",
        ),
        (
            fs.Conv1dGeometry(2, 9),
            400,
            "Of the frames shown, no tap reads 2, 3, 4, 5, 6 and 32 more.",
        ),
        (fs.Geometry(16, 8, 4), 1000, "An excerpt: 48 positions of 8,008, and 7 frames of 1,000."),
    ],
)
def test_notes(g: AnyGeometry, L: int, note: str | None) -> None:
    picture = LayerPicture(g, L)
    notes = plain(layer_text(picture.diagram, 500)).split("\n\n")[2:]
    assert (note in notes[0].splitlines()) if note else all(n.startswith("phase") for n in notes)


@examples
@given(layers(), st.integers(6, 20), st.integers(4, 12))
def test_the_notes_of_an_excerpt_hold_in_the_whole(
    layer: tuple[AnyGeometry, int], most_columns: int, most_rows: int
) -> None:
    """A tap whose row is left out lands, too."""
    whole, part = Diagram(*layer, ALL, ALL), Diagram(*layer, most_columns, most_rows)
    reached = {term.column for term in whole.terms}
    for line in part.columns:
        assert line is None or part.is_reached(line.number) == (line.number in reached)
    said = " ".join(words.notes(part))
    assert not part.is_excerpt or "No tap" not in said


def test_large_layers_are_drawn_at_once() -> None:
    """The work depends on what is shown."""
    for g, L in (
        (fs.Geometry(10**6, 1, padding_mode="replicate"), 10**9),
        (fs.Geometry(2, 10**6, dilation=10**7), 10**9),
        (fs.Conv1dGeometry(10**6, 1, "same"), 10**9),
        (fs.Conv1dGeometry(3, 1, 10**9), 5),
        (fs.Geometry(10**7, 7, dilation=100), None),
        (fs.Geometry(10**7, 7, dilation=100), 10**9),
        (fs.Geometry(10**7, 7, (10**9, 5), dilation=100), 10**9),
        (fs.Conv1dGeometry(10**7, 7, dilation=100), None),
        (fs.Conv1dGeometry(10**7, 7, "causal", dilation=100), 10**9),
    ):
        picture = LayerPicture(g, L)
        assert "An excerpt" in picture.text()
        assert len(picture.svg()) < 200_000


# --- the picture and its forms ------------------------------------------------------------------


@pytest.fixture
def picture() -> Picture:
    return fs.draw(fs.Geometry(5, 3, (1, 3), 2, 2, "circular"))


@examples
@given(layers())
def test_the_svg_is_sound(layer: tuple[AnyGeometry, int]) -> None:
    """Everything lies within it; it has a title and a description; it names no font file."""
    svg = LayerPicture(*layer).svg()
    root = ET.fromstring(svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    space = "{http://www.w3.org/2000/svg}"
    ids = str(root.get("aria-labelledby")).split()
    assert [root.find(f"{space}{name}").get("id") for name in ("title", "desc")] == ids
    for element in root.iter():
        x, y = (float(element.get(name, 0)) for name in "xy")
        assert 0 <= x <= width
        assert 0 <= y <= height
        if element.tag == f"{space}text":  # as wide as it is in DejaVu Sans, a wide font
            size = float(element.get("font-size", 13))
            size *= 0.62 if element.get("font-weight") else 0.54
            half = {"middle": 0.5, "end": 0.0}.get(str(element.get("text-anchor")), 1.0)
            assert x + half * size * len(str(element.text)) <= width + 12


@pytest.mark.parametrize(
    ("g", "L"),
    [
        (fs.Geometry(4, 2, 1), 10**9),
        (fs.Geometry(10**7, 7, dilation=100), None),
        (fs.Conv1dGeometry(10**6, 3, 10**7), 10**9),
        (fs.Geometry(4, 2, 1), None),
        (fs.Conv1dGeometry(3, padding="causal"), 2000),
    ],
)
def test_labels_stay_in_their_cells(g: AnyGeometry, L: int | None) -> None:
    """As wide as they are in DejaVu Sans, a wide font."""
    root = ET.fromstring(LayerPicture(g, L).svg())
    space = "{http://www.w3.org/2000/svg}"
    boxes = [e for e in root.iter(f"{space}rect") if e.get("height") == "26"]
    middles = {float(e.get("x", 0)) + float(e.get("width", 0)) / 2: e for e in boxes}
    checked = 0
    for text in root.iter(f"{space}text"):
        name, size = str(text.text), float(text.get("font-size", 13))
        if re.fullmatch(r"[wxy]\d+|-?\d+", name):
            near = min(middles, key=lambda x: abs(x - float(text.get("x", 0))))
            assert len(name) * size * 0.637 <= float(middles[near].get("width", 0))
            checked += 1
        elif re.fullmatch(r"(frame|sample) -?\d+", name):  # it ends at its place
            assert len(name) * size * 0.637 <= float(text.get("x", 0))
    assert checked > 20


def test_words_say_what_the_picture_shows() -> None:
    svg = fs.draw(fs.Geometry(4, stride=2, padding=1), L=3).svg()
    (words,) = re.findall(r"<desc[^>]*>(.*)</desc>", svg)
    assert "y0 = x0*w1; y1 = x1*w0 + x0*w2; y2 = x1*w1 + x0*w3" in words
    assert "<title>tap 1 of frame 0 lands on sample 0</title>" in svg
    assert "<title>tap 0 of frame 0 is cropped</title>" in svg
    svg = fs.draw(fs.Conv1dGeometry(3, padding=1), L=3).svg()
    assert "<title>tap 0 of sample 0 reads frame -1, a zero</title>" in svg


def test_forms(picture: Picture) -> None:
    assert picture._repr_svg_() == picture.svg()
    assert repr(fs.draw(fs.Geometry(3))) == "<picture of ConvTranspose1d: kernel_size=3, stride=1>"
    html = picture._repr_html_()
    assert picture.svg() in html
    assert "frame  0 x0" in html
    assert "prefers-color-scheme" in picture.svg()
    assert "<style>" not in picture.svg(themes=False)


def test_ascii(picture: Picture) -> None:
    text = picture.text(encoding="ascii")
    assert text.isascii()
    assert "?" not in text
    assert add_up(labels_of_text(text), True) == add_up(labels_of_text(picture.text()), True)
    assert picture.text(
        encoding="cp437"
    ).isascii()  # it has box drawing, but no multiplication sign
    assert picture.text(encoding="no such encoding").isascii()


def test_print_where_the_encoding_is_ascii(
    picture: Picture, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    with open(tmp_path / "out.txt", "w", encoding="ascii") as out:
        monkeypatch.setattr("sys.stdout", out)
        print(picture)
    assert (tmp_path / "out.txt").read_text() == picture.text(encoding="ascii") + "\n"


def test_colours_change_no_letter(picture: Picture) -> None:
    rich = pytest.importorskip("rich.console")
    text = picture.__rich__()
    assert "\n".join(line.rstrip() for line in text.plain.splitlines()) == str(picture)
    console = rich.Console(width=200, force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(picture)
    assert "\x1b[38;2;255;255;255;48;2;0;114;178mw0" in capture.get()


def test_save(picture: Picture, tmp_path: Any) -> None:
    picture.save(tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text("utf-8") == picture.svg()
    picture.save(str(tmp_path / "x.TXT"))
    assert (tmp_path / "x.TXT").read_text("utf-8") == picture.text() + "\n"
    with pytest.raises(ValueError, match=r"^path must end with .svg, .png or .txt, got 'x.gif'$"):
        picture.save("x.gif")


def test_png(picture: Picture, tmp_path: Any) -> None:
    pytest.importorskip("resvg_py")
    picture.save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    width = float(str(ET.fromstring(picture.svg()).get("width")))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") == round(2 * width)


def test_png_without_its_package(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"^a PNG needs the package resvg-py: pip install"
    ):
        picture.save("x.png")


# --- draw ---------------------------------------------------------------------------------------


def test_what_can_be_drawn() -> None:
    g, conv = fs.Geometry(3, 2), fs.Conv1dGeometry(3, 2, 1)
    layer = fs.ConvTranspose1d(2, 2, 3, 2)
    assert fs.draw(layer).svg() == fs.draw(g).svg() == fs.draw(g, 4).svg() == fs.draw(g, L=4).svg()
    for few, least in ((fs.Geometry(7, 2, 8), 6), (fs.Geometry(1, padding=9), 19)):
        assert few.length_at_end(least) > few.length_at_end(least - 1) == 0
        assert fs.draw(few).svg() == fs.draw(few, least + 3).svg()
    assert fs.draw(fs.Conv1d(2, 2, 3, 2, 1)).svg() == fs.draw(conv, 7).svg()


def test_layers_of_torch() -> None:
    nn = pytest.importorskip("torch.nn")
    import fracstride.torch
    from fracstride.torch.module_geometry import geometry_of_module

    for kind, arguments in (
        (nn.ConvTranspose1d, (2, 2, 3, 2, 1, 1)),
        (fracstride.torch.ConvTranspose1d, (2, 2, 5, 2, "same")),
        (fracstride.torch.ConvTranspose1d, (2, 2, 5, 2, (1, 2), 1, 1, True, 3, "reflect")),
        (nn.Conv1d, (2, 2, 3, 1, "same")),
        (nn.Conv1d, (2, 2, 3, 2, 2, 2, 1, True, "circular")),
        (fracstride.torch.Conv1d, (2, 2, 3, 2, "causal")),
    ):
        module = kind(*arguments)
        assert fs.draw(module).svg() == fs.draw(geometry_of_module(module)).svg()
    with pytest.raises(ValueError, match=r"^kernel_size must be"):
        fs.draw(nn.Conv2d(2, 2, 3))
    with pytest.raises(TypeError, match=r"^subject must be .*, got Linear$"):
        fs.draw(nn.Linear(2, 2))


def test_modules_that_are_compiled() -> None:
    torch = pytest.importorskip("torch", reason="compile is torch's")
    pytest.importorskip("torch.nn")
    import fracstride.torch

    module = torch.nn.Sequential(torch.nn.ConvTranspose1d(2, 2, 4, 2, 1), torch.nn.Tanh())
    net = fracstride.torch.compile(module, torch.zeros(1, 2, 9))
    assert fs.draw(net).svg() == fs.draw(net.network).svg()
    assert "ConvTranspose1d k4 s2" in str(fs.draw(net))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3,), TypeError, r"^subject must be a Geometry, .* a layer or a network, got int$"),
        ((fs.Geometry(3), 0), ValueError, r"^input length L must be a positive int, got 0$"),
        ((fs.Geometry(3), 2.5), TypeError, r"^input length L must be a positive int, got 2.5$"),
        ((fs.Conv1dGeometry(9), 4), ValueError, r"^input length L must be at least 9"),
        ((fs.Geometry(1, padding=9), 4), ValueError, r"^input length L must be at least 19"),
    ],
)
def test_errors(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fs.draw(*arguments)
