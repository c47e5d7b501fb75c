"""Optimizer and schedule of a history run."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from transformers import get_cosine_schedule_with_warmup

from .specification import RunSpec


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


__all__ = ["build_optimizer", "build_schedule"]
