"""Small codecs of transformers, from their codes to what they decode, with random tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from capture_models import dac, encodec, transformers
from other_models import Code2Wav, mimi
from torch import Tensor, nn

CODES = 16


def random_tables(model: nn.Module) -> nn.Module:
    """The model in eval mode, with codebooks: they are buffers, which are zero at first."""
    for name, buffer in model.named_buffers():
        if "embed" in name and buffer.is_floating_point():
            buffer.copy_(torch.randn(buffer.shape))
        if "cluster_usage" in name:
            buffer.fill_(1)
    return model.eval()


class FromCodes(nn.Module):
    """A codec, called with codes alone."""

    def __init__(self, codec: Any, decode: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.codec, self._decode = random_tables(codec), decode

    def forward(self, codes: Tensor) -> Tensor:
        return self._decode(self.codec, codes)


def xcodec() -> Any:
    config = transformers().XcodecConfig(
        acoustic_model_config={
            "model_type": "dac", "encoder_hidden_size": 4, "downsampling_ratios": [2, 4],
            "decoder_hidden_size": 16, "hidden_size": 16, "codebook_size": CODES,
            "n_codebooks": 2, "codebook_dim": 4, "upsampling_ratios": [4, 2],
        },
        semantic_model_config={
            "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8],
            "conv_kernel": [4], "conv_stride": [8], "num_feat_extract_layers": 1,
            "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
        },
        codebook_dim=32, codebook_size=CODES, target_bandwidths=[16],
    )  # fmt: skip
    return transformers().XcodecModel(config)


class Qwen3(Code2Wav):
    """Qwen3-Omni's decoder without its transformer, from codes: one table for all codebooks."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2 * CODES, 16)
        self.register_buffer("offset", torch.arange(2).view(1, -1, 1) * CODES)

    def forward(self, codes: Tensor) -> Tensor:
        return super().forward(self.table(codes + self.offset).mean(1).permute(0, 2, 1))


#: The module, and how many codebooks it takes.
CODECS: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "dac": lambda: (FromCodes(dac(), lambda m, c: m.decode(audio_codes=c).audio_values), 2),
    "dac_quantiser": lambda: (FromCodes(dac(), lambda m, c: m.quantizer.from_codes(c)[:2]), 2),
    "encodec": lambda: (
        FromCodes(encodec(), lambda m, c: m.decode(c[None], [None]).audio_values),
        2,
    ),
    "mimi_quantiser": lambda: (FromCodes(mimi(), lambda m, c: m.quantizer.decode(c)), 5),
    "xcodec": lambda: (FromCodes(xcodec(), lambda m, c: m.decode(c).audio_values), 2),
    "qwen3_code2wav": lambda: (Qwen3().eval(), 2),
}
