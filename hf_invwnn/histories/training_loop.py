"""
A plain training loop over given batches, with its optimizer and schedule, and the weights sampled from it.

Under torchrun, `Trainer` would set up distributed training, but each process here trains its own models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import nn
from transformers import get_cosine_schedule_with_warmup

from .plan import RunSpec


Examples = tuple[torch.Tensor, torch.Tensor]


def shuffled_batches(generator: np.random.Generator, examples: int, size: int) -> Iterator[np.ndarray]:
    """The batches of one epoch, as arrays of row numbers."""
    order = generator.permutation(examples)
    return (order[start : start + size] for start in range(0, examples, size))


def train_on(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Examples,
    batches: Iterable[np.ndarray],
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> None:
    """One optimizer step for each batch; an empty batch only advances the schedule."""
    model.train()
    for batch in batches:
        if len(batch):
            index = torch.from_numpy(batch)
            optimizer.zero_grad()
            model(pixel_values=data[0][index], labels=data[1][index])["loss"].backward()
            optimizer.step()
        if schedule is not None:
            schedule.step()


def build_optimizer(spec: RunSpec, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, Adam, or AdamW with weight decay 0.01, at the learning rate of the run."""
    if spec.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=spec.learning_rate, momentum=0.9)
    kind = torch.optim.Adam if spec.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=spec.learning_rate)


def build_schedule(
    spec: RunSpec, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule of the run over `steps` optimizer steps."""
    if spec.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=spec.learning_rate, total_steps=steps, cycle_momentum=False
        )
    if spec.schedule == "cosine":
        return get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=0, num_training_steps=steps)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


class SampledWeights:
    """
    A fixed random sample of the weights of a model.

    Args:
        model (`nn.Module`): A model with the names and sizes of the parameters.
        weights_per_parameter (`int`, defaults to 128): Number drawn from each parameter, without replacement.
        seed (`int`, defaults to 0): Seed of the draw.
    """

    def __init__(self, model: nn.Module, weights_per_parameter: int = 128, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self._indices: dict[str, torch.Tensor] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                size = min(parameter.numel(), weights_per_parameter)
                drawn = generator.choice(parameter.numel(), size=size, replace=False)
                self._indices[name] = torch.from_numpy(np.sort(drawn))

    def of(self, model: nn.Module) -> dict[str, np.ndarray]:
        """Parameter name -> current values `(weights,)` of its sample, in float32."""
        parameters = dict(model.named_parameters())
        return {
            name: parameters[name].detach().flatten()[index.to(parameters[name].device)].float().cpu().numpy()
            for name, index in self._indices.items()
        }


__all__ = [
    "Examples",
    "SampledWeights",
    "build_optimizer",
    "build_schedule",
    "shuffled_batches",
    "train_on",
]
