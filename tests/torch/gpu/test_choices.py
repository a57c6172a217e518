"""Which kernel a product gets: the model, the measured table, the user's file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from fracstride.geometry import Geometry
from fracstride.torch import gpu
from fracstride.torch.gpu import choices, maps, tiles
from fracstride.torch.gpu.capture import recorded
from fracstride.torch.gpu.choices import Choice, Problem, choose
from fracstride.torch.gpu.shapes import Product, of_forward, of_input_grad, of_weight_grad
from fracstride.torch.gpu.tiles import Direct, Machine, Tile, best_tiles, parts_of

H100 = Machine()


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FRACSTRIDE_TUNE", raising=False)
    monkeypatch.setattr(choices, "MEASURED", tmp_path / "measured.json")
    choices.forget()
    yield
    choices.forget()


def problem(length: int = 800, channels: int = 64, groups: int = 1) -> Problem:
    geometry = Geometry(16, 8, 4)
    each = channels // groups
    product = of_forward(geometry, 1, each, each, geometry.output_length(length), groups)
    return Problem.of("T", product, geometry, (each, each), "half", 2)


def test_sizes_of_the_products() -> None:
    """Multiply-adds of a layer without padding are those of its definition."""
    geometry = Geometry(11, 5)
    length = geometry.output_length(7)
    assert of_input_grad(geometry, 2, 3, 4, 7, 6) == Product(3, 14, 44, 6)
    assert of_weight_grad(geometry, 2, 3, 4, 7, length, 6) == Product(3, 44, 14, 6)
    assert of_forward(geometry, 2, 3, 4, length, 6) == Product(20, 18, 9, 6)


def test_depthwise_layers_need_no_tensor_cores() -> None:
    assert isinstance(choose(problem(groups=64), H100), Direct)
    assert isinstance(choose(problem(), H100), Tile)


@pytest.mark.parametrize("kind", ["half", "tf32", "float32", "float64"])
@pytest.mark.parametrize("major", [8, 9, 10])
def test_every_machine_gets_tiles_that_fit(major: int, kind: str) -> None:
    size = {"half": 2, "float64": 8}.get(kind, 4)
    machine = Machine(multiprocessors=40, major=major, shared=100 * 1024)
    found = best_tiles(Product(512, 4000, 512), kind, size, machine)
    assert found
    for tile in found:
        needed = tile.stages * (tile.rows + tile.columns) * tile.terms * size
        assert needed <= machine.shared


def test_long_sums_of_few_results_are_cut() -> None:
    assert best_tiles(Product(64, 80, 80_000), "half", 2, H100)[0].parts > 1
    assert best_tiles(Product(4096, 16384, 512), "half", 2, H100)[0].parts == 1


def test_small_products_get_small_tiles() -> None:
    """Enough programs for all multiprocessors come before full tiles."""
    short, long = Product(256, 64, 512), Product(4096, 16384, 512)
    few = best_tiles(short, "half", 2, H100)[0]
    many = best_tiles(long, "half", 2, H100)[0]
    assert few.rows * few.columns < many.rows * many.columns


def test_parts_of_a_sum_fill_the_machine_and_are_not_tiny() -> None:
    tile = Tile(64, 64, 32)
    assert parts_of(tile, Product(4096, 4096, 10**6), H100) == 1
    assert parts_of(tile, Product(64, 64, 64), H100) == 1
    parts = parts_of(tile, Product(64, 64, 10**6), H100)
    assert 132 <= parts <= 10**6 // (4 * 32)


def test_lengths_share_buckets() -> None:
    """A vocoder meets new lengths at each utterance; a few buckets cover all of them."""
    buckets = {problem(length).bucket for length in range(1, 10_000)}
    assert len(buckets) == 14


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("channels", "groups", "k", "s"), [((256, 128), 1, 16, 8), ((64, 64), 64, 12, 2)]
)
def test_a_new_length_compiles_nothing(
    channels: tuple[int, int], groups: int, k: int, s: int, batch: int
) -> None:
    """A bucket has at most two kernels a map: of lengths that stores like, and of others."""
    geometry = Geometry(k, s, (k - s) // 2)
    kernels: dict[tuple[int, str], set[str]] = {}
    for length in range(1030, 2020, 15):
        x = torch.empty(batch, channels[0], length, device="meta")
        w = torch.empty(channels[0], channels[1] // groups, k, device="meta")
        gy = torch.empty(batch, channels[1], geometry.output_length(length), device="meta")
        with recorded() as launches:
            maps.forward(x, w, None, geometry, groups)
            maps.input_grad(gy, w, length, geometry, groups)
            maps.weight_grad(x, gy, geometry, groups)
        for place, call in enumerate(launches):
            kernels.setdefault((place, str(call.kernel)), set()).add(str(call.constants))
    assert len(kernels) <= 6
    assert all(len(constants) <= 2 for constants in kernels.values())


def test_an_anti_aliased_upsampler_is_one_launch() -> None:
    """BigVGAN's: no copy for the extension, none for the crop."""
    x = torch.empty(1, 256, 4000, device="meta")
    geometry = Geometry(12, 2, 5, padding_mode="replicate")
    with recorded() as launches:
        y = maps.forward(x, torch.empty(256, 1, 12, device="meta"), None, geometry, 256)
    assert y.shape == (1, 256, 8000)
    assert [call.kernel.fn.__name__ for call in launches] == ["direct_forward"]


