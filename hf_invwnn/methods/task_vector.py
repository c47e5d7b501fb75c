"""Task Vector: subtract what fine-tuning on the forget set adds (Ilharco et al.)."""

from __future__ import annotations

from typing import Any

from ..predictor import LinearPredictor
from .invwnn import InvWNNUnlearner


class TaskVectorUnlearner(InvWNNUnlearner):
    r"""
    `tau = theta_ft - theta; theta <- theta - lambda tau`, repeated from the new point: [`InvWNNUnlearner`] with
    [`LinearPredictor`], and lambda is `residual_scale`. Normalisation statistics are not extrapolated. Forget-only.

    Takes and raises what [`InvWNNUnlearner`] does.
    """

    title = "Task Vector"
    default_recovery_steps = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"predictor": LinearPredictor(), **kwargs})


__all__ = ["TaskVectorUnlearner"]
