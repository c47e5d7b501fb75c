"""A plain training loop over given batches. Not the Trainer: where several processes collect, it would join them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import nn


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
    """One optimizer step for each batch; an empty one only moves the schedule."""
    model.train()
    for batch in batches:
        if len(batch):
            index = torch.from_numpy(batch)
            optimizer.zero_grad()
            model(pixel_values=data[0][index], labels=data[1][index])["loss"].backward()
            optimizer.step()
        if schedule is not None:
            schedule.step()


__all__ = ["Examples", "shuffled_batches", "train_on"]
