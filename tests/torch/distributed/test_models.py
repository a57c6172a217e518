"""Models cut by the styles, on two and four ranks, against one process."""

from __future__ import annotations

import copy
import functools
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from cut_models import (
    NORMS,
    Block,
    L,
    Residual,
    column_and_row,
    cut_along_time,
    groups_and_depthwise,
    line,
    piece,
    same_gradients,
    seeded,
    signal,
)
from ranks import check, load_the_compiler, take_part
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard
from torch.distributed.tensor.parallel import parallelize_module
from torch.nn import functional as tf
from torch.nn.utils import parametrizations, spectral_norm

import fracstride.torch as ft
from fracstride.torch.distributed import (
    ColwiseConvTranspose1d,
    RowwiseConvTranspose1d,
    TimeParallel,
    traffic,
)
from fracstride.torch.distributed.halo import shard_bounds

# --- time ---------------------------------------------------------------------------------------


def vocoder(norm: Callable[[Any], Any] = lambda layer: layer) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(4, 8, 7, padding=3),
        norm(nn.ConvTranspose1d(8, 6, 16, stride=8, padding=4)),
        Residual(6, norm),
        nn.PReLU(6),
        norm(ft.ConvTranspose1d(6, 4, 5, 2, "same", padding_mode="circular")),
        nn.GELU(),
        nn.Conv1d(4, 2, 5, padding=2, groups=2, bias=False),
        nn.Tanh(),
    )


def bits_of_one_process() -> None:
    """A stack of this library's layers, in float32; only what seams need is exchanged."""
    torch.manual_seed(5)
    stack = nn.Sequential(
        ft.ConvTranspose1d(4, 8, 16, 8, 4), nn.LeakyReLU(0.1), ft.ConvTranspose1d(8, 2, 4, 2, 1)
    )
    x = signal(4, 6 * dist.get_world_size(), torch.float32)
    want = stack(x)
    many = parallelize_module(stack, line(), TimeParallel())
    with traffic() as sent:
        got = many(piece(x))
    assert torch.equal(got, piece(want))
    seams = (dist.get_rank() > 0) + (dist.get_rank() < dist.get_world_size() - 1)
    assert sent.messages == 2 * seams  # one frame to either side, for each layer
    assert sent.bytes == seams * 2 * (4 + 8) * 4


