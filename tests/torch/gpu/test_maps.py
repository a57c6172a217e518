"""The Triton kernels against the definition: compiled where a GPU is, interpreted elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from cases import Case, batched, cases, check_maps, random_case, wide
from gpu_maps import DEVICE, Maps, array, tensor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fracstride import reference
from fracstride.extension import PADDING_MODES
from fracstride.geometry import Geometry
from fracstride.torch import kernels
from fracstride.torch.gpu import launch, maps
from fracstride.torch.gpu.capture import recorded
from fracstride.torch.gpu.choices import Choice
from fracstride.torch.gpu.tiles import Direct, Tile

# A tenth of what the compiled kernels get: an interpreted case takes a second.
EXAMPLES = max(1, int(os.environ.get("FRACSTRIDE_TEST_EXAMPLES", "300")) // 10)
CHOICES: list[Choice | None] = [
    Tile(16, 16, 16),
    Tile(64, 128, 32),
    Tile(32, 32, 64),
    Tile(32, 64, 16, parts=3),
    Direct(64),
    Direct(1024),
    None,
]


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def _work(case: Case) -> float:
    """About how many steps the interpreter takes."""
    per_group = (case.in_channels // case.groups) * (case.out_channels // case.groups)
    samples = (case.batch or 1) * case.length * case.geometry.kernel_size
    return case.groups * per_group * samples


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(case=cases(), choice=st.sampled_from(CHOICES))
def test_against_reference(case: Case, choice: Choice | None) -> None:
    if DEVICE == "cpu":  # the interpreter's time goes by programs
        few = case.in_channels * case.out_channels <= 32 * case.groups**2
        if _work(case) > 1e6 or (case.length > 100 and not few):
            return
        if not few and (choice == Tile(16, 16, 16) or _direct(choice)):
            choice = Tile(64, 128, 32)
    check_maps(case, Maps(choice))


def _direct(choice: Choice | None) -> bool:
    return isinstance(choice, Direct)


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize(
    "choice",
    [Tile(16, 16, 16), Tile(16, 32, 16, parts=2), Direct(128)],
    ids=["dense", "in parts", "direct"],
)
@pytest.mark.parametrize(
    ("k", "s", "d"),
    [(1, 1, 1), (2, 5, 1), (4, 2, 1), (11, 5, 1), (5, 2, 3), (3, 4, 6), (8, 8, 1), (7, 1, 4)],
)
def test_every_kind_of_phase(k: int, s: int, d: int, choice: Choice, mode: str) -> None:
    """Several classes, phases that no tap reaches, samples that none does, extensions."""
    rng = np.random.default_rng(0)
    for length, batch in ((1, 1), (9, 2)):
        span = d * (k - 1) + 1
        left, right = span // 2, min(span // 3, max(0, (length - 1) * s + span // 2 - 1))
        case = random_case(rng, mode, np.dtype(np.float32))
        vars(case).update(
            geometry=Geometry(k, s, (left, right), min(1, max(s, d) - 1), d, mode),
            batch=batch,
            groups=2,
            in_channels=2,
            out_channels=4,
            length=length,
            layout="contiguous",
            bias=True,
        )
        case.__post_init__()
        check_maps(case, Maps(choice))


@pytest.mark.parametrize("mode", PADDING_MODES[1:])
@pytest.mark.parametrize(
    "choice",
    [Tile(16, 16, 16), Tile(16, 16, 16, parts=2), Direct(16)],
    ids=["dense", "in parts", "direct"],
)
@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_wide_extensions(length: int, choice: Choice, mode: str) -> None:
    """More extended frames than a program sums at a time, and many copies of one frame."""
    rng = np.random.default_rng(0)
    geometry = Geometry(11, 1, (25, 20), dilation=5, padding_mode=mode)
    w, gy = rng.standard_normal((2, 2, 11)), rng.standard_normal((1, 2, length + 5))
    got = maps.input_grad(
        tensor(gy.astype(np.float32)), tensor(w.astype(np.float32)), length, geometry, 1, choice
    )
    wanted = reference.conv_transpose1d_input_grad(gy, w, length, geometry, 1)
    np.testing.assert_allclose(array(got), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_each_map_is_one_launch(mode: str) -> None:
    """The input's gradient folds its extended frames in its own kernel."""
    geometry = Geometry(4, 2, 1, padding_mode=mode)
    x, w, gy = (torch.empty(s, device="meta") for s in ((1, 8, 99), (8, 8, 4), (1, 8, 198)))
    for choice in (Tile(16, 16, 16), Direct(64)):
        with recorded() as launches:
            maps.forward(x, w, None, geometry, 1, choice)
            maps.input_grad(gy, w, 99, geometry, 1, choice)
        assert len(launches) == 2


