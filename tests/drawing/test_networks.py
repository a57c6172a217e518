"""Pictures of networks: the operations and the ways through them are those of the graph."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from networks import RandomGraph

import fracstride as fs
from fracstride.drawing.network import NetworkPicture
from fracstride.drawing.network_text import network_text
from fracstride.drawing.outline import outline
from fracstride.drawing.parts import Fork, Item, Repeat, Step, Tangle, steps_of, tangled
from fracstride.network import Extent, Graph, Network, Value
from fracstride.network.operations.arithmetic import Add, Multiply
from fracstride.network.operations.channels import Channels
from fracstride.network.operations.concatenate import Concatenate
from fracstride.network.operations.conv1d import Conv1d
from fracstride.network.operations.conv_transpose1d import ConvTranspose1d
from fracstride.network.operations.embedding import Embedding
from fracstride.network.operations.functions import Sigmoid, Tanh
from fracstride.network.operations.leaky_relu import LeakyReLU

SPACE = "{http://www.w3.org/2000/svg}"
Path = tuple[str, ...]
MOST = 5000  # paths


def conv(kernel: int, dilation: int = 1, channels: int = 4) -> Conv1d:
    pad = dilation * (kernel - 1) // 2
    return Conv1d(fs.Conv1d(channels, channels, kernel, padding=pad, dilation=dilation, rng=0))


def up(channels: int = 4) -> ConvTranspose1d:
    return ConvTranspose1d(fs.ConvTranspose1d(channels, channels, 4, 2, 1, rng=0))


# --- the ways through a graph -------------------------------------------------------------------


def paths_of_graph(graph: Graph, drawn: set[str]) -> set[Path]:
    """The operations on each way from an input to an output, of the inputs that are drawn."""
    graph = graph.without_unused()
    ways: dict[Value, set[Path]] = {v: {(v.name,)} for v in graph.inputs if v.name in drawn}
    read = set()
    for node in graph.nodes:
        known = [value for value in node.inputs if value in ways]
        if not known and not any(value.rate for value in node.outputs):
            continue  # of what has no time
        before = set().union(*(ways[value] for value in known)) if known else {()}
        read.update(known)
        ways |= {v: {(*way, node.operation.name) for way in before} for v in node.outputs}
    ends = [ways.get(value, {()}) for value in graph.outputs]
    ends += [ways[value] for value in graph.inputs if value in ways and value not in read]
    return {without_sums(way) for way in set().union(*ends)}


def without_sums(way: Path) -> Path:
    """A sum of sums is one sum."""
    kept = (n for n, name in enumerate(way) if name != "Add" or way[n - 1 : n] != ("Add",))
    return tuple(way[n] for n in kept)


def paths_of_items(items: Sequence[Item]) -> set[Path]:
    """The same of an outline, with all that is folded unfolded."""
    ways: set[Path] = {()}
    for item in items:
        here = paths_of_item(item)
        assert len(ways) * len(here) <= MOST * 10
        ways = {(*a, *b) for a, b in product(ways, here)}
    return ways


def paths_of_item(item: Item) -> set[Path]:
    if isinstance(item, Step):
        return {(item.name if item.is_input else item.name.split()[0],)}
    if isinstance(item, Repeat):
        return paths_of_items(item.items * item.times)
    if isinstance(item, Fork):
        return set().union(*map(paths_of_items, item.branches))
    ways: dict[int, set[Path]] = {-1: {()}}
    for place in range(len(item.steps) + 1):
        before = [ways[start] for start, end in item.links if end == place]
        name = (item.steps[place].name.split()[0],) if place < len(item.steps) else ()
        if place < len(item.steps) and item.steps[place].is_input:
            name = (item.steps[place].name,)
        ways[place] = {(*way, *name) for way in set().union(*before)}
    return ways[len(item.steps)]


@pytest.mark.parametrize("seed", range(150))
def test_the_ways_through_random_graphs(seed: int) -> None:
    graph = RandomGraph(np.random.default_rng(seed), exact=bool(seed % 2)).graph
    items = outline(graph)
    drawn = {step.name for step in steps_of(items) if step.is_input}
    wanted = paths_of_graph(graph, drawn)
    if len(wanted) > MOST:
        pytest.skip("too many ways")
    assert {without_sums(way) for way in paths_of_items(items)} == wanted
    names = {step.name.split()[0] for step in steps_of(items) if not step.is_input}
    assert names <= {node.operation.name for node in graph.nodes}
    check_svg(NetworkPicture(Network(graph, np.float64 if seed % 2 else np.float32)).svg())


def check_svg(svg: str) -> None:
    """Boxes lie within the picture, and apart from each other."""
    root = ET.fromstring(svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    boxes = []
    for rect in root.iter(f"{SPACE}rect"):
        if rect.find(f"{SPACE}title") is not None:
            x, y, w, h = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= 50
            assert x + w <= width
            assert y + h <= height
            boxes.append((x, y, x + w, y + h))
    assert boxes
    for n, (a, b, c, d) in enumerate(boxes):
        for e, f, g, h in boxes[:n]:
            assert c <= e or g <= a or d <= f or h <= b
    lanes: list[tuple[float, float, float]] = []
    for line in root.iter(f"{SPACE}polyline"):
        points = [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        if len(points) == 4:  # on a lane
            lanes.append((points[1][0], points[1][1], points[2][1]))
    for n, (x, top, bottom) in enumerate(lanes):
        assert all(x != other or bottom <= a or b <= top for other, a, b in lanes[:n])


# --- shapes -------------------------------------------------------------------------------------


def decoder(stages: int = 2) -> Graph:
    """As HiFi-GAN's: an activation that the branches share, sums of sums."""
    graph = Graph()
    x = graph.add(conv(7), graph.add_input("mel", channels=4))
    for _ in range(stages):
        x = graph.add(up(), graph.add(LeakyReLU(0.1), x))
        shared, total = graph.add(LeakyReLU(0.1), x), None
        for kernel in (3, 5, 7):
            branch = graph.add(Add(), graph.add(conv(kernel), shared), x)
            active = graph.add(LeakyReLU(0.1), branch)
            branch = graph.add(Add(), graph.add(conv(kernel, 2), active), branch)
            total = branch if total is None else graph.add(Add(), total, branch)
        x = total
    graph.outputs.append(graph.add(Tanh(), x))
    return graph


