"""The padding modes of the Triton kernels against those of :mod:`fracstride.extension`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from gpu_maps import DEVICE

from fracstride.extension import PADDING_MODES
from fracstride.extension import source_frame as source_frame_of
from fracstride.torch.gpu.extension import add_copies, copies_within, source_frame


@triton.jit
def _sources(sources, first, L, MODE: tl.constexpr, COUNT: tl.constexpr):
    place = tl.arange(0, COUNT)
    tl.store(sources + place, source_frame(first + place, L, MODE))


def sources_of(first: int, L: int, mode: str) -> list[int]:
    """Sources of 64 frames."""
    sources = torch.empty(64, dtype=torch.int32, device=DEVICE)
    _sources[(1,)](sources, first, L, mode, 64)
    return sources.tolist()


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("L", [1, 2, 3, 4, 5, 31, 2**30 + 80, 2**31 - 100])
def test_sources_are_those_of_python(mode: str, L: int) -> None:
    """Frames of any distance, in 32 bits; the kernels mask frames that ``zeros`` do not have."""
    for first in (-(2**31) + 1, -(2**30), -1000, -32, L - 32, 2**31 - 64):
        wanted = [source_frame_of(t, L, mode) for t in range(first, first + 64)]
        if mode == "zeros":
            wanted = [*range(first, first + 64)]
        assert sources_of(first, L, mode) == wanted


def test_unknown_modes_are_not_compiled() -> None:
    with pytest.raises(Exception, match="unknown padding mode"):
        sources_of(0, 4, "mirror")


@triton.jit
def _fold(sums, folded, first, L, LEFT: tl.constexpr, EXTENDED: tl.constexpr, MODE: tl.constexpr):
    place = first + tl.arange(0, 4)
    known = place < L
    acc = tl.zeros((1, 4), tl.float32)
    for start in range(0, EXTENDED, 16):
        t, inside, some = copies_within(
            start, place, known, L, LEFT, EXTENDED, 16, MODE, WIDE=False
        )
        if some:
            values = tl.load(sums + (t + LEFT)[None, :], mask=inside[None, :], other=float("nan"))
            values = tl.where(inside[None, :], values, 0.0)
            acc = add_copies(acc, values, start, place, known, L, LEFT, EXTENDED, 16, MODE)
    tl.store(folded + place[None, :], acc, mask=known[None, :])


@pytest.mark.parametrize("mode", PADDING_MODES[1:])
@pytest.mark.parametrize(("left", "right"), [(1, 0), (0, 3), (3, 2), (16, 1), (20, 20)])
@pytest.mark.parametrize("L", [1, 2, 3, 7, 9])
def test_extended_frames_are_added_to_what_they_copy(
    L: int, left: int, right: int, mode: str
) -> None:
    """By programs of four frames each: powers of two, of which no two sums are the same."""
    sums = torch.zeros(left + L + right, device=DEVICE)
    wanted = [0.0] * L
    for number, t in enumerate([*range(-left, 0), *range(L, L + right)]):
        sums[t + left] = float(number + 1) ** 2
        wanted[source_frame_of(t, L, mode) or 0] += float(number + 1) ** 2
    folded = torch.full((L,), -1.0, device=DEVICE)
    for first in range(0, L, 4):
        _fold[(1,)](sums, folded, first, L, left, left + right, mode)
    assert folded.tolist() == wanted


def test_kernels_can_be_copied_into_one_module() -> None:
    """As torch.compile does: a kernel and its helpers, by name, with nothing else of ours."""
    from fracstride.torch.gpu import direct, launch

    kernels = [
        launch.dense_forward,
        launch.dense_input_grad,
        launch.dense_weight_grad,
        launch.sum_parts_kernel,
        *(getattr(direct, name) for name in direct.__all__),
    ]
    for kernel in kernels:
        names: dict[str, Any] = {kernel.fn.__name__: kernel}
        pending = [kernel]
        while pending:
            fn = pending.pop().fn
            for name in fn.__code__.co_names:
                symbol = fn.__globals__.get(name)
                if symbol is None or symbol is tl:
                    continue
                assert symbol.fn.__name__ == name, "a helper under another name"
                assert names.setdefault(name, symbol) is symbol, "two helpers of one name"
                pending.append(symbol)
