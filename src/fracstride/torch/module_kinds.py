"""What torch's modules are to this library: the one place that asks for a module's class.

:func:`classify` says it to all code that takes a model apart: streams
(:mod:`fracstride.torch.streaming`) and models that are cut along time
(:mod:`fracstride.torch.distributed.time_parallel`). (``accelerate`` asks another question: which
``ConvTranspose1d`` a model *is or calls*, subclasses with a ``forward`` of their own included.)

A module is known by the ``forward`` that it runs. A subclass of a torch module without a
``forward`` of its own, nor a ``__call__`` around it, has the kind of its base class. A subclass
with one of these has the kind ``CUSTOM``: nothing is known of it. (A subclass of a convolution has
then the kind ``OTHER``, which is refused.) Hooks are not looked at, nor is a ``forward`` that was
set on the object.

To teach the library a module of torch: an elementwise one goes into one of the two tuples below;
another one needs a :class:`Kind`, and an answer in both of the callers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from fracstride.conv1d_geometry import AnyGeometry
from fracstride.torch.module import Conv1d, ConvTranspose1d
from fracstride.torch.module_geometry import geometry_of_module

__all__ = [
    "ELEMENTWISE",
    "ELEMENTWISE_IN_EVAL",
    "Classification",
    "Kind",
    "check_eval",
    "children_of",
    "classify",
    "in_channels_of",
    "parts_only_in_eval",
    "runs_forward_of",
    "upsampling_of",
]

#: Each output value depends on the input value at its place, in training mode too.
ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
#: Elementwise in eval mode; in training mode they draw random numbers or average over time.
ELEMENTWISE_IN_EVAL: tuple[type[nn.Module], ...] = (
    nn.AlphaDropout,
    nn.BatchNorm1d,
    nn.Dropout,
    nn.Dropout1d,
    nn.FeatureAlphaDropout,
    nn.RReLU,
)
_PADS: dict[Any, str] = {
    nn.ReflectionPad1d: "reflect",
    nn.ReplicationPad1d: "replicate",
    nn.CircularPad1d: "circular",
    nn.ConstantPad1d: "zeros",  # ZeroPad1d is a subclass
}


class Kind(Enum):
    """What a module does along the axis of time."""

    TRANSPOSED = auto()
    """A ``ConvTranspose1d``, torch's or this library's."""
    CONV1D = auto()
    """A ``Conv1d``, torch's or this library's."""
    PAD = auto()
    """One of torch's pads of one dimension."""
    UPSAMPLE = auto()
    """An ``Upsample``, by a whole factor if nothing is refused."""
    ELEMENTWISE = auto()
    """Each output value depends on the input at its time only, and has its channel."""
    GATE = auto()
    """A ``GLU``: as elementwise, but with half the channels if its ``dim`` is theirs."""
    SEQUENTIAL = auto()
    """An ``nn.Sequential``, with torch's ``forward``: its parts one after the other."""
    CONTAINER = auto()
    """It holds others and has no ``forward``: ``ModuleList``, ``ModuleDict``, a name space."""
    OTHER = auto()
    """Another module of ``torch.nn`` (a norm, an RNN), or a subclass of one of its convolutions."""
    CUSTOM = auto()
    """A ``forward`` that is not torch's: only its author knows what it does."""


@dataclass(frozen=True)
class Classification:
    """The answer of :func:`classify`.

    Attributes:
        kind: what the module does along time.
        refusal: why this module, as it is now, cannot be computed piece by piece although others of
            its kind can; empty if it can. Its stride, its factor, training mode and the like. What
            one caller alone lacks is not in it: a stream refuses the padding mode ``circular`` by
            itself, of convolutions and pads alike.
        declared: whether the user named its class as elementwise.
        geometry: the sizes of a convolution that is not refused.
        padding_mode: that of a pad, as :mod:`fracstride.extension` names them.
    """

    kind: Kind
    refusal: str = ""
    declared: bool = False
    geometry: AnyGeometry | None = None
    padding_mode: str = ""

    @property
    def elementwise(self) -> bool:
        """Whether it is elementwise as it is now, by what torch's classes say."""
        return self.kind is Kind.ELEMENTWISE and not self.refusal


def classify(module: nn.Module, elementwise: tuple[type[nn.Module], ...] = ()) -> Classification:
    """The kind of a module, and why it cannot be computed piece by piece, if it cannot.

    ``elementwise`` are classes that the user declares to be elementwise. A declaration does not
    change the kind.

    >>> found = classify(nn.Conv1d(4, 4, 3, stride=2))
    >>> found.kind, found.refusal
    (<Kind.CONV1D: 2>, '')
    >>> classify(nn.Dropout()).refusal, classify(nn.Dropout().eval()).refusal
    ('in training mode', '')
    """
    declared = isinstance(module, elementwise)
    kind = _kind(module)
    refusal, geometry = "", None
    if kind in (Kind.TRANSPOSED, Kind.CONV1D):
        try:
            geometry = geometry_of_module(module)
        except ValueError as error:
            refusal = str(error)
    elif kind is Kind.UPSAMPLE:
        try:
            upsampling_of(module)
        except ValueError as error:
            refusal = str(error)
    elif kind is Kind.ELEMENTWISE and runs_forward_of(module, ELEMENTWISE_IN_EVAL):
        refusal = _refusal_now(module)
    elif kind is Kind.OTHER and not _is_torchs(_author(module)):
        refusal = f"its {_method(module)} is not that of torch's {_torchs_base(module).__name__}"
    return Classification(kind, refusal, declared, geometry, _padding_mode(module))


