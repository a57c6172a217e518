"""Reshapes between time and channels: a signal of another rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import model_of, run

import fracstride.onnx


def node(kind: str, *names: str, out: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, names, [out], **attributes)


def ints(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def joined(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    """Channels go between each other: the axes of channels in an order, some behind time."""
    perm = [0, *map(int, rng.permutation([1, 2, 3, 4]))]
    after = len(perm) - perm.index(4) - 1  # axes of channels that stand behind time
    sizes = [(0, 2, 3, 2)[axis] for axis in perm if axis != 4]
    behind = sizes[len(sizes) - after :]
    taken = int(np.prod(behind))
    rest = [] if not behind or rng.random() < 0.5 else [behind[-1]]
    before = [int(np.prod(sizes[1 : len(sizes) - after]))]
    nodes = [
        node("Reshape", "x", "split", out="s"),
        node("Transpose", "s", out="p", perm=perm),
        node("Reshape", "p", "sizes"),
    ]
    assert taken
    return nodes, {"split": ints(0, 2, 3, 2, -1), "sizes": ints(0, *before, -1, *rest)}


def parted(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    """Positions become channels, and some of them positions again."""
    perm = [0, 1, 2] if rng.random() < 0.5 else [0, 2, 1]
    factor = int(rng.choice([2, 4]))
    if perm[1] == 1:
        sizes, again = (0, 12, -1, factor), (0, 12, -1, 2)
    else:
        sizes, again = (0, -1, factor * 12), (0, -1, 2, 12)
    nodes = [
        node("Transpose", "x", out="t", perm=perm),
        node("Reshape", "t", "sizes", out="r"),
        node("Tanh", "r", out="h"),
        node("Reshape", "h", "again"),
    ]
    return nodes, {"sizes": ints(*sizes), "again": ints(*again)}


@pytest.mark.parametrize("make", [joined, parted])
@pytest.mark.parametrize("seed", range(12))
def test_reshapes(make: Any, seed: int) -> None:
    nodes, found = make(np.random.default_rng(seed))
    model = model_of(nodes, {"x": ("b", 12, "t")}, weights=found)
    net = fracstride.onnx.load(model)
    step = int(net.graph.inputs[0].rate)
    assert step in ((1,) if make is joined else (1, 2, 4))
    for ticks in (1, 2, 9):
        x = np.random.default_rng(ticks).standard_normal((2, 12, ticks * step)).astype(np.float32)
        wanted = run(model, x)[0]
        found_here = np.asarray(net(x))
        assert found_here.shape == wanted.shape
        assert np.abs(found_here - wanted).max() <= (0 if make is joined else 1e-6)


@pytest.mark.parametrize(
    ("perm", "sizes"),
    [
        ((0, 1, 2), (-1, 6)),  # with the batch
        ((0, 1, 2), (0, 6, -1)),  # channels one after the other
        ((0, 1, 2), (0, -1, 12)),
        ((0, 2, 1), (0, 12, -1)),
    ],
)
def test_reshapes_that_are_none(perm: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    nodes = [node("Transpose", "x", out="t", perm=list(perm)), node("Reshape", "t", "sizes")]
    model = model_of(nodes, {"x": ("b", 12, "t")}, weights={"sizes": ints(*sizes)})
    with pytest.raises(ValueError, match=r"merged with other axes|move across"):
        fracstride.onnx.load(model)
