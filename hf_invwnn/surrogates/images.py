"""Surrogates of images: shifted and mirrored, mixed, noisy, and moved towards another class."""

from __future__ import annotations

import torch
from torch.nn import functional

from .base import Answer, Inputs


KEY = "pixel_values"


class ShiftedImages:
    """
    Images shifted by up to a share of their side, filled with zeros, and mirrored with probability 0.5.

    Args:
        shift (`float`, defaults to 0.125): Largest shift, as a share of the side; in [0, 1).
        mirror (`bool`, defaults to `True`): Whether half of the images are mirrored.

    Raises:
        ValueError: `shift` is outside [0, 1).
    """

    name, forget_only, one_to_one = "shifted images", True, True

    def __init__(self, shift: float = 0.125, mirror: bool = True) -> None:
        if not 0 <= shift < 1:
            raise ValueError(f"`shift` is a share of the side and must lie in [0, 1), got {shift}.")
        self.shift, self.mirror = shift, mirror

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        return {**inputs, KEY: shifted(inputs[KEY], generator, self.shift, self.mirror)}


class MixedImages:
    """
    Mixes `a x_i + (1 - a) x_j` of two shifted and mirrored images of a batch.

    Args:
        least (`float`, defaults to 0.3): Smallest share of either image; in [0, 0.5].
        shift (`float`, defaults to 0.125), mirror (`bool`, defaults to `True`): As for [`ShiftedImages`].

    Raises:
        ValueError: `least` is outside [0, 0.5], or `shift` outside [0, 1).
    """

    name, forget_only = "mixed images", True

    def __init__(self, least: float = 0.3, shift: float = 0.125, mirror: bool = True) -> None:
        if not 0 <= least <= 0.5:
            raise ValueError(f"`least` is the smallest share of an image and must lie in [0, 0.5], got {least}.")
        self.least, self.views = least, ShiftedImages(shift, mirror)

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        first = self.views(inputs, generator, answer)[KEY]
        second = self.views(inputs, generator, answer)[KEY]
        order = torch.randperm(len(first), generator=generator).to(first.device)
        share = self.least + (1 - 2 * self.least) * torch.rand(len(first), generator=generator)
        share = share.to(first).view(-1, *[1] * (first.ndim - 1))
        return {**inputs, KEY: share * first + (1 - share) * second[order]}


class NoisyImages:
    """
    Images with Gaussian noise.

    Args:
        scale (`float`, defaults to 0.5): Standard deviation of the noise, in units of that of the batch; positive.

    Raises:
        ValueError: `scale` is not positive and finite.
    """

    name, forget_only, one_to_one = "noisy images", True, True

    def __init__(self, scale: float = 0.5) -> None:
        if not 0 < scale < float("inf"):
            raise ValueError(f"`scale` must be positive and finite, got {scale}.")
        self.scale = scale

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        images = inputs[KEY]
        noise = torch.randn(images.shape, generator=generator).to(images)
        return {**inputs, KEY: images + self.scale * images.std() * noise}


class AdversarialImages:
    """
    Shifted and mirrored images, moved one signed gradient step towards a class that is drawn for each.

    Args:
        step (`float`, defaults to 0.1): Length of the step, in units of the standard deviation of the batch.
        shift (`float`, defaults to 0.125), mirror (`bool`, defaults to `True`): As for [`ShiftedImages`].

    Raises:
        ValueError: `step` is not positive and finite, or `shift` outside [0, 1).
    """

    name, forget_only, one_to_one = "adversarial images", True, True

    def __init__(self, step: float = 0.1, shift: float = 0.125, mirror: bool = True) -> None:
        if not 0 < step < float("inf"):
            raise ValueError(f"`step` must be positive and finite, got {step}.")
        self.step, self.views = step, ShiftedImages(shift, mirror)

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        images = self.views(inputs, generator, answer)[KEY].requires_grad_()
        with torch.enable_grad():
            outputs = answer({**inputs, KEY: images})
            towards = torch.randint(outputs.shape[-1], (len(images),), generator=generator).to(outputs.device)
            (gradient,) = torch.autograd.grad(functional.cross_entropy(outputs, towards), images)
        return {**inputs, KEY: (images - self.step * images.std() * gradient.sign()).detach()}


def shifted(images: torch.Tensor, generator: torch.Generator, shift: float, mirror: bool) -> torch.Tensor:
    """
    Images shifted by whole pixels and mirrored, each by its own draw.

    Args:
        images (`torch.Tensor` of shape `(N, ..., H, W)`): The images; not changed.
        generator (`torch.Generator`): On the CPU.
        shift (`float`): Largest shift, as a share of the side.
        mirror (`bool`): Whether half of them are mirrored.
    """
    height, width = images.shape[-2:]
    reach = [int(shift * side) for side in (height, width)]
    flat = images.reshape(len(images), -1, height, width)
    padded = functional.pad(flat, [reach[1], reach[1], reach[0], reach[0]])
    rows, columns = (
        (torch.randint(2 * far + 1, (len(images), 1), generator=generator) + torch.arange(side)).to(images.device)
        for far, side in zip(reach, (height, width), strict=True)
    )
    if mirror:
        flipped = torch.rand(len(images), 1, generator=generator).to(images.device) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    picked = torch.arange(len(images), device=images.device)[:, None, None]
    moved = padded.transpose(0, 1)[:, picked, rows[:, :, None], columns[:, None, :]].transpose(0, 1)
    return moved.reshape(images.shape)


__all__ = ["AdversarialImages", "MixedImages", "NoisyImages", "ShiftedImages", "shifted"]
