"""SSD: dampen the weights that matter more for the forget set than for all data (Foster et al., AAAI 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..callbacks import UnlearningCallback
from ..training_args import UnlearningArguments
from .pairs import PairedUnlearner


class SSDUnlearner(PairedUnlearner):
    r"""
    Selective synaptic dampening. With the importance `I`, the mean over batches of the squared gradient of the task's
    loss, on D_f and on all of D_r and D_f:

        theta_i <- beta theta_i  where I_f > alpha I_d,  beta = min(lambda I_d / I_f, 1)

    No gradient step is taken. The authors do this once; here every turn does it again, on the importances of the model
    as it then is, which makes a curve whose first point is theirs.

    Args:
        alpha (`float`, defaults to 10.0): How many times as important a weight must be for D_f to be dampened.
        dampening (`float`, defaults to 1.0): lambda.
        kwargs: What [`BaselineUnlearner`] takes; `retain_dataset` is needed.

    Raises:
        ValueError: `alpha` or `dampening` is not positive; else as [`BaselineUnlearner`].
    """

    unlearning: _DampeningCallback
    method = "ssd"
    needs_whole_weights = True
    needs_labels = False

    def __init__(self, *args: Any, alpha: float = 10.0, dampening: float = 1.0, **kwargs: Any) -> None:
        for name, value in (("alpha", alpha), ("dampening", dampening)):
            if not value > 0:
                raise ValueError(f"`{name}` must be positive, got {value}.")
        self.alpha, self.dampening = alpha, dampening
        super().__init__(*args, **kwargs)

    def _make_callback(self, parameters: Mapping[str, nn.Parameter], **kwargs: Any) -> _DampeningCallback:
        return _DampeningCallback(self, parameters, **kwargs)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = torch.zeros((), device=self.args.device)
        for part, importance in self.unlearning.importances.items():
            loss = super().training_step(model, inputs[part], *args, **kwargs)
            for name, parameter in self.unlearning.parameters.items():
                if parameter.grad is not None:
                    importance[name] += parameter.grad.square()
            model.zero_grad()  # so that the optimizer has nothing to step on
        self.unlearning.batches += 1
        return loss


class _DampeningCallback(UnlearningCallback):
    """Sums squared gradients over a turn, then dampens."""

    def __init__(self, unlearner: SSDUnlearner, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unlearner = unlearner
        self.importances = {
            part: {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}
            for part in ("retain", "forget")
        }
        self.batches = 0

    @torch.no_grad()
    def move(self, arguments: UnlearningArguments) -> None:
        pairs: Any = self.unlearner.train_dataset
        forget_share = len(pairs.forget) / (len(pairs.forget) + len(pairs.retain))
        for name, parameter in self.parameters.items():
            forget, retain = (self.importances[part][name] for part in ("forget", "retain"))
            whole = forget_share * forget + (1 - forget_share) * retain
            beta = (self.unlearner.dampening * whole / forget.clamp_min(torch.finfo(forget.dtype).tiny)).clamp_max(1)
            parameter.mul_(torch.where(forget > self.unlearner.alpha * whole, beta, 1.0))
        super().move(arguments)

    def end_turn(self) -> None:
        self.batches = 0
        for importance in self.importances.values():
            for value in importance.values():
                value.zero_()

    def extra_state(self) -> tuple[dict[str, torch.Tensor], int]:
        tensors = {
            f"{part}.{name}": value
            for part, importance in self.importances.items()
            for name, value in importance.items()
        }
        return tensors, self.batches

    @torch.no_grad()
    def load_extra_state(self, tensors: dict[str, torch.Tensor], snapshots: int) -> None:
        for part, importance in self.importances.items():
            for name, value in importance.items():
                value.copy_(tensors[f"{part}.{name}"])
        self.batches = snapshots


__all__ = ["SSDUnlearner"]
