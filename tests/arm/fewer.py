"""Fewer cases of each test: an emulated processor takes many times as long as a real one.

A pytest plugin: `--most-cases N` keeps at most N cases of each test on each instruction set, drawn
by a hash of their names, so that all machines run the same ones, and those of every parameter.
"""

from __future__ import annotations

import zlib
from collections import defaultdict

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--most-cases", type=int, help="of each test on each instruction set")


def drawn(item: pytest.Item) -> int:
    return zlib.crc32(item.nodeid.encode())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    most = config.getoption("--most-cases")
    if most is None:
        return
    cases: dict[tuple[str, object], list[pytest.Item]] = defaultdict(list)
    for item in items:
        callspec = getattr(item, "callspec", None)
        isa = callspec.params.get("isa") if callspec else None
        cases[item.nodeid.partition("[")[0], isa].append(item)
    kept = {id(item) for same in cases.values() for item in sorted(same, key=drawn)[:most]}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]
