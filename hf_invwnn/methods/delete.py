"""DELETE: distil the original model on D_f with the label to be forgotten taken out (Zhou et al., CVPR 2025)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..recovery.divergence import divergence, without_label
from .base import GradientUnlearner, logits_of


class DeleteUnlearner(GradientUnlearner):
    r"""
    The teacher is a frozen copy of the original model. A step minimises, with x in D_f and its label y,

        KL( softmax(z') || softmax(f(x)) ),    z' = teacher(x) with z'_y = -infinity

    The other classes keep their proportions. Forget-only; for a class per example.

    Takes and raises what [`GradientUnlearner`] does.
    """

    title = "DELETE"

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        super().__init__(model, *args, **kwargs)
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        with torch.no_grad():
            teacher = without_label(logits_of(self.teacher, inputs), inputs["labels"])
        return divergence(teacher, logits_of(model, inputs))


__all__ = ["DeleteUnlearner"]
