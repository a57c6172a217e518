"""Training on two processes, against one process with the whole batch.

Each process runs every scenario once; the tests compare.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import check, take_part
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations

import fracstride.torch as ft

RANKS, BATCH, STEPS = 2, 4, 2
SIZES = (RANKS,)
FULL = StateDictOptions(full_state_dict=True)

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="needs torch with gloo"
)


def ours() -> nn.Module:
    """Modes, groups, paddings that torch lacks; 3, 8, 6 and 1 channels, shared out by two."""
    return nn.Sequential(
        ft.ConvTranspose1d(3, 8, 8, stride=4, padding="same", padding_mode="reflect"),
        nn.LeakyReLU(0.1),
        ft.ConvTranspose1d(8, 6, 5, stride=2, padding=(1, 2), groups=2, padding_mode="circular"),
        nn.LeakyReLU(0.1),
        ft.ConvTranspose1d(6, 1, 7, padding="causal", bias=False),
        ft.ConvTranspose1d(1, 2, 4, stride=2, padding=1, padding_mode="replicate"),
        ft.Conv1d(2, 3, 5, stride=2, padding="causal", padding_mode="reflect"),
        ft.Conv1d(3, 2, 3, padding=1, dilation=2),
    )


def torchs() -> nn.Module:
    """A model with torch's layers, for ``accelerate``."""
    return nn.Sequential(
        nn.ConvTranspose1d(3, 8, 8, stride=4, padding=2),
        nn.LeakyReLU(0.1),
        parametrizations.weight_norm(nn.ConvTranspose1d(8, 6, 4, stride=2, padding=1, groups=2)),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(6, 2, 7, padding=3, dilation=2),
    )


def accelerated() -> nn.Module:
    model = ft.accelerate(torchs())
    assert sum(isinstance(m, ft.ConvTranspose1d) for m in model.modules()) == 3
    return model


def ddp(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model)


def fsdp(model: nn.Module) -> nn.Module:
    """Each layer a unit: its parameters are gathered for a call, and freed after it."""
    mesh = init_device_mesh("cpu", (RANKS,))
    for layer in model.children():
        if isinstance(layer, nn.ConvTranspose1d):
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    return fully_shard(model, mesh=mesh, reshard_after_forward=True)


def fsdp_as_one(model: nn.Module) -> nn.Module:
    """The defaults: all parameters one unit, which stays gathered until the backward."""
    return fully_shard(model, mesh=init_device_mesh("cpu", (RANKS,)))


def restored(model: nn.Module) -> nn.Module:
    assert any(isinstance(m, ft.ConvTranspose1d) for m in model.modules())
    ft.restore(model)
    assert not any(isinstance(m, ft.ConvTranspose1d) for m in model.modules())
    assert any(isinstance(m, nn.ConvTranspose1d) and isinstance(m, FSDPModule) for m in model)  # type: ignore[attr-defined]
    return model


# The model, how it is distributed, and the one-process model that it must equal.
SCENARIOS: dict[str, tuple[Callable[[], nn.Module], Callable[..., nn.Module], str]] = {
    "ddp": (ours, ddp, "ours"),
    "fsdp": (ours, fsdp, "ours"),
    "fsdp-as-one": (ours, fsdp_as_one, "ours"),
    "ddp-accelerated": (accelerated, ddp, "torchs"),
    "fsdp-accelerated": (accelerated, fsdp, "torchs"),
    "fsdp-accelerated-late": (torchs, lambda model: ft.accelerate(fsdp(model)), "torchs"),
    "fsdp-restored": (accelerated, lambda model: restored(fsdp(model)), "torchs"),
    "fsdp-late-restored": (torchs, lambda model: restored(ft.accelerate(fsdp(model))), "torchs"),
}


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(5)
    return make().double()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(BATCH, 3, 9, generator=generator, dtype=torch.float64)
    return x, torch.randn(BATCH, 2, 200, generator=generator, dtype=torch.float64)


def whole(tensor: Tensor) -> Tensor:
    """A copy of a whole parameter or gradient as one plain tensor."""
    tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return tensor.detach().clone()


def train(model: nn.Module, mine: slice, inference: bool = True) -> dict[str, Tensor]:
    """Two steps on some of the batch, with all of it through the model between everything.

    Without ``inference`` these calls are as those in training: nothing is kept from one to another.
    """
    seen: dict[str, Tensor] = {}
    x, target = batch()

    def infer(when: str, mode: Callable[[], Any] = torch.no_grad) -> None:
        with mode() if inference else torch.enable_grad():
            seen[f"output {when}"] = model(x).detach().clone()
            assert torch.equal(model(x), seen[f"output {when}"])  # from packed weights
        if isinstance(model, FSDPModule):
            model.reshard()  # or its next call has the old parameters, whatever the layers are

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    infer("at first")
    for step in range(STEPS):
        y = model(x[mine])
        (y - target[mine, :, : y.shape[2]]).square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            seen[f"gradient {step} {name.removeprefix('module.')}"] = whole(parameter.grad)
        infer(f"before step {step}")
        optimizer.step()
        optimizer.zero_grad()
        infer(f"after step {step}")
    infer("at last", torch.inference_mode)
    for name, value in get_model_state_dict(model, options=FULL).items():
        seen[f"parameter {name}"] = value.clone()
    return seen


