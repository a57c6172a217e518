"""``ConvTranspose1d`` and ``Conv1d`` as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional, cast

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from fracstride.arguments import as_size
from fracstride.conv1d_geometry import conv1d_geometry_of
from fracstride.geometry import geometry_of
from fracstride.torch import scripting
from fracstride.torch.functional import CONV1D, apply
from fracstride.torch.packed import PackedWeights

if TYPE_CHECKING:
    from collections.abc import Sequence as BroadcastingList1  # to TorchScript: one int, or a list

__all__ = ["Conv1d", "ConvTranspose1d"]


class ConvTranspose1d(nn.ConvTranspose1d):
    """``torch.nn.ConvTranspose1d``, with what it lacks; a drop-in for it.

    Parameters, initial values, ``state_dict`` and hooks are those of its base class. On the CPU
    the kernels of this library do the work, elsewhere torch's own operators. Calls without
    gradients on the CPU keep the packed weight for the next one, and notice when the weight
    changes; in eval mode an edit of few values through ``weight.data`` may go unnoticed.

    Args:
        in_channels: ``C_in``, a multiple of ``groups``.
        out_channels: ``C_out``, a multiple of ``groups``.
        kernel_size: taps ``k``, an int or a tuple of one, as the other sizes.
        stride: samples from one frame to the next.
        padding: samples cropped: an int, ``(left, right)``, ``"valid"`` (none), or ``"same"`` or
            ``"causal"`` for ``L_out = L*stride`` (``causal``: nothing is cropped on the left).
        output_padding: samples added on the right, less than ``max(stride, dilation)``.
        groups: blocks of channels that do not see each other.
        bias: whether there is one.
        dilation: samples from one tap to the next.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``: what the input
            is extended by past its ends. (The adjoint of a Conv1d that has a padding mode is
            something else; for ``zeros`` the two agree.)
        device: of the parameters, as in torch.
        dtype: of the parameters, as in torch.

    Raises:
        ValueError, TypeError: for an argument that does not fit.

    >>> layer = ConvTranspose1d(2, 3, kernel_size=4, stride=2, padding="same")
    >>> layer
    ConvTranspose1d(2, 3, kernel_size=(4,), stride=(2,), padding=same)
    >>> layer(torch.ones(1, 2, 5)).shape
    torch.Size([1, 3, 10])
    """

    _packed_weights = cast("PackedWeights | None", None)  # TorchScript reads annotations

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_kernel_size(kernel_size)
        g = geometry_of(kernel_size, stride, padding, output_padding, dilation, padding_mode)
        # torch's constructor knows one number of padding and one mode; the rest it need not know.
        super().__init__(
            _parameter_size("in_channels", in_channels),
            _parameter_size("out_channels", out_channels),
            g.kernel_size,
            groups=as_size("groups", groups, 1),
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.kernel_size = (g.kernel_size,)
        self.stride = (g.stride,)
        self.padding = _as_torch_has_it(g.padding)
        self.output_padding = (g.output_padding,)
        self.dilation = (g.dilation,)
        self.padding_mode = g.padding_mode  # type: ignore[assignment]

    def _forward_in_scripts(
        self,
        input: Tensor,
        output_size: Optional[BroadcastingList1[int]] = None,  # noqa: UP045 - for TorchScript
    ) -> Tensor:
        return scripting.conv_transpose1d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,  # type: ignore[arg-type]
            self.output_padding,
            self.groups,
            self.dilation,
            self.padding_mode,
            output_size,
        )

    @scripting.source_in_scripts(_forward_in_scripts)
    def forward(
        self,
        input: Tensor,
        output_size: int | Sequence[int] | None = None,
    ) -> Tensor:
        """The output ``(B, C_out, L_out)`` of an input ``(B, C_in, L)``, or both without ``B``.

        ``output_size`` is the wanted ``L_out``, in place of the layer's output padding.
        """
        weight, bias, packed_weights = _operands(self, ConvTranspose1d)
        sizes = self.stride, self.padding, self.output_padding, self.dilation, self.padding_mode
        groups = self.groups
        if packed_weights is not None and output_size is None:
            y = packed_weights.again(input, weight, bias, sizes, groups)
            if y is not None:
                return y
        return apply(input, weight, bias, sizes, groups, output_size, packed_weights)

    def train(self, mode: bool = True) -> Any:
        """As torch's. The weight is compared anew: what was done to it meanwhile may not show."""
        _doubt(self, mode)
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return _without_packed_weights(self)


