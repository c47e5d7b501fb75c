"""Surrogates that the model makes itself: a pool of its own samples, without those that the run changes most."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import nn

from .base import Answer, Inputs


class Teachers(Protocol):
    """
    The two models of a recovery, which are one model with different weights.

    Attributes:
        model (`nn.Module`): The model.
    """

    model: nn.Module

    def original(self) -> AbstractContextManager[None]:
        """Within this context the model has the weights from before the run."""
        ...

    def rewound(self) -> AbstractContextManager[None]:
        """Within this context the model has the weights at the end of rewinding."""
        ...


class PooledSurrogates:
    r"""
    Rows drawn from a pool of samples of the original model, made at the beginning of a recovery.

    Some samples show what is to be forgotten. Nobody judges which: the share of them is left out on which the answers
    of the rewound model differ most from those of the original one, because that is where rewinding forgot.

    Args:
        count (`int`): Number of samples to make.
        keep (`float`): Share of them to keep, in (0, 1].
        seed (`int`): Seed of the samples.

    Raises:
        ValueError: `count` is not positive, or `keep` outside (0, 1].
    """

    name, forget_only = "own samples", True

    def __init__(self, count: int, keep: float, seed: int) -> None:
        if count < 1:
            raise ValueError(f"`count` must be positive, got {count}.")
        if not 0 < keep <= 1:
            raise ValueError(f"`keep` is a share and must lie in (0, 1], got {keep}.")
        self.count, self.keep, self.seed = count, keep, seed
        self.pool: Inputs = {}

    def prepare(self, teachers: Teachers) -> None:
        """Makes the pool; called when a recovery begins, and again when it is resumed."""
        with torch.no_grad():
            with teachers.original():
                samples = self.sample(teachers.model)
            changes = self.changes(teachers, samples)
        kept = changes.argsort(stable=True)[: max(1, round(self.keep * self.count))].sort().values
        self.pool = {name: value[kept.to(value.device)] for name, value in samples.items()}

    def sample(self, model: nn.Module) -> Inputs:
        """`count` samples of a model, the same on every process."""
        raise NotImplementedError

    def changes(self, teachers: Teachers, samples: Inputs) -> torch.Tensor:
        """How much the answer to each sample has changed by rewinding, of shape `(count,)`."""
        raise NotImplementedError

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        if not self.pool:
            raise ValueError("`surrogates`: own samples are made when a recovery begins; there are none yet.")
        rows = len(next(iter(inputs.values())))
        size = len(next(iter(self.pool.values())))
        drawn = torch.randint(size, (rows,), generator=generator)
        return {name: value[drawn.to(value.device)] for name, value in self.pool.items()}


def changed_answers(
    teachers: Teachers, samples: Inputs, answer: Callable[[Inputs], torch.Tensor], batch_size: int = 64
) -> torch.Tensor:
    """
    The mean squared change of what is answered to each sample.

    Args:
        teachers ([`Teachers`]): The original and the rewound model.
        samples (`dict[str, torch.Tensor]`): The samples.
        answer (`Callable`): What the model, with its current weights, answers to a batch of them.
        batch_size (`int`, defaults to 64): Samples in a batch.
    """
    count, found = len(next(iter(samples.values()))), []
    for first in range(0, count, batch_size):
        batch = {name: value[first : first + batch_size] for name, value in samples.items()}
        with teachers.original():
            before = answer(batch).float()
        with teachers.rewound():
            after = answer(batch).float()
        found.append((after - before).square().flatten(1).mean(dim=1).cpu())
    return torch.cat(found)


__all__ = ["PooledSurrogates", "Teachers", "changed_answers"]
