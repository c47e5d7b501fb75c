"""Images generated from fixed noise, so that different models can be compared on the same noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import nn
from tqdm import tqdm

from ..errors import NonFiniteImagesError


def fixed_noise(count: int, unet: nn.Module, seed: int = 0) -> torch.Tensor:
    """
    Noise to generate images from, the same on every machine.

    Args:
        count (`int`): Number of images.
        unet (`nn.Module`): The UNet; its configuration determines channels and size.
        seed (`int`, defaults to 0): Seed of the noise.

    Returns:
        `torch.Tensor` of shape `(count, C, H, W)` in float32, on the CPU.

    Raises:
        ValueError: `count` is less than 1, or the configuration of the UNet has no size.
    """
    config: Any = unet.config
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}.")
    if config.sample_size is None:
        raise ValueError("`unet` has no `sample_size` in its configuration, so the size of its images is unknown.")
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, config.in_channels, height, width), generator=generator)


@torch.no_grad()
def generate_images(
    unet: nn.Module,
    scheduler: Any,
    noise: torch.Tensor,
    num_inference_steps: int = 50,
    batch_size: int = 250,
    conditions: Mapping[str, torch.Tensor] | None = None,
    progress: bool = True,
) -> torch.Tensor:
    """
    Generates images from noise by DDIM (Song, Meng and Ermon) with eta 0, which draws no further noise.

    Args:
        unet (`nn.Module`): A UNet of diffusers; its mode is restored.
        scheduler (`SchedulerMixin`): Its noise schedule and prediction type are used.
        noise (`torch.Tensor` of shape `(N, C, H, W)`): See [`fixed_noise`].
        num_inference_steps (`int`, defaults to 50): Steps of DDIM.
        batch_size (`int`, defaults to 250): Images in a batch.
        conditions (`dict[str, torch.Tensor]`, *optional*): Other inputs of the UNet, an entry for each image.
        progress (`bool`, defaults to `True`): Whether to show a progress bar.

    Returns:
        `torch.Tensor` of shape `(N, C, H, W)` in [-1, 1] (latents are not clipped), on the CPU.

    Raises:
        ValueError: `num_inference_steps` or `batch_size` is out of its range.
        NonFiniteImagesError: A generated value is not finite.
    """
    ddim = DDIMScheduler.from_config(scheduler.config)
    maximum = ddim.config.num_train_timesteps
    if not 1 <= num_inference_steps <= maximum:
        raise ValueError(f"`num_inference_steps` must lie in 1..{maximum}, got {num_inference_steps}.")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    ddim.set_timesteps(num_inference_steps)
    device = next(unet.parameters()).device
    batches = range(0, len(noise), batch_size)
    was_training = unet.training
    unet.eval()
    generated = []
    try:
        with tqdm(total=len(batches) * num_inference_steps, desc="generating", disable=not progress) as bar:
            for first in batches:
                part = slice(first, first + batch_size)
                inputs = {name: value[part].to(device) for name, value in (conditions or {}).items()}
                images = noise[part].to(device)
                for timestep in ddim.timesteps:
                    predicted = unet(images, timestep, return_dict=False, **inputs)[0]
                    images = ddim.step(predicted, timestep, images, eta=0.0).prev_sample
                    bar.update()
                if not torch.isfinite(images).all():
                    raise NonFiniteImagesError("the generated images are not finite")
                generated.append(images.float().cpu())
    finally:
        unet.train(was_training)
    images = torch.cat(generated)
    return images.clamp(-1, 1) if ddim.config.clip_sample else images


__all__ = ["fixed_noise", "generate_images"]
