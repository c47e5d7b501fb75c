"""Fine-tuning on the retain set, so that the forget set is overwritten."""

from __future__ import annotations

from typing import Any

from torch import nn

from .base import GradientUnlearner


class FineTuningUnlearner(GradientUnlearner):
    """
    Minimises the task's loss on D_r. No step is taken on an example of D_f.

    Takes and raises what [`GradientUnlearner`] does; `retain_dataset` is required.
    """

    title = "Fine-tuning"
    needs_labels = False
    needs_retain = True

    def __init__(
        self, model: nn.Module, args: Any, forget_dataset: Any, *rest: Any, retain_dataset: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(
            model, args, forget_dataset, *rest, retain_dataset=retain_dataset, train_dataset=retain_dataset, **kwargs
        )


__all__ = ["FineTuningUnlearner"]
