"""SCRUB: distil the original model on D_r and move away from it on D_f (Kurmanji et al., 2023)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .base import check_positive, logits_of
from .paired import PairedUnlearner


class ScrubUnlearner(PairedUnlearner):
    r"""
    The teacher is a frozen copy of the original model. Steps alternate:

        max step:  minimise -KL(teacher(x) || model(x)),                        x in D_f
        min step:  minimise alpha KL(teacher(x) || model(x)) + gamma CE(x, y),  x in D_r

    with KL at `temperature`, times its square. The authors alternate whole epochs, and take no max steps in the last
    ones; here every `min_steps + 1` steps begin with a max step until `max_epochs` are over.

    Args:
        alpha (`float`, defaults to 0.5), gamma (`float`, defaults to 1.0): Weights of the min step.
        temperature (`float`, defaults to 4.0): Of both distributions.
        min_steps (`int`, defaults to 1): Min steps after each max step.
        max_epochs (`float`, *optional*): Epochs on D_r in which max steps are taken; all of them by default.
        kwargs: Arguments of [`GradientUnlearner`]; `retain_dataset` is required.

    Raises:
        ValueError: A weight is negative, or `temperature`, `min_steps` or `max_epochs` is not positive; otherwise as
            [`GradientUnlearner`].
    """

    title = "SCRUB"

    def __init__(
        self,
        model: nn.Module,
        *args: Any,
        alpha: float = 0.5,
        gamma: float = 1.0,
        temperature: float = 4.0,
        min_steps: int = 1,
        max_epochs: float | None = None,
        **kwargs: Any,
    ) -> None:
        for name, value in (("alpha", alpha), ("gamma", gamma)):
            check_positive(name, value, or_zero=True)
        for name, value in (("temperature", temperature), ("min_steps", min_steps)):
            check_positive(name, value)
        if max_epochs is not None:
            check_positive("max_epochs", max_epochs)
        super().__init__(model, *args, **kwargs)
        self.alpha, self.gamma, self.temperature, self.min_steps = alpha, gamma, temperature, min_steps
        self.max_epochs = max_epochs
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        takes_max_steps = self.max_epochs is None or (self.state.epoch or 0) < self.max_epochs
        if takes_max_steps and self.state.global_step % (self.min_steps + 1) == 0:
            return -self._divergence(logits_of(model, inputs["forget"]), inputs["forget"])
        retain = inputs["retain"]
        logits = logits_of(model, retain)
        labelled = functional.cross_entropy(logits, retain["labels"])
        return self.alpha * self._divergence(logits, retain) + self.gamma * labelled

    def _divergence(self, logits: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """`T^2 KL(teacher || model)`, the mean over the batch."""
        with torch.no_grad():
            teacher = functional.log_softmax(logits_of(self.teacher, inputs) / self.temperature, dim=-1)
        student = functional.log_softmax(logits / self.temperature, dim=-1)
        divergence = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return divergence * self.temperature**2


__all__ = ["ScrubUnlearner"]
