"""All placements of input, weight and bias, on two and four ranks, against one process."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from placements import INPUT, WEIGHT, P, R, mesh_of, whole
from placements import held_against_one_process as held
from ranks import check, take_part
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.nn import functional as tf

import fracstride.torch as ft
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry
from fracstride.torch.distributed import guard, messages, traffic

# Groups 2 and 4 of 4 channels; 7 output channels and 3 entries of a batch do not divide; 5 output
# channels are too few for four ranks.
LAYERS = {
    "dense": dict(groups=1, out=7, stride=2, padding=1),
    "five channels": dict(groups=1, out=5, stride=2, padding=1),
    "two groups": dict(groups=2, out=6, stride=3, padding="same", padding_mode="reflect"),
    "depthwise": dict(groups=4, out=4, stride=2, padding=(3, 0), padding_mode="circular"),
}


def operands(groups: int, out: int, k: int = 5, L: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(k)
    shapes = (3, 4, L), (4, out // groups, k), (out,)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


def held_against_one_process(
    mesh: DeviceMesh, placements: Any, layer: dict[str, Any], bias: bool = True
) -> DTensor:
    options = dict(layer)
    plain = operands(options["groups"], options.pop("out"))[: 3 if bias else 2]
    return held(ft.conv_transpose1d, plain, options, mesh, placements)


def every_placement(layer: str) -> None:
    mesh = mesh_of(dist.get_world_size())
    biases = itertools.cycle((R, Shard(0), None))
    for x, w in itertools.product(INPUT, WEIGHT):
        b = next(biases)
        held_against_one_process(mesh, ([x], [w], [b or R]), LAYERS[layer], b is not None)


def kept_where_it_need_not_move() -> None:
    """The communication is that of the table in rules.py, without gathers."""
    mesh = mesh_of(dist.get_world_size())
    groups = {"groups": 4, "out": 4}
    for way, x, w, b, y, layer in (
        ("batch", Shard(0), R, R, Shard(0), {"groups": 1, "out": 8}),
        ("columns", R, Shard(1), Shard(0), Shard(1), {"groups": 1, "out": 8}),
        ("rows", Shard(1), Shard(0), R, P, {"groups": 1, "out": 8}),
        ("groups", Shard(1), Shard(0), Shard(0), Shard(1), groups),
        ("time", Shard(2), R, R, Shard(2), groups),
    ):
        if way == "batch" and dist.get_world_size() > 3:
            continue  # three entries
        got = held_against_one_process(mesh, ([x], [w], [b]), layer)
        assert got.placements == (y,), way


def two_dimensions() -> None:
    """One dimension of the mesh cuts time, the other something else; and none of them time."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
    for layer in LAYERS.values():
        for x, w in itertools.product(INPUT[:3], WEIGHT):
            for b in (R, Shard(0)):
                held_against_one_process(mesh, ([x, Shard(2)], [w, R], [b, R]), layer)
            held_against_one_process(mesh, ([Shard(2), x], [R, w], [R, R]), layer, False)
            held_against_one_process(mesh, ([x, Shard(0)], [w, R], [R, R]), layer)
    with pytest.raises(NotImplementedError, match=r"one Shard, .* redistribute the input"):
        held_against_one_process(mesh, ([Shard(2), Shard(2)], [R, R], [R, R]), LAYERS["dense"])


def ordinary_weights() -> None:
    """A weight that is no DTensor is the same on every rank; its gradient is the sum of theirs."""
    mesh = mesh_of(dist.get_world_size())
    x, w, b = operands(1, 5)
    w, b = w.requires_grad_(), b.requires_grad_()
    options: Any = dict(stride=2, padding="same", padding_mode="circular")
    want = ft.conv_transpose1d(x, w, b, **options)
    of_want = torch.autograd.grad(want.square().sum(), (w, b))
    for cut in INPUT:
        got = ft.conv_transpose1d(distribute_tensor(x, mesh, [cut]), w, b, **options)
        assert isinstance(got, DTensor)
        torch.testing.assert_close(whole(got), want)
        of_got = torch.autograd.grad(got.square().sum(), (w, b))
        torch.testing.assert_close(of_got, of_want)
    with pytest.raises(RuntimeError, match=r"mixed torch\.Tensor and DTensor"):
        ft.conv_transpose1d(x, distribute_tensor(w.detach(), mesh, [R]))


