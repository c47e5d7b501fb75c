"""The moving average of the weights of a UNet: updated in training, moved along in unlearning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..files import atomic_file


_FILE = "moving_average.safetensors"


class MovingAverageCallback(TrainerCallback):
    """
    Updates an `EMAModel` of diffusers after every step, and saves it in checkpoints.

    Args:
        model (`nn.Module`): The model that is trained.
        decay (`float`): The final decay; `EMAModel` starts with smaller ones.

    Attributes:
        resume_from (`str`, *optional*): Checkpoint to load the average from when training begins.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.average = EMAModel(model.parameters(), decay=decay)
        self.resume_from: str | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.average.to(args.device)
        if self.resume_from is not None:
            saved = load_file(Path(self.resume_from) / _FILE)
            for name, shadow in self._named():
                shadow.copy_(saved[name])
            self.average.optimization_step = state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.average.step(self.model.parameters())

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            with atomic_file(folder / _FILE) as temporary:
                save_file({name: shadow.contiguous() for name, shadow in self._named()}, temporary)

    def _named(self) -> list[tuple[str, torch.Tensor]]:
        names = [name for name, _ in self.model.named_parameters()]
        return list(zip(names, self.average.shadow_params, strict=True))


class EMAFollower:
    r"""
    A moving average that follows the trained weights: unlearning moves both by the same displacement,

        psi <- psi_0 + (theta - theta_0)

    whichever method moved the weights.

    Args:
        average (`nn.Module`): psi_0; changed by `update`.
        trained (`nn.Module`): theta_0; the same architecture.

    Raises:
        ValueError: The two have different parameters.
    """

    def __init__(self, average: nn.Module, trained: nn.Module) -> None:
        averaged, moving = dict(average.named_parameters()), dict(trained.named_parameters())
        if averaged.keys() != moving.keys() or any(averaged[n].shape != moving[n].shape for n in averaged):
            raise ValueError("`trained_unet` must have the same parameters as the UNet of the pipeline.")
        self.average, self.trained = average, trained
        self._start = {n: (averaged[n].detach().clone(), moving[n].detach().clone()) for n in averaged}

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average by the displacement of the trained weights."""
        moving = dict(self.trained.named_parameters())
        device = next(iter(moving.values())).device
        self.average.to(device)  # the Trainer moves only the trained weights
        for name, parameter in self.average.named_parameters():
            average, trained = self._start[name]
            displacement = moving[name] - trained.to(device)
            parameter.copy_(average.to(device) + displacement)


__all__ = ["EMAFollower", "MovingAverageCallback"]
