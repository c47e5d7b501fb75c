"""SimNPO: NPO by the probability of a token, without the original model (Fan et al., 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..recovery.answers import outputs_of
from ..trainer.heads import CLASSES, NEXT_TOKEN, TOKEN_CLASSES, TOKENS
from .base import GradientUnlearner, check_positive
from .likelihood import label_log_probs


class SimNPOUnlearner(GradientUnlearner):
    r"""
    "Simple NPO" (arXiv 2410.07163) minimises, with x in D_f, y its labels and |y| their number,

        mean over x of  -2 / beta log sigmoid( -beta / |y| log p(y | x) - gamma )

    No original model is needed, and long texts weigh as much as short ones. Forget-only; for classes and tokens.

    Args:
        beta (`float`, defaults to 2.5): Inverse temperature.
        gamma (`float`, defaults to 0.0): Margin; the larger, the less likely an example must be to stop counting.
        kwargs: Arguments of [`GradientUnlearner`].

    Raises:
        ValueError: `beta` is not positive, or `gamma` is negative; otherwise as [`GradientUnlearner`].
    """

    title = "SimNPO"
    heads = (CLASSES, TOKEN_CLASSES, TOKENS, NEXT_TOKEN)

    def __init__(self, *args: Any, beta: float = 2.5, gamma: float = 0.0, **kwargs: Any) -> None:
        check_positive("beta", beta)
        check_positive("gamma", gamma, or_zero=True)
        self.beta, self.gamma = beta, gamma
        super().__init__(*args, **kwargs)

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        outputs = outputs_of(model, self.recovery.inputs.of(inputs))
        total, count = label_log_probs(outputs, inputs["labels"], self.recovery.head)
        per_label = total / count.clamp(min=1)
        return 2 / self.beta * functional.softplus(self.beta * per_label + self.gamma).mean()


__all__ = ["SimNPOUnlearner"]
