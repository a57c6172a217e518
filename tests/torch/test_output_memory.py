"""Large results lie in memory that is kept when they are freed, and are tensors as any others."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import fracstride.torch as ft
from fracstride._load import native

LARGE = native.large_output


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    gc.collect()
    native.release_outputs()
    yield
    gc.collect()
    native.release_outputs()


def layer_of(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return ft.ConvTranspose1d(2, 64, 4, 2, dtype=dtype).eval().requires_grad_(False)


def frames_for(bytes: int) -> Tensor:
    """An input from which the layer makes as many bytes, or a few more."""
    return torch.randn(1, 2, bytes // (64 * 2 * 4) + 1)


def test_a_block_is_used_again() -> None:
    layer, x = layer_of(), frames_for(LARGE)
    y = layer(x)
    want, address = y.clone(), y.data_ptr()
    in_use, waiting = native.output_memory()
    assert y.nbytes <= in_use <= y.nbytes * 1.125 + 4096
    assert waiting == 0
    del y
    assert native.output_memory() == (0, in_use)
    y = layer(x[..., 1:])  # of another length
    assert y.data_ptr() == address
    other = layer(x)  # while the block is in use
    assert other.data_ptr() != address
    assert torch.equal(other, want)


def test_a_view_keeps_the_block() -> None:
    layer, x = layer_of(), frames_for(LARGE)
    y = layer(x)
    want, view = y[0, 3].clone(), y[0, 3]
    array = y.numpy()[0, 3]
    del y
    others = [layer(torch.zeros_like(x)) for _ in range(3)]
    assert torch.equal(view, want)
    del view
    others += [layer(torch.zeros_like(x)) for _ in range(3)]
    assert torch.equal(torch.from_numpy(array), want)


def test_small_results_are_torchs_own() -> None:
    layer_of()(frames_for(LARGE // 2))
    assert native.output_memory() == (0, 0)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64], ids=str
)
def test_bits_of_every_dtype(dtype: torch.dtype) -> None:
    layer, x = layer_of(dtype), frames_for(2 * LARGE).to(dtype)
    for guard in (torch.no_grad, torch.inference_mode):
        with guard():
            y = layer(x)
            assert y.is_inference() == (guard is torch.inference_mode)
        assert y.dtype == dtype
        assert y.is_contiguous()
        short = [layer(x[..., i : i + 50])[..., 2:-2] for i in range(0, 400, 50)]
        for i, piece in enumerate(short):
            assert torch.equal(y[..., 2 + i * 100 :][..., : piece.shape[-1]], piece)


def test_at_most_twice_what_was_in_use_at_once_waits() -> None:
    layer, most, held = layer_of(), 0, []
    torch.manual_seed(0)
    for i in range(60):
        held.append(layer(frames_for(LARGE + int(torch.randint(4 * LARGE, (1,))))))
        in_use, waiting = native.output_memory()
        most = max(most, in_use)
        assert waiting <= 2 * most
        if i % 7 == 6:
            held = held[1::2]
    held.clear()
    assert native.output_memory()[0] == 0
    native.release_outputs()
    assert native.output_memory() == (0, 0)


def test_a_model_whose_parts_have_several_sizes_finds_all_its_blocks() -> None:
    layer, inputs = layer_of(), [frames_for(n * LARGE) for n in (6, 6, 3, 1)]
    addresses = []
    for _ in range(4):
        y = z = torch.empty(0)
        places = []
        for x in inputs:
            y, z = layer(x), y  # two at a time
            places.append(y.data_ptr())
        del y, z
        addresses.append(set(places))
    assert set.union(*addresses[1:]) <= addresses[0] | addresses[1]


def test_what_waits_in_vain_goes() -> None:
    layer, x = layer_of(), frames_for(LARGE)
    layer(frames_for(16 * LARGE))
    assert native.output_memory()[1] >= 16 * LARGE
    for _ in range(600):
        layer(x)
    assert native.output_memory()[1] < 2 * LARGE


def test_is_a_tensor_as_any_other() -> None:
    layer, x = layer_of(), frames_for(LARGE)
    want = layer(x).clone()
    assert torch.equal(pickle.loads(pickle.dumps(layer(x))), want)
    assert torch.equal(copy.deepcopy(layer(x)), want)
    assert torch.equal(layer(x).share_memory_(), want)
    assert torch.equal(layer(x).add_(1).sub_(1), want.add(1).sub(1))
    y = layer(x)
    with torch.enable_grad():
        leaf = y.requires_grad_()
        leaf.square().sum().backward()
    assert torch.equal(leaf.grad, 2 * want)
    assert torch.equal(layer(x).resize_(1, 64, 8), want.view(-1)[: 64 * 8].view(1, 64, 8))


def test_freed_by_other_threads() -> None:
    layer, x = layer_of(), frames_for(LARGE)
    want, wrong = layer(x).clone(), []

    def work() -> None:
        for i in range(50):
            y = layer(x[..., i % 3 :]) if i % 2 else layer(x)
            if i % 2 == 0 and not torch.equal(y, want):
                wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert native.output_memory()[0] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_forked_child_has_its_own() -> None:
    layer, x = layer_of(), frames_for(LARGE)
    y = layer(x)
    want, waiting = y.clone(), layer(x)
    del waiting
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_in_child, args=(layer, x, y, want))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert torch.equal(y, want)
    assert torch.equal(layer(x), want)


def _in_child(layer: Any, x: Tensor, y: Tensor, want: Tensor) -> None:
    torch.set_num_threads(1)
    other = layer(x)
    assert torch.equal(other, want)
    y.zero_()  # of the child's copy
    del y, other
    assert torch.equal(layer(x), want)


def test_with_derivatives_the_result_is_torchs_own() -> None:
    """Its storage can be resized, as tools that save memory in training do."""
    layer = layer_of().requires_grad_(True)
    y = layer(frames_for(LARGE))
    assert y.requires_grad
    assert y.untyped_storage().resizable()


@pytest.mark.parametrize("batch", [2**40, 2**61, pow(15, -1, 2**64) * (2**20 + 11) % 2**64])
def test_more_than_there_is(batch: int) -> None:
    """The last batch times what a row has is little, if it is counted with 64 bits."""
    layer = ft.ConvTranspose1d(1, 3, 5).eval().requires_grad_(False)
    with pytest.raises(RuntimeError):
        layer(torch.zeros(1, 1, 1).expand(batch, 1, 1))
