"""Training of diffusion models from scratch, with a moving average of the weights."""

from __future__ import annotations

from typing import Any

from diffusers import DDPMPipeline, DDPMScheduler
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import TrainOutput, get_last_checkpoint

from .images import check_images
from .model import NoisePredictionModel
from .moving_average import MovingAverageCallback
from .pipelines import save_pipeline


class DiffusionTrainer(Trainer):
    """
    A `Trainer` for a UNet from scratch, with a moving average of its weights.

    Args:
        unet (`nn.Module`): A UNet of diffusers; trained in place.
        noise_scheduler (`DDPMScheduler`): Noise schedule and prediction type.
        args (`TrainingArguments`): The arguments of the Trainer.
        train_dataset (`Dataset`): Dictionaries, as [`DiffusionImages`] returns them.
        ema_decay (`float`, *optional*, defaults to 0.999): Decay of the moving average; `None` keeps none.
        kwargs: Other arguments of `Trainer`.

    Raises:
        ValueError: The images do not fit the UNet, or `ema_decay` is not in [0, 1).
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
        model = NoisePredictionModel(DDPMPipeline(unet, noise_scheduler))
        super().__init__(model=model, args=args, train_dataset=train_dataset, **kwargs)
        self.label_names = list(model.label_names)
        self.model_accepts_loss_kwargs = False
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
        Saves a `DDPMPipeline` whose UNet has the averaged weights, with the trained weights as its variant `non_ema`.

        Args:
            folder (`str`): The folder to save to.
        """
        model: Any = self.accelerator.unwrap_model(self.model)
        trained: Any = model.unet
        if self.moving_average is None:
            save_pipeline(DDPMPipeline(trained, model.noise_scheduler), folder)
            return
        averaged = type(trained).from_config(trained.config)
        self.moving_average.average.copy_to(averaged.parameters())
        save_pipeline(DDPMPipeline(averaged, model.noise_scheduler), folder, trained)


__all__ = ["DiffusionTrainer"]