def what_comes_and_goes() -> None:
    """Tensors without batch, DTensors, several arguments, several outputs."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = ft.ConvTranspose1d(2, 2, 4, 2, 1)

        def forward(self, x: Tensor, speaker: Tensor, scale: float) -> Any:
            y = self.up(x + speaker)
            return y, {"mean": y.sum()}, scale

    torch.manual_seed(5)
    one = Two()
    x, speaker = signal(2, dtype=torch.float32), torch.ones(2, 1)
    want, want_mean = one(x, speaker, 2.0)[0], one(x, speaker, 2.0)[1]["mean"]
    many = parallelize_module(copy.deepcopy(one), line(), TimeParallel())
    got, extra, scale = many(piece(x), speaker, 2.0)
    assert torch.equal(got, piece(want))
    torch.testing.assert_close(extra["mean"], want_mean)
    assert scale == 2.0
    assert torch.equal(many(piece(x[0]), speaker, 2.0)[0], piece(want[0]))
    given = DTensor.from_local(x, line(), [Replicate()])
    assert torch.equal(many(given, speaker, 2.0)[0], piece(want))
    style = TimeParallel(use_local_output=False)
    y = parallelize_module(copy.deepcopy(one), line(), style)(piece(x), speaker, 2.0)[0]
    assert y.placements == (Shard(2),)
    assert torch.equal(y.full_tensor(), want)


def compiled() -> None:
    """Channels are part of the graph; before a layer that is cut along time the graph ends."""
    torch.manual_seed(5)
    block = Block()
    x = signal(6, dtype=torch.float32)
    warnings.simplefilter("ignore")  # of the compiler
    styles = {name: style() for name, style in PAIR.items()}
    many = parallelize_module(copy.deepcopy(block), line(), styles)
    torch.testing.assert_close(torch.compile(many, backend="aot_eager")(x), block(x))
    time = parallelize_module(copy.deepcopy(block), line(), TimeParallel())
    for _ in range(2):
        got = torch.compile(time, backend="aot_eager")(piece(x))
        torch.testing.assert_close(got, piece(ft.accelerate(block)(x)))
        got = torch.compile(time, backend="aot_eager")(piece(x[0]))
        torch.testing.assert_close(got, piece(ft.accelerate(block)(x[0])))


def pieces_of_nothing() -> None:
    """Every rank raises the same error, whichever is wrong, and works afterwards."""
    many = parallelize_module(seeded(vocoder), line(), TimeParallel())
    mine = piece(signal(4))
    first = dist.get_rank() == 0
    for wrong, named in (
        (torch.cat([mine, mine], 2) if first else mine, "frames in pieces of"),
        (mine[:, :3] if first else mine, r"alike but for their length.*rank 1: \(2, 4, "),
        (mine.float() if first else mine, "alike .*float32"),
        (mine.clone().requires_grad_(first), "alike .*with gradient"),
        (mine[0] if first else mine, "as many dimensions"),
        (None if first else mine, "as many dimensions.*no tensor"),
        (mine.long() if first else mine, "no tensor of floating point"),
    ):
        with pytest.raises(ValueError, match=named):
            many(wrong)
    with pytest.raises(RuntimeError, match="input must have"):  # all of them are wrong alike
        many(mine[:, :3])
    many(mine)


class Own(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def what_cannot_be_cut_along_time() -> None:
    for module, named in (
        (nn.Sequential(nn.AvgPool1d(2)), r"0 \(AvgPool1d\) cannot be cut along time; .* Conv1d, "),
        (nn.Sequential(nn.Tanh(), nn.GroupNorm(1, 2)), r"1 \(GroupNorm\) cannot be cut"),
        (nn.Dropout(), r"the module itself \(Dropout\) .*: in training mode;"),
        (nn.Upsample(scale_factor=2), "Upsample"),
        (nn.Conv2d(1, 1, 1), "Conv2d"),
    ):
        with pytest.raises(TypeError, match=named):
            parallelize_module(module, line(), TimeParallel())
    parallelize_module(nn.Dropout().eval(), line(), TimeParallel())
    parallelize_module(nn.Softmax(1), line(), TimeParallel(elementwise=(nn.Softmax,)))

    with pytest.raises(TypeError, match=r"\(Own\) .*: its forward is not that of torch's Conv1d;"):
        parallelize_module(Own(1, 1, 3), line(), TimeParallel())


def other_modules() -> None:
    """Tied weights stay tied, activations may work in place, BatchNorm stays in eval mode."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (nn.ConvTranspose1d(4, 4, 4, 2, 1) for _ in range(2))
            self.b.weight = self.a.weight
            self.between = nn.Sequential(
                nn.SiLU(), nn.LeakyReLU(0.1, inplace=True), nn.BatchNorm1d(4)
            )

        def forward(self, x: Tensor) -> Any:
            return self.b(self.between(self.a(x)))

    one = ft.accelerate(seeded(Tied).eval())
    many = parallelize_module(seeded(Tied).eval(), line(), TimeParallel())
    assert many.a.weight is many.b.weight
    x, calls = signal(4), []
    many.between[0].register_forward_hook(lambda *_: calls.append(1))
    want, got = one(x), many(piece(x))
    torch.testing.assert_close(got, piece(want))
    assert calls == [1]
    want.square().sum().backward()
    got.square().sum().backward()
    same_gradients(one, many)
    many.train()
    with pytest.raises(RuntimeError, match="BatchNorm1d must be in eval mode"):
        many(piece(x))
    stateless = nn.BatchNorm1d(4, track_running_stats=False).eval()
    with pytest.raises(TypeError, match="BatchNorm1d"):
        parallelize_module(stateless, line(), TimeParallel())


