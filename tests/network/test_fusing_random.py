"""Random graphs: fused or not, in shared memory or not, they give the same bits."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import RandomGraph, inputs_of, outputs_of, plain_outputs, same_bits

from fracstride.network import Network

EXAMPLES = int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "300"))


@pytest.mark.parametrize("exact", [True, False])
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_graphs(exact: bool, seed: int) -> None:
    graph = RandomGraph(np.random.default_rng(seed), exact=exact).graph
    dtype = "f8" if exact else "f4"
    network, apart = (Network(graph, dtype, fused=fused).astype(dtype) for fused in (True, False))
    assert network.least == apart.least
    for clock in (network.least, network.least + 1, network.least + 7, network.least):
        for batch in (1, 2):
            inputs = inputs_of(graph, clock, batch, dtype)
            if exact:
                inputs = [x if x.dtype.kind == "i" else np.round(x * 4) for x in inputs]
            expected = plain_outputs(network.graph, dtype, inputs, clock)
            same_bits(outputs_of(apart, inputs), expected)
            # (A negative factor that is folded into a weight changes the sign of zeros.)
            same_bits(outputs_of(network, inputs), expected, signed_zeros=False)
