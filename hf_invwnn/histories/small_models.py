"""
Small models for weight histories, one builder for each architecture.

A builder takes channels, image size and number of classes; a model takes `pixel_values` and `labels` and returns a
loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ConvNextConfig,
    ConvNextForImageClassification,
    PreTrainedConfig,
    PvtV2Config,
    PvtV2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)


class PlainClassifier(nn.Module):
    """A stack of layers with the interface of a Hugging Face image classifier."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.layers(pixel_values)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def mlp(channels: int, image_size: int, num_labels: int) -> nn.Module:
    return PlainClassifier(
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * image_size**2, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, num_labels),
        )
    )


def cnn(channels: int, image_size: int, num_labels: int) -> nn.Module:
    return PlainClassifier(
        nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, num_labels),
        )
    )


def _with_classes(config: PreTrainedConfig, num_labels: int) -> Any:
    config.num_labels = num_labels
    return config


def resnet(channels: int, image_size: int, num_labels: int) -> nn.Module:
    config = ResNetConfig(
        num_channels=channels,
        embedding_size=16,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        layer_type="basic",
    )
    return ResNetForImageClassification(_with_classes(config, num_labels))


def vit(channels: int, image_size: int, num_labels: int) -> nn.Module:
    config = ViTConfig(
        num_channels=channels,
        image_size=image_size,
        patch_size=max(2, image_size // 8),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    return ViTForImageClassification(_with_classes(config, num_labels))


def convnext(channels: int, image_size: int, num_labels: int) -> nn.Module:
    config = ConvNextConfig(
        num_channels=channels,
        patch_size=max(1, image_size // 8),
        num_stages=2,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        image_size=image_size,
    )
    return ConvNextForImageClassification(_with_classes(config, num_labels))


def pvt_v2(channels: int, image_size: int, num_labels: int) -> nn.Module:
    config = PvtV2Config(
        image_size=image_size,
        num_channels=channels,
        num_encoder_blocks=2,
        depths=[1, 1],
        hidden_sizes=[16, 32],
        num_attention_heads=[1, 2],
        patch_sizes=[3, 3],
        strides=[2, 2],
        sr_ratios=[2, 1],
        mlp_ratios=[2, 2],
    )
    return PvtV2ForImageClassification(_with_classes(config, num_labels))


class TextEncoder(nn.Module):
    """A BERT on images as sequences of 64 tokens, each one of 32 grey levels."""

    words, levels = 64, 32

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=self.levels,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=self.words,
        )
        self.bert = BertForSequenceClassification(_with_classes(config, num_labels))

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        grey = nn.functional.adaptive_avg_pool2d(pixel_values.mean(dim=1, keepdim=True), 8).flatten(1)
        levels = ((grey + 1) / 2 * self.levels).long().clamp(0, self.levels - 1)
        return self.bert(input_ids=levels, labels=labels)


class Denoiser(nn.Module):
    """A UNet that predicts the noise in an image, as in DDPM (Ho, Jain and Abbeel, 2020); labels are ignored."""

    steps = 100

    def __init__(self, channels: int, image_size: int) -> None:
        from diffusers.models.unets.unet_2d import UNet2DModel
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        super().__init__()
        # A multiple of 8, so that it can be halved three times.
        self.image_size = 8 * math.ceil(image_size / 8)
        self.unet = UNet2DModel(
            sample_size=self.image_size,
            in_channels=channels,
            out_channels=channels,
            layers_per_block=1,
            block_out_channels=(16, 32),
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=8,
        )
        self.scheduler = DDPMScheduler(num_train_timesteps=self.steps)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        missing = self.image_size - pixel_values.shape[-1]
        images = nn.functional.pad(pixel_values, (0, missing, 0, missing), value=-1.0)
        noise = torch.randn_like(images)
        times = torch.randint(self.steps, (len(images),), device=images.device)
        predicted = self.unet(self.scheduler.add_noise(images, noise, times), times).sample
        return {"loss": nn.functional.mse_loss(predicted, noise), "logits": predicted}


def text_encoder(channels: int, image_size: int, num_labels: int) -> nn.Module:
    return TextEncoder(num_labels)


def unet(channels: int, image_size: int, num_labels: int) -> nn.Module:
    return Denoiser(channels, image_size)


SMALL_MODELS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet": resnet,
    "vit": vit,
    "convnext": convnext,
    "pvt_v2": pvt_v2,
    "text_encoder": text_encoder,
    "unet": unet,
}

__all__ = ["SMALL_MODELS", "Denoiser", "PlainClassifier", "TextEncoder"]
