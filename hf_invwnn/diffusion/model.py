"""`NoisePredictionModel`: the UNet and the scheduler of a pipeline as a module whose forward returns the loss."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import torch
from torch import nn

from ..recovery.divergence import NUMBERS
from .images import check_images
from .moving_average import EMAFollower
from .noise_prediction import predict_noise
from .pipelines import load_pipeline, noise_scheduler, save_pipeline


class NoisePredictionModel(nn.Module):
    """
    A diffusion pipeline as the Trainer and every method without labels takes it.

    Args:
        pipeline (`DiffusionPipeline`, `str` or `os.PathLike`): A pipeline with a `unet` and a `scheduler` that can add
            noise, such as DDPM or DDIM; or the folder or Hub id of one. Its UNet is trained in place; if PEFT has
            added LoRA layers, only those are.
        trained_unet (`nn.Module`, *optional*): The weights that training ended with, if those of the pipeline's UNet
            are their moving average. They are trained, the average follows them ([`EMAFollower`]), and images are
            generated with the average. A folder with a variant `non_ema` of the UNet provides them.

    Attributes:
        unet (`nn.Module`): The UNet that is trained.
        noise_scheduler (`DDPMScheduler`): Adds the noise of training.
        moving_average ([`EMAFollower`], *optional*): The moving average of the UNet, if the pipeline has one.

    Raises:
        TypeError, ValueError: `pipeline` cannot be used, see [`load_pipeline`]; or `trained_unet` has other
            parameters.
    """

    # No input is a label, also if its name contains the word (`class_labels`): evaluations return a loss only.
    label_names: ClassVar[list[str]] = []
    # What recovery keeps: the predictions, which are numbers.
    answers: ClassVar[str] = NUMBERS

    def __init__(self, pipeline: Any, trained_unet: nn.Module | None = None) -> None:
        super().__init__()
        loaded = load_pipeline(pipeline)
        trained = loaded.trained if trained_unet is None else trained_unet
        self._pipeline = loaded.pipeline
        self.unet: nn.Module = self._pipeline.unet if trained is None else trained
        self.noise_scheduler = noise_scheduler(self._pipeline.scheduler)
        self.moving_average = None if trained is None else EMAFollower(self._pipeline.unet, trained)

    @property
    def pipeline(self) -> Any:
        """The pipeline, with the current weights and in evaluation mode."""
        self._update_pipeline()
        return self._pipeline

    def on_train_exit(self) -> None:
        """
        Brings the pipeline up to date, so that earlier references to it generate with the final weights. Called by
        [`~hf_invwnn.trainer.Unlearner`] when `train()` ends or fails.
        """
        self._update_pipeline()

    def forward(
        self,
        pixel_values: torch.Tensor,
        noise: torch.Tensor | None = None,
        timesteps: torch.Tensor | None = None,
        class_labels: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        timestep_cond: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        return_loss: bool = True,
        return_answers: bool = False,
    ) -> dict[str, torch.Tensor]:
        """
        The loss of noise prediction on a batch, see [`noise_prediction_loss`].

        Args:
            pixel_values (`torch.Tensor` of shape `(N, C, H, W)`): Images in [-1, 1]; for a latent model, latents.
            noise (`torch.Tensor` of shape `(N, C, H, W)`, *optional*): Standard normal noise; drawn by default.
            timesteps (`torch.Tensor` of shape `(N,)`, *optional*): Steps of the noise schedule; drawn by default.
            class_labels, encoder_hidden_states, timestep_cond, attention_mask, encoder_attention_mask
                (`torch.Tensor`, *optional*): Passed to the UNet.
            return_loss (`bool`, defaults to `True`): Tells the Trainer that the loss needs no labels.
            return_answers (`bool`, defaults to `False`): Also returns the predictions.

        Returns:
            `dict` with `loss`, the mean over the batch, and if asked for `answers`, the predictions.
        """
        if noise is None:
            noise = torch.randn_like(pixel_values)
        if timesteps is None:
            last = self.noise_scheduler.config.num_train_timesteps
            timesteps = torch.randint(0, last, (len(pixel_values),), device=pixel_values.device)
        conditions = {
            "class_labels": class_labels,
            "encoder_hidden_states": encoder_hidden_states,
            "timestep_cond": timestep_cond,
            "attention_mask": attention_mask,
            "encoder_attention_mask": encoder_attention_mask,
        }
        inputs = {name: value for name, value in conditions.items() if value is not None}
        loss, predicted = predict_noise(self.unet, self.noise_scheduler, pixel_values, noise, timesteps, **inputs)
        return {"loss": loss, "answers": predicted} if return_answers else {"loss": loss}

    def draw_inputs(self, inputs: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """
        Noise and timesteps for a batch that has none, so that two models can answer to the same.

        Args:
            inputs (`dict[str, torch.Tensor]`): The batch; noise and timesteps that it has stay.
            generator (`torch.Generator`): On the CPU.
        """
        images = inputs["pixel_values"]
        last = self.noise_scheduler.config.num_train_timesteps
        drawn = {
            "noise": torch.randn(images.shape, generator=generator).to(images),
            "timesteps": torch.randint(0, last, (len(images),), generator=generator).to(images.device),
        }
        return {**drawn, **inputs}

    def _update_pipeline(self) -> None:
        if self.moving_average is not None:
            self.moving_average.update()
        self._pipeline.unet.eval()

    def check_examples(self, name: str, dataset: Any) -> None:
        """Checks that a data set fits the UNet; see [`check_images`]."""
        check_images(name, dataset, self.unet)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """
        Saves the pipeline in the format of its own `from_pretrained`, with LoRA layers merged.

        Args:
            folder (`str` or `os.PathLike`): The folder to save to.
        """
        save_pipeline(self.pipeline, folder, None if self.moving_average is None else self.unet)


__all__ = ["NoisePredictionModel"]
