"""Random Label: train on the forget set with randomly drawn labels (Hayase et al.)."""

from __future__ import annotations

from typing import Any

import torch

from ..trainer.heads import CLASSES, TOKEN_CLASSES
from ..trainer.labels import IGNORED_LABEL
from .base import GradientUnlearner


class RandomLabelUnlearner(GradientUnlearner):
    r"""
    Minimises the task's loss on `(x, y')`, x in D_f and `y' ~ Uniform{0..C-1}`, drawn for every batch; the true label
    may be drawn. Labels of -100, which do not count, stay. Forget-only; for a class per example or per token.

    Takes and raises what [`GradientUnlearner`] does.
    """

    title = "Random Label"
    heads = (CLASSES, TOKEN_CLASSES)

    def unlearning_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        labels = inputs["labels"]
        drawn = torch.randint(self.num_classes, labels.shape, device=labels.device)
        return self.task_loss(model, {**inputs, "labels": torch.where(labels == IGNORED_LABEL, labels, drawn)})


__all__ = ["RandomLabelUnlearner"]
