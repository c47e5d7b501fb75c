"""Random Label: train on the forget set with randomly drawn labels (Hayase et al.)."""

from __future__ import annotations

from typing import Any

import torch

from .base import GradientUnlearner


class RandomLabelUnlearner(GradientUnlearner):
    r"""
    Minimises the task's loss on `(x, y')`, x in D_f and `y' ~ Uniform{0..C-1}`, drawn for every batch; the true label
    may be drawn. Forget-only.

    Takes and raises what [`GradientUnlearner`] does.
    """

    title = "Random Label"

    def unlearning_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        drawn = torch.randint(self.num_classes, inputs["labels"].shape, device=inputs["labels"].device)
        return self.task_loss(model, {**inputs, "labels": drawn})


__all__ = ["RandomLabelUnlearner"]
