"""Trainers of diffusion models: the loss of noise prediction, and training from nothing with a moving average."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDPMPipeline, DDPMScheduler
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import TrainOutput, get_last_checkpoint

from .images import check_images
from .moving_average import MovingAverageCallback
from .noise_prediction import noise_prediction_loss
from .pipelines import save_pipeline


class NoisePredictionTrainer(Trainer):
    """
    A `Trainer` whose loss is that of noise prediction. Examples are dictionaries with `pixel_values` and whatever else
    the UNet takes; noise and timesteps are drawn anew for each batch unless the examples bring them
    ([`~hf_invwnn.diffusion.FixedNoise`]).

    Attributes:
        noise_scheduler (`DDPMScheduler`): Adds the noise; set by whoever inherits, before `__init__`.
    """

    # The mean over a batch: the Trainer divides it by the number of accumulated batches.
    loss_is_scaled_for_ga = False
    noise_scheduler: Any

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        conditions = dict(inputs)
        images = conditions.pop("pixel_values")
        noise, timesteps = conditions.pop("noise", None), conditions.pop("timesteps", None)
        if noise is None:
            noise = torch.randn_like(images)
        if timesteps is None:
            last = self.noise_scheduler.config.num_train_timesteps
            timesteps = torch.randint(0, last, (len(images),), device=images.device)
        loss = noise_prediction_loss(model, self.noise_scheduler, images, noise, timesteps, **conditions)
        return (loss, {}) if return_outputs else loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, None, None]:
        """An evaluation of noise prediction gives a loss and nothing else."""
        with torch.no_grad():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        kept: list[str] = self._signature_columns or []
        self._signature_columns: Any = list(dict.fromkeys([*kept, "pixel_values", "noise", "timesteps"]))


class DiffusionTrainer(NoisePredictionTrainer):
    """
    Trains a UNet from nothing, and keeps the moving average of its weights.

    Args:
        unet (`nn.Module`): A UNet of diffusers; trained in place.
        noise_scheduler (`DDPMScheduler`): Noise schedule and prediction type.
        args (`TrainingArguments`): As for any Trainer.
        train_dataset (`Dataset`): Dictionaries as [`~hf_invwnn.diffusion.DiffusionImages`] gives them.
        ema_decay (`float`, *optional*, defaults to 0.999): Decay of the moving average; `None` for none.
        kwargs: The other arguments of `Trainer`.

    Raises:
        ValueError: The images do not fit the UNet, or `ema_decay` is no share.
    """

    def __init__(
        self,
        unet: nn.Module,
        noise_scheduler: DDPMScheduler,
        args: TrainingArguments,
        train_dataset: Any,
        ema_decay: float | None = 0.999,
        **kwargs: Any,
    ) -> None:
        if ema_decay is not None and not 0 <= ema_decay < 1:
            raise ValueError(f"`ema_decay` must lie in [0, 1), or be None for no moving average, got {ema_decay}.")
        check_images("train_dataset", train_dataset, unet)
        self.noise_scheduler = noise_scheduler
        super().__init__(model=unet, args=args, train_dataset=train_dataset, **kwargs)
        self.moving_average = None if ema_decay is None else MovingAverageCallback(unet, ema_decay)
        if self.moving_average is not None:
            self.add_callback(self.moving_average)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Trains; takes and returns what [`~transformers.Trainer.train`] does."""
        folder = (
            get_last_checkpoint(str(self.args.output_dir))
            if resume_from_checkpoint is True
            else resume_from_checkpoint or None
        )
        if self.moving_average is not None:
            self.moving_average.resume_from = folder
        return super().train(folder, *args, **kwargs)

    def save_pipeline(self, folder: str) -> None:
        """
        Saves a `DDPMPipeline` whose UNet holds the moving average; the trained weights lie beside them, as the variant
        `non_ema`.

        Args:
            folder (`str`): Where to.
        """
        trained: Any = self.accelerator.unwrap_model(self.model)
        if self.moving_average is None:
            save_pipeline(DDPMPipeline(trained, self.noise_scheduler), folder)
            return
        averaged = type(trained).from_config(trained.config)
        self.moving_average.average.copy_to(averaged.parameters())
        save_pipeline(DDPMPipeline(averaged, self.noise_scheduler), folder, trained)


__all__ = ["DiffusionTrainer", "NoisePredictionTrainer"]
