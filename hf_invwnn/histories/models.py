"""Small image classifiers to collect weight histories from, one builder for each architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    PreTrainedConfig,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)


class PlainClassifier(nn.Module):
    """A stack of layers with the forward of a Hugging Face image classifier."""

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


SMALL_MODELS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet": resnet,
    "vit": vit,
    "convnext": convnext,
}

__all__ = ["SMALL_MODELS", "PlainClassifier"]
