"""Batches over several devices: shard_map, explicit sharding, and jit of cut arrays."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import pytest

SETUP = """
    import jax, jax.numpy as jnp, numpy as np
    from functools import partial
    from jax.sharding import NamedSharding, PartitionSpec as P

    jax.config.update("jax_enable_x64", True)
    from jax_layers import CONV1D, TRANSPOSED, Layer, assert_close, random

    assert len(jax.devices()) == 2
    layers = Layer(TRANSPOSED, "reflect"), Layer(CONV1D, "zeros"), Layer(CONV1D, "circular")
"""

SHARD_MAP = """
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    cut, whole = P("d"), P()
    on_mesh = partial(jax.shard_map, mesh=mesh)
    for layer in layers:
        x, w, b = layer.operands()
        y = layer(x, w, b)

        def loss(f):
            return lambda *a: (f(*a) ** 2).sum()

        spread = on_mesh(layer, in_specs=(cut, whole, whole), out_specs=cut)
        assert_close(spread(x, w, b), y, 0)
        assert_close(jax.jit(spread)(x, w, b), y, 0)
        wanted = jax.grad(loss(layer), (0, 1, 2))(x, w, b)
        assert_close(jax.jit(jax.grad(loss(spread), (0, 1, 2)))(x, w, b), wanted)

        inside = on_mesh(  # the gradients of weight and bias are summed over devices
            jax.grad(lambda *a: jax.lax.psum(loss(layer)(*a), "d"), (0, 1, 2)),
            in_specs=(cut, whole, whole), out_specs=(cut, whole, whole))
        assert_close(jax.jit(inside)(x, w, b), wanted)

        given, along = (x, w, b), (jnp.cos(x), jnp.sin(w), -b)
        tangent = on_mesh(lambda *a: jax.jvp(layer, a[:3], a[3:])[1],
                          in_specs=(cut, whole, whole) * 2, out_specs=cut)
        assert_close(jax.jit(tangent)(*given, *along), jax.jvp(layer, given, along)[1])
    print("ok")
"""

JIT = """
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    for layer in layers:
        x, w, b = layer.operands()
        put = lambda a, spec: jax.device_put(a, NamedSharding(mesh, spec))
        got = jax.jit(layer)(put(x, P("d")), put(w, P()), put(b, P()))
        assert_close(got, layer(x, w, b), 0)
    print("ok")
"""

EXPLICIT = """
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        for layer in layers[1:2]:
            x, w, b = layer.operands()
            put = lambda a, spec: jax.device_put(a, NamedSharding(mesh, spec))
            given = put(x, P("d", None, None)), put(w, P(None, None, None)), put(b, P(None))
            y = jax.jit(layer)(*given)
            assert jax.typeof(y).sharding.spec == P("d", None, None)
            gradients = lambda f: jax.jit(jax.grad(lambda *a: (f(*a) ** 2).sum(), (0, 1, 2)))
            ours, by_lax = gradients(layer)(*given), gradients(layer.by_lax)(*given)
            assert_close(ours, by_lax)
            for one, other in zip(ours, by_lax, strict=True):
                assert jax.typeof(one).sharding.spec == jax.typeof(other).sharding.spec
    print("ok")
"""


def on_two_devices(code: str) -> str:
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(SETUP) + textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_shard_map() -> None:
    assert on_two_devices(SHARD_MAP) == "ok\n"


def test_jit_of_arrays_that_are_cut() -> None:
    assert on_two_devices(JIT) == "ok\n"


@pytest.mark.skipif(not hasattr(jax, "set_mesh"), reason="this JAX has no public set_mesh")
def test_explicit_sharding() -> None:
    assert on_two_devices(EXPLICIT) == "ok\n"
