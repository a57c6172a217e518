"""The layers that the benchmarks time: the lists, their sizes, and what is drawn at random."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
BENCHMARKS = str(Path(__file__).resolve().parent.parent / "benchmarks")
sys.path.insert(0, BENCHMARKS)
import draws  # noqa: E402
import layers  # noqa: E402

sys.path.remove(BENCHMARKS)

LISTED = layers.load()
DRAWN = draws.draw(60, seed=1)


def test_names_are_unique() -> None:
    assert max(Counter(layer.name for layer in LISTED).values()) == 1


def test_some_layers_by_name() -> None:
    chosen = layers.load(["mri_fir", "hifigan_up0"])
    assert [(n.name, n.kind, n.transposed) for n in chosen] == [
        ("hifigan_up0", "transposed convolutions", True),
        ("mri_fir", "Conv1d", False),
    ]


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no layer hifigan; there are hifigan_up0, "):
        layers.load(["mri_fir", "hifigan"])


@pytest.mark.parametrize("layer", [*LISTED, *DRAWN], ids=lambda layer: layer.name)
def test_sizes_are_torchs(layer: layers.Layer) -> None:
    x = torch.empty(layer.B, layer.C_in, layer.L, device="meta")
    weight, bias = (torch.empty(s, device="meta") for s in (layer.weight_shape, layer.C_out))
    function = getattr(torch.nn.functional, layer.function)
    assert function(x, weight, bias, *layer.sizes.values()).shape == layer.output_shape
    assert function(x, weight, bias, **layer.sizes).shape == layer.output_shape


@pytest.mark.parametrize("layer", [*LISTED, *DRAWN], ids=lambda layer: layer.name)
def test_products_are_counted(layer: layers.Layer) -> None:
    """Taps one by one: how many positions of the shorter signal meet the longer one."""
    lengths = (layer.L, layer.output_shape[2])
    shorter, longer = lengths if layer.transposed else lengths[::-1]
    met = 0
    for m in range(layer.k):
        positions = np.arange(shorter) * layer.s + m * layer.dilation - layer.p
        met += int(((positions >= 0) & (positions < longer)).sum())
    assert layer.products == layer.B * layer.C_in * layer.C_out // layer.groups * met


def test_bytes_count_a_shared_filter_once() -> None:
    shared = next(layer for layer in LISTED if layer.shared_filter)
    assert shared.bytes == 4 * (256 * 4000 + 12 + 256 * shared.output_shape[2])


def test_bytes_count_the_taps_that_meet_a_frame() -> None:
    step = next(layer for layer in LISTED if layer.name == "step_L1")  # k 7, padding 3, 1 frame
    assert step.bytes == 4 * (256 + 256 * 256 + 256)


def test_draws_of_every_kind() -> None:
    assert Counter(layer.kind for layer in DRAWN) == dict.fromkeys(draws.KINDS, 10)
    assert all(draws.LEAST <= layer.products <= draws.MOST for layer in DRAWN)
    assert Counter(layer.kind for layer in draws.draw(8, 0)).most_common(2) == [
        ("many short", 2),
        ("wide and few frames", 2),
    ]


def test_draws_depend_on_the_seed_only() -> None:
    assert draws.draw(60, seed=1) == DRAWN
    assert draws.draw(60, seed=2) != DRAWN
    assert set(draws.draw(18, seed=1)) < set(DRAWN)


def test_a_problem_has_right_and_wrong_outputs() -> None:
    layer = next(n for n in LISTED if n.name == "step_L8")
    problem = layers.Problem(layer)
    operands = (torch.from_numpy(a) for a in (problem.x, problem.weight, problem.bias))
    y = torch.nn.functional.conv1d(*operands, **layer.sizes).numpy()
    assert problem.error(y) <= layers.TOLERANCE
    assert problem.error(y * np.float32(1.001)) > layers.TOLERANCE
    assert problem.error(y.astype(np.float64)) == np.inf
    assert problem.error(y[..., :-1]) == np.inf
    y[0, 0, 0] = np.nan
    assert np.isnan(problem.error(y))
