"""The ResNet of the CIFAR-10 experiments of He et al. (2016), as a model of transformers: a 3 x 3 stem of stride 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput


class SmallResNetConfig(PreTrainedConfig):
    """
    Configuration of a [`SmallResNetForImageClassification`].

    Args:
        depth (`int`, defaults to 8): Number of layers, 6 n + 2: 8, 14, 20, 32, ...
        width (`int`, defaults to 16): Channels of the first stage; the second and third have two and four times as
            many.
        num_channels (`int`, defaults to 3): Channels of the images.

    Raises:
        ValueError: `depth` is not 6 n + 2 with n of at least 1.
    """

    model_type = "small_resnet"

    def __init__(self, depth: int = 8, width: int = 16, num_channels: int = 3, **kwargs: Any) -> None:
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"`depth` must be 6 n + 2 with n of at least 1 (8, 14, 20, ...), got {depth}.")
        self.depth, self.width, self.num_channels = depth, width, num_channels
        super().__init__(**kwargs)


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without weights: every other pixel, and zeros for the added channels."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.added = stride, width - channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = functional.pad(x[..., :: self.stride, :: self.stride], [0, 0, 0, 0, 0, self.added])
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + shortcut)


class SmallResNetForImageClassification(PreTrainedModel):
    """ResNet-8, -20, ... for small images: `(N, C, H, W) -> (N, num_labels)`. 75 thousand weights with 8 layers."""

    config_class = SmallResNetConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"

    def __init__(self, config: SmallResNetConfig) -> None:
        super().__init__(config)
        widths = [config.width, 2 * config.width, 4 * config.width]
        self.stem = nn.Conv2d(config.num_channels, config.width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(config.width)
        blocks: list[nn.Module] = []
        channels = config.width
        for stage, width in enumerate(widths):
            for index in range((config.depth - 2) // 6):
                blocks.append(Block(channels, width, stride=2 if stage > 0 and index == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, int(config.num_labels or 0))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, return_dict: bool | None = None
    ) -> ImageClassifierOutput:
        """The logits and, with labels, the cross-entropy."""
        features = self.blocks(torch.relu(self.norm(self.stem(pixel_values))))
        logits = self.classifier(features.mean(dim=(-2, -1)))
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


AutoConfig.register("small_resnet", SmallResNetConfig, exist_ok=True)
AutoModelForImageClassification.register(SmallResNetConfig, SmallResNetForImageClassification, exist_ok=True)

__all__ = ["SmallResNetConfig", "SmallResNetForImageClassification"]