def test_choosing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    choose(problem(777), H100)
    monkeypatch.setattr(choices, "candidates", None)
    for length in (513, 600, 999):
        assert isinstance(choose(problem(length), H100), Tile)


def test_the_measured_table_decides(tmp_path: Path) -> None:
    wanted = Tile(32, 32, 16, warps=2, stages=2)
    table = {"sm_90": {problem().bucket: choices.as_json(wanted), "other": "torch"}}
    (tmp_path / "measured.json").write_text(json.dumps(table))
    choices.forget()
    assert choose(problem(), H100) == wanted
    assert choose(problem(), Machine(major=8)) != wanted
    table["sm_90"][problem().bucket] = "torch"
    (tmp_path / "measured.json").write_text(json.dumps(table))
    choices.forget()
    assert choose(problem(), H100) == "torch"


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"sm_90": 3}', '{"sm_90": {"a": {"rows": 1}}}']
)
def test_a_broken_file_is_no_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "measured.json").write_text(content)
    choices.forget()
    assert isinstance(choose(problem(), H100), Tile)


def test_tuning_is_asked_for_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Choice] = []

    def measure(choice: Choice) -> float:
        measured.append(choice)
        return 1.0 if choice == best else 2.0

    best = choices.candidates(problem(), H100, choices.TRIED)[3]
    assert choose(problem(), H100, measure) != best
    assert not measured  # measuring is off by default
    monkeypatch.setenv("FRACSTRIDE_TUNE", "1")
    assert choose(problem(), H100, measure) == best
    assert len(measured) == len(set(measured)) == choices.TRIED + 1
    assert "torch" in measured
    assert choose(problem(700), H100, measure) == best  # the same bucket
    assert len(measured) == choices.TRIED + 1
    choices.forget()  # as another process would
    monkeypatch.delenv("FRACSTRIDE_TUNE")
    assert choose(problem(600), H100) == best
    monkeypatch.setenv("FRACSTRIDE_TUNE", "again")
    assert choose(problem(), H100, lambda choice: float("inf")) != best  # nothing runs: the model
    best = choices.candidates(problem(), H100, choices.TRIED)[5]
    assert choose(problem(), H100, measure) == best
    other = problem(channels=32)
    monkeypatch.setenv("FRACSTRIDE_TUNE", "1")
    best = "torch"
    assert choose(other, H100, measure) == "torch"
    choices.forget()
    assert choose(other, H100) == "torch"
    assert choose(problem(), H100) != "torch"


def test_tuning_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("FRACSTRIDE_TUNE", "1")
    assert choose(problem(), H100, lambda choice: float(choice != "torch")) == "torch"


def test_the_table_in_the_package_can_be_read() -> None:
    file = Path(choices.__file__).with_name("measured.json")
    for machine, table in json.loads(file.read_text()).items():
        assert machine.startswith("sm_")
        for entry in table.values():
            assert entry == "torch" or Tile(**entry) or Direct(**entry)


@pytest.mark.parametrize(
    ("triton", "capability", "wanted"),
    [
        ("3.6.0", (8, 0), True),
        ("3.10.1+git", (12, 0), True),
        ("3.2.0", (9, 0), False),
        ("3.9.0", (7, 5), False),
        (None, (9, 0), False),
        ("unknown", (9, 0), False),
    ],
)
def test_where_the_kernels_can_run(
    triton: str | None, capability: tuple[int, int], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if triton is None:
            raise PackageNotFoundError(name)
        return triton

    monkeypatch.setattr(gpu, "version", version)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    gpu._can_run.cache_clear()
    assert not gpu.available(torch.device("cuda", 3))  # nobody has asked for them
    gpu.use_triton()
    try:
        assert gpu.available(torch.device("cuda", 3)) == wanted
        assert not gpu.available(torch.device("cpu"))
        monkeypatch.setattr(torch.version, "cuda", None)  # an AMD GPU calls itself one too
        gpu._can_run.cache_clear()
        assert not gpu.available(torch.device("cuda", 3))
    finally:
        gpu.use_triton(False)
        gpu._can_run.cache_clear()


def test_triton_is_asked_for_in_the_environment() -> None:
    ask = "import fracstride.torch.gpu as gpu; print(gpu._enabled)"
    for value, wanted in ((None, "False"), ("0", "False"), ("1", "True")):
        environment = {k: v for k, v in os.environ.items() if k != "FRACSTRIDE_TRITON"}
        environment |= {} if value is None else {"FRACSTRIDE_TRITON": value}
        done = subprocess.run(
            [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [wanted]
    with pytest.raises(TypeError, match="enabled must be a bool, got 1"):
        gpu.use_triton(1)  # type: ignore[arg-type]


def test_candidates_are_told_apart() -> None:
    assert len(set(tiles.CANDIDATES)) == len(tiles.CANDIDATES)
