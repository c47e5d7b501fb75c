"""The loss of noise prediction as a function of tensors, and a data set with fixed noise for evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")


def noise_prediction_loss(
    unet: nn.Module,
    scheduler: Any,
    images: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    **conditions: torch.Tensor,
) -> torch.Tensor:
    """The loss of [`predict_noise`] alone."""
    return predict_noise(unet, scheduler, images, noise, timesteps, **conditions)[0]


def predict_noise(
    unet: nn.Module,
    scheduler: Any,
    images: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    **conditions: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    The mean squared error of the prediction of the UNet on noisy images (Ho, Jain and Abbeel, eq. 14), as the training
    scripts of diffusers compute it, and the prediction:

        x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps
        epsilon:       | unet(x_t, t) - eps |^2
        sample:        a_t / (1 - a_t) | unet(x_t, t) - x_0 |^2      (Salimans and Ho)
        v_prediction:  | unet(x_t, t) - (sqrt(a_t) eps - sqrt(1 - a_t) x_0) |^2

    Args:
        unet (`nn.Module`): Called as `unet(x_t, t, **conditions)`; its first output is the prediction.
        scheduler (`SchedulerMixin`): A scheduler with `add_noise`, `alphas_cumprod` and a `prediction_type`.
        images (`torch.Tensor` of shape `(N, C, H, W)`): x_0, in [-1, 1].
        noise (`torch.Tensor` of shape `(N, C, H, W)`): eps.
        timesteps (`torch.Tensor` of shape `(N,)`): t, in 0..`num_train_timesteps` - 1.
        conditions: Other inputs of the UNet.

    Returns:
        `tuple`: The loss, a scalar in float32 and the mean over all pixels of the batch; and the prediction, of shape
        `(N, C, H, W)`.

    Raises:
        ValueError: The UNet predicts another shape than that of the images, or the prediction type is unknown.
    """
    predicted = unet(scheduler.add_noise(images, noise, timesteps), timesteps, return_dict=False, **conditions)[0]
    if predicted.shape != noise.shape:  # the mean squared error would broadcast
        raise ValueError(
            f"`unet` must predict one value per pixel, of shape {tuple(noise.shape)}, got {tuple(predicted.shape)}; "
            "a UNet that also predicts the variance is not supported."
        )
    prediction_type = scheduler.config.prediction_type
    if prediction_type == "epsilon":
        return nn.functional.mse_loss(predicted.float(), noise.float()), predicted
    if prediction_type == "v_prediction":
        velocity = scheduler.get_velocity(images, noise, timesteps)
        return nn.functional.mse_loss(predicted.float(), velocity.float()), predicted
    if prediction_type == "sample":
        alpha = scheduler.alphas_cumprod.to(images.device)[timesteps].float().view(-1, *[1] * (images.ndim - 1))
        squared = nn.functional.mse_loss(predicted.float(), images.float(), reduction="none")
        return (alpha / (1 - alpha) * squared).mean(), predicted
    raise ValueError(f"`prediction_type` must be one of {PREDICTION_TYPES}, got {prediction_type!r}.")


class FixedNoise(torch.utils.data.Dataset):
    """
    The examples of a data set, each with a fixed noise and timestep, so that the losses of two evaluations can be
    compared, with any batch size and number of processes. Timesteps are spread evenly.

    Args:
        dataset (sized `Dataset`): Returns dictionaries with `pixel_values`.
        num_train_timesteps (`int`): T.
        seed (`int`, defaults to 0): Seed of the noise.
    """

    def __init__(self, dataset: Any, num_train_timesteps: int, seed: int = 0) -> None:
        self.dataset, self.num_train_timesteps, self.seed = dataset, num_train_timesteps, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        example: Mapping[str, torch.Tensor] = self.dataset[index]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        # Multiples of the golden ratio, modulo 1, fill the interval more evenly than draws.
        timestep = int((index * 0.6180339887498949 + 0.5) % 1 * self.num_train_timesteps)
        return {
            **example,
            "noise": torch.randn(example["pixel_values"].shape, generator=generator),
            "timesteps": torch.tensor(timestep),
        }


__all__ = ["PREDICTION_TYPES", "FixedNoise", "noise_prediction_loss", "predict_noise"]
