"""Times on a GPU: of calls, of what the card does at best, and of the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from typing import Any

import torch
from gpu_cases import KINDS, OURS, Problem, candidates, settings
from layers import Layer
from torch import Tensor
from torch.nn import functional as tf

import fracstride.torch as ft
from fracstride.geometry import Geometry
from fracstride.torch.gpu import maps
from fracstride.torch.gpu.capture import recorded

LARGE = 25e6  # multiply-adds from which a fraction of the limit is held against a target


@dataclass
class Timing:
    """Times of one layer in one kind: seconds of each candidate, and of the card's limit."""

    layer: str
    kind: str
    what: str  # forward, or both: forward and backward
    seconds: dict[str, float] = field(default_factory=dict)
    limit: float = 0.0
    computing: bool = True
    large: bool = True
    failed: dict[str, str] = field(default_factory=dict)
    captured: dict[str, bool] = field(default_factory=dict)  # as a CUDA graph

    def ratio(self, peers: Sequence[str]) -> float | None:
        """Our speed: the time of the fastest of the peers, divided by ours."""
        times = [self.seconds[peer] for peer in peers if peer in self.seconds]
        return min(times) / self.seconds[OURS] if times and OURS in self.seconds else None

    @property
    def of_limit(self) -> float | None:
        """The limit's time, divided by ours."""
        return self.limit / self.seconds[OURS] if OURS in self.seconds else None


@dataclass(frozen=True)
class Roofline:
    """The card's measured limits: bytes a second of a copy, multiply-adds a second by kind."""

    bandwidth: float
    products: dict[str, float]

    @classmethod
    def measure(cls) -> Roofline:
        """Measure a copy and a matrix product that take a millisecond or so."""
        from triton.testing import do_bench

        source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        copied = 2 * source.numel() / (do_bench(lambda: target.copy_(source)) / 1e3)
        rates = {}
        for kind, dtype in KINDS.items():
            settings("torch", kind)
            n = 8192 if kind != "fp32" else 4096
            a, b = (torch.randn(n, n, device="cuda").to(dtype) for _ in range(2))
            rates[kind] = n**3 / (do_bench(lambda a=a, b=b: a @ b) / 1e3)
        return cls(copied, rates)

    def limit(self, layer: Layer, kind: str, both: bool) -> tuple[float, bool]:
        """The least seconds of a layer, and whether multiply-adds (or bytes) decide."""
        size = KINDS[kind].itemsize
        moved = layer.bytes / 4 * size
        maps = 3 if both else 1  # each reads two of the three tensors and writes the third
        computing = maps * layer.products / self.products[kind]
        moving = maps * moved / self.bandwidth
        return max(computing, moving), computing >= moving


def captured(call: Callable[[], Any]) -> tuple[Callable[[], Any], bool]:
    """The call as a CUDA graph and True; the call itself and False where it cannot be one."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except RuntimeError:
        torch.cuda.synchronize()
        return call, False
    return graph.replay, True


def seconds(calls: dict[str, Callable[[], Any]], kind: str, budget: float) -> dict[str, float]:
    """Median time of each call; they take turns, with a cache full of other data."""
    flush = torch.empty(128 << 20, dtype=torch.uint8, device="cuda")
    times: dict[str, list[float]] = {name: [] for name in calls}
    start = monotonic()
    while monotonic() - start < budget or min(map(len, times.values())) < 5:
        for name, call in calls.items():
            settings(name, kind)
            flush.zero_()
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            call()
            after.record()
            after.synchronize()
            times[name].append(before.elapsed_time(after) / 1e3)
        if len(times[name]) >= 200:
            break
    return {name: median(values) for name, values in times.items()}


def measure(
    layer: Layer, kind: str, both: bool, roofline: Roofline, budget: float, peers: Sequence[str]
) -> Timing:
    """Time one layer."""
    what = "both" if both else "forward"
    found = Timing(layer.name, kind, what, large=layer.products >= LARGE)
    problem = Problem(layer, KINDS[kind])
    found.limit, found.computing = roofline.limit(layer, kind, both)
    calls = {}
    for name, call in candidates(problem, both).items():
        if name != OURS and name not in peers:
            continue
        settings(name, kind)
        try:
            calls[name], found.captured[name] = captured(call)
        except Exception as error:  # a peer that cannot do a layer is left out, and said to be
            found.failed[name] = f"{type(error).__name__}: {error}"[:200]
    if calls:
        found.seconds = seconds(calls, kind, budget)
    return found


def anti_aliasing(budget: float) -> tuple[float, float, int]:
    """BigVGAN's upsampler: seconds of one launch, of its three operators, and launches of ours."""
    settings("torch benchmark", "fp32")
    channels, length = 256, 4000
    x = torch.randn(1, channels, length, device="cuda")
    w = torch.randn(1, 1, 12, device="cuda").repeat(channels, 1, 1)

    def three() -> Tensor:
        padded = tf.pad(x, (5, 5), "replicate")
        return tf.conv_transpose1d(padded, w, stride=2, groups=channels)[..., 15:-15]

    def one() -> Tensor:
        return ft.conv_transpose1d(
            x, w, stride=2, padding=5, groups=channels, padding_mode="replicate"
        )

    torch.testing.assert_close(one(), three(), rtol=1e-5, atol=1e-5)
    geometry = Geometry(12, 2, 5, padding_mode="replicate")
    with recorded() as launches:
        maps.forward(x, w, None, geometry, channels)
    times = seconds({"one": captured(one)[0], "three": captured(three)[0]}, "fp32", budget)
    return times["one"], times["three"], len(launches)


def python_cost() -> dict[str, float]:
    """Microseconds that the host takes to start a tiny call, ours and torch's."""
    x, w = torch.randn(1, 16, 64, device="cuda"), torch.randn(16, 16, 4, device="cuda")
    cost = {}
    with torch.inference_mode():
        for name, call in (
            (OURS, lambda: ft.conv_transpose1d(x, w, stride=2, padding=1)),
            ("torch", lambda: tf.conv_transpose1d(x, w, stride=2, padding=1)),
        ):
            for _ in range(50):
                call()
            torch.cuda.synchronize()
            start = monotonic()
            for _ in range(500):
                call()
            cost[name] = (monotonic() - start) / 500 * 1e6
            torch.cuda.synchronize()
    return cost
