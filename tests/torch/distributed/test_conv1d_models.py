"""Models with strided Conv1d layers, cut by the styles, on two and three ranks.

What the styles share is tested in ``test_models.py``.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from cut_models import (
    Residual,
    column_and_row,
    cut_along_time,
    groups_and_depthwise,
    line,
    piece,
    signal,
    whole,
)
from ranks import check, load_the_compiler, take_part
from torch import nn
from torch.distributed.tensor.parallel import parallelize_module

import fracstride.torch as ft
from fracstride.torch.distributed import ColwiseConv1d, RowwiseConv1d, TimeParallel, traffic


def codec(norm: Callable[[Any], Any] = lambda layer: layer) -> nn.Module:
    """Strides down, then up: an encoder of 8 samples to a frame, and its decoder."""
    return nn.Sequential(
        nn.Conv1d(4, 6, 7, padding=3, padding_mode="reflect"),
        nn.ELU(),
        Residual(6, norm),
        norm(nn.Conv1d(6, 8, 8, stride=4, padding=2)),
        nn.ELU(),
        norm(ft.Conv1d(8, 10, 4, stride=2, padding="causal", padding_mode="circular")),
        nn.ELU(),
        nn.Conv1d(10, 8, 3, stride=1, padding=5, dilation=2),
        norm(nn.ConvTranspose1d(8, 6, 4, stride=2, padding=1)),
        nn.ELU(),
        norm(nn.ConvTranspose1d(6, 4, 8, stride=4, padding=2)),
        nn.Tanh(),
    )


def bits_of_an_encoder_and_decoder() -> None:
    """In float32, on this library's layers; only what seams need is exchanged."""
    torch.manual_seed(5)
    stack = nn.Sequential(
        ft.Conv1d(4, 8, 8, 4, 2), nn.LeakyReLU(0.1), ft.ConvTranspose1d(8, 4, 8, 4, 2)
    )
    x = signal(4, 24 * dist.get_world_size(), torch.float32)
    want = stack(x)
    many = parallelize_module(copy.deepcopy(stack), line(), TimeParallel())
    with traffic() as sent:
        got = many(piece(x))
    assert torch.equal(got, piece(want))
    seams = (dist.get_rank() > 0) + (dist.get_rank() < dist.get_world_size() - 1)
    assert sent.messages == 2 * seams
    assert sent.bytes == seams * 2 * (2 * 4 + 8) * 4  # two samples, and one frame
    torchs = nn.Sequential(nn.Conv1d(4, 8, 8, 4, 2), *copy.deepcopy(stack[1:]))
    torchs[0].load_state_dict(stack[0].state_dict())
    many = parallelize_module(torchs, line(), TimeParallel())
    for _ in range(2):
        with torch.no_grad():
            assert torch.equal(many(piece(x)), piece(stack(x)))
            for layers in (stack, many):
                layers[0].weight.mul_(1.5)  # the packed weight is not that of the last call
    many = parallelize_module(stack[0], line(), TimeParallel())
    assert torch.equal(
        many(piece(x)), piece(ft.conv1d(x, whole(many.weight), whole(many.bias), 4, 2))
    )


def compiled() -> None:
    """Channels are part of the graph; before a layer that is cut along time the graph ends."""
    warnings.simplefilter("ignore")  # of the compiler
    torch.manual_seed(5)
    pair = nn.Sequential(ft.Conv1d(6, 8, 5, 2, 2), nn.LeakyReLU(0.1), ft.Conv1d(8, 3, 3, 1, 1))
    x = signal(6, dtype=torch.float32)
    want = pair(x)
    styles = {"0": ColwiseConv1d(), "2": RowwiseConv1d()}
    many = parallelize_module(copy.deepcopy(pair), line(), styles)
    torch.testing.assert_close(torch.compile(many, backend="aot_eager")(x), want)
    time = parallelize_module(copy.deepcopy(pair), line(), TimeParallel())
    torch.testing.assert_close(torch.compile(time, backend="aot_eager")(piece(x)), piece(want))


def what_cannot_be_cut_along_channels() -> None:
    ranks = dist.get_world_size()
    for style, module, error, named in (
        (ColwiseConv1d(), nn.ConvTranspose1d(4, 4, 3), TypeError, "Conv1d, got ConvTranspose1d"),
        (ColwiseConv1d(), nn.Conv1d(4, ranks - 1, 3), ValueError, "out_channels must leave none"),
        (RowwiseConv1d(), nn.Conv1d(ranks - 1, 4, 3), ValueError, "in_channels must leave none"),
    ):
        with pytest.raises(error, match=named):
            parallelize_module(module, line(), style)


SCENARIOS: dict[str, Callable[[], Any]] = {
    "codec": functools.partial(cut_along_time, codec, "plain", 96),
    "codec, weight_norm, 29 samples": functools.partial(cut_along_time, codec, "weight_norm", 29),
    "codec, five samples": functools.partial(cut_along_time, codec, "plain", 5),
    "channels": functools.partial(column_and_row, nn.Conv1d, ColwiseConv1d, RowwiseConv1d),
    "groups": functools.partial(groups_and_depthwise, ft.Conv1d, ColwiseConv1d, RowwiseConv1d),
    **{
        f.__name__: f
        for f in (
            bits_of_an_encoder_and_decoder,
            compiled,
            what_cannot_be_cut_along_channels,
        )
    },
}


SIZES = (2, 3)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_as_one_process(name: str, seen: list[dict[str, Any]]) -> None:
    check(seen, name)


if __name__ == "__main__":
    load_the_compiler()
    take_part(lambda size: SCENARIOS)