def test_a_decoder() -> None:
    text = re.sub(r"(?<=\S) {2,}", "  ", NetworkPicture(Network(decoder())).text())
    branch = """\
┌─ 2 times:
│  ┌─ (unchanged)
│  ├─ LeakyReLU 0.1  4 channels, rate 2, look-ahead 4
│  │  Conv1d k3 d1,2  4 channels, rate 2, look-ahead 5
│  └─
│  Add
├─ 2 times:"""
    assert branch in text
    assert text.startswith("Network: 42 operations, float32\n\n[mel]  ")
    assert text.endswith("\n\nstreams: the output is 10.5 ticks late")
    items = outline(decoder())
    assert not tangled(items)
    ways = {without_sums(way) for way in paths_of_items(items)}
    assert ways == paths_of_graph(decoder(), {"mel"})
    first = next(item for item in items if isinstance(item, Fork))
    assert len(first.branches) == 3


def test_equal_stages_are_folded() -> None:
    graph = Graph()
    x = graph.add_input("x", channels=4)
    for dilation in (1, 3, 9, 27):
        x = graph.add(Add(), x, graph.add(conv(3, dilation), graph.add(Tanh(), x)))
    graph.outputs.append(x)
    (first, repeat) = outline(graph)
    assert isinstance(first, Step)
    assert isinstance(repeat, Repeat)
    assert repeat.times == 4
    names = [step.name for step in steps_of([repeat])]
    assert names == ["Tanh", "Conv1d k3 d1,3,9,27", "Add"]
    assert next(steps_of(repeat.items[1:])).signal == "4 channels, rate 1, look-ahead 40"


