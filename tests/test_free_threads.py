"""Threads of Python: shared layers, packing, streams. Importing does not switch the GIL on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

import fracstride as fs

THREADS = 8
XS = [
    np.random.default_rng(i).standard_normal((2, 16, 50 + 13 * i), np.float32)
    for i in range(THREADS)
]


def layer(padding: str) -> fs.ConvTranspose1d:
    return fs.ConvTranspose1d(16, 16, 8, 4, padding=padding, rng=0)


def wanted(padding: str) -> list[Any]:
    return [layer(padding)(x) for x in XS]


def together(work: Callable[[int], bool]) -> None:
    """Call ``work(i)`` in threads that begin at one moment: each returns whether all was right."""
    begin = threading.Barrier(THREADS)
    right = [False] * THREADS

    def run(i: int) -> None:
        begin.wait()
        right[i] = work(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * THREADS


def same(a: Any, b: Any) -> bool:
    return bool(a.tobytes() == b.tobytes())


def test_calls_of_one_layer() -> None:
    shared, expected = layer("same"), wanted("same")

    def work(i: int) -> bool:
        order = [(i + k) % THREADS for k in range(50)]
        return all(same(shared(XS[j]), expected[j]) for j in order)

    together(work)


def test_first_calls_of_one_layer() -> None:
    expected = wanted("same")
    shared = [layer("same") for _ in range(20)]
    together(lambda i: all(same(one(XS[i]), expected[i]) for one in shared))


def test_packing() -> None:
    expected = wanted("same")
    together(lambda i: all(same(layer("same")(XS[i]), expected[i]) for _ in range(30)))


def test_streams_of_one_layer() -> None:
    shared, expected = layer("causal"), wanted("causal")

    def work(i: int) -> bool:
        results = []
        for _ in range(20):
            stream = shared.stream(2)
            pieces = [stream.push(chunk) for chunk in np.array_split(XS[i], 5, axis=-1)]
            whole = np.concatenate([*pieces, stream.flush()], axis=-1)
            results.append(same(whole, expected[i]))
        return all(results)

    together(work)


def test_settings_change_meanwhile() -> None:
    shared, expected = layer("same"), wanted("same")

    def work(i: int) -> bool:
        results = []
        for k in range(50):
            fs.set_num_threads(1 + (i + k) % 2)
            results.append(same(shared(XS[i]), expected[i]))
        return all(results)

    together(work)


def test_the_gil_stays_off() -> None:
    enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert enabled or "free-threading" in sys.version
    if "free-threading" in sys.version:
        assert not enabled
