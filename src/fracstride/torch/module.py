"""``ConvTranspose1d`` as a module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional, cast

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from fracstride.arguments import as_size
from fracstride.geometry import geometry_of
from fracstride.torch import scripting
from fracstride.torch.functional import apply
from fracstride.torch.packed import PackedWeights

if TYPE_CHECKING:
    from collections.abc import Sequence as BroadcastingList1  # to TorchScript: one int, or a list

__all__ = ["ConvTranspose1d"]


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
        for k in kernel_size if isinstance(kernel_size, (tuple, list)) else [kernel_size]:
            _parameter_size("kernel_size", k)
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
        left, right = (g.padding_left, g.padding_right)
        pair = (left,) if left == right else (left, right)
        self.padding = g.padding if isinstance(g.padding, str) else pair
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
        weight: Tensor | None
        bias: Tensor | None
        if is_compiling():  # a graph should not depend on what is packed
            weight, bias, packed_weights = self.weight, self.bias, None
        else:
            parameters = self._parameters  # at a tenth of what looking up an attribute costs
            weight, bias = parameters.get("weight"), parameters.get("bias")
            if weight is None:  # it is made of others, by a parametrisation or a hook
                weight = self.weight
            if bias is None:
                bias = self.bias
            packed_weights = getattr(self, "_packed_weights", None)
            if packed_weights is None:
                packed_weights = PackedWeights()
                if isinstance(self, ConvTranspose1d):  # not for what still calls it once restored
                    self._packed_weights = packed_weights
            elif self.training:
                packed_weights.doubt()
        return apply(
            input,
            weight,
            bias,
            (self.stride, self.padding, self.output_padding, self.dilation, self.padding_mode),
            self.groups,
            output_size,
            packed_weights,
        )

    def __getstate__(self) -> dict[str, Any]:
        # The packed weight is made again where it is needed.
        return {key: value for key, value in vars(self).items() if key != "_packed_weights"}


def _parameter_size(name: str, value: Any) -> int:
    """A size as an int; a negative one is a ``RuntimeError``, as where torch makes the weight."""
    try:
        return as_size(name, value, 1)
    except ValueError as error:
        if value < 0:
            raise RuntimeError(str(error)) from None
        raise
