"""Images in units of pixels, 0..1, and steps among them towards or away from a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


# Logits (N, C) of images (N, C, H, W) in 0..1.
Classify = Callable[[torch.Tensor], torch.Tensor]


class PixelUnits:
    """
    Converts normalised images to pixels in 0..1, and back.

    Args:
        mean (`Sequence[float]`, *optional*), std (`Sequence[float]`, *optional*): Mean and standard deviation of the
            normalisation for each channel; those of `processor` by default.
        processor (*optional*): The image processor of the model.

    Raises:
        ValueError: The normalisation is unknown.
    """

    def __init__(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, processor: Any = None
    ) -> None:
        mean = getattr(processor, "image_mean", None) if mean is None else mean
        std = getattr(processor, "image_std", None) if std is None else std
        if mean is None or std is None:
            raise ValueError(
                "`pixel_mean` and `pixel_std` are needed to convert a step to pixels: pass them, or the image "
                "processor as `processing_class`."
            )
        self.mean, self.std = (torch.tensor(list(value)).view(1, -1, 1, 1) for value in (mean, std))

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Pixels of normalised images."""
        return values * self.std.to(values) + self.mean.to(values)

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised images of pixels."""
        return (pixels - self.mean.to(pixels)) / self.std.to(pixels)

    def classifier(self, model: Any) -> Classify:
        """A model as a function of pixels."""
        return lambda pixels: model(pixel_values=self.normalised(pixels)).logits


def descend(
    classify: Classify,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    radius: torch.Tensor,
    step: torch.Tensor,
    steps: int,
) -> torch.Tensor:
    """
    Projected gradient descent in the L2 norm: the images within a radius on which the cross-entropy to some labels is
    smallest.

    Args:
        classify (`Callable`): Logits of pixels; its gradients lead the way.
        pixels (`torch.Tensor` of shape `(N, C, H, W)`): Images in 0..1.
        labels (`torch.Tensor` of shape `(N,)`): The classes to go to.
        radius (`torch.Tensor` of shape `(N,)`), step (`torch.Tensor` of shape `(N,)`): Largest distance from each
            image, and length of a step; a negative step goes away from the labels.
        steps (`int`): Number of steps.
    """
    moved = pixels.clone()
    for _ in range(steps):
        place = moved.detach().requires_grad_(True)
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(classify(place), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, place)
        offset = place.detach() - step.view(-1, 1, 1, 1) * _scaled_to_one(gradient) - pixels
        length = offset.flatten(1).norm(dim=1).clamp_min(torch.finfo(offset.dtype).tiny)
        offset = offset * (radius / length).clamp_max(1).view(-1, 1, 1, 1)
        moved = (pixels + offset).clamp(0, 1)
    return moved


def _scaled_to_one(gradient: torch.Tensor) -> torch.Tensor:
    length = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient / length.view(-1, 1, 1, 1)


__all__ = ["PixelUnits", "descend"]
