"""A callback that keeps what a sample of a model's weights is at every epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class WeightRecorder(TrainerCallback):
    """
    Records up to `weights_per_parameter` scalars of every parameter, before training and after each epoch.

    Args:
        weights_per_parameter (`int`, defaults to 256): How many are drawn, without replacement, of each parameter.
        seed (`int`, defaults to 0): Draws them.
    """

    def __init__(self, weights_per_parameter: int = 256, seed: int = 0) -> None:
        self.weights_per_parameter = weights_per_parameter
        self.generator = np.random.default_rng(seed)
        self._indices: dict[str, torch.Tensor] = {}
        self._epochs: list[dict[str, np.ndarray]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for name, parameter in _parameters(kwargs["model"]):
            size = min(parameter.numel(), self.weights_per_parameter)
            drawn = self.generator.choice(parameter.numel(), size=size, replace=False)
            self._indices[name] = torch.from_numpy(np.sort(drawn))
        self._record(kwargs["model"])

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._record(kwargs["model"])

    def _record(self, model: nn.Module) -> None:
        self._epochs.append(
            {
                name: parameter.detach().flatten()[self._indices[name].to(parameter.device)].float().cpu().numpy()
                for name, parameter in _parameters(model)
            }
        )

    def histories(self) -> dict[str, np.ndarray]:
        """Name -> array `(weights, epochs + 1)` in float32, oldest first."""
        return {name: np.stack([epoch[name] for epoch in self._epochs], axis=1) for name in self._indices}


def _parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


__all__ = ["WeightRecorder"]
