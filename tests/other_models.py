"""Small models of transformers beyond those of the benchmark, as cases of ``compile``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from capture_models import signal, transformers
from torch import Tensor, nn

#: The module, what makes its inputs of a batch and a length, and the axes of time.
Case = tuple[nn.Module, Callable[[int, int], tuple[Tensor, ...]], Any]


def one(make: Callable[[int, int], Tensor]) -> Callable[[int, int], tuple[Tensor, ...]]:
    return lambda batch, length: (make(batch, length),)


def fastspeech2() -> Case:
    config = transformers().FastSpeech2ConformerHifiGanConfig(
        model_in_dim=8, upsample_initial_channel=16, upsample_rates=[4, 2],
        upsample_kernel_sizes=[8, 4], resblock_kernel_sizes=[3, 5],
        resblock_dilation_sizes=[[1, 3], [1, 3]],
    )  # fmt: skip
    model = transformers().FastSpeech2ConformerHifiGan(config)
    return model, lambda batch, length: (torch.randn(batch, length, 8),), 1


def mimi() -> Any:
    config = transformers().MimiConfig(
        num_filters=4, hidden_size=16, upsampling_ratios=[4, 2], num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=16,
        codebook_size=16, codebook_dim=8, vector_quantization_hidden_dimension=8,
        upsample_groups=16,
    )  # fmt: skip
    return transformers().MimiModel(config)


def mimi_upsample() -> Case:
    return mimi().decoder.upsample, one(signal(16)), -1


def mimi_downsample() -> Case:
    return mimi().encoder.downsample, one(signal(16)), -1


def wav2vec2(norm: str) -> Case:
    """Its strided encoder: ``layer`` norms over channels, ``group`` a norm over time."""
    config = transformers().Wav2Vec2Config(
        conv_dim=(8, 8, 8), conv_kernel=(10, 3, 3), conv_stride=(5, 2, 2),
        num_feat_extract_layers=3, feat_extract_norm=norm,
    )  # fmt: skip
    module = importlib.import_module("transformers.models.wav2vec2.modeling_wav2vec2")
    model = module.Wav2Vec2FeatureEncoder(config)
    return model, lambda batch, length: (torch.randn(batch, 40 * length),), -1


def encodec_48k() -> Case:
    """Its decoder, with group norms over time."""
    config = transformers().EncodecConfig(
        num_filters=4, hidden_size=8, upsampling_ratios=[4, 2], codebook_dim=8, codebook_size=16,
        audio_channels=2, norm_type="time_group_norm", use_causal_conv=False, normalize=True,
    )  # fmt: skip
    return transformers().EncodecModel(config).decoder, one(signal(8)), -1


class Code2Wav(nn.Module):
    """Qwen3-Omni's decoder without its transformer."""

    def __init__(self) -> None:
        super().__init__()
        name = "transformers.models.qwen3_omni_moe"
        configs = importlib.import_module(f"{name}.configuration_qwen3_omni_moe")
        config = configs.Qwen3OmniMoeCode2WavConfig(
            hidden_size=16, decoder_dim=32, upsample_rates=[4, 2], upsampling_ratios=[2],
            num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
            intermediate_size=16, codebook_size=16, num_quantizers=2,
        )  # fmt: skip
        models = importlib.import_module(f"{name}.modeling_qwen3_omni_moe")
        model = models.Qwen3OmniMoeCode2Wav(config)
        self.upsample, self.decoder = model.upsample, model.decoder

    def forward(self, hidden: Tensor) -> Tensor:
        for blocks in self.upsample:
            for block in blocks:
                hidden = block(hidden)
        for block in self.decoder:
            hidden = block(hidden)
        return hidden.clamp(-1, 1)


class Flow(nn.Module):
    """VITS's flow, from the speaker's distribution to the decoder's input."""

    def __init__(self) -> None:
        super().__init__()
        config = transformers().VitsConfig(
            flow_size=12, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16,
            spectrogram_bins=9, wavenet_dilation_rate=1, prior_encoder_num_wavenet_layers=2,
            prior_encoder_num_flows=2,
        )  # fmt: skip
        self.flow = transformers().VitsModel(config).flow

    def forward(self, hidden: Tensor, mask: Tensor) -> Any:
        return self.flow(hidden, mask, reverse=True)


def flow_inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    return torch.randn(batch, 12, length), torch.ones(batch, 1, length)


OTHER_MODELS: dict[str, Callable[[], Case]] = {
    "fastspeech2_hifigan": fastspeech2,
    "mimi_upsample": mimi_upsample,
    "mimi_downsample": mimi_downsample,
    "wav2vec2_layer_norm": lambda: wav2vec2("layer"),
    "wav2vec2_group_norm": lambda: wav2vec2("group"),
    "encodec_48k_decoder": encodec_48k,
    "qwen3_code2wav": lambda: (Code2Wav(), one(signal(16)), -1),
    "vits_flow": lambda: (Flow(), flow_inputs, (-1, -1)),
}
