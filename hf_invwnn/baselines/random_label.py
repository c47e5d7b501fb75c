"""Random Label: the forget set is learned again under labels drawn at random (Hayase et al.)."""

from __future__ import annotations

from typing import Any

import torch

from .baseline import BaselineUnlearner


class RandomLabelUnlearner(BaselineUnlearner):
    r"""
    Minimises the task's loss on `(x, y')`, x in D_f and `y' ~ Uniform{0..C-1}`, drawn anew for every batch; the true
    label may be drawn. Forget-only.

    Takes and raises what [`BaselineUnlearner`] does.
    """

    method = "random_label"

    def unlearning_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        drawn = torch.randint(self.num_classes, inputs["labels"].shape, device=inputs["labels"].device)
        return self.task_loss(model, {**inputs, "labels": drawn})


__all__ = ["RandomLabelUnlearner"]