def torchs_own_convolutions() -> None:
    """torch's functional convolutions are refused: they would be wrong without an error."""

    class Filters(nn.Module):
        def __init__(self, function: Any, k: int) -> None:
            super().__init__()
            self.function, self.w = function, nn.Parameter(torch.ones(2, 2, k))

        def forward(self, x: Tensor) -> Any:
            return self.function(x, self.w)

    x = signal(2, dtype=torch.float32)
    for function, k in ((tf.conv1d, 3), (tf.conv_transpose1d, 3), (tf.conv1d, 1)):
        many = parallelize_module(Filters(function, k), line(), TimeParallel())
        with pytest.raises(NotImplementedError, match="would be wrong: use fracstride"):
            many(piece(x))
    many = parallelize_module(Filters(ft.conv_transpose1d, 3), line(), TimeParallel())
    assert torch.equal(many(piece(x)), piece(ft.conv_transpose1d(x, torch.ones(2, 2, 3))))


# --- channels -----------------------------------------------------------------------------------


PAIR = {"up": ColwiseConvTranspose1d, "out": RowwiseConvTranspose1d}


def pieces_that_differ() -> None:
    """Time and batch in pieces of other lengths go into a layer whose channels are cut."""
    one = seeded(Block).up
    for dim in (2, 0):
        x = signal(6, 5)[: None if dim else 2]
        if dim == 0 and dist.get_world_size() > 2:
            continue
        x = torch.cat([x, x[:1]], 0) if dim == 0 else x
        style = ColwiseConvTranspose1d(input_layouts=Shard(dim), output_layouts=Replicate())
        many = parallelize_module(copy.deepcopy(one), line(), style)
        torch.testing.assert_close(many(piece(x, dim)), one(x))


def with_autocast() -> None:
    stack = nn.Sequential(ft.ConvTranspose1d(4, 4, 4, 2, 1), ft.ConvTranspose1d(4, 2, 4, 2, 1))
    x = signal(4, dtype=torch.float32)
    for p in stack.parameters():
        dist.broadcast(p.data, 0)
    many = parallelize_module(copy.deepcopy(stack), line(), TimeParallel())
    with torch.autocast("cpu", torch.bfloat16):
        want, got = stack(x), many(piece(x))
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, piece(want))


def layouts() -> None:
    """Without batch; DTensors out; a reduce-scatter along time."""
    one = seeded(Block)
    x = signal(6)
    want = one(x)
    many = parallelize_module(
        copy.deepcopy(one),
        line(),
        {"up": ColwiseConvTranspose1d(), "out": RowwiseConvTranspose1d(output_layouts=Shard(-1))},
    )
    torch.testing.assert_close(many(x), piece(want))
    torch.testing.assert_close(many(x[0]), piece(want[0]))
    for layout in (Shard(1), Shard(-2)):
        style = ColwiseConvTranspose1d(output_layouts=layout, use_local_output=False)
        up = parallelize_module(copy.deepcopy(one.up), line(), style)
        y = up(x, output_size=4 * L + 1)
        assert isinstance(y, DTensor)
        assert y.placements == (Shard(1),)
        torch.testing.assert_close(y.full_tensor(), one.up(x, output_size=[4 * L + 1]))
        row = parallelize_module(
            copy.deepcopy(one.out), line(), RowwiseConvTranspose1d(input_layouts=layout)
        )
        torch.testing.assert_close(row(piece(one.up(x), 1)), one.out(one.up(x)))


def what_cannot_be_cut_along_channels() -> None:
    ranks = dist.get_world_size()
    layer = functools.partial(nn.ConvTranspose1d, kernel_size=3)
    for style, module, error, named in (
        (ColwiseConvTranspose1d(), nn.Linear(4, 4), TypeError, "for ConvTranspose1d, got Linear"),
        (ColwiseConvTranspose1d(), layer(4, ranks - 1), ValueError, "out_channels must leave none"),
        (RowwiseConvTranspose1d(), layer(ranks - 1, 4), ValueError, "in_channels must leave none"),
        (RowwiseConvTranspose1d(), layer(3, 3, groups=3), ValueError, "groups must be a multiple"),
        (
            ColwiseConvTranspose1d(),
            parametrizations.weight_norm(layer(4, 4)),
            ValueError,
            "weight is a parameter",
        ),
        (ColwiseConvTranspose1d(), spectral_norm(layer(4, 4)), ValueError, "weight is a parameter"),
    ):
        with pytest.raises(error, match=named):
            parallelize_module(module, line(), style)
    row = parallelize_module(layer(2 * ranks, 4), line(), RowwiseConvTranspose1d())
    with pytest.raises(RuntimeError, match=r"\(B, 2, L\).* share of .* channels"):
        row(torch.ones(1, 2 * ranks, 5))
    with pytest.raises(TypeError, match="input must be a tensor"):
        row(None)
    row(torch.ones(1, 2, 5))


