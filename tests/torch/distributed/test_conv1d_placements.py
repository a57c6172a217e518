"""Conv1d: all placements of input, weight and bias, on two and three ranks, against one process.

What the layers share (meshes, messages, checks) is tested in ``test_placements.py``.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from placements import INPUT, WEIGHT, P, R, held_against_one_process, mesh_of
from ranks import check, launch, take_part
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

import fracstride.torch as ft
from fracstride.conv1d_geometry import Conv1dGeometry
from fracstride.extension import PADDING_MODES
from fracstride.torch.distributed import messages, traffic

# Groups 2 and 6 of 6 channels; 7 output channels and 3 entries of a batch do not divide; 4 output
# channels are too few for three ranks, of which one would have none.
LAYERS = {
    "dense": dict(groups=1, out=7, stride=2, padding=1),
    "four channels": dict(groups=1, out=4, padding="same", dilation=2),
    "two groups": dict(groups=2, out=4, stride=3, padding=(4, 1), padding_mode="reflect"),
    "depthwise": dict(groups=6, out=12, stride=2, padding=(0, 3), padding_mode="circular"),
    "far": dict(groups=1, out=6, stride=1, padding=(9, 7)),
}


def operands(groups: int, out: int, k: int = 5, L: int = 11) -> list[Tensor]:
    generator = torch.Generator().manual_seed(k)
    shapes = (3, 6, L), (out, 6 // groups, k), (out,)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


def held(mesh: DeviceMesh, placements: Any, layer: dict[str, Any], bias: bool = True) -> DTensor:
    options = dict(layer)
    plain = operands(options["groups"], options.pop("out"))[: 3 if bias else 2]
    return held_against_one_process(ft.conv1d, plain, options, mesh, placements)


def every_placement(layer: str) -> None:
    mesh = mesh_of(dist.get_world_size())
    biases = itertools.cycle((R, Shard(0), None))
    for x, w in itertools.product(INPUT, WEIGHT):
        b = next(biases)
        held(mesh, ([x], [w], [b or R]), LAYERS[layer], b is not None)


def kept_where_it_need_not_move() -> None:
    """The operators' own cuts, without gathers; and time."""
    mesh = mesh_of(dist.get_world_size())
    dense, groups = {"groups": 1, "out": 6, "stride": 2}, {"groups": 6, "out": 12, "stride": 2}
    for way, x, w, b, y, layer in (
        ("batch", Shard(0), R, R, Shard(0), dense),
        ("rows", R, Shard(0), Shard(0), Shard(1), dense),
        ("columns", Shard(1), Shard(1), R, P, dense),
        ("groups", Shard(1), Shard(0), Shard(0), Shard(1), groups),
        ("time", Shard(2), R, R, Shard(2), groups),
    ):
        got = held(mesh, ([x], [w], [b]), layer)
        assert got.placements == (y,), way


