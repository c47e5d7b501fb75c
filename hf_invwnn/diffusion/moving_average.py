"""The moving average of a UNet's weights: kept in training, moved along in unlearning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR


_FILE = "moving_average.safetensors"


class MovingAverageCallback(TrainerCallback):
    """
    Updates diffusers' `EMAModel` after every step, and keeps it in checkpoints.

    Args:
        model (`nn.Module`): What is trained.
        decay (`float`): The largest decay; it grows to that from small ones in the first steps.
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
            held = load_file(Path(self.resume_from) / _FILE)
            for name, shadow in self._named():
                shadow.copy_(held[name])
            self.average.optimization_step = state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.average.step(self.model.parameters())

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            temporary = folder / f"{_FILE}.tmp"
            save_file({name: shadow.contiguous() for name, shadow in self._named()}, temporary)
            os.replace(temporary, folder / _FILE)

    def _named(self) -> list[tuple[str, torch.Tensor]]:
        names = [name for name, _ in self.model.named_parameters()]
        return list(zip(names, self.average.shadow_params, strict=True))


class FollowingAverage:
    r"""
    A moving average that goes where the trained weights go. What unlearning takes from a weight it takes from its
    average as well, and by the same prediction:

        psi <- psi_0 + (theta - theta_0)

    so the average lies as far from the weights as training left it, whichever method moved them.

    Args:
        average (`nn.Module`): psi_0; changed by `follow`.
        trained (`nn.Module`): theta_0; the same architecture.

    Raises:
        ValueError: The two differ in their parameters.
    """

    def __init__(self, average: nn.Module, trained: nn.Module) -> None:
        held, moving = dict(average.named_parameters()), dict(trained.named_parameters())
        if held.keys() != moving.keys() or any(held[name].shape != moving[name].shape for name in held):
            raise ValueError("`trained_unet` must have the parameters of the pipeline's UNet; it has others.")
        self.average, self.trained = average, trained
        self._start = {name: (held[name].detach().clone(), moving[name].detach().clone()) for name in held}

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the average to where the trained weights are now."""
        moving = dict(self.trained.named_parameters())
        for name, parameter in self.average.named_parameters():
            average, trained = self._start[name]
            moved = moving[name] - trained.to(moving[name].device)
            parameter.copy_(average.to(parameter.device) + moved.to(parameter.device))


__all__ = ["FollowingAverage", "MovingAverageCallback"]