# --- meshes -------------------------------------------------------------------------------------


def wrong_meshes() -> None:
    ranks = dist.get_world_size()
    plane = init_device_mesh("cpu", (1, ranks), mesh_dim_names=("data", "time"))
    nobody = DeviceMesh("cpu", [ranks - 1])
    reverse = DeviceMesh("cpu", list(range(ranks))[::-1])
    for style, make in (
        (TimeParallel(), vocoder),
        (ColwiseConvTranspose1d(), lambda: nn.ConvTranspose1d(4, 4, 3)),
        (RowwiseConvTranspose1d(), lambda: nn.ConvTranspose1d(4, 4, 3)),
    ):
        with pytest.raises(ValueError, match=r"one dimension, got 2 .*data.*time"):
            parallelize_module(make(), plane, style)
        with pytest.raises(TypeError, match="device_mesh must be a DeviceMesh"):
            style._apply(make(), None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="ascending order"):
            parallelize_module(make(), reverse, style)
        if dist.get_rank() < ranks - 1:
            with pytest.raises(ValueError, match="this rank must be one of"):
                parallelize_module(make(), nobody, style)
    one = ft.accelerate(seeded(vocoder))
    x = signal(4)
    many = parallelize_module(copy.deepcopy(one), plane["time"], TimeParallel())
    torch.testing.assert_close(many(piece(x)), piece(one(x)))


def data_and_time() -> None:
    """A mesh of two dimensions: FSDP2 over one of them, time over the other."""
    if dist.get_world_size() < 4:
        return
    plane = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "time"))
    data, time = (plane.get_local_rank(name) for name in ("data", "time"))
    one = ft.accelerate(seeded(vocoder))
    many = parallelize_module(copy.deepcopy(one), plane["time"], TimeParallel())
    fully_shard(many, mesh=plane["data"])
    warnings.filterwarnings("ignore", ".*returned a view tensor", UserWarning)  # as to_local does
    x = signal(4)
    first, stop = shard_bounds(L, 2, time)
    got = many(x[data : data + 1, :, first:stop].contiguous())
    want = one(x)
    first, stop = shard_bounds(want.shape[2], 2, time)
    torch.testing.assert_close(got, want[data : data + 1, :, first:stop])
    (want.square().sum() / 2).backward()  # FSDP takes the mean over the data
    got.square().sum().backward()
    same_gradients(one, many)


SCENARIOS: dict[str, Callable[[], Any]] = {
    **{f"time, {norm}": functools.partial(cut_along_time, vocoder, norm) for norm in NORMS},
    "channels": functools.partial(column_and_row, nn.ConvTranspose1d, *PAIR.values()),
    "groups": functools.partial(groups_and_depthwise, ft.ConvTranspose1d, *PAIR.values()),
    "time, two frames": functools.partial(cut_along_time, vocoder, "plain", 2),
    **{
        f.__name__: f
        for f in (
            bits_of_one_process,
            what_comes_and_goes,
            compiled,
            pieces_of_nothing,
            what_cannot_be_cut_along_time,
            other_modules,
            torchs_own_convolutions,
            layouts,
            pieces_that_differ,
            with_autocast,
            what_cannot_be_cut_along_channels,
            wrong_meshes,
            data_and_time,
        )
    },
}


SIZES = (2, 4)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_as_one_process(name: str, seen: list[dict[str, Any]]) -> None:
    check(seen, name)


def test_styles_say_what_they_are() -> None:
    shown = repr(ColwiseConvTranspose1d(use_local_output=False))
    assert shown.startswith("ColwiseConvTranspose1d(input_layouts=Replicate()")
    assert pickle.loads(pickle.dumps(TimeParallel())).input_layouts == (Shard(-1),)
    layouts: tuple[Placement, ...] = (Shard(-1), Replicate())
    assert TimeParallel(input_layouts=layouts).input_layouts == layouts


if __name__ == "__main__":
    load_the_compiler()
    take_part(lambda size: SCENARIOS)
