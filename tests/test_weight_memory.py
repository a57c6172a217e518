"""Packed weights lie close together in memory of their own: none may reach into another."""

from __future__ import annotations

import gc
import os
import threading

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


def test_a_weight_that_is_packed_many_times_takes_no_more_memory() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
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