def test_rounds_of_rounds() -> None:
    """The dilations of all, in order."""
    graph = Graph()
    x = graph.add_input("x", channels=4)
    for stage in range(2):
        inner = x
        for turn in range(2):
            block = graph.add(conv(3, 1 + 2 * stage + turn), graph.add(Tanh(), inner))
            inner = graph.add(Add(), inner, block)
        x = graph.add(Multiply(), x, graph.add(Sigmoid(), inner))
    graph.outputs.append(x)
    (_, repeat) = outline(graph)
    assert isinstance(repeat, Repeat)
    names = [step.name for step in steps_of([repeat])]
    assert names == ["Tanh", "Conv1d k3 d1,2,3,4", "Add", "Sigmoid", "Multiply"]


def test_unequal_stages_are_not() -> None:
    graph = Graph()
    x = graph.add_input("x", channels=4)
    for kernel in (3, 5, 7):
        x = graph.add(conv(kernel), graph.add(Tanh(), x))
    for _ in range(2):  # of another rate each
        x = graph.add(up(), graph.add(Sigmoid(), x))
    graph.outputs.append(x)
    assert all(isinstance(item, Step) for item in outline(graph))


def test_a_unet() -> None:
    graph = Graph()
    x = graph.add_input("x", channels=2)
    inner = graph.add(Tanh(), x)
    deep = graph.add(Concatenate(), inner, graph.add(Sigmoid(), inner))
    graph.outputs.append(graph.add(Concatenate(), x, deep))
    items = outline(graph)
    assert [type(item) for item in items] == [Step, Fork, Step]
    (fork,) = (item for item in items if isinstance(item, Fork))
    assert sorted(map(len, fork.branches)) == [0, 3]


def test_what_has_no_time_is_named() -> None:
    graph = Graph()
    x = graph.add_input("x", channels=4)
    speaker = graph.add_input("speaker", 4, Extent.affine(0, 1))
    changed = graph.add(Tanh(), speaker)
    graph.outputs.append(graph.add(Multiply(), graph.add(Add(), x, speaker), changed))
    assert [step.name for step in steps_of(outline(graph))] == [
        "x",
        "Add with speaker",
        "Multiply with speaker",
    ]


def test_a_mask_is_named() -> None:
    graph = Graph()
    x, mask = graph.add_input("x", channels=4), graph.add_input("mask", channels=4)
    for _ in range(3):
        x = graph.add(Multiply(), graph.add(conv(3), x), mask)
    graph.outputs.append(x)
    (_, repeat) = outline(graph)
    assert isinstance(repeat, Repeat)
    assert [step.name for step in steps_of([repeat])] == ["Conv1d k3", "Multiply with mask"]


def tangle(steps: int) -> Graph:
    """Each step reads the two before it."""
    graph = Graph()
    values = [graph.add_input("x", channels=4)]
    values.append(graph.add(Tanh(), values[0]))
    for _ in range(steps):
        values.append(graph.add(Multiply(), *values[-2:]))
    graph.outputs.append(values[-1])
    return graph


def test_a_tangle() -> None:
    items = outline(tangle(4))
    assert tangled(items) == 4
    text = NetworkPicture(Network(tangle(4))).text()
    assert "(2) Multiply, reads the input and (1)" in text
    assert "(3) Multiply, reads (1) and (2)" in text
    assert any(isinstance(item, Tangle) for item in items)


