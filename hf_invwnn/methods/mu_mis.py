"""MU-Mis: lower how much the label's output depends on the input (Cheng et al., ICLR 2026)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .base import GradientUnlearner, check_positive, logits_of, numbers_of, other_classes


class MUMisUnlearner(GradientUnlearner):
    r"""
    Minimises, with x in D_f, its label y and another class c, drawn anew for each example,

        mean over x of  || grad_x f_y(x) ||^2 - weight || grad_x f_c(x) ||^2

    The loss is a gradient itself, and its own gradient takes a second backward pass: attention must be `"eager"`.
    Forget-only; for a class per example.

    Args:
        weight (`float`, defaults to 1.0): Weight of the other class.
        kwargs: Arguments of [`GradientUnlearner`].

    Raises:
        ValueError: `weight` is not positive, or the model is no classifier of numbers; otherwise as
            [`GradientUnlearner`].
    """

    title = "MU-Mis"

    def __init__(self, model: nn.Module, *args: Any, weight: float = 1.0, **kwargs: Any) -> None:
        check_positive("weight", weight)
        self.weight = weight
        super().__init__(model, *args, **kwargs)
        self.check_inputs()
        attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
        if attention not in (None, "eager"):
            raise ValueError(
                f"`model` has {attention!r} attention, whose gradient has no gradient; load it with "
                "`attn_implementation='eager'`, or call `set_attn_implementation('eager')`."
            )

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        name, labels = numbers_of(self.title, inputs), inputs["labels"]
        values = inputs[name].detach().requires_grad_(True)
        logits = logits_of(model, {**inputs, name: values})
        others = other_classes(labels, self.num_classes)
        sensitivities = []
        for classes in (labels, others):
            chosen = logits.gather(1, classes[:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, values, create_graph=True)
            sensitivities.append(gradient.flatten(1).square().sum(dim=1))
        return (sensitivities[0] - self.weight * sensitivities[1]).mean()


__all__ = ["MUMisUnlearner"]