def unusual_meshes() -> None:
    """Some of all ranks; ranks in another order than their numbers."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    some = DeviceMesh("cpu", [0, ranks - 1])  # which all have to make
    if rank in (0, ranks - 1):
        got = held_against_one_process(some, ([Shard(2)], [R], [R]), LAYERS["depthwise"])
        assert got.placements == (Shard(2),)
        for x, w in ((Shard(0), R), (R, Shard(1)), (Shard(1), Shard(0))):
            held_against_one_process(some, ([x], [w], [R]), LAYERS["dense"])
    dist.barrier()
    reverse = DeviceMesh("cpu", list(range(ranks))[::-1])
    x = DTensor.from_local(torch.ones(1, 2, 3), reverse, [Shard(2)], run_check=False)
    with pytest.raises(ValueError, match="ranks in ascending order, got"):
        ft.conv_transpose1d(x, torch.ones(2, 2, 3))


def without_batch() -> None:
    mesh = mesh_of(dist.get_world_size())
    x, w, b = operands(1, 5)
    got = ft.conv_transpose1d(distribute_tensor(x[0], mesh, [Shard(1)]), w, b, 2)
    assert isinstance(got, DTensor)
    assert got.placements == (Shard(1),)
    assert torch.equal(got.full_tensor(), ft.conv_transpose1d(x[0], w, b, 2))


def random_geometry(rng: random.Random) -> tuple[Geometry, int]:
    while True:
        stride, dilation, mode = rng.randint(1, 6), rng.randint(1, 4), rng.choice(PADDING_MODES)
        most = 12
        pads = rng.choice(["same", "causal", (rng.randint(0, most), rng.randint(0, most))])
        a = 0 if isinstance(pads, str) else rng.randint(0, max(stride, dilation) - 1)
        g, L = Geometry(rng.randint(1, 9), stride, pads, a, dilation, mode), rng.randint(1, 30)
        if g.overhang + L * g.stride > 0:
            return g, L


def along_time(dtype: torch.dtype) -> None:
    """The bits of one process; halos have the size that the definition gives, both ways."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mesh, rng = mesh_of(ranks), random.Random(ranks)
    for seed in range(30 if dtype is torch.float32 else 8):
        g, L = random_geometry(rng)
        groups = rng.choice([1, 2, 4])
        torch.manual_seed(seed)
        shapes = (2, 4, L), (4, 8 // groups, g.kernel_size), (8,)
        x, w, b = (torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes)

        def layer(x: Tensor, w: Tensor, b: Tensor, g: Geometry = g, groups: int = groups) -> Tensor:
            options = dict(dilation=g.dilation, padding_mode=g.padding_mode)
            return ft.conv_transpose1d(
                x, w, b, g.stride, g.padding, g.output_padding, groups, **options
            )

        want = layer(x, w, b)
        cut = distribute_tensor(x.detach(), mesh, [Shard(2)]).requires_grad_()
        frame = 2 * 4 * x.element_size()
        between = messages(g, L, ranks)
        with traffic() as sent:
            got = layer(cut, w.detach(), b.detach())
        assert sent.bytes == frame * sum(n for ends, n in between.items() if ends[0] == rank)
        assert sent.messages == sum(ends[0] == rank for ends in between)
        assert isinstance(got, DTensor)
        assert got.placements == (Shard(2),)
        assert got.is_contiguous()
        assert torch.equal(got.full_tensor(), want), (g, L)

        gy = torch.randn_like(want)
        of_want = torch.autograd.grad(want, (x, w, b), gy)
        with traffic() as sent:
            (gx,) = torch.autograd.grad(got, cut, distribute_tensor(gy, mesh, [Shard(2)]))
        assert sent.bytes == frame * sum(n for ends, n in between.items() if ends[1] == rank)
        # Half precision is rounded before it is added up at a seam.
        close = {} if dtype.itemsize != 2 else dict(rtol=0.05, atol=0.25)
        torch.testing.assert_close(gx.full_tensor(), of_want[0], **close)
        again = torch.autograd.grad(
            layer(cut, w, b), (cut, w, b), distribute_tensor(gy, mesh, [Shard(2)])
        )
        assert torch.equal(again[0].full_tensor(), gx.full_tensor())
        torch.testing.assert_close(list(again[1:]), list(of_want[1:]), **close)


def where_no_sum_is_split() -> None:
    """Gradients of frames that no other rank needs have the bits of one process."""
    ranks = dist.get_world_size()
    g, L = Geometry(9, 4, "same"), 24
    x, w = torch.randn(2, 4, L), torch.randn(4, 3, 9)
    torch.manual_seed(3)
    for t in (x, w):
        dist.broadcast(t, 0)
    x.requires_grad_()
    want = ft.conv_transpose1d(x, w, None, 4, "same")
    (of_want,) = torch.autograd.grad(want.square().sum(), x)
    cut = distribute_tensor(x.detach(), mesh_of(ranks), [Shard(2)]).requires_grad_()
    y = ft.conv_transpose1d(cut, w, None, 4, "same")
    (of_got,) = torch.autograd.grad(y.square().sum(), cut)
    differs = (of_got.full_tensor() != of_want).any(0).any(0)
    size = L // ranks
    seams = {t for r in range(1, ranks) for t in (r * size - 1, r * size)}
    assert set(differs.nonzero().flatten().tolist()) <= seams
    assert sum(messages(g, L, ranks).values()) == 2 * (ranks - 1)


def without_gradients() -> None:
    """From packed weights, which are kept; never stale; NaN stays where its taps are."""
    mesh = mesh_of(dist.get_world_size())
    torch.manual_seed(0)
    layer = ft.ConvTranspose1d(4, 6, 8, 4, 2)
    x = torch.randn(1, 4, 12)
    x[0, 0, 5] = torch.nan
    cut = distribute_tensor(x, mesh, [Shard(2)])
    with torch.no_grad():
        for _ in range(3):
            got = layer(cut).full_tensor()
            torch.testing.assert_close(got, layer(x), rtol=0, atol=0, equal_nan=True)
            layer.weight.mul_(1.5)
        kept = layer._packed_weights
        assert kept is not None
        layer(cut)
        packed = kept._packed
        assert packed is not None
        assert torch.equal(packed[1], layer.weight)  # the last one, which layer(x) has not seen
        layer(cut)
        assert kept._packed is packed
    assert got.isnan().any(1).sum() == 8  # the taps of one frame


def a_wrong_shard() -> None:
    ranks = dist.get_world_size()
    local = torch.ones(1, 2, 3 + dist.get_rank())
    shape = torch.Size((1, 2, 3 * ranks))
    wrong = DTensor.from_local(
        local, mesh_of(ranks), [Shard(2)], run_check=False, shape=shape, stride=(6, 3, 1)
    )
    if dist.get_rank():
        with pytest.raises(ValueError, match="must have 3 frames on rank"):
            ft.conv_transpose1d(wrong, torch.ones(2, 2, 1))
    dist.barrier()


def torchs_own() -> None:
    """torch's own sharded convolutions are wrong, as docs/pytorch.md says. If this fails, torch
    has fixed them, and guard.py can be removed."""
    mesh = mesh_of(dist.get_world_size())
    x, w, _ = operands(1, 8)
    want = tf.conv_transpose1d(x, w, None, 2, 1)
    handlers = guard.handlers
    ours = handlers[guard.convolution]
    handlers[guard.convolution] = guard.torch_handler
    try:
        for x_cut, w_cut in ((Shard(2), R), (R, Shard(1)), (Shard(1), Shard(0))):
            cut = distribute_tensor(x, mesh, [x_cut]), distribute_tensor(w, mesh, [w_cut])
            got = whole(tf.conv_transpose1d(*cut, None, 2, 1))
            assert got.shape != want.shape or not torch.allclose(got, want), (x_cut, w_cut)
    finally:
        handlers[guard.convolution] = ours


def another_mesh() -> None:
    ranks = dist.get_world_size()
    x = distribute_tensor(torch.ones(1, 4, 8), mesh_of(ranks), [Shard(2)])
    w = distribute_tensor(torch.ones(4, 4, 3), mesh_of(1, ranks), [R, R])
    with pytest.raises(ValueError, match="weight must be on the mesh of input"):
        ft.conv_transpose1d(x, w)
    b = distribute_tensor(torch.ones(4), mesh_of(1, ranks), [R, R])
    with pytest.raises(ValueError, match="bias must be on the mesh of input"):
        ft.conv_transpose1d(x, torch.ones(4, 4, 3), b)
    with pytest.raises(RuntimeError, match="weight must have"):
        ft.conv_transpose1d(x, torch.ones(4, 4))
    with pytest.raises(RuntimeError, match="input must have"):
        ft.conv_transpose1d(x, torch.ones(5, 4, 3))


SCENARIOS: dict[str, Callable[[], Any]] = {
    **{name: functools.partial(every_placement, name) for name in LAYERS},
    **{
        str(dtype): functools.partial(along_time, dtype)
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.complex64)
    },
    **{
        f.__name__: f
        for f in (
            kept_where_it_need_not_move,
            two_dimensions,
            ordinary_weights,
            unusual_meshes,
            without_batch,
            where_no_sum_is_split,
            without_gradients,
            a_wrong_shard,
            torchs_own,
            another_mesh,
        )
    },
}


SIZES = (2, 4)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_as_one_process(name: str, seen: list[dict[str, Any]]) -> None:
    check(seen, name)


if __name__ == "__main__":
    of_two = {**SCENARIOS, "two_dimensions": lambda: None}
    take_part(lambda size: of_two if size == 2 else SCENARIOS)
