"""NPO: make the forget set less likely than the original model finds it (Zhang et al., COLM 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..recovery.answers import outputs_of
from ..trainer.heads import CLASSES, NEXT_TOKEN, TOKEN_CLASSES, TOKENS
from .base import GradientUnlearner, check_positive
from .likelihood import label_log_probs


class NPOUnlearner(GradientUnlearner):
    r"""
    "Negative preference optimization" (arXiv 2404.05868) minimises, with x in D_f and y its labels,

        mean over x of  -2 / beta log sigmoid( -beta log( p(y | x) / p_original(y | x) ) )

    The probability of a text is the product over its tokens that have a label. For `beta -> 0` this is gradient
    ascent; the larger `beta`, the sooner an example that was forgotten stops counting. Forget-only; for classes and
    tokens.

    Args:
        beta (`float`, defaults to 0.1): Inverse temperature.
        kwargs: Arguments of [`GradientUnlearner`].

    Raises:
        ValueError: `beta` is not positive; otherwise as [`GradientUnlearner`].
    """

    title = "NPO"
    heads = (CLASSES, TOKEN_CLASSES, TOKENS, NEXT_TOKEN)

    def __init__(self, *args: Any, beta: float = 0.1, **kwargs: Any) -> None:
        check_positive("beta", beta)
        self.beta = beta
        super().__init__(*args, **kwargs)

    def prepare_run(self) -> None:
        self.recovery.keep_original()

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        recovery, labels = self.recovery, inputs["labels"]
        rows = recovery.inputs.of(inputs)
        with torch.no_grad():
            original, _ = label_log_probs(recovery.answer(recovery.original, rows), labels, recovery.head)
        current, _ = label_log_probs(outputs_of(model, rows), labels, recovery.head)
        return 2 / self.beta * functional.softplus(self.beta * (current - original)).mean()


__all__ = ["NPOUnlearner"]
