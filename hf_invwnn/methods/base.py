"""`GradientUnlearner`: a method that takes optimizer steps on a loss of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..trainer.checks import check_has_labels, check_retain
from ..trainer.unlearner import Unlearner


class GradientUnlearner(Unlearner):
    r"""
    Minimises `unlearning_loss` in training, and evaluates with the loss of the task. A round is
    `num_snapshots - 1 + warmup_intervals` intervals, as for [`InvWNNUnlearner`]; `num_snapshots=2` makes it one.

    Args:
        retain_dataset (`Dataset`, *optional*): D_r, for methods that train on it; refused by the others.
        kwargs: Arguments of [`Unlearner`], and of the method.

    Raises:
        ValueError, TypeError: As [`Unlearner`]; or the task has no class labels but the method needs them, or
            `retain_dataset` is missing or not used by the method.
    """

    needs_labels = True

    def __init__(
        self, model: nn.Module, args: Any, forget_dataset: Any, *rest: Any, retain_dataset: Any = None, **kwargs: Any
    ) -> None:
        check_retain(self.title, self.needs_retain, retain_dataset)
        if self.needs_labels:
            check_has_labels(self.title, forget_dataset, model)
        super().__init__(model, args, forget_dataset, *rest, **kwargs)

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return self.accelerator.unwrap_model(self.model).config.num_labels

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss that a step of the method minimises, a mean over the batch."""
        return self.task_loss(model, inputs)

    def task_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss that the model was trained with."""
        loss: Any = super().compute_loss(model, dict(inputs))
        return loss

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # The Trainer calls this in evaluations too, which report the loss of the task.
        if model.training:
            return self.unlearning_loss(model, inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)


def logits_of(model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
    """The logits of a model, computed without its loss."""
    outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]


__all__ = ["GradientUnlearner", "logits_of"]