def two_dimensions() -> None:
    """One dimension of the mesh cuts time, the other something else; and none of them time."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
    for layer in LAYERS.values():
        for x, w in itertools.product(INPUT[:3], WEIGHT):
            for b in (R, Shard(0)):
                held(mesh, ([x, Shard(2)], [w, R], [b, R]), layer)
            held(mesh, ([Shard(2), x], [R, w], [R, R]), layer, False)
            held(mesh, ([x, Shard(0)], [w, R], [R, R]), layer)
    for x, w, y in ((Shard(1), R, P), (R, Shard(1), P), (R, Shard(0), Shard(1))):
        got = held(mesh, ([x, Shard(2)], [w, R], [R, R]), LAYERS["dense"])
        assert got.placements == (y, Shard(2))


def ordinary_weights() -> None:
    """A weight that is no DTensor is the same on every rank; its gradient is the sum of theirs."""
    mesh = mesh_of(dist.get_world_size())
    x, w, b = operands(1, 5)
    w, b = w.requires_grad_(), b.requires_grad_()
    options: Any = dict(stride=2, padding="causal", padding_mode="circular")
    want = ft.conv1d(x, w, b, **options)
    of_want = torch.autograd.grad(want.square().sum(), (w, b))
    for cut in INPUT:
        got = ft.conv1d(distribute_tensor(x, mesh, [cut]), w, b, **options)
        assert isinstance(got, DTensor)
        torch.testing.assert_close(got.full_tensor(), want)
        of_got = torch.autograd.grad(got.square().sum(), (w, b))
        torch.testing.assert_close(of_got, of_want)
    got = ft.conv1d(distribute_tensor(x[0], mesh, [Shard(1)]), w, b, **options)
    assert isinstance(got, DTensor)
    assert got.placements == (Shard(1),)
    assert torch.equal(got.full_tensor(), want[0])
    with pytest.raises(RuntimeError, match=r"mixed torch\.Tensor and DTensor"):
        ft.conv1d(x, distribute_tensor(w.detach(), mesh, [R]))


def random_geometry(rng: random.Random) -> tuple[Conv1dGeometry, int]:
    while True:
        stride, most = rng.randint(1, 6), rng.choice([4, 12])
        pads: Any = rng.choice(["causal", (rng.randint(0, most), rng.randint(0, most))])
        if stride == 1 and rng.random() < 0.2:
            pads = "same"
        dilation, mode = rng.randint(1, 4), rng.choice(PADDING_MODES)
        g = Conv1dGeometry(rng.randint(1, 9), stride, pads, dilation, mode)
        L = rng.randint(1, 30)
        if g.length_at_end(L):
            return g, L


def along_time(dtype: torch.dtype) -> None:
    """The bits of one process; halos have the size that the definition gives, both ways."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mesh, rng = mesh_of(ranks), random.Random(ranks)
    for seed in range(60 if dtype is torch.float32 else 12):
        g, L = random_geometry(rng)
        groups = rng.choice([1, 2, 4])
        torch.manual_seed(seed)
        shapes = (2, 4, L), (8, 4 // groups, g.kernel_size), (8,)
        x, w, b = (torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes)

        def layer(
            x: Tensor, w: Tensor, b: Tensor, g: Conv1dGeometry = g, groups: int = groups
        ) -> Tensor:
            mode = g.padding_mode
            return ft.conv1d(x, w, b, g.stride, g.padding, g.dilation, groups, padding_mode=mode)

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
        assert torch.equal(got.full_tensor(), want), (g, L)
        with torch.no_grad(), traffic() as sent:
            assert torch.equal(layer(cut, w, b).full_tensor(), want), (g, L)
        assert sent.bytes == frame * sum(n for ends, n in between.items() if ends[0] == rank)

        gy = torch.randn_like(want)
        of_want = torch.autograd.grad(want, (x, w, b), gy)
        with traffic() as sent:
            (gx,) = torch.autograd.grad(got, cut, distribute_tensor(gy, mesh, [Shard(2)]))
        assert sent.bytes == frame * sum(n for ends, n in between.items() if ends[1] == rank)
        # Half precision is rounded before it is added up at a seam.
        close = {} if dtype.itemsize != 2 else dict(rtol=0.05, atol=0.25)
        torch.testing.assert_close(gx.full_tensor(), of_want[0], **close)
        if not between and g.padding_mode == "zeros":  # nothing is added up between the ranks
            assert torch.equal(gx.full_tensor(), of_want[0]), (g, L)
        again = torch.autograd.grad(
            layer(cut, w, b), (cut, w, b), distribute_tensor(gy, mesh, [Shard(2)])
        )
        assert torch.equal(again[0].full_tensor(), gx.full_tensor())
        torch.testing.assert_close(list(again[1:]), list(of_want[1:]), **close)


def where_no_sum_is_split() -> None:
    """Gradients of frames that no other rank needs have the bits of one process."""
    ranks = dist.get_world_size()
    torch.manual_seed(3)
    x, w = torch.randn(2, 4, 24).requires_grad_(), torch.randn(3, 4, 4)
    (of_want,) = torch.autograd.grad(ft.conv1d(x, w, None, 2, 1).square().sum(), x)
    cut = distribute_tensor(x.detach(), mesh_of(ranks), [Shard(2)]).requires_grad_()
    (of_got,) = torch.autograd.grad(ft.conv1d(cut, w, None, 2, 1).square().sum(), cut)
    differs = (of_got.full_tensor() != of_want).any(0).any(0)
    size = 24 // ranks
    seams = {t for r in range(1, ranks) for t in (r * size - 1, r * size)}
    assert set(differs.nonzero().flatten().tolist()) <= seams
    assert sum(messages(Conv1dGeometry(4, 2, 1), 24, ranks).values()) == 2 * (ranks - 1)


def nothing_but_padding() -> None:
    """Samples that no frame reaches, and a weight of NaN, which does not reach them either."""
    mesh = mesh_of(dist.get_world_size())
    for stride, dilation, padding in ((1, 1, 9), (2, 1, 9), (1, 3, (0, 20)), (3, 2, (20, 0))):
        x = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(1))
        w, b = torch.full((2, 2, 3), torch.nan, requires_grad=True), torch.ones(2)
        want = ft.conv1d(x, w, b, stride, padding, dilation)
        assert 0 < want.isnan().sum() < want.numel() - 2 * dist.get_world_size()
        cut = distribute_tensor(x, mesh, [Shard(2)])
        got = ft.conv1d(cut, w, b, stride, padding, dilation)
        torch.testing.assert_close(got.full_tensor(), want, rtol=0, atol=0, equal_nan=True)
        gy = torch.ones_like(want)
        (of_want,) = torch.autograd.grad(want, w, gy)
        (of_got,) = torch.autograd.grad(got, w, distribute_tensor(gy, mesh, [Shard(2)]))
        torch.testing.assert_close(of_got, of_want)
        with torch.no_grad():
            got = ft.conv1d(cut, w, b, stride, padding, dilation)
        torch.testing.assert_close(got.full_tensor(), want, rtol=0, atol=0, equal_nan=True)


def of_a_module() -> None:
    """From packed weights, which are kept; never stale; NaN stays where its taps are."""
    mesh = mesh_of(dist.get_world_size())
    torch.manual_seed(0)
    layer = ft.Conv1d(4, 6, 8, 4, 2)
    x = torch.randn(1, 4, 48)
    x[0, 0, 21] = torch.nan
    cut = distribute_tensor(x, mesh, [Shard(2)])
    with torch.no_grad():
        for _ in range(3):
            got = layer(cut).full_tensor()
            torch.testing.assert_close(got, layer(x), rtol=0, atol=0, equal_nan=True)
            layer.weight.mul_(1.5)
    assert got.isnan().any(1).sum() == 2  # a frame has two taps of stride 4
    of_channels = distribute_tensor(x, mesh, [Shard(1)])
    whole = layer(of_channels).full_tensor()
    torch.testing.assert_close(whole, layer(x), equal_nan=True)


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
            ordinary_weights,
            where_no_sum_is_split,
            nothing_but_padding,
            of_a_module,
        )
    },
}


SIZES = (2, 3)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return launch(__file__, (*SIZES, 4), tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_as_one_process(name: str, seen: list[dict[str, Any]]) -> None:
    check(seen, name)


def test_two_dimensions(worlds: Any) -> None:
    check(worlds[4], "two dimensions")


if __name__ == "__main__":
    take_part(lambda size: {"two dimensions": two_dimensions} if size == 4 else SCENARIOS)
