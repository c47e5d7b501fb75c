"""SSD: dampen the weights that are more important for the forget set than for all data (Foster et al., AAAI 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..trainer.arguments import UnlearningArguments
from .base import check_positive
from .paired import PairedUnlearner


class SSDUnlearner(PairedUnlearner):
    r"""
    Selective synaptic dampening. With the importance `I`, the mean over batches of the squared gradient of the task's
    loss, on D_f and on D_r and D_f together:

        theta_i <- beta theta_i  where I_f > alpha I_d,  beta = min(lambda I_d / I_f, 1)

    The method takes no optimizer step. The authors dampen once; here every round, which is a pass over all of D_r and
    D_f, dampens again with the importances of the current model, so that the first point of the curve is theirs.

    Args:
        alpha (`float`, defaults to 10.0): Ratio of the importances above which a weight is dampened.
        dampening (`float`, defaults to 1.0): lambda.
        kwargs: Arguments of [`GradientUnlearner`]; `retain_dataset` is required.

    Raises:
        ValueError: `alpha` or `dampening` is not positive, or rounds are not whole epochs; otherwise as
            [`GradientUnlearner`].
    """

    title = "SSD"
    needs_whole_weights = True
    needs_whole_epochs = True
    needs_labels = False

    def __init__(self, *args: Any, alpha: float = 10.0, dampening: float = 1.0, **kwargs: Any) -> None:
        for name, value in (("alpha", alpha), ("dampening", dampening)):
            check_positive(name, value)
        self.alpha, self.dampening = alpha, dampening
        super().__init__(*args, **kwargs)
        self.importances = {
            part: {name: torch.zeros_like(parameter) for name, parameter in self.tracked.parameters.items()}
            for part in ("retain", "forget")
        }
        self.batches = 0

    def check_arguments(self, args: UnlearningArguments) -> None:
        super().check_arguments(args)
        if args.snapshot_strategy != "epoch":
            raise ValueError(
                f"`snapshot_strategy` must be 'epoch' for SSD, whose importances come from all examples, got "
                f"{args.snapshot_strategy!r}."
            )

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.recovering:
            return super().training_step(model, inputs, *args, **kwargs)
        loss = torch.zeros((), device=self.args.device)
        for part, importance in self.importances.items():
            loss = super().training_step(model, inputs[part], *args, **kwargs)
            for name, parameter in self.tracked.parameters.items():
                if parameter.grad is not None:
                    importance[name] += parameter.grad.square()
            model.zero_grad()  # so that the optimizer takes no step
        self.batches += 1
        return loss

    @torch.no_grad()
    def update_weights(self) -> None:
        pairs: Any = self.train_dataset
        forget_share = len(pairs.forget) / (len(pairs.forget) + len(pairs.retain))
        for name, parameter in self.tracked.parameters.items():
            forget, retain = (self.importances[part][name] for part in ("forget", "retain"))
            whole = forget_share * forget + (1 - forget_share) * retain
            beta = (self.dampening * whole / forget.clamp_min(torch.finfo(forget.dtype).tiny)).clamp_max(1)
            parameter.mul_(torch.where(forget > self.alpha * whole, beta, 1.0))
        super().update_weights()

    def on_round_end(self) -> None:
        self.batches = 0
        for importance in self.importances.values():
            for value in importance.values():
                value.zero_()

    def method_state(self) -> tuple[dict[str, torch.Tensor], int]:
        tensors = {
            f"{part}.{name}": value
            for part, importance in self.importances.items()
            for name, value in importance.items()
        }
        return tensors, self.batches

    @torch.no_grad()
    def load_method_state(self, tensors: dict[str, torch.Tensor], count: int) -> None:
        for part, importance in self.importances.items():
            for name, value in importance.items():
                value.copy_(tensors[f"{part}.{name}"])
        self.batches = count


__all__ = ["SSDUnlearner"]
