"""What the baselines share: the arguments, rules and checkpoints of every unlearner, and a loss of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from ..base_unlearner import Unlearner
from ..inputs import check_has_labels


class BaselineUnlearner(Unlearner):
    r"""
    A method that takes gradient steps on a loss of its own. As for [`InvWNNUnlearner`], a turn is
    `num_snapshots - 1 + warmup_intervals` intervals, and then it is measured; `num_snapshots=2` makes it one.

    Args:
        retain_dataset (`Dataset`, *optional*): D_r, for the methods that need it and for no other.
        kwargs: The other arguments of [`Unlearner`], and those of the method.

    Raises:
        ValueError, TypeError: As [`Unlearner`]; and the task has no labels where the method needs them, or
            `retain_dataset` is missing, or is given to a method that must not see it.
    """

    method: ClassVar[str]
    needs_labels: ClassVar[bool] = True
    needs_retain: ClassVar[bool] = False

    def __init__(
        self, model: nn.Module, args: Any, forget_dataset: Any, *rest: Any, retain_dataset: Any = None, **kwargs: Any
    ) -> None:
        check_retain(self.method, self.needs_retain, retain_dataset)
        if self.needs_labels:
            check_has_labels(self.method, forget_dataset, model)
        super().__init__(model, args, forget_dataset, *rest, **kwargs)

    @property
    def num_classes(self) -> int:
        """C."""
        return self.accelerator.unwrap_model(self.model).config.num_labels

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss that a step of the method goes down, a mean over the batch."""
        return self.task_loss(model, inputs)

    def task_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss that the model was trained with."""
        loss: Any = super().compute_loss(model, dict(inputs))
        return loss

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # The Trainer evaluates with this method too, and an evaluation is of the task.
        if model.training:
            return self.unlearning_loss(model, inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)


def logits_of(model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
    """The logits alone, without the model's own loss."""
    outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]


def check_retain(method: str, needs_retain: bool, retain_dataset: Any) -> None:
    """
    Raises:
        ValueError: The method needs D_r and has none, or has one and must not.
    """
    if needs_retain and (retain_dataset is None or len(retain_dataset) == 0):
        raise ValueError(
            f"`retain_dataset` is {'None' if retain_dataset is None else 'empty'}, and {method} learns from retained "
            "examples; pass them, or take a method that needs the forget set alone."
        )
    if not needs_retain and retain_dataset is not None:
        raise ValueError(f"`retain_dataset` must be left out: {method} sees the forget set alone.")


__all__ = ["BaselineUnlearner", "check_retain", "logits_of"]
