"""The models that are timed: networks of transformers in full size, and parts of ONNX files.

``models.json`` lists them. The weights of an ONNX file are trained. Those of transformers' models
are drawn with a seed, and scaled. Random weights take as long as trained ones as long as signals
neither saturate a tanh nor become denormal. So each weight is scaled while an input passes through
the model, until the output of each layer has a root mean square of 1; the last layer's has less,
for the tanh behind it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float32]

LIST = Path(__file__).with_name("models.json")
LAYERS = nn.Conv1d, nn.ConvTranspose1d
LAST = 0.3  # root mean square of the last layer's output
BIAS, LOG_ALPHA = 0.05, 0.3  # standard deviations of biases, and of the logarithms of snake's
CALIBRATION = 24  # steps of the input with which weights are scaled

Shape: TypeAlias = tuple[int | str, ...]  # "T" stands for the frames


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model, and how much audio so many frames of its inputs are."""

    name: str
    frames_a_second: float
    rate: int
    step: int = 1  # lengths are multiples of so many frames
    dtypes: tuple[str, ...] = ("float32", "bfloat16")  # those in which it is of use

    def frames(self, seconds: float) -> int:
        """The length of an input of about so many seconds of audio."""
        return max(1, round(seconds * self.frames_a_second / self.step)) * self.step

    def examples(self, frames: int) -> list[Array]:
        """Inputs of so many frames, the same in every run."""
        raise NotImplementedError

    @property
    def imported(self) -> str:
        """The Python module that is imported to build it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class OnnxModel(Model):
    """The part of an ONNX file between some of its values and another one."""

    package: str  # its ``model_path()`` is the file
    inputs: dict[str, Shape]
    masks: tuple[str, ...] = ()  # inputs that are 1 at each frame of a sentence
    output: str

    def examples(self, frames: int) -> list[Array]:
        """Inputs of so many frames."""
        drawn = [_drawn(shape, frames) for shape in self.inputs.values()]
        pairs = zip(self.inputs, drawn, strict=True)
        return [np.ones_like(x) if name in self.masks else x for name, x in pairs]

    @property
    def imported(self) -> str:
        """The package."""
        return self.package

    @property
    def file(self) -> Path:
        """The whole model."""
        return Path(import_module(self.package).model_path())


@dataclass(frozen=True, kw_only=True)
class TorchModel(Model):
    """A model of transformers, or a part of one, with one input."""

    path: str  # of the class
    part: str = ""  # the submodule that is timed, or ""
    shape: Shape
    small: dict[str, int] = field(default_factory=dict)  # its configuration in a quick test

    @property
    def time(self) -> int:
        """The axis of time of the input."""
        return self.shape.index("T")

    def example(self, frames: int) -> Array:
        """An input of so many frames."""
        return _drawn(self.shape, frames)

    def examples(self, frames: int) -> list[Array]:
        """The same, in a list."""
        return [self.example(frames)]

    @property
    def imported(self) -> str:
        """The module of transformers with the class."""
        return self.path.rpartition(".")[0]

    def build(self, small: bool = False) -> nn.Module:
        """The module in eval mode, without weight norms; ``small``: with few channels."""
        import transformers

        transformers.logging.set_verbosity_error()
        kind = getattr(import_module(self.imported), self.path.rpartition(".")[2])
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            whole = kind(kind.config_class(**self.small if small else {}))
        module = (getattr(whole, self.part) if self.part else whole).eval().requires_grad_(False)
        for layer in module.modules():
            for name in list(getattr(layer, "parametrizations", ())):
                nn.utils.parametrize.remove_parametrizations(layer, name)
                layer._load_state_dict_pre_hooks.clear()  # weight_norm's, which cannot be pickled
        scale(module, torch.from_numpy(self.example(CALIBRATION * self.step)))
        return module


def load(names: Sequence[str] = ()) -> list[Model]:
    """The models of the list, or those of the given names.

    Raises ``ValueError`` for a name that is not in the list.
    """
    models = [_model(entry) for entry in json.loads(LIST.read_text())["models"]]
    known = [model.name for model in models]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no model {', '.join(unknown)}; there are {', '.join(known)}")
    return [model for model in models if not names or model.name in names]


def _model(entry: dict[str, Any]) -> Model:
    common = {key: entry[key] for key in ("name", "frames_a_second", "rate")}
    common.update({key: entry[key] for key in ("step",) if key in entry})
    common.update({key: tuple(entry[key]) for key in ("dtypes",) if key in entry})
    if "onnx" in entry:
        shapes = {name: tuple(shape) for name, shape in entry["inputs"].items()}
        masks = tuple(entry.get("masks", ()))
        return OnnxModel(
            package=entry["onnx"], inputs=shapes, masks=masks, output=entry["output"], **common
        )
    part, shape = entry.get("part", ""), tuple(entry["shape"])
    return TorchModel(path=entry["class"], part=part, shape=shape, small=entry["small"], **common)


def _drawn(shape: Shape, frames: int) -> Array:
    sizes = [frames if isinstance(size, str) else size for size in shape]
    return np.random.default_rng(frames).standard_normal(sizes, np.float32)


def scale(module: nn.Module, x: Tensor) -> None:
    """Scale the weights of all layers for signals as trained models have them; draw the biases."""
    layers = [layer for layer in module.modules() if isinstance(layer, LAYERS)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for name, values in module.named_parameters():
        if name.endswith(("alpha", "beta")):  # of snake: logarithms of it, or itself
            drawn = torch.randn_like(values) * LOG_ALPHA
            values.copy_(drawn.exp() if values.any() else drawn)
    last: list[Any] = []

    def unit(layer: Any, _: object, y: Tensor) -> Tensor:
        factor = y.square().mean().rsqrt()
        layer.weight.mul_(factor)
        last[:] = [layer]
        return y * factor

    hooks = [layer.register_forward_hook(unit) for layer in layers]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    for layer in layers:
        if layer.bias is not None:
            nn.init.normal_(layer.bias, std=BIAS)
    last[0].weight.mul_(LAST)
