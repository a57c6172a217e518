"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

# Two test processes with two threads each share two cores in `make test`. A thread that waits must
# not spin then: short calls would take thirty times longer. OpenMP asks once, when it is loaded;
# programs that the tests start inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import fracstride
from fracstride._load import native

# Without torch, find_spec finds the folder tests/torch under that name, which has no origin; so it
# is with JAX.
_specs = {name: find_spec(name) for name in ("torch", "jax")}
collect_ignore = [name for name, spec in _specs.items() if not (spec and spec.origin)]

# Triton reads the variable once, at import. Without a GPU its kernels run in its interpreter.
if find_spec("triton"):
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(params=native.available_instruction_sets())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on each instruction set that this machine has."""
    before = native.instruction_set()
    native.use_instruction_set(request.param)
    yield request.param
    native.use_instruction_set(before)


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    before = fracstride.get_num_threads()
    yield
    fracstride.set_num_threads(before)
