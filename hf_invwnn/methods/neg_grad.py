"""NegGrad: gradient ascent on the loss of the forget set (Golatkar et al.)."""

from __future__ import annotations

from typing import Any

import torch

from .base import GradientUnlearner


class NegGradUnlearner(GradientUnlearner):
    r"""
    Minimises `-L(D_f)`, where L is the loss of the task. Forget-only, for any task. With too large a learning rate the
    model collapses to chance within an epoch: measure often and stop early.

    Takes and raises what [`GradientUnlearner`] does.
    """

    title = "NegGrad"
    needs_labels = False

    def unlearning_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        return -self.task_loss(model, inputs)


__all__ = ["NegGradUnlearner"]
