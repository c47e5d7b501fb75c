"""JiT: make the outputs smooth around the forget set, without labels (Foster et al., 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .base import GradientUnlearner, check_positive, logits_of, numbers_of


class JiTUnlearner(GradientUnlearner):
    r"""
    Minimises, with x in D_f and Gaussian noise xi_1 .. xi_V on its inputs, a local Lipschitz constant,

        mean over x and j of  || f(x) - f(x + xi_j) || / || xi_j ||

    Forget-only and label-free; for inputs that are numbers, such as images and audio.

    Args:
        deviation (`float`, defaults to 0.5): Standard deviation of the noise.
        draws (`int`, defaults to 4): V, noisy copies of each example.
        kwargs: Arguments of [`GradientUnlearner`].

    Raises:
        ValueError: `deviation` or `draws` is not positive; otherwise as [`GradientUnlearner`].
    """

    title = "JiT"
    needs_labels = False
    needs_fixed_outputs = True

    def __init__(self, *args: Any, deviation: float = 0.5, draws: int = 4, **kwargs: Any) -> None:
        check_positive("deviation", deviation)
        check_positive("draws", draws)
        self.deviation, self.draws = deviation, draws
        super().__init__(*args, **kwargs)
        self.check_inputs()

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        name = numbers_of(self.title, inputs)
        answers = logits_of(model, inputs)
        total = answers.new_zeros(len(answers))
        for _ in range(self.draws):
            noise = self.deviation * torch.randn_like(inputs[name])
            change = logits_of(model, {**inputs, name: inputs[name] + noise}) - answers
            total = total + change.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
        return (total / self.draws).mean()


__all__ = ["JiTUnlearner"]
