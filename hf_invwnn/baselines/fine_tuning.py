"""Fine-tuning: go on training on what is kept, and hope that the rest is forgotten."""

from __future__ import annotations

from typing import Any

from torch import nn

from .baseline import BaselineUnlearner


class FineTuningUnlearner(BaselineUnlearner):
    """
    Minimises the task's loss on D_r. Needs D_r, and takes steps on no example of D_f.

    Takes and raises what [`BaselineUnlearner`] does; `retain_dataset` is needed.
    """

    method = "fine_tuning"
    needs_labels = False
    needs_retain = True

    def __init__(
        self, model: nn.Module, args: Any, forget_dataset: Any, *rest: Any, retain_dataset: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(
            model, args, forget_dataset, *rest, retain_dataset=retain_dataset, train_on=retain_dataset, **kwargs
        )


__all__ = ["FineTuningUnlearner"]
