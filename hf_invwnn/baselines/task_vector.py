"""Task Vector: subtract what fine-tuning on the forget set adds (Ilharco et al.)."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..predictor import LinearPredictor
from ..unlearner import InvWNNUnlearner
from .baseline import check_retain


class TaskVectorUnlearner(InvWNNUnlearner):
    r"""
    `tau = theta_ft - theta; theta <- theta - lambda tau`, again and again from the new point. It is a rewind with
    [`LinearPredictor`]; lambda is `residual_scale`. Normalisation statistics are not extrapolated. Forget-only.

    Takes and raises what [`InvWNNUnlearner`] does, but for `predictor`.
    """

    method = "task_vector"
    needs_labels = False
    needs_retain = False

    def __init__(
        self, model: nn.Module, args: Any, forget_dataset: Any, *rest: Any, retain_dataset: Any = None, **kwargs: Any
    ) -> None:
        check_retain(self.method, self.needs_retain, retain_dataset)
        super().__init__(model, args, forget_dataset, *rest, **{"predictor": LinearPredictor(), **kwargs})


__all__ = ["TaskVectorUnlearner"]