class Conv1d(nn.Conv1d):
    """``torch.nn.Conv1d``, with what it lacks; a drop-in for it.

    Parameters, initial values, ``state_dict`` and hooks are those of its base class. On the CPU
    the kernels of this library do the work, elsewhere torch's own operators. Calls without
    gradients on the CPU keep the packed weight for the next one, and notice a change of the weight
    as :class:`ConvTranspose1d` does.

    Args:
        in_channels: ``C_in``, a multiple of ``groups``.
        out_channels: ``C_out``, a multiple of ``groups``.
        kernel_size: taps ``k``, an int or a tuple of one, as the other sizes.
        stride: frames from one sample to the next.
        padding: frames added: an int, ``(left, right)``, ``"valid"`` (none), ``"same"`` (stride 1
            only; ``dilation*(k - 1)`` in all, the odd one on the right as in torch) or ``"causal"``
            (``dilation*(k - 1)`` on the left).
        dilation: frames from one tap to the next.
        groups: blocks of channels that do not see each other.
        bias: whether there is one.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``: what the frames
            added hold, however short the input is.
        device: of the parameters, as in torch.
        dtype: of the parameters, as in torch.

    Raises:
        ValueError, TypeError: for an argument that does not fit.

    >>> layer = Conv1d(2, 3, kernel_size=4, stride=2, padding="causal")
    >>> layer
    Conv1d(2, 3, kernel_size=(4,), stride=(2,), padding=causal)
    >>> layer(torch.ones(1, 2, 10)).shape
    torch.Size([1, 3, 5])
    """

    _packed_weights = cast("PackedWeights | None", None)  # TorchScript reads annotations

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_kernel_size(kernel_size)
        g = conv1d_geometry_of(kernel_size, stride, padding, dilation, padding_mode)
        super().__init__(
            _parameter_size("in_channels", in_channels),
            _parameter_size("out_channels", out_channels),
            g.kernel_size,
            groups=as_size("groups", groups, 1),
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.kernel_size = (g.kernel_size,)
        self.stride = (g.stride,)
        self.padding = "valid" if padding == "valid" else _as_torch_has_it(g.padding)
        self.dilation = (g.dilation,)
        self.padding_mode = g.padding_mode  # type: ignore[assignment]
        pads: Any = (g.padding_left, g.padding_right)  # what torch's own forward reads
        self._reversed_padding_repeated_twice = list(pads) if isinstance(padding, str) else pads

    def _call_in_scripts(self, input: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:  # noqa: UP045
        return scripting.conv1d(
            input,
            weight,
            bias,
            self.stride,
            self.padding,  # type: ignore[arg-type]
            self.dilation,
            self.groups,
            self.padding_mode,
        )

    def _forward_in_scripts(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    @scripting.source_in_scripts(_call_in_scripts)
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Subclasses of torch's layer call this with weights of their own.
        sizes = self.stride, self.padding, self.dilation, self.padding_mode
        packed_weights = None if is_compiling() else _packed_weights_of(self, Conv1d)
        return apply(input, weight, bias, sizes, self.groups, None, packed_weights, CONV1D)

    @scripting.source_in_scripts(_forward_in_scripts)
    def forward(self, input: Tensor) -> Tensor:
        """The output ``(B, C_out, L_out)`` of an input ``(B, C_in, L)``, or both without ``B``."""
        weight, bias, packed_weights = _operands(self, Conv1d)
        sizes, groups = (self.stride, self.padding, self.dilation, self.padding_mode), self.groups
        if packed_weights is not None:
            y = packed_weights.again(input, weight, bias, sizes, groups)
            if y is not None:
                return y
        return apply(input, weight, bias, sizes, groups, None, packed_weights, CONV1D)

    def train(self, mode: bool = True) -> Any:
        """As torch's. The weight is compared anew: what was done to it meanwhile may not show."""
        _doubt(self, mode)
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return _without_packed_weights(self)


def _operands(module: Any, cls: Any) -> tuple[Tensor, Tensor | None, PackedWeights | None]:
    """The weight, the bias and the packed weights of a module of class ``cls``."""
    if is_compiling():  # a graph should not depend on what is packed
        return module.weight, module.bias, None
    parameters = module._parameters  # at a tenth of what looking up an attribute costs
    weight, bias = parameters.get("weight"), parameters.get("bias")
    if weight is None:  # it is made of others, by a parametrisation or a hook
        weight = module.weight
    if bias is None:
        bias = module.bias
    return weight, bias, _packed_weights_of(module, cls)


def _packed_weights_of(module: Any, cls: Any) -> PackedWeights:
    packed_weights: PackedWeights | None = getattr(module, "_packed_weights", None)
    if packed_weights is None:
        packed_weights = PackedWeights()
        if isinstance(module, cls):  # not for what still calls it once restored
            module._packed_weights = packed_weights
    elif module.training:
        packed_weights.doubt()
    return packed_weights


def _doubt(module: Any, training: bool) -> None:
    if training != module.training and module._packed_weights is not None:
        module._packed_weights.doubt()


def _without_packed_weights(module: nn.Module) -> dict[str, Any]:
    """The state to copy and to save: the packed weight is made again where it is needed."""
    return {key: value for key, value in vars(module).items() if key != "_packed_weights"}


def _as_torch_has_it(padding: Any) -> Any:
    """A geometry's padding as the attribute of torch's modules."""
    return padding[:1] if not isinstance(padding, str) and padding[0] == padding[1] else padding


def _check_kernel_size(kernel_size: Any) -> None:
    for k in kernel_size if isinstance(kernel_size, (tuple, list)) else [kernel_size]:
        _parameter_size("kernel_size", k)


def _parameter_size(name: str, value: Any) -> int:
    """A size as an int; a negative one is a ``RuntimeError``, as where torch makes the weight."""
    try:
        return as_size(name, value, 1)
    except ValueError as error:
        if value < 0:
            raise RuntimeError(str(error)) from None
        raise
