"""NegGrad: go up the loss of the forget set (Golatkar et al.)."""

from __future__ import annotations

from typing import Any

import torch

from .baseline import BaselineUnlearner


class NegGradUnlearner(BaselineUnlearner):
    r"""
    Minimises `-L(D_f)`, L being the task's loss. Forget-only, and works for any task. Collapses to chance within an
    epoch where the learning rate is too large: measure often and stop early.

    Takes and raises what [`BaselineUnlearner`] does.
    """

    method = "neg_grad"
    needs_labels = False

    def unlearning_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        return -self.task_loss(model, inputs)


__all__ = ["NegGradUnlearner"]