def test_the_text_of_a_tangle_has_all_its_links() -> None:
    for items in (
        outline(graph)
        for graph in (
            tangle(4),
            *(RandomGraph(np.random.default_rng(n), exact=True).graph for n in range(60)),
        )
    ):
        for item in (each for top in items for each in nested(top) if isinstance(each, Tangle)):
            links = set()
            rows = network_text([item], "", [])[2 : 3 + len(item.steps)]
            lines = [line[0].text for line in rows if line]
            for place, line in enumerate(lines):
                places = re.findall(r"(?:the input|\((\d+)\))", line.partition("reads")[2])
                sources = [int(at or 0) - 1 for at in places] or [place - 1]
                links |= {(source, place) for source in sources}
            if len(lines) == len(item.steps):
                links.add((len(lines) - 1, len(lines)))
            else:
                assert lines[-1].startswith("what follows reads ")
            assert links == set(item.links)


def test_tangles_with_other_links_are_not_alike() -> None:
    graph = Graph()
    x = graph.add_input("x", channels=4)
    for turn in range(2):
        a = graph.add(Tanh(), x)
        b = graph.add(Multiply(), x, a)
        c = graph.add(Multiply(), a if turn else x, b)
        x = graph.add(Multiply(), b, c)
    graph.outputs.append(x)
    items = outline(graph)
    assert not any(isinstance(item, Repeat) for item in items)
    assert paths_of_items(items) == paths_of_graph(graph, {"x"})


def test_large_networks_end_with_a_message() -> None:
    graph = Graph()
    x = graph.add_input("x", channels=4)
    for number in range(150):  # no two in a row are alike
        x = graph.add(conv(3 + 2 * (number % 7) + 2 * (number % 11)), graph.add(Tanh(), x))
    graph.outputs.append(x)
    picture = NetworkPicture(Network(graph))
    check_svg(picture.svg())
    assert "The picture ends before 61 more operations." in picture.svg()
    assert picture.text().count("Tanh") == 150
    check_svg(NetworkPicture(Network(tangle(60))).svg())
    assert "... and 20 more operations" in NetworkPicture(Network(tangle(60))).svg()


def operations_drawn(svg: str) -> int:
    """Those in boxes, and those that the picture says are left out."""
    texts = [str(each.text) for each in ET.fromstring(svg).iter(f"{SPACE}text")]
    names = ("Tanh", "Multiply", "Add", "Conv1d", "Concatenate")
    said = [re.search(r"(\d+) more operation", text) for text in texts]
    return sum(text.startswith(names) for text in texts) + sum(int(s[1]) for s in said if s)


@pytest.mark.parametrize("shape", ["long", "wide", "both", "tangle", "nested"])
def test_large_parts_are_drawn_in_part(shape: str) -> None:
    """A fork that is too large for any picture is cut, not dropped."""
    branches, length = {"long": (2, 150), "wide": (300, 1), "both": (30, 20)}.get(shape, (2, 200))
    graph = Graph()
    x = graph.add_input("x", channels=4)
    if shape == "tangle":
        graph = tangle(300)
    else:
        ends = []
        for branch in range(branches):
            end = x
            for number in range(length):  # no two in a row are alike, and no two branches
                kernel = 1 + 2 * (number % 7 + number % 11 + (branch if number == 0 else 0))
                end = graph.add(conv(kernel), end)
                if shape == "nested" and number == 1:
                    end = graph.add(Multiply(), end, graph.add(Tanh(), end))
            ends.append(end)
        graph.outputs.append(graph.add(Tanh(), graph.add(Concatenate(), *ends)))
    svg = NetworkPicture(Network(graph)).svg()
    check_svg(svg)
    assert svg.count("<title>") >= 26  # an input, 24 branches, what is left out
    assert len(svg) < 300_000
    assert operations_drawn(svg) == len(graph.nodes)


def test_several_inputs_and_outputs() -> None:
    graph = Graph()
    x, y = graph.add_input("x", channels=4), graph.add_input("y", channels=4)
    graph.add_input("unread", channels=1)
    graph.outputs += [graph.add(Add(), x, y), graph.add(Tanh(), y), y]
    drawn = {step.name for step in steps_of(outline(graph)) if step.is_input}
    assert drawn == {"x", "y", "unread"}
    assert {w[0] for w in paths_of_graph(graph, drawn)} == drawn
    assert paths_of_items(outline(graph)) == paths_of_graph(graph, drawn)


