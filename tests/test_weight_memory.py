"""Packed weights lie close together in memory of their own: none may reach into another."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fracstride as fs


def random_layer(rng: np.random.Generator) -> tuple[fs.Conv1d, np.ndarray, np.ndarray]:
    """A layer that keeps its packed weight, an input, and the output when it was new."""
    channels, k = int(rng.integers(1, 200)), int(rng.integers(1, 12))
    layer = fs.Conv1d(channels, channels, kernel_size=k, padding="causal", rng=rng)
    x = rng.standard_normal((1, channels, 3)).astype(np.float32)
    return layer, x, layer(x)


def test_layers_that_come_and_go() -> None:
    rng = np.random.default_rng(0)
    layers = [random_layer(rng) for _ in range(60)]
    for _ in range(4):
        for index in sorted(rng.permutation(len(layers))[:30], reverse=True):
            del layers[index]
        gc.collect()
        layers += [random_layer(rng) for _ in range(30)]
        for layer, x, y in layers:
            assert np.array_equal(layer(x), y)


def resident() -> int:
    """Bytes of this process that are in memory."""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_weight_that_is_packed_many_times_takes_no_more_memory() -> None:
    weight = np.ones((256, 256, 11), np.float32)  # 3 MB
    x, before = np.ones((1, 256, 2), np.float32), 0
    for count in range(200):
        layer = fs.Conv1d.from_weights(weight, padding="causal")
        layer(x)
        if count == 40:
            before = resident()
    assert resident() - before < 16 << 20


def test_threads_pack_at_the_same_time() -> None:
    wrong = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        kept = []
        for _ in range(30):
            kept = [*kept[-5:], random_layer(rng)]
            wrong.extend(1 for layer, x, y in kept if not np.array_equal(layer(x), y))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def packed(channels: int, k: int) -> fs.Conv1d:
    layer = fs.Conv1d.from_weights(np.ones((channels, channels, k), np.float32), padding="causal")
    layer(np.ones((1, channels, 1), np.float32))
    return layer


def test_memory_goes_back_though_a_small_weight_lives_beside_a_large_one() -> None:
    gc.collect()
    before = resident()
    large = packed(1024, 33)  # 138 MB
    small = packed(64, 3)
    assert resident() - before > 100 << 20
    del large
    gc.collect()
    assert resident() - before < 80 << 20
    assert small(np.ones((1, 64, 1), np.float32)).shape == (1, 64, 1)


FEW_OF_MANY = """
import gc
from test_weight_memory import packed, resident
before = resident()
layers = [packed(256, 8) for _ in range(100)]  # 2 MB, and 2 MB packed
layers = layers[::20]
gc.collect()
print((resident() - before) >> 20)
"""


def test_few_of_many_weights_keep_no_more_than_they_need() -> None:
    resident()
    # So that NumPy's own arrays go back to the system.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", FEW_OF_MANY],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 130
