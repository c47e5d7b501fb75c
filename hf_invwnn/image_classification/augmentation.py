"""The usual augmentation of small images: random crops and mirror images."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


class CropAndFlip(torch.utils.data.Dataset):
    """
    A data set for training whose images are shifted by up to `padding` pixels (filled with zeros) and mirrored with
    probability 0.5, at random each time they are read.

    Args:
        dataset (`Dataset`): Examples with `pixel_values` of shape `(C, H, W)`.
        padding (`int`, defaults to 4): Largest shift in pixels, at least 0.

    Raises:
        ValueError: `padding` is negative.
    """

    def __init__(self, dataset: Any, padding: int = 4) -> None:
        if padding < 0:
            raise ValueError(f"`padding` must be at least 0 pixels, got {padding}.")
        self.dataset, self.padding = dataset, padding

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        example = self.dataset[index]
        pixels = example["pixel_values"]
        height, width = pixels.shape[-2:]
        top, left = torch.randint(2 * self.padding + 1, (2,)).tolist()
        pixels = functional.pad(pixels, [self.padding] * 4)[..., top : top + height, left : left + width]
        return {**example, "pixel_values": pixels.flip(-1) if torch.rand(()) < 0.5 else pixels.clone()}


__all__ = ["CropAndFlip"]