def there_and_back(make: Callable[[], nn.Module], spread: Callable[..., nn.Module]) -> None:
    """A state_dict of the spread model fits one process's, and the other way round."""
    x, _ = batch()
    single, model = seeded(make), spread(seeded(make))
    ours = any(isinstance(m, ft.ConvTranspose1d) for m in model.modules())
    single = ft.accelerate(single) if ours else ft.restore(single)
    with torch.no_grad():
        before = model(x).clone()
        state = copy.deepcopy(get_model_state_dict(model, options=FULL))  # of DDP, its own tensors
        assert list(state) == list(single.state_dict())
        single.load_state_dict(state)
        assert torch.equal(single(x), before)
        for parameter in single.parameters():
            parameter.mul_(1.25)
        set_model_state_dict(model, single.state_dict(), options=FULL)
        after = model(x).clone()
        assert torch.equal(after, single(x))
        assert not torch.allclose(after, before)
        shards = copy.deepcopy(model.state_dict())
        set_model_state_dict(model, state, options=FULL)
        assert torch.equal(model(x), before)
        model.load_state_dict(shards)
        assert torch.equal(model(x), after)


def scenario(name: str) -> dict[str, Tensor]:
    make, spread, _ = SCENARIOS[name]
    share, rank = BATCH // RANKS, dist.get_rank()
    trained = train(spread(seeded(make)), slice(rank * share, (rank + 1) * share))
    there_and_back(make, spread)
    return trained


def halves(model: Callable[[], nn.Module], cast: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The mean of the gradients of two models, each with its half of the batch; in float32."""
    x, target = batch()
    gradients: dict[str, Tensor] = {}
    for half in (slice(0, BATCH // 2), slice(BATCH // 2, BATCH)):
        of_half = model()
        y = of_half(cast(x[half]))
        (y - cast(target[half, :, : y.shape[2]])).square().mean().backward()
        for name, parameter in of_half.named_parameters():
            assert parameter.grad is not None
            gradients[name] = gradients.get(name, torch.zeros(())) + parameter.grad.float() / 2
    return gradients


def mixed(kind: str) -> None:
    """Layers in bfloat16, gradients added up in float32: as two processes, so one."""
    rank, share = dist.get_rank(), BATCH // RANKS
    mine = slice(rank * share, (rank + 1) * share)
    x, target = (t[mine].float() for t in batch())
    if kind == "ddp":

        def model() -> nn.Module:
            return seeded(ours).float()

        many = ddp(model())
        with torch.autocast("cpu", torch.bfloat16):
            want = halves(model, lambda t: t.float())
            y = many(x)
            assert y.dtype == torch.bfloat16
            (y - target[:, :, : y.shape[2]]).square().mean().backward()
    else:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        want = halves(lambda: seeded(ours).bfloat16(), lambda t: t.bfloat16())
        many = seeded(ours).float()
        for layer in many:  # type: ignore[attr-defined]
            if isinstance(layer, nn.ConvTranspose1d):
                fully_shard(layer, mesh=init_device_mesh("cpu", (RANKS,)), mp_policy=policy)
        fully_shard(many, mesh=init_device_mesh("cpu", (RANKS,)), mp_policy=policy)
        y = many(x)
        assert y.dtype == torch.bfloat16
        (y - target.bfloat16()[:, :, : y.shape[2]]).square().mean().backward()
    for name, parameter in many.named_parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        got = whole(parameter.grad)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want[name.removeprefix("module.")], rtol=1e-5, atol=1e-7)
        assert got.abs().max() > 0


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, Tensor]]:
    """One process with the whole batch."""
    return {
        make.__name__: train(seeded(make), slice(BATCH), inference=False) for make in (ours, torchs)
    }


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_are_one(
    name: str, seen: list[dict[str, Any]], expected: dict[str, dict[str, Tensor]]
) -> None:
    want = expected[SCENARIOS[name][2]]
    for got in check(seen, name):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-13)
    assert not torch.allclose(want["output at first"], want["output at last"])  # it has learned


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_mixed_precision(kind: str, seen: list[dict[str, Any]]) -> None:
    check(seen, f"mixed {kind}")


if __name__ == "__main__":
    scenarios = {name: functools.partial(scenario, name) for name in SCENARIOS}
    scenarios |= {f"mixed {k}": functools.partial(mixed, k) for k in ("ddp", "fsdp")}
    take_part(lambda size: scenarios)
