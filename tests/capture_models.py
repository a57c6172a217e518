"""Small models of every family in the benchmark of whole models, with seeded weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Case = tuple[nn.Module, Callable[[int, int], Tensor], int]


def transformers() -> Any:
    return importlib.import_module("transformers")


def signal(channels: int) -> Callable[[int, int], Tensor]:
    return lambda batch, length: torch.randn(batch, channels, length)


def speecht5() -> Case:
    config = transformers().SpeechT5HifiGanConfig(
        model_in_dim=8, upsample_initial_channel=16, upsample_rates=[4, 2],
        upsample_kernel_sizes=[8, 4],
    )  # fmt: skip
    model = transformers().SpeechT5HifiGan(config)
    return model, lambda batch, length: torch.randn(batch, length, 8), 1


def vits() -> Case:
    config = transformers().VitsConfig(
        flow_size=12, upsample_initial_channel=16, upsample_rates=[4, 2],
        upsample_kernel_sizes=[8, 4], hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, ffn_dim=16, spectrogram_bins=9, wavenet_dilation_rate=1,
    )  # fmt: skip
    return transformers().VitsModel(config).decoder, signal(12), -1


def encodec() -> Any:
    config = transformers().EncodecConfig(
        num_filters=4, hidden_size=8, upsampling_ratios=[4, 2], codebook_dim=8, codebook_size=16
    )
    return transformers().EncodecModel(config)


def dac() -> Any:
    config = transformers().DacConfig(
        encoder_hidden_size=4, downsampling_ratios=[2, 4], decoder_hidden_size=16, hidden_size=16,
        codebook_size=16, n_codebooks=2, codebook_dim=4, upsampling_ratios=[4, 2],
    )  # fmt: skip
    return transformers().DacModel(config)


def bigvgan() -> Case:
    omni = importlib.import_module("transformers.models.qwen2_5_omni.modeling_qwen2_5_omni")
    config = omni.Qwen2_5OmniBigVGANConfig(
        mel_dim=8, upsample_initial_channel=16, upsample_rates=[4, 2],
        upsample_kernel_sizes=[8, 4], resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3, 5]],
    )  # fmt: skip
    return omni.Qwen2_5OmniToken2WavBigVGANModel(config), signal(8), -1


MODELS: dict[str, Callable[[], Case]] = {
    "speecht5_hifigan": speecht5,
    "vits_decoder": vits,
    "encodec_decoder": lambda: (encodec().decoder, signal(8), -1),
    "encodec_encoder": lambda: (encodec().encoder, signal(1), -1),
    "dac_decoder": lambda: (dac().decoder, signal(16), -1),
    "dac_encoder": lambda: (dac().encoder, signal(1), -1),
    "bigvgan": bigvgan,
}


def model(name: str) -> Case:
    """The module in eval mode, what makes its input, and the axis of time."""
    torch.manual_seed(0)
    module, make, time = MODELS[name]()
    return module.eval(), make, time
