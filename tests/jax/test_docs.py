"""The examples of docs/jax.md and of the docstrings run, and give what their comments say."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import pytest

import fracstride.jax
from fracstride.extension import PADDING_MODES

PAGE = Path(__file__).parents[2] / "docs" / "jax.md"
MODULES = [
    "fracstride.jax",
    *(found.name for found in pkgutil.walk_packages(fracstride.jax.__path__, "fracstride.jax.")),
]
SHAPE = re.compile(r"(\(\d.*?\))(?=$|:| )")


def blocks() -> dict[str, list[str]]:
    """The examples by the heading that they stand below."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.M):
        examples = re.findall(r"```python\n(.*?)```", part, re.S)
        if examples:
            found[part.partition("\n")[0]] = examples
    return found


def run(code: str, names: dict[str, Any]) -> int:
    """Run an example; how many shapes its comments name, each of which is compared."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of Equinox and Flax
        exec(compile(code, str(PAGE), "exec"), names)
    compared = 0
    for line in code.splitlines():
        statement, _, comment = line.partition("  # ")
        literal = SHAPE.match(comment.strip())
        if literal is None or line.startswith(" ") or statement.startswith("def "):
            continue
        target, assigns, _ = statement.partition(" = ")
        got = eval((target if assigns else statement).strip(), names)
        assert (got.shape if assigns else got) == ast.literal_eval(literal[1]), line
        compared += 1
    return compared


@pytest.mark.parametrize(
    ("heading", "package", "shapes"),
    [
        ("In Equinox", "equinox", 0),
        ("In Flax", "flax", 0),
        ("Several devices", "jax", 0),
        ("Exported programs", "jax", 1),
    ],
)
def test_examples(heading: str, package: str, shapes: int) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    jax.config.update("jax_enable_x64", False)
    found, names = blocks(), {}
    first = next(iter(found))
    assert sum(run(code, names) for code in found[first]) == 4
    assert sum(run(code, names) for code in found[heading]) == shapes


def test_all_examples_are_run() -> None:
    assert set(list(blocks())[1:]) == {
        "In Equinox",
        "In Flax",
        "Several devices",
        "Exported programs",
    }


def test_layers_are_short() -> None:
    """Users copy them."""
    for heading in ("In Equinox", "In Flax"):
        lines = blocks()[heading][0].strip().splitlines()
        assert len([line for line in lines if line.strip()]) <= 14


@pytest.mark.parametrize("heading", ["In Equinox", "In Flax"])
def test_layers_train(heading: str) -> None:
    package = heading.removeprefix("In ").lower()
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    jax.config.update("jax_enable_x64", False)
    names: dict[str, Any] = {"jax": jax, "fracstride": fracstride}
    run(blocks()[heading][0], names)
    sizes = {"stride": 2, "padding": "causal", "padding_mode": "replicate"}
    x = jax.random.normal(jax.random.key(0), (2, 4, 10))
    if package == "equinox":
        eqx = names["eqx"]
        layer = names["ConvTranspose1d"](4, 6, 5, groups=2, key=jax.random.key(1), **sizes)
        loss = eqx.filter_jit(eqx.filter_value_and_grad(lambda m, x: (jax.vmap(m)(x) ** 2).sum()))
        before, gradient = loss(layer, x)
        after = loss(eqx.apply_updates(layer, jax.tree.map(lambda g: -1e-3 * g, gradient)), x)[0]
        assert layer(x[0]).shape == (6, 20)
    else:
        nnx = names["nnx"]
        layer = names["ConvTranspose"](4, 6, 5, groups=2, rngs=nnx.Rngs(1), **sizes)
        loss = nnx.jit(nnx.value_and_grad(lambda m, x: (m(x) ** 2).sum()))
        frames = x.swapaxes(1, 2)
        before, gradient = loss(layer, frames)
        nnx.update(layer, jax.tree.map(lambda p, g: p - 1e-3 * g, nnx.state(layer), gradient))
        after = loss(layer, frames)[0]
        assert layer(frames).shape == (2, 20, 6)
    assert after < before


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str) -> None:
    jax.config.update("jax_enable_x64", False)
    result: Any = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    if name in ("fracstride.jax", "fracstride.jax.functional"):
        assert result.attempted > 0


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_padding_modes_are_named(mode: str) -> None:
    for public in (fracstride.jax.conv_transpose1d, fracstride.jax.conv1d):
        assert f'``"{mode}"``' in str(public.__doc__)