def _kind(module: nn.Module) -> Kind:
    kinds: tuple[tuple[tuple[Any, ...], Kind], ...] = (
        ((nn.ConvTranspose1d, ConvTranspose1d), Kind.TRANSPOSED),
        ((nn.Conv1d, Conv1d), Kind.CONV1D),
        ((nn.Sequential,), Kind.SEQUENTIAL),
        ((*ELEMENTWISE, *ELEMENTWISE_IN_EVAL), Kind.ELEMENTWISE),
        ((nn.GLU,), Kind.GATE),
        ((nn.Upsample,), Kind.UPSAMPLE),
        (tuple(_PADS), Kind.PAD),
        ((nn.Module,), Kind.CONTAINER),  # whose forward says that there is none
    )
    for classes, kind in kinds:
        if runs_forward_of(module, classes):
            return kind
    # A subclass of a convolution with its own forward is OTHER, which is refused: it may convolve a
    # piece as if that were the whole signal.
    if _is_torchs(_author(module)) or isinstance(module, _ConvNd):
        return Kind.OTHER
    return Kind.CUSTOM


def runs_forward_of(module: nn.Module, classes: tuple[Any, ...]) -> bool:
    """Whether the module is of one of these classes, and runs that class's ``forward``.

    >>> class Quiet(nn.Tanh):
    ...     def forward(self, x):
    ...         return super().forward(x) / 2
    >>> runs_forward_of(nn.Tanh(), (nn.Tanh,)), runs_forward_of(Quiet(), (nn.Tanh,))
    (True, False)
    """
    if _method(module) != "forward":
        return False
    forward = getattr(type(module), "forward", None)  # the class of a scripted module has none
    return any(isinstance(module, cls) and forward is cls.forward for cls in classes)


def _method(module: nn.Module) -> str:
    """The method that says what a call computes: ``forward``, or a user's own ``__call__``."""
    return "forward" if _is_torchs(_owner(module, "__call__")) else "__call__"


def _author(module: nn.Module) -> type:
    """The class that defines that method."""
    return _owner(module, _method(module))


def _owner(module: nn.Module, method: str) -> type:
    return next(cls for cls in type(module).__mro__ if method in vars(cls))


def _is_torchs(cls: type) -> bool:
    return cls.__module__.startswith("torch.nn.modules.")


def _torchs_base(module: nn.Module) -> type:
    """The first of torch's own classes that the module's class derives from."""
    return next(cls for cls in type(module).__mro__ if _is_torchs(cls))


def children_of(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of an ``nn.Sequential`` with their names; one may be there several times."""
    return [(name, part) for name, part in module._modules.items() if part is not None]


def in_channels_of(module: Any) -> int | None:
    """The number of channels that a module needs; None if it takes any.

    >>> in_channels_of(nn.Conv1d(4, 8, 3)), in_channels_of(nn.Tanh())
    (4, None)
    """
    if isinstance(module, (nn.ConvTranspose1d, nn.Conv1d)):
        return int(module.in_channels)
    if isinstance(module, nn.BatchNorm1d):
        return int(module.num_features)
    if isinstance(module, nn.PReLU) and module.num_parameters > 1:
        return int(module.num_parameters)
    return None


def _padding_mode(module: nn.Module) -> str:
    """The padding mode of one of torch's pads; empty for another module."""
    return next((mode for cls, mode in _PADS.items() if runs_forward_of(module, (cls,))), "")


def upsampling_of(module: Any) -> tuple[int, str]:
    """The factor of an ``nn.Upsample``, and ``"nearest"`` or ``"linear"``.

    ``ValueError`` if it does not make the same whole number of samples of each frame.
    """
    factor, mode = module.scale_factor, module.mode
    if isinstance(factor, tuple) and len(factor) == 1:
        factor = factor[0]
    if module.size is not None or factor is None:
        raise ValueError(
            f"size={module.size} is the length of the whole output however long the input is: "
            "scale_factor must be given in its place"
        )
    if isinstance(factor, tuple) or not float(factor).is_integer() or factor < 1:
        raise ValueError(
            f"scale_factor must be a whole number, got {factor}: each frame of a stream makes "
            "as many samples as every other"
        )
    if mode not in ("nearest", "nearest-exact", "linear"):
        raise ValueError(
            "mode must be 'nearest', 'nearest-exact' or 'linear' for a signal with one axis of "
            f"time, got {mode!r}"
        )
    if module.align_corners:
        raise ValueError(
            "align_corners must be False: with True, where a sample lies between the frames "
            "depends on the length of the whole input"
        )
    return int(factor), "linear" if mode == "linear" else "nearest"


# --- elementwise in eval mode only --------------------------------------------------------------


def parts_only_in_eval(module: nn.Module) -> tuple[nn.Module, ...]:
    """The module and its submodules, as far as they are elementwise in eval mode only.

    Of a class of the user's own, these are the Dropouts and BatchNorms inside.
    """
    kinds: Any = (*ELEMENTWISE_IN_EVAL, _BatchNorm, _DropoutNd)
    return tuple(part for part in module.modules() if isinstance(part, kinds))


def check_eval(modules: tuple[nn.Module, ...]) -> None:
    """Raise RuntimeError if one of :func:`parts_only_in_eval` is not elementwise now."""
    for module in modules:
        if why := _refusal_now(module):
            raise RuntimeError(
                f"{type(module).__name__} is elementwise in eval mode only, and is now {why}: "
                f"{module!r}"
            )


def _refusal_now(module: Any) -> str:
    """Why a module of :func:`parts_only_in_eval` is not elementwise now; empty if it is."""
    if module.training:
        return "in training mode"
    if isinstance(module, _BatchNorm) and module.running_mean is None:
        return "without running statistics, which takes those of its input"
    return ""