@pytest.mark.parametrize(
    "choice",
    [Tile(16, 16, 16), Tile(16, 16, 16, parts=2), Direct(64)],
    ids=["dense", "in parts", "direct"],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter is NumPy
@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("mode", "batch", "length"),
    # Of one tile, and of tiles of which each has one end at most.
    [("reflect", 2, 9), ("circular", 1, 9), ("zeros", 2, 9), ("zeros", 1, 45)],
)
def test_what_does_not_exist_is_not_multiplied(
    mode: str, batch: int, length: int, poison: float, choice: Choice
) -> None:
    """NaN and infinity go where the definition says, and nowhere else."""
    rng = np.random.default_rng(0)
    geometry, groups = Geometry(9, 2, (3, 1), 0, 1, mode), 1
    b = np.float32(rng.standard_normal(2))
    clean = {
        "x": rng.standard_normal((batch, 5, length)),
        "w": rng.standard_normal((5, 2, 9)),
        "gy": rng.standard_normal((batch, 2, geometry.output_length(length))),
    }
    for spoilt in clean:
        wide = {name: operand.copy() for name, operand in clean.items()}
        wide[spoilt][..., 0, -1] = poison
        wide[spoilt][0, 0, 0] = -poison
        given = {name: tensor(operand.astype(np.float32)) for name, operand in wide.items()}
        pairs = []
        with np.errstate(invalid="ignore"):
            if spoilt != "gy":
                wanted = reference.conv_transpose1d(
                    wide["x"], wide["w"], b.astype(float), geometry, groups
                )
                got = maps.forward(given["x"], given["w"], tensor(b), geometry, groups, choice)
                pairs.append((got, wanted))
            if spoilt != "x":
                wanted = reference.conv_transpose1d_input_grad(
                    wide["gy"], wide["w"], length, geometry, groups
                )
                got = maps.input_grad(given["gy"], given["w"], length, geometry, groups, choice)
                pairs.append((got, wanted))
            if spoilt != "w":
                wanted = reference.conv_transpose1d_weight_grad(
                    wide["x"], wide["gy"], geometry, groups
                )
                got = maps.weight_grad(given["x"], given["gy"], geometry, groups, choice)
                pairs.append((got, wanted))
        for mine, exact in pairs:
            np.testing.assert_allclose(array(mine), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("choice", [Tile(16, 32, 16), Direct(128)], ids=["dense", "direct"])
def test_strides_of_every_kind(choice: Choice) -> None:
    """Expanded, sliced and channels-last operands are read where they lie."""
    torch.manual_seed(0)
    geometry = Geometry(4, 2, 1, padding_mode="reflect")
    x, w = torch.randn(2, 6, 9, device=DEVICE), torch.randn(6, 2, 4, device=DEVICE)
    gy = torch.ones((), device=DEVICE).expand(2, 4, 18)  # what sum() gives back
    for laid in (x, x.mT.contiguous().mT, torch.stack([x, x], -1)[..., 1], x[:1].expand(2, 6, 9)):
        for a, b in (
            (
                maps.forward(laid, w, None, geometry, 2, choice),
                maps.forward(laid.contiguous(), w, None, geometry, 2, choice),
            ),
            (
                maps.weight_grad(laid, gy, geometry, 2, choice),
                maps.weight_grad(laid.contiguous(), gy.contiguous(), geometry, 2, choice),
            ),
        ):
            assert torch.equal(a, b)
    turned = w.transpose(0, 1).contiguous().transpose(0, 1)
    got = maps.input_grad(gy, turned, 9, geometry, 2, choice)
    assert torch.equal(got, maps.input_grad(gy.contiguous(), w, 9, geometry, 2, choice))


@pytest.mark.parametrize("choice", [Tile(16, 16, 16), Direct(64)], ids=["dense", "direct"])
def test_64_bit_places(choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits with wide indices."""
    rng = np.random.default_rng(1)
    checked = 0
    while checked < len(PADDING_MODES):
        case = random_case(rng, PADDING_MODES[checked], np.dtype(np.float32))
        if not 1e3 < _work(case) < 6e3 or not case.batch:
            continue
        checked += 1
        results = []
        for is_wide in (False, True):
            monkeypatch.setattr(launch, "_needs_64_bits", lambda *_, wide=is_wide: wide)
            faces, options = Maps(choice), case.options
            results.append(
                (
                    faces.conv_transpose1d(case.x, case.w, case.b, **options),
                    faces.conv_transpose1d_input_grad(case.gy, case.w, case.length, **options),
                    faces.conv_transpose1d_weight_grad(case.x, case.gy, case.w.shape[2], **options),
                )
            )
        for narrow, broad in zip(*results, strict=True):
            np.testing.assert_array_equal(narrow, broad)


@pytest.mark.skipif(DEVICE == "cpu", reason="more than 2**31 numbers want a GPU")
@pytest.mark.parametrize("choice", [Tile(16, 128, 16), Direct(1024)], ids=["dense", "direct"])
def test_more_numbers_than_32_bits_count(choice: Choice) -> None:
    """Of an operand, and of samples of one channel."""
    geometry = Geometry(4, 2, 1)
    x = torch.zeros(1, 8, 2**28 + 8, dtype=torch.float16, device=DEVICE)
    x[0, -1, -1] = 1
    w = torch.ones(8, 1, 4, dtype=torch.float16, device=DEVICE)
    assert maps.forward(x, w, None, geometry, 1, choice)[0, 0, -4:].tolist() == [0, 1, 1, 1]
    x = torch.zeros(1, 1, 2**30 + 8, dtype=torch.float16, device=DEVICE)
    x[0, 0, -1] = 1
    y = maps.forward(x, w[:1], None, geometry, 1, choice)
    assert y.shape[2] > 2**31
    assert y[0, 0, -4:].tolist() == [0, 1, 1, 1]
    assert maps.input_grad(y, w[:1], x.shape[2], geometry, 1, choice)[0, 0, -2:].tolist() == [
        1,
        3,
    ]
    assert maps.weight_grad(x, y, geometry, 1, choice).flatten().tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(
    "choice", [Tile(16, 16, 16, parts=4), Direct(256)], ids=["dense", "direct"]
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_the_same_bits_from_run_to_run(dtype: torch.dtype, choice: Choice) -> None:
    """Also of a sum that is cut into parts."""
    torch.manual_seed(0)
    geometry = Geometry(8, 4, 2)
    x, w = torch.randn(2, 2, 80), torch.randn(2, 2, 8)
    gy = torch.randn(2, 2, 320)
    x, w, gy = (t.to(DEVICE, dtype) for t in (x, w, gy))

    def results() -> list[torch.Tensor]:
        return [
            maps.forward(x, w, None, geometry, 1, choice),
            maps.input_grad(gy, w, 80, geometry, 1, choice),
            maps.weight_grad(x, gy, geometry, 1, choice),
        ]

    first = results()
    for _ in range(1 if DEVICE == "cpu" else 10):
        assert all(torch.equal(a, b) for a, b in zip(first, results(), strict=True))


def test_parts_of_a_sum() -> None:
    """A long sum is cut, and is the sum, of uneven parts and with parts of nothing."""
    torch.manual_seed(0)
    geometry = Geometry(3, 1, 1, padding_mode="circular")
    x, w, b, gy = (torch.randn(s) for s in ((2, 20, 40), (20, 17, 3), 17, (2, 17, 40)))
    wide = [t.double() for t in (x, w, b, gy)]
    here = [t.to(DEVICE) for t in (x, w, b, gy)]

    def close(got: torch.Tensor, wanted: torch.Tensor) -> None:
        torch.testing.assert_close(got.cpu().double(), wanted, rtol=1e-5, atol=1e-4)

    for parts in (2, 3, 9):
        choice = Tile(32, 64, 16, parts=parts)
        close(maps.forward(*here[:3], geometry, 1, choice), kernels.forward(*wide[:3], geometry, 1))
        close(
            maps.input_grad(here[3], here[1], 40, geometry, 1, choice),
            kernels.input_grad(wide[3], wide[1], 40, geometry, 1),
        )
        close(
            maps.weight_grad(here[0], here[3], geometry, 1, choice),
            kernels.weight_grad(wide[0], wide[3], geometry, 1),
        )
    x, gy = torch.randn(2, 2, 700), torch.randn(2, 3, 700)
    wanted = kernels.weight_grad(x.double(), gy.double(), geometry, 1)
    close(maps.weight_grad(x.to(DEVICE), gy.to(DEVICE), geometry, 1, Direct(512)), wanted)


def test_of_nothing() -> None:
    geometry = Geometry(4, 2, 1)
    x, w = torch.randn(0, 3, 5, device=DEVICE), torch.randn(3, 2, 4, device=DEVICE)
    assert maps.forward(x, w, None, geometry, 1).shape == (0, 2, 10)
    gy = torch.randn(0, 2, 10, device=DEVICE)
    assert maps.input_grad(gy, w, 5, geometry, 1).shape == (0, 3, 5)
    assert maps.weight_grad(x, gy, geometry, 1).eq(0).all()


@pytest.mark.parametrize("choice", [Tile(16, 16, 16), Direct(64)], ids=["dense", "direct"])
def test_frames_that_nothing_hears(choice: Choice) -> None:
    """All taps fall into the padding: samples hold the bias, gradients are zero."""
    geometry = Geometry(2, stride=6, padding=(3, 0), output_padding=5)
    x, w, b, gy = (torch.randn(s, device=DEVICE) for s in ((2, 2, 1), (2, 3, 2), 3, (2, 3, 4)))
    y = maps.forward(x, w, b, geometry, 1, choice)
    assert torch.equal(y, b[:, None].expand(2, 3, 4))
    assert maps.input_grad(gy, w, 1, geometry, 1, choice).eq(0).all()
    assert maps.weight_grad(x, gy, geometry, 1, choice).eq(0).all()


def test_errors_name_what_is_wrong() -> None:
    x, w = torch.randn(1, 3, 5, device=DEVICE), torch.randn(4, 2, 4, device=DEVICE)
    with pytest.raises(RuntimeError, match="input must have the shape"):
        maps.forward(x, w, None, Geometry(4), 1)


def test_a_poisoned_result_is_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample is written, into memory of any contents."""

    def poisoned(self: torch.Tensor, *size: Any, **options: Any) -> torch.Tensor:
        return new_empty(self, *size, **options).fill_(float("nan"))

    new_empty = torch.Tensor.new_empty

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    rng = np.random.default_rng(5)
    checked = 0
    while checked < 12:
        case = random_case(rng, dtype=np.dtype(np.float32))
        if _work(case) > 3e4 or not case.batch:
            continue
        check_maps(case, Maps([Tile(16, 16, 16), Direct(64)][checked % 2]))
        checked += 1


def test_reference_is_what_it_says() -> None:
    """The reference itself, against torch in float64."""
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((1, 2, 5)), rng.standard_normal((2, 3, 4))
    y = torch.nn.functional.conv_transpose1d(torch.from_numpy(x), torch.from_numpy(w), stride=2)
    got = reference.conv_transpose1d(batched(wide(x)), w, None, Geometry(4, 2), 1)
    np.testing.assert_allclose(got, y.numpy(), rtol=1e-12)
