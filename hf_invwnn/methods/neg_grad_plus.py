"""NegGrad+: gradient ascent on the forget set and descent on the retain set (Kurmanji et al., NeurIPS 2023)."""

from __future__ import annotations

from typing import Any

import torch

from .paired import PairedUnlearner


class NegGradPlusUnlearner(PairedUnlearner):
    r"""
    Minimises `alpha L(D_r) - (1 - alpha) L(D_f)`, a batch of each in every step.

    Args:
        alpha (`float`, defaults to 0.95): Weight of the retain set, in (0, 1).
        kwargs: Arguments of [`GradientUnlearner`]; `retain_dataset` is required.

    Raises:
        ValueError: `alpha` is out of its range; otherwise as [`GradientUnlearner`].
    """

    title = "NegGrad+"
    needs_labels = False

    def __init__(self, *args: Any, alpha: float = 0.95, **kwargs: Any) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"`alpha` must lie in (0, 1), got {alpha}; 0.95 is usual.")
        self.alpha = alpha
        super().__init__(*args, **kwargs)

    def unlearning_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        retain, forget = (self.part_loss(model, inputs, part) for part in ("retain", "forget"))
        return self.alpha * retain - (1 - self.alpha) * forget


__all__ = ["NegGradPlusUnlearner"]
