"""Models that are cut over ranks, against one process: what several tests share."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import parallelize_module
from torch.nn import functional as tf
from torch.nn.utils import parametrizations, weight_norm

import fracstride.torch as ft
from fracstride.torch.distributed import TimeParallel
from fracstride.torch.distributed.halo import shard_bounds

L = 13


def line() -> DeviceMesh:
    return init_device_mesh("cpu", (dist.get_world_size(),))


def signal(channels: int, length: int = L, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, channels, length, generator=torch.Generator().manual_seed(1), dtype=dtype)


def piece(x: Tensor, dim: int = -1) -> Tensor:
    first, stop = shard_bounds(x.shape[dim], dist.get_world_size(), dist.get_rank())
    return x.narrow(dim, first, stop - first).clone()


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(5)
    return make().double()


def whole(t: Tensor | None) -> Tensor:
    assert t is not None
    return t.full_tensor() if isinstance(t, DTensor) else t


def same_gradients(one: nn.Module, many: nn.Module) -> None:
    pairs = zip(one.named_parameters(), many.named_parameters(), strict=True)
    for (name, p), (_, q) in pairs:
        torch.testing.assert_close(whole(q.grad), p.grad, msg=lambda m, n=name: f"{n}: {m}")


class Residual(nn.Module):
    """As in vocoders, with a parameter that is used between the layers."""

    def __init__(self, channels: int, norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.first = norm(nn.Conv1d(channels, channels, 3, dilation=3, padding="same"))
        self.second = norm(nn.Conv1d(channels, channels, 7, padding=3, padding_mode="reflect"))
        self.activation = nn.LeakyReLU(0.1)
        self.scale = nn.Parameter(torch.full((channels, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.activation(self.first(self.activation(x))))
        return x + self.scale * tf.silu(y)


NORMS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda layer: layer,
    "weight_norm": parametrizations.weight_norm,
    "old weight_norm": weight_norm,
}


def cut_along_time(model: Callable[[Any], nn.Module], norm: str, length: int = L) -> None:
    """Two steps of training, and a call without gradients."""
    make = functools.partial(model, NORMS[norm])
    one = ft.accelerate(seeded(make))
    many = parallelize_module(seeded(make), line(), TimeParallel())
    x = signal(4, length)
    whole_x, mine = x.clone().requires_grad_(), piece(x).requires_grad_()
    optimizers = [torch.optim.Adam(m.parameters(), 1e-3) for m in (one, many)]
    for _ in range(2):
        want, got = one(whole_x), many(mine)
        assert type(got) is Tensor
        torch.testing.assert_close(got, piece(want), rtol=1e-9, atol=1e-11)
        for y, given in ((want, whole_x), (got, mine)):
            given.grad = None
            y.square().sum().backward()
        torch.testing.assert_close(mine.grad, piece(whole_x.grad), rtol=1e-8, atol=1e-11)
        same_gradients(one, many)
        for p in many.parameters():
            assert isinstance(p.grad, DTensor)
            assert p.grad.placements == (Replicate(),)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    with torch.inference_mode():
        if norm != "old weight_norm":
            assert torch.equal(copy.deepcopy(many)(mine), many(mine))
        torch.testing.assert_close(many(mine), piece(one(whole_x)), rtol=1e-6, atol=1e-8)
    assert list(many.state_dict()) == list(one.state_dict())


class Block(nn.Module):
    """An upsampling stack with a pair of layers in it."""

    def __init__(self, middle: int = 8, kind: Any = nn.ConvTranspose1d, **options: Any) -> None:
        super().__init__()
        self.up = kind(6, middle, 8, 4, 2, **options)
        self.out = kind(middle, 3, 4, 2, 1, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(tf.leaky_relu(self.up(x), 0.1))


def column_and_row(kind: Any, columns: Any, rows: Any) -> None:
    """One all-reduce for a pair of layers, forward; one backward for the input's gradient."""
    transposed = issubclass(kind, nn.ConvTranspose1d)
    for middle in (8, 7):  # 7 over four ranks: 2, 2, 2, 1
        for bias in (True, False):
            one = seeded(functools.partial(Block, middle, kind, bias=bias))
            many = parallelize_module(copy.deepcopy(one), line(), {"up": columns(), "out": rows()})
            x, y = signal(6).requires_grad_(), signal(6).requires_grad_()
            want = one(x)
            with CommDebugMode() as forward:
                got = many(y)
            assert not isinstance(got, DTensor)
            torch.testing.assert_close(got, want)
            assert dict(forward.get_comm_counts()) == {torch.ops.c10d_functional.all_reduce: 1}, (
                forward.get_comm_counts()
            )
            want.square().sum().backward()
            with CommDebugMode() as backward:
                got.square().sum().backward()
            assert backward.get_total_counts() == 1
            torch.testing.assert_close(y.grad, x.grad)
            same_gradients(one, many)
            first, stop = shard_bounds(middle, dist.get_world_size(), dist.get_rank())
            axes = (1, 0) if transposed else (0, 1)
            assert many.up.weight.to_local().shape[axes[0]] == stop - first
            assert many.out.weight.to_local().shape[axes[1]] == stop - first


def groups_and_depthwise(kind: Any, *styles: Any) -> None:
    """Between the groups, by either style."""
    ranks = dist.get_world_size()
    channels = 2 * ranks
    for groups in (ranks, channels):
        make: Any = functools.partial(kind, channels, channels, 5, 2, (3, 1), groups=groups)
        one = seeded(functools.partial(make, padding_mode="reflect"))
        for style in styles:
            many = parallelize_module(
                copy.deepcopy(one),
                line(),
                style(input_layouts=Replicate(), output_layouts=Shard(-2)),
            )
            x, y = (signal(channels).requires_grad_() for _ in range(2))
            want, got = one(x), many(y)
            torch.testing.assert_close(got, piece(want, 1))
            want.square().sum().backward()
            got.square().sum().backward()
            torch.testing.assert_close(y.grad, x.grad)
            same_gradients(one, many)
            one.zero_grad()
