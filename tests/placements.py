"""Calls with DTensors against the same calls in one process, for the tests of both layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Placement,
    Replicate,
    Shard,
    distribute_tensor,
)

R, P = Replicate(), Partial()
INPUT: tuple[Placement, ...] = (R, Shard(0), Shard(1), Shard(2))
WEIGHT: tuple[Placement, ...] = (R, Shard(0), Shard(1), Shard(2))


def mesh_of(*shape: int) -> DeviceMesh:
    """A mesh of all ranks."""
    return init_device_mesh("cpu", shape)


def whole(t: Tensor) -> Tensor:
    """All of a tensor, on each rank."""
    return t.full_tensor() if isinstance(t, DTensor) else t


def held_against_one_process(
    function: Callable[..., Tensor],
    plain: Sequence[Tensor],
    options: dict[str, Any],
    mesh: DeviceMesh,
    placements: Any,
) -> DTensor:
    """Output, gradients, and gradients of these; the output as it came.

    Where nothing is summed over the ranks, the output has the bits of one process.
    """
    cut = [
        distribute_tensor(t, mesh, p).requires_grad_()
        for t, p in zip(plain, placements, strict=False)
    ]
    plain = [t.requires_grad_() for t in plain]
    want, got = (function(*given, **options) for given in (plain, cut))
    assert isinstance(got, DTensor)
    torch.testing.assert_close(whole(got), want)
    if not any(p.is_partial() for p in got.placements):
        assert torch.equal(whole(got), want)
    gy = torch.randn(want.shape, generator=torch.Generator().manual_seed(1), dtype=want.dtype)
    of_want = torch.autograd.grad(want, plain, gy, create_graph=True)
    like_it = distribute_tensor(gy, mesh, [R if p.is_partial() else p for p in got.placements])
    of_got = torch.autograd.grad(got, cut, like_it, create_graph=True)
    torch.testing.assert_close([whole(g) for g in of_got], list(of_want))
    if mesh.ndim == 1:
        twice_want = torch.autograd.grad(of_want[0].square().sum(), plain[1])
        twice_got = torch.autograd.grad(of_got[0].square().sum(), cut[1])
        torch.testing.assert_close([whole(g) for g in twice_got], list(twice_want))
    return got