def test_what_prevents_a_stream_is_said() -> None:
    graph = Graph()
    circular = fs.Conv1d(4, 4, 3, padding=1, padding_mode="circular", rng=0)
    graph.outputs.append(graph.add(Conv1d(circular), graph.add_input("x", channels=4), path="a.b"))
    picture = NetworkPicture(Network(graph))
    assert picture.text().splitlines()[-1].startswith("cannot stream: a.b (Conv1d) ")
    assert "cannot stream: a.b (Conv1d) " in picture.svg()


def test_signals() -> None:
    graph = Graph()
    x = graph.add(Channels((2,)), graph.add_input("x", channels=4))
    rows = graph.add_input("rows", channels=1, codes=True)
    both = graph.add_input("both", channels=2, codes=True)
    picked = graph.add(Channels((0,)), both)
    graph.outputs += [x, graph.add(Embedding(np.zeros((4, 3), "f4")), rows)]
    graph.outputs.append(graph.add(Embedding(np.zeros((4, 3), "f4")), picked))
    assert [step.signal for step in steps_of(outline(graph))] == [
        "4 channels, rate 1",
        "1 channel, rate 1, look-ahead 0",
        "1 code, rate 1",
        "3 channels, rate 1, look-ahead 0",
        "2 codes, rate 1",
        "1 code, rate 1, look-ahead 0",
        "3 channels, rate 1, look-ahead 0",
    ]


# --- draw ---------------------------------------------------------------------------------------


def test_draw() -> None:
    network = Network(decoder())
    wanted = NetworkPicture(network).svg()
    assert fs.draw(network).svg() == wanted
    assert fs.draw(SimpleNamespace(network=network)).svg() == wanted  # as compiled modules have it
    assert "<title>" in wanted
    with pytest.raises(TypeError, match=r"^L is for the picture of a layer, got 4 for that of a"):
        fs.draw(network, 4)


def test_names_from_elsewhere() -> None:
    """A file may name its values in any way; a name is text and nothing else."""
    graph = Graph()
    name = '</text><script>&\x1b[2J\x00\ud800"'
    x = graph.add_input(name, channels=4)
    graph.outputs.append(graph.add(Tanh(), x, path=name))
    picture = NetworkPicture(Network(graph))
    texts = [str(each.text) for each in ET.fromstring(picture.svg()).iter(f"{SPACE}text")]
    assert '</text><script>&\ufffd[2J\ufffd\ufffd"' in texts
    assert picture.svg().encode()
    assert "\x1b" not in picture.text()
    assert "<script" not in picture._repr_html_()


def test_forms(tmp_path: Any) -> None:
    picture = fs.draw(Network(decoder()))
    assert picture.text(encoding="ascii").isascii()
    assert "?" not in picture.text(encoding="ascii")
    picture.save(tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text("utf-8") == picture.svg()
    assert "2 times" in picture._repr_html_()
    assert repr(picture) == "<picture of Network: 42 operations, float32>"


def nested(item: Item) -> Iterator[Item]:
    yield item
    if isinstance(item, Repeat):
        for inner in item.items:
            yield from nested(inner)
    elif isinstance(item, Fork):
        for branch in item.branches:
            for inner in branch:
                yield from nested(inner)


def test_random_graphs_have_all_kinds_of_parts() -> None:
    """So that the test of their ways means something."""
    kinds = set()
    for seed in range(150):
        graph = RandomGraph(np.random.default_rng(seed), exact=bool(seed % 2)).graph
        kinds |= {type(each) for item in outline(graph) for each in nested(item)}
    assert kinds == {Step, Fork, Repeat, Tangle}
