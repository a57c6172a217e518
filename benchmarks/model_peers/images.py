"""Models whose 1-D layers compute 2-D convolutions of images with a height of 1.

Inductor packs weights ahead for 2-D layers only, and OpenVINO and ONNX Runtime have faster kernels
for them.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn import functional as tf


class _Conv1d(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        sizes = ((1, *self.stride), (0, *self.padding), (1, *self.dilation), self.groups)
        return tf.conv2d(x.unsqueeze(2), self.weight.unsqueeze(2), self.bias, *sizes).squeeze(2)


class _ConvTranspose1d(nn.ConvTranspose1d):
    def forward(self, x: Tensor) -> Tensor:
        y = tf.conv_transpose2d(
            x.unsqueeze(2),
            self.weight.unsqueeze(2),
            self.bias,
            (1, *self.stride),
            (0, *self.padding),
            (0, *self.output_padding),
            self.groups,
            (1, *self.dilation),
        )
        return y.squeeze(2)


def on_images(module: nn.Module) -> nn.Module:
    """A copy with 2-D layers. Layers that pad with something else than zeros stay as they are."""
    module = copy.deepcopy(module)
    kinds = {nn.Conv1d: _Conv1d, nn.ConvTranspose1d: _ConvTranspose1d}
    for layer in module.modules():
        if type(layer) in kinds and layer.padding_mode == "zeros":
            layer.__class__ = kinds[type(layer)]
    return module
