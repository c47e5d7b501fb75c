"""Anchored task vector: what the forget set adds to an earlier checkpoint is subtracted from the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..trainer.checks import check_retain
from ..trainer.unlearner import Unlearner


class AnchoredTaskVectorUnlearner(Unlearner):
    r"""
    With the weights `theta_a` of an anchor, a checkpoint from before the model had learnt D_f (after MSA, ICLR 2026):

        theta_ft = fine-tuned on D_f from theta_a,   theta <- theta - residual_scale * (theta_ft - theta_a)

    The next round goes on fine-tuning where the last one ended. Forget-only, but it needs the earlier checkpoint.

    Args:
        anchor (`nn.Module` or `dict[str, torch.Tensor]`): The earlier checkpoint, of the same architecture.
        kwargs: Arguments of [`Unlearner`].

    Raises:
        ValueError: `anchor` lacks a parameter of the model or has another shape; otherwise as [`Unlearner`].
    """

    title = "Anchored task vector"
    needs_whole_weights = True

    def __init__(
        self, *args: Any, anchor: nn.Module | Mapping[str, torch.Tensor], retain_dataset: Any = None, **kwargs: Any
    ) -> None:
        check_retain(self.title, self.needs_retain, retain_dataset)
        super().__init__(*args, **kwargs)
        weights = dict(anchor.named_parameters()) if isinstance(anchor, nn.Module) else anchor
        for name, parameter in self.tracked.parameters.items():
            shape = tuple(weights[name].shape) if name in weights else None
            if shape != tuple(parameter.shape):
                raise ValueError(
                    f"`anchor` must have {name!r} of shape {tuple(parameter.shape)}, got {shape or 'no such tensor'}."
                )
        self.anchor = {name: weights[name].detach().clone() for name in self.tracked.parameters}
        self.tuned: dict[str, torch.Tensor] = {}
        self.before: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def on_round_begin(self) -> None:
        parameters = self.tracked.parameters
        self.before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        if not self.tuned:
            self.tuned = {name: self.anchor[name].to(parameter) for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            parameter.copy_(self.tuned[name])

    @torch.no_grad()
    def update_weights(self) -> None:
        for name, parameter in self.tracked.parameters.items():
            tuned = parameter.detach().clone()
            parameter.copy_(self.before[name] - self.args.residual_scale * (tuned - self.tuned[name]))
            self.tuned[name] = tuned
        super().update_weights()

    def method_state(self) -> tuple[dict[str, torch.Tensor], int]:
        parts = {"tuned": self.tuned, "before": self.before}
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}, 0

    def load_method_state(self, tensors: dict[str, torch.Tensor], count: int) -> None:
        self.tuned, self.before = (
            {
                name: tensors[f"{part}.{name}"].to(value.device, value.dtype)
                for name, value in self.tracked.parameters.items()
                if f"{part}.{name}" in tensors
            }
            for part in ("tuned", "before")
        )


__all__ = ["AnchoredTaskVectorUnlearner"]
