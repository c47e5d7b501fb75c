"""How likely a model finds the labels of each example: a class, or all tokens of a text that count."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..trainer.heads import NEXT_TOKEN
from ..trainer.labels import IGNORED_LABEL


def label_log_probs(logits: torch.Tensor, labels: torch.Tensor, head: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """
    `log p(y | x)` of each example, a sum over its labels, and `|y|`, their number. Labels of -100 do not count.

    Args:
        logits (`torch.Tensor` of shape `(N, C)` or `(N, T, C)`): Logits.
        labels (`torch.Tensor` of shape `(N,)` or `(N, T)`): Classes or tokens.
        head (`str`, *optional*): What the labels answer, see [`~hf_invwnn.trainer.heads.head_of`]. For `"next token"`
            the logits at a position answer for the label after it.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Two tensors of shape `(N,)`.
    """
    if head == NEXT_TOKEN:
        logits, labels = logits[:, :-1], labels[:, 1:]
    each = -functional.cross_entropy(
        logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORED_LABEL, reduction="none"
    )
    counted = (labels != IGNORED_LABEL).reshape(len(labels), -1).sum(dim=1)
    return each.reshape(len(labels), -1).sum(dim=1), counted


__all__ = ["label_log_probs"]
