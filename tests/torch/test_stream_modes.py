"""Streams of modules that are elementwise in eval mode only; results of no samples."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fracstride.torch
from fracstride.streaming import Chain, Identity, Pad, Pointwise, Sum

of = fracstride.torch.stream


class Block(nn.Module):
    """A user's own module, with a Dropout inside."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)


def layers() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Conv1d(4, 4, 3, padding=1), nn.ConvTranspose1d(4, 4, 4, 2, 1)]


def modes() -> list[nn.Module]:
    norm = nn.BatchNorm1d(4)
    norm.running_mean.uniform_(-1, 1)
    return [
        norm,
        nn.Dropout(),
        nn.AlphaDropout(),
        nn.Dropout1d(),
        nn.RReLU(),
        Block(nn.Dropout()),
        Block(nn.Sequential(nn.Tanh(), nn.BatchNorm1d(4))),
    ]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def compositions(mode: nn.Module) -> list[Any]:
    """Functions that make streams: the module at the beginning, in the middle, at the end."""

    def part(module: nn.Module) -> Any:
        return of(module, elementwise=(Block,))

    def chains(place: int) -> Any:
        modules = layers()
        modules.insert(place, mode)
        return lambda: part(nn.Sequential(*modules))

    conv, up = layers()
    return [
        *(chains(place) for place in range(3)),
        lambda: (
            Chain(part(conv), Sum(Identity(), Chain(part(up), part(mode))))
            if False
            else Chain(part(conv), Sum(Identity(), Chain(part(conv), part(mode))), part(up))
        ),
        lambda: Sum(part(conv), Chain(Pad(1, -1), part(mode))),
        lambda: Sum(Chain(part(mode), part(conv)), Identity()),
        lambda: Chain(part(conv), Pointwise(torch.tanh), Chain(Identity(), Chain(part(mode)))),
    ]


@pytest.mark.parametrize("index", range(7))
@pytest.mark.parametrize("place", range(7))
def test_training_mode_is_refused_before_anything_advances(index: int, place: int) -> None:
    mode = modes()[index].eval()
    make = compositions(mode)[place]
    x = torch.randn(1, 4, 12)
    stream, undisturbed = make(), make()
    with torch.no_grad():
        stream.push(x[..., :7])
        first = undisturbed.push(x[..., :7])
        statistics, state = copy.deepcopy(mode.state_dict()), stream.state()
        mode.train()
        everyone = torch.ones(1, dtype=torch.bool).numpy()
        for call in (
            lambda: stream.push(x),
            lambda: stream.push(x[..., :0]),
            lambda: stream.push(x, active=everyone),
            lambda: stream.finish(x),
            lambda: stream.finish(x, rows=everyone),
            stream.flush,
            lambda: stream.flush(rows=everyone),
        ):
            with pytest.raises(RuntimeError, match=r"eval mode only.* in training mode"):
                call()
            assert same(stream.state(), state)
            assert same(mode.state_dict(), statistics)
        mode.eval()
        rest = torch.cat([stream.push(x[..., 7:]), stream.flush()], -1)
        expected = torch.cat([undisturbed.push(x[..., 7:]), undisturbed.flush()], -1)
        assert torch.equal(rest, expected)
        assert torch.equal(torch.cat([first, rest], -1), stream.finish(x))
        mode.train()
        stream.reset()  # which pushes nothing
        mode.eval()
        assert torch.equal(torch.cat([first, rest], -1), stream.finish(x))


def test_a_lone_module() -> None:
    for mode in modes():
        stream = of(mode.eval(), elementwise=(Block,))
        x = torch.randn(1, 4, 5)
        stream.push(x)
        mode.train()
        for call in (lambda: stream.push(x), lambda: stream.finish(x), stream.flush):  # noqa: B023
            with pytest.raises(RuntimeError, match="in training mode"):
                call()
        with pytest.raises((TypeError, ValueError), match="in training mode"):
            of(mode, elementwise=(Block,))
        mode.eval()
        stream.push(x)


def test_a_module_in_training_mode_is_not_called() -> None:
    norm = nn.BatchNorm1d(4)
    before = copy.deepcopy(norm.state_dict())
    with pytest.raises(ValueError, match=r"1 \(Block\) .* in training mode"):
        of(nn.Sequential(layers()[0], Block(norm)), elementwise=(Block,))
    assert same(norm.state_dict(), before)


def test_statistics_that_went_away() -> None:
    norm = nn.BatchNorm1d(4).eval()
    stream = of(nn.Sequential(layers()[0], norm))
    stream.push(torch.randn(1, 4, 5))
    state = stream.state()
    norm.running_mean = norm.running_var = None
    with pytest.raises(RuntimeError, match="without running statistics"):
        stream.push(torch.randn(1, 4, 5))
    assert same(stream.state(), state)


def test_other_modules_may_be_trained() -> None:
    """Modules that are the same in both modes stream in training mode, with gradients."""
    net = nn.Sequential(*layers(), nn.PReLU(4), nn.GELU()).train()
    x = torch.randn(1, 4, 5)
    torch.testing.assert_close(of(net).finish(x), net(x))


