"""The examples in the docstrings of the torch face."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest

import fracstride.torch
from fracstride.extension import PADDING_MODES

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
    "name", ["accelerate", "compile", "functional", "module", "restore", "scripting", "streaming"]
)
def test_public_modules_have_examples(name: str) -> None:
    result: Any = doctest.testmod(importlib.import_module(f"fracstride.torch.{name}"))
    assert result.attempted > 0


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_padding_modes_are_named(mode: str) -> None:
    for public in (fracstride.torch.conv_transpose1d, fracstride.torch.ConvTranspose1d):
        assert f'``"{mode}"``' in str(public.__doc__)
    guide = (Path(__file__).parents[2] / "docs" / "pytorch.md").read_text("utf-8")
    assert f'`"{mode}"`' in guide
