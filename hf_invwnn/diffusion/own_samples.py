"""Surrogates of a diffusion pipeline: images that it generates itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..recovery.answers import outputs_of
from ..surrogates.base import Inputs
from ..surrogates.pool import PooledSurrogates, Teachers, changed_answers
from .sampling import fixed_noise, generate_images


class OwnSamples(PooledSurrogates):
    """
    Images that the original pipeline generates by DDIM. Those are left out on which the run changes the prediction of
    noise most, because they show what is to be forgotten.

    Args:
        count (`int`, defaults to 512): Number of images.
        num_inference_steps (`int`, defaults to 50): Steps of DDIM for each; at most those of the scheduler.
        keep (`float`, defaults to 0.75): Share of the images that is kept.
        seed (`int`, defaults to 0): Seed of the images.

    Raises:
        ValueError: `count` or `num_inference_steps` is not positive, or `keep` outside (0, 1].
    """

    def __init__(self, count: int = 512, num_inference_steps: int = 50, keep: float = 0.75, seed: int = 0) -> None:
        super().__init__(count, keep, seed)
        if num_inference_steps < 1:
            raise ValueError(f"`num_inference_steps` must be positive, got {num_inference_steps}.")
        self.num_inference_steps = num_inference_steps

    def sample(self, model: nn.Module) -> Inputs:
        """
        Raises:
            ValueError: The UNet needs a class or a text for an image.
        """
        pipeline: Any = model
        config = pipeline.unet.config
        if getattr(config, "num_class_embeds", None) or getattr(config, "cross_attention_dim", None):
            raise ValueError(
                "`surrogates`: own samples need a UNet without conditions; pass `UnlabelledExamples` with them."
            )
        scheduler = pipeline.noise_scheduler
        steps = min(self.num_inference_steps, scheduler.config.num_train_timesteps)
        noise = fixed_noise(self.count, pipeline.unet, self.seed)
        images = generate_images(pipeline.unet, scheduler, noise, steps, progress=False)
        return {"pixel_values": images.to(next(model.parameters()).device)}

    def changes(self, teachers: Teachers, samples: Inputs) -> torch.Tensor:
        """At four noise levels, with noise that is the same for both models."""
        pipeline: Any = teachers.model
        images, last = samples["pixel_values"], pipeline.noise_scheduler.config.num_train_timesteps
        noise = fixed_noise(self.count, pipeline.unet, self.seed + 1).to(images)
        total = torch.zeros(self.count)
        for level in (0.1, 0.3, 0.5, 0.7):
            timesteps = torch.full((self.count,), int(level * last), device=images.device)
            noisy = {**samples, "noise": noise, "timesteps": timesteps}
            total += changed_answers(teachers, noisy, lambda batch: outputs_of(pipeline, batch))
        return total


__all__ = ["OwnSamples"]
