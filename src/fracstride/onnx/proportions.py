"""The proportion of lengths that a file gives different names: found by trying."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product

from fracstride.network.recording import Conditions
from fracstride.onnx.inputs import Given
from fracstride.onnx.model import Part
from fracstride.onnx.nodes import Unknown
from fracstride.onnx.run import Runner

__all__ = ["in_proportion"]

# Positions of a signal for each position of the first input: 1 to 16, and the hops of models.
_RATIOS = (
    *range(1, 17),
    *(20, 24, 25, 30, 32, 40, 48, 50, 60, 64, 75, 80, 96, 100, 120, 128, 147, 150, 160, 192, 200),
    *(220, 240, 250, 256, 300, 320, 384, 400, 441, 480, 500, 512, 600, 640, 720, 768, 800, 882),
    *(900, 960, 1024, 1200, 1280, 1536, 1600, 1920, 2048),
)
_MOST = 2000  # combinations that are tried
_CLOCKS = (60, 61)


def in_proportion(part: Part, given: list[Given]) -> list[Given]:
    """The inputs, with lengths of different names in the first proportion that fits the model."""
    first = next((each.symbol for each in given if each.time is not None), "")
    symbols = dict.fromkeys(each.symbol for each in given if each.time is not None)
    free = [symbol for symbol in symbols if symbol != first]
    if not free:
        return given
    for ratios in islice(product(_RATIOS, repeat=len(free)), _MOST):
        factors = dict(zip(free, ratios, strict=True))
        tried = list(_with(given, factors))
        if _fits(part, tried):
            return tried
    return given


def _with(given: list[Given], factors: dict[str, int]) -> Iterator[Given]:
    for each in given:
        yield replace(each, per_clock=each.per_clock * factors.get(each.symbol, 1))


def _fits(part: Part, given: list[Given]) -> bool:
    runner = Runner(part, given)
    try:
        for clock in _CLOCKS:
            runner.run(Conditions(clock, 1))
    except Unknown:
        return False
    return True
