"""DELETE: distil the original model on D_f with the label to be forgotten taken out (Zhou et al., CVPR 2025)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..recovery.divergence import divergence
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


def without_label(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """
    Logits whose softmax is 0 at the label and keeps the proportions of the other classes.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`), labels (`torch.Tensor` of shape `(N,)`): Logits and labels.
    """
    # The smallest number in place of -infinity, whose divergence would be 0 times infinity.
    lowest = torch.finfo(torch.float32).min / 2
    return logits.float().scatter(1, labels[:, None], lowest)


__all__ = ["DeleteUnlearner", "without_label"]
