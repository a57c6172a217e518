"""Modules written to deceive a tracer: the network is right for all inputs, or there is none."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from deceivers import DECEIVERS, Deceiver
from torch import Tensor
from torch.utils._pytree import tree_flatten

import fracstride.torch
from fracstride.torch.capture.agreement import difference

EXAMPLE = 11
NAMED = re.compile(r"^[\w.<> ]+( \([\w.]+\))?: .{20}")


def leaves(result: Any) -> list[Any]:
    """Of a structure, dataclasses included."""
    found = []
    for leaf in tree_flatten(result)[0]:
        fields = getattr(leaf, "__dataclass_fields__", None)
        if fields and not isinstance(leaf, Tensor):
            found += [leaf_ for name in fields for leaf_ in leaves(getattr(leaf, name))]
        else:
            found.append(leaf)
    return found


def assert_same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    for ours, theirs in zip(leaves(found), leaves(wanted), strict=True):
        if isinstance(theirs, Tensor):
            assert not difference(theirs, ours, 1.0)
        else:
            assert ours == theirs


def cases(module: Deceiver, least: int) -> list[tuple[int, int, float]]:
    """Lengths, batches and scales to try."""
    lengths = [*range(1, 8), 10, EXAMPLE, 12, 16, 33, 64, 100, 211, *module.lengths]
    found = [(length, batch, 1.0) for length in lengths for batch in (1, 2, 3)]
    found += [(EXAMPLE, 8, 1.0), (40, 8, 1.0), (4000, 1, 1.0)]
    return found + [(EXAMPLE, 1, scale) for scale in (0.0, 1e-3, 30.0, -1.0, 1e5)]


def run(module: Deceiver, given: tuple[Tensor, ...]) -> Any:
    with torch.inference_mode():
        return module(*(tensor.clone() for tensor in given))


@pytest.mark.parametrize("kind", [k for k in DECEIVERS if k.outcome != "hopeless"])
def test_never_wrong(kind: type[Deceiver]) -> None:
    torch.manual_seed(0)
    module = kind()
    example = module.inputs(1, EXAMPLE)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state, attributes = torch.get_rng_state(), dict(module.__dict__)
    try:
        network = fracstride.torch.compile(module, *example, time=module.time)
    except ValueError as error:
        assert kind.outcome in ("refused", "any"), error
        assert kind.where in str(error)
        assert NAMED.match(str(error)), error
        network = None
    assert module.__dict__ == attributes
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    if network is None:
        return
    assert kind.outcome != "refused"
    module.eval()
    refused = right = 0
    for length, batch, scale in cases(module, network.least):
        given = module.inputs(batch, length)
        given = tuple(x * scale if x.dtype.is_floating_point else x for x in given)
        try:
            found = network(*given)
        except ValueError:
            refused += 1
            assert kind.outcome in ("limited", "any") or length < network.least
            continue
        right += 1
        assert_same(found, run(module, given))
        torch.set_default_dtype(torch.float32)
    assert right > 10
    assert refused or kind.outcome != "limited"


def test_each_has_a_line() -> None:
    assert len(DECEIVERS) > 80
    assert all(kind.__doc__ and "\n" not in kind.__doc__ for kind in DECEIVERS)