@pytest.mark.parametrize(
    ("module", "batch_size", "shape", "dtype"),
    [
        (nn.Tanh(), 1, (0, 0, 0), torch.float32),
        (nn.Tanh(), None, (0, 0), torch.float32),
        (nn.PReLU(3).double(), 1, (0, 3, 0), torch.float64),
        (nn.BatchNorm1d(3).half().eval(), None, (3, 0), torch.float16),
        (nn.Sequential(), 1, (0, 0, 0), torch.float32),
        (nn.Sequential(nn.Tanh(), nn.PReLU(3).double()), None, (3, 0), torch.float64),
        (nn.Sequential(nn.PReLU(3).double(), nn.Tanh()), 1, (0, 3, 0), torch.float64),
        (nn.Sequential(nn.PReLU(4).double(), nn.GLU(-2)), 1, (0, 2, 0), torch.float64),
        (nn.ReflectionPad1d(2), 2, (2, 0, 0), torch.float32),
        (nn.ReflectionPad1d(2), None, (0, 0), torch.float32),
        (nn.Sequential(nn.PReLU(3), nn.ZeroPad1d(2)), 2, (2, 3, 0), torch.float32),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(4, 3, 1)), 2, (2, 3, 0), None),
        (nn.ConvTranspose1d(4, 3, 1), None, (3, 0), torch.float32),
    ],
    ids=str,
)
def test_no_samples_are_a_tensor(
    module: nn.Module, batch_size: int | None, shape: Any, dtype: Any
) -> None:
    stream = of(module, batch_size)
    for again in range(2):
        rest = stream.flush()
        assert isinstance(rest, Tensor)
        assert tuple(rest.shape) == shape
        assert rest.dtype == (dtype or torch.float32)
        if again:
            break
        stream.reset()
        stream.restore(stream.state())


def test_another_batch_after_a_flush() -> None:
    stream = of(nn.Sequential(nn.Tanh(), nn.SiLU()))
    for batch in (1, 4):
        x = torch.randn(batch, 2, 3, dtype=torch.float64)
        pieces = [stream.push(x), stream.flush()]
        assert torch.cat(pieces, -1).shape == x.shape
        assert pieces[1].dtype == torch.float64
    assert stream.flush().dtype == torch.float64


# --- Chunks and weights of another dtype, modules that write into their input --------------------


@pytest.mark.parametrize("head", [nn.Tanh(), nn.ReflectionPad1d(1), nn.Upsample(scale_factor=2)])
def test_a_refused_chunk_changes_nothing(head: nn.Module) -> None:
    module = nn.Sequential(head, nn.Conv1d(2, 2, 3, padding=1))
    x = torch.randn(1, 2, 9)
    stream, undisturbed = (fracstride.torch.stream(module) for _ in range(2))
    for wrong in (x.double(), torch.zeros(5, 2, 4), torch.zeros(1, 3, 4), torch.zeros(2, 4)):
        with pytest.raises(RuntimeError, match="must"):
            stream.push(wrong)
        assert torch.equal(stream.push(x), undisturbed.push(x))
        with pytest.raises(RuntimeError, match="must"):
            stream.push(wrong)
        assert torch.equal(stream.flush(), undisturbed.flush())


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_an_old_norm_whose_module_changed_its_dtype(norm: Any) -> None:
    def make() -> Any:
        torch.manual_seed(0)
        return fracstride.torch.stream(norm(nn.Conv1d(2, 2, 3, padding=1)).double().eval())

    x = torch.randn(1, 2, 9, dtype=torch.float64)
    assert make().flush().dtype == torch.float64
    assert make().state()["frames"].dtype == torch.float64
    stream, moved = make(), make()
    stream.push(x)
    moved.restore(stream.state())
    assert torch.equal(moved.finish(x), stream.finish(x))


@pytest.mark.parametrize("kind", [nn.ReLU, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Hardtanh, nn.Dropout])
def test_modules_in_place_do_not_write_into_the_chunk(kind: Any) -> None:
    activation = kind(inplace=True).eval()
    x = torch.randn(1, 1, 128) * 3
    before = x.clone()
    for part in (activation, nn.Sequential(nn.Identity(), activation)):
        stream = Sum(Identity(), fracstride.torch.stream(part))
        whole = stream.push(x)
        assert torch.equal(x, before)
        one_by_one = torch.cat([stream.push(x[..., t : t + 1]) for t in range(128)], -1)
        assert torch.equal(whole, one_by_one)
        torch.testing.assert_close(whole, before + activation(before.clone()))


def test_arguments_that_are_none() -> None:
    for wrong, error in ((0, ValueError), (-1, ValueError), ("a", TypeError), (True, TypeError)):
        for module in (nn.Tanh(), nn.Conv1d(1, 1, 1), nn.Sequential()):
            with pytest.raises(error, match=r"^batch_size must be a positive int, got"):
                fracstride.torch.stream(module, wrong)  # type: ignore[arg-type]
    for classes in (3, ("Dup",), nn.Tanh()):
        with pytest.raises(TypeError, match=r"^elementwise must be a tuple of classes"):
            fracstride.torch.stream(nn.Tanh(), elementwise=classes)  # type: ignore[arg-type]
