"""The examples in the docstrings of the torch face."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Any

import pytest

import fracstride.torch

MODULES = [
    found.name for found in pkgutil.walk_packages(fracstride.torch.__path__, "fracstride.torch.")
]


def test_the_modules_are_found() -> None:
    assert {"fracstride.torch.module", "fracstride.torch.distributed.halo"} <= set(MODULES)


@pytest.mark.parametrize("name", ["fracstride.torch", *MODULES])
def test_doctests(name: str) -> None:
    result: Any = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@pytest.mark.parametrize(
    "name", ["accelerate", "functional", "module", "restore", "scripting", "streaming"]
)
def test_public_modules_have_examples(name: str) -> None:
    result: Any = doctest.testmod(importlib.import_module(f"fracstride.torch.{name}"))
    assert result.attempted > 0
